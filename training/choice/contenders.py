"""Which candidates a training races, by its settings."""

from __future__ import annotations

from dataclasses import replace

from gnvpro.training.candidates import Candidate, candidates, polynomial_candidates, small_candidates
from gnvpro.training.settings import QUICK, TrainSettings


def contenders_for(settings: TrainSettings, n_samples: int, n_inputs: int, polynomials: bool) -> list[Candidate]:
    """The candidates that settings leave open.

    Parameters
    ----------
    polynomials
        A polynomial basis fits the samples, and the settings allow it.
    """
    smooth = polynomial_candidates(n_samples) if polynomials else []
    if settings.quick:
        found, smooth = [replace(QUICK, widths=_narrowed(QUICK.widths, n_samples))], smooth[:1]
    elif settings.solver == "lm":
        found = small_candidates(n_samples)
    else:
        found = candidates(n_samples, n_inputs)
    if settings.widths:
        found = [Candidate(settings.widths, gain) for gain in ((QUICK.gain,) if settings.quick else (0.1, 1.0))]
        smooth = [replace(candidate, widths=settings.widths) for candidate in smooth]
    if settings.polynomial == "on":
        found = []
    found = [*found, *smooth]
    if settings.gain:
        found = [replace(candidate, gain=settings.gain) for candidate in found]
    if settings.solver != "lbfgs":
        found = [candidate for candidate in found if candidate.metric]
    return list(dict.fromkeys(found))


def _narrowed(widths: tuple[int, ...], n_samples: int) -> tuple[int, ...]:
    return (*widths[:-1], max(1, min(widths[-1], n_samples // 4)))
