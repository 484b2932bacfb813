"""The convection-diffusion-reaction samples that studies are made on."""

from __future__ import annotations

import os
from pathlib import Path

from gnvpro.apps.progress import Report
from gnvpro.apps.studies.study_data import SEED, solved_samples
from gnvpro.pde_data.storage.dataset import read_samples
from gnvpro.surrogate.samples import Samples

FILE, VARIABLE = "CDR_Data.mat", "GNVPRO_PAPER_DATA"
# The sizes of the original study's sets.
SIZES = dict(train=400, validation=200, test=200)


def cdr_samples(data: Path | None, report: Report, n: int = sum(SIZES.values())) -> tuple[Samples, str]:
    """Samples, and where they are from: `data`, else the original study's file, else `n` solves of our own.

    The study's file is looked for in the folder that the environment variable GNVPRO_PAPER_DATA names.
    """
    if data is not None:
        return read_samples(data), str(data)
    folder = os.environ.get(VARIABLE)
    if folder:
        return read_samples(Path(folder) / FILE), f"{FILE} of the original study"
    source = f"{n} solves of the problem cdr, seed {SEED}; keep such a set with `gnvpro generate` and give it as --data"
    return solved_samples("cdr", n, report), source


def sizes_for(samples: Samples) -> dict[str, int]:
    """The original study's sizes, in proportion where there are fewer samples."""
    share = min(1.0, len(samples) / sum(SIZES.values()))
    return {name: int(share * size) for name, size in SIZES.items()}
