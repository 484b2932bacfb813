"""Study `cdr`: training methods on convection-diffusion-reaction, by the original study's protocol.

55 parameters, 72 observables, 400/200/200 samples, residual network of width 8, both regularisations 1e-10. The original
study trains three levels of 1, 2 and 4 steps with 200 work units each; here every method gets the finest network and
all 600 work units, since a restart at each level means something else to each method.
"""

from __future__ import annotations

from dataclasses import dataclass

from gnvpro.apps.studies.data import CDR_SIZES, cdr_samples
from gnvpro.apps.studies.optimisers import surrogates
from gnvpro.apps.studies.result import StudyResult
from gnvpro.apps.studies.settings import StudySettings
from gnvpro.surrogate.progress import Report

QUICK = dict(budget=120.0, train=120, validation=60, test=20, seeds=2, grid=1, steps=1)


@dataclass(frozen=True, kw_only=True)
class Settings(surrogates.Settings):
    """The paper's protocol."""

    budget: float = 600.0
    train: int = CDR_SIZES["train"]
    validation: int = CDR_SIZES["validation"]
    test: int = CDR_SIZES["test"]
    seeds: int = 5


def run(options: StudySettings, report: Report) -> StudyResult:
    """Compare all methods."""
    settings = options.own(Settings, QUICK)
    samples, source = cdr_samples(options.data, report, settings.n_samples)
    return surrogates.compare_on_surrogates(settings, samples, source, options, report)[0]
