"""Study `cdr`: training methods on convection-diffusion-reaction, by the original study's protocol.

55 parameters, 72 observables, 400/200/200 samples, residual network of width 8, both regularisations 1e-10. The original
study trains three levels of 1, 2 and 4 steps with 200 work units each; here every method gets the finest network and
all 600 work units, since a restart at each level means something else to each method.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from apps.console import Report
from apps.options import StudyOptions
from apps.studies.result import StudyResult
from apps.studies.study_data import solved_samples
from apps.studies.surrogate_comparison import Settings as Common
from apps.studies.surrogate_comparison import result, run_comparison
from pde_data.dataset import read_samples
from pde_data.options import make
from surrogate.samples import Samples

PAPER_FILE = "CDR_Data.mat"
QUICK = dict(budget=120.0, train=120, validation=60, test=20, seeds=2, grid=1, steps=1)


@dataclass(frozen=True, kw_only=True)
class Settings(Common):
    """The paper's protocol."""

    budget: float = 600.0
    train: int = 400
    validation: int = 200
    test: int = 200
    seeds: int = 5


def run(given: StudyOptions, report: Report) -> StudyResult:
    """Compare all methods."""
    settings = make(Settings, {**(QUICK if given.quick else {}), **(given.set or {})})
    samples, where = _samples(settings, given, report)
    return result(settings, run_comparison(settings, samples, given, report), where)


def _samples(settings: Settings, given: StudyOptions, report: Report) -> tuple[Samples, str]:
    """The file given, the paper's where its folder is known, or our own solves."""
    paper = Path(os.environ.get("GNVPRO_PAPER_DATA", "")) / PAPER_FILE
    if given.data is not None:
        return read_samples(given.data), str(given.data)
    if "GNVPRO_PAPER_DATA" in os.environ and paper.exists():
        return read_samples(paper), f"the original study's {PAPER_FILE}"
    return solved_samples("cdr", settings.n_samples, report), f"{settings.n_samples} solves of our cdr"
