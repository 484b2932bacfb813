"""The convection-diffusion-reaction samples that studies are made on."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from apps.console import Report
from pde_data.dataset import read_samples
from surrogate.samples import Samples

FILE, VARIABLE = "CDR_Data.mat", "GNVPRO_PAPER_DATA"
# The sizes of the original study's sets.
SIZES = dict(train=400, validation=200, test=200)


def cdr_samples(data: Path | None, report: Report) -> tuple[Samples, str]:
    """Samples, and where they are from: `data`, else the original study's file, else 800 solves of our own.

    The study's file is looked for in the folder that the environment variable GNVPRO_PAPER_DATA names.
    """
    if data is not None:
        return read_samples(data), str(data)
    folder = os.environ.get(VARIABLE)
    if folder:
        return read_samples(Path(folder) / FILE), f"{FILE} of the original study"
    from pde_data.generate import generate
    from pde_data.problem import registered_problem

    with tempfile.TemporaryDirectory() as folder:
        path, n = Path(folder) / "cdr.zarr", sum(SIZES.values())
        generate(
            registered_problem("cdr"),
            path,
            n,
            0,
            on_progress=lambda done, failed, total: report(done, total, f"solving the PDE, {done}/{total}"),
        )
        return read_samples(path), f"{n} solves of the problem cdr, seed 0; keep them with `gnvpro generate` and --data"


def sizes_for(samples: Samples) -> dict[str, int]:
    """The original study's sizes, in proportion where there are fewer samples."""
    share = min(1.0, len(samples) / sum(SIZES.values()))
    return {name: int(share * size) for name, size in SIZES.items()}
