"""Choosing the network by a race on validation data: successive halving over shapes and input gains.

Scaling and shape matter more than the solver: the best gain differs by problem (0.1 and 1 are both needed), and a
narrow first layer that helps smooth data hurts rough ones. So half of the budget is spent on trying.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from gnvpro.training.fit import Fit
from gnvpro.training.solver import Status

# Shares of the budget: all candidates together, then the best three together, then the winner.
FIRST_HEAT, SECOND_HEAT = 0.25, 0.25
FINALISTS = 3


@dataclass(frozen=True)
class Candidate:
    """What the race chooses.

    Attributes
    ----------
    widths, gain
        Of the dense layers, and of the inputs.
    metric
        L-BFGS gets the Kronecker metric.
    polynomial
        W also acts on polynomials of the parameters.
    """

    widths: tuple[int, ...]
    gain: float
    metric: bool = True
    polynomial: bool = False

    def __str__(self) -> str:
        extras = f"{' and polynomials' if self.polynomial else ''}{'' if self.metric else ', plain L-BFGS'}"
        return f"widths {','.join(map(str, self.widths))}, gain {self.gain:g}{extras}"


@dataclass(frozen=True)
class Entry:
    """A candidate with its run."""

    candidate: Candidate
    fit: Fit


def candidates(n_samples: int, n_inputs: int) -> list[Candidate]:
    """Shapes and gains worth trying for this many samples and inputs.

    Many inputs call for a narrow first layer that finds the few directions that matter; the widest layer is
    limited by the samples, since W has to be determined by them.
    """
    last = max(1, min(48, n_samples // 4))
    if n_inputs <= 5:
        wide = max(1, min(96, n_samples // 4))
        shapes = [(16, 16, wide), (16, 24, 24, last), (16, 16, min(16, last))]
    else:
        shapes = [(9, 24, 24, last), (8, 16, last), (16, 24, 24, last)]
    raced = [Candidate(shape, gain) for shape in shapes for gain in (0.1, 1.0)]
    # The metric overfits small networks of equal layers on few samples: let plain L-BFGS compete there.
    return list(dict.fromkeys([*raced, Candidate((16, 16, min(16, last)), 0.1, metric=False)]))


def small_candidates(n_samples: int) -> list[Candidate]:
    """Networks small enough for a dense matrix of all weights."""
    last = max(1, n_samples // 4)
    shapes = [(8, 8, min(8, last)), (12, 12, min(12, last)), (16, 16, min(16, last))]
    return [Candidate(shape, gain) for shape in shapes for gain in (0.1, 1.0)]


def polynomial_candidates(n_samples: int) -> list[Candidate]:
    """Small networks for what polynomials leave over; they share the samples with the polynomial's coefficients."""
    last = max(1, n_samples // 8)
    shapes = [(min(8, last),), (16, min(16, last))]
    return [Candidate(shape, 1.0, polynomial=True) for shape in dict.fromkeys(shapes)]


def race(
    contenders: list[Candidate],
    start: Callable[[Candidate], Fit],
    budget: float,
    on_step: Callable[[Fit], None] | None = None,
) -> tuple[Entry, list[Entry]]:
    """The best candidate, trained to the end of the budget, and all entries, best first.

    Parameters
    ----------
    start
        Makes the fit of a candidate, at its initial weights.
    budget
        Work units for everything together.
    """
    entries = [Entry(candidate, start(candidate)) for candidate in contenders]
    if len(entries) > 1:
        for share, starters in ((FIRST_HEAT, len(entries)), (SECOND_HEAT, min(FINALISTS, len(entries)))):
            for entry in entries[:starters]:
                status = entry.fit.advance(share * budget / starters, on_step)
                if status is Status.interrupted:
                    return _sorted(entries)[0], _sorted(entries)
            entries = _sorted(entries)
    # What was really spent: every heat overshoots by up to one iteration of each fit.
    spent = sum(entry.fit.objective.meter.total for entry in entries)
    entries[0].fit.advance(budget - spent, on_step)
    return _sorted(entries)[0], _sorted(entries)


def _sorted(entries: list[Entry]) -> list[Entry]:
    return sorted(entries, key=lambda entry: entry.fit.best.validation_error)
