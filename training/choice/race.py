"""Choosing the network by a race on validation data: successive halving over shapes and input gains.

Scaling and shape matter more than the solver: the best gain differs by problem (0.1 and 1 are both needed), and a
narrow first layer that helps smooth data hurts rough ones. So half of the budget is spent on trying.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from gnvpro.training.choice.candidates import Candidate
from gnvpro.training.fitting.fit import Fit
from gnvpro.training.fitting.run import Job
from gnvpro.training.solvers.protocol import Status

# Shares of the budget: all candidates together, then the best three together, then the winner.
FIRST_HEAT, SECOND_HEAT = 0.25, 0.25
FINALISTS = 3


@dataclass(frozen=True)
class Entry:
    """A candidate with its run."""

    candidate: Candidate
    fit: Fit


def race(
    contenders: list[Candidate],
    start: Callable[[Candidate], Fit],
    budget: float,
    advance: Callable[[list[Job]], None],
    is_hopeless: Callable[[Entry], bool] = lambda _: False,
) -> tuple[Entry, list[Entry]]:
    """The best candidate, trained to the end of the budget, and all entries, best first.

    `start` begins the fit of a candidate at its initial weights; `advance` advances fits (`Run.advance`), those of a heat
    together; `budget` is in work units, for all fits together. Where the
    best after the heats `is_hopeless`, it is left as it is.
    """
    entries: list[Entry] = []
    for candidate in contenders:
        entries.append(Entry(candidate, start(candidate)))
        entries[-1].fit.point.release()  # all wait for each other: what has the size of the samples is made again
    if len(entries) > 1:
        for share, starters in ((FIRST_HEAT, len(entries)), (SECOND_HEAT, min(FINALISTS, len(entries)))):
            advance([Job(entry.fit, share * budget / starters) for entry in entries[:starters]])
            if any(entry.fit.status is Status.interrupted for entry in entries):
                return _sorted(entries)[0], _sorted(entries)
            entries = _sorted(entries)
        if is_hopeless(entries[0]):
            return entries[0], entries
    # What was really spent: every heat overshoots by up to one iteration of each fit.
    spent = sum(entry.fit.objective.meter.total for entry in entries)
    advance([Job(entries[0].fit, budget - spent)])
    return _sorted(entries)[0], _sorted(entries)


def _sorted(entries: list[Entry]) -> list[Entry]:
    return sorted(entries, key=lambda entry: entry.fit.best.validation_error)


def described_entry(entry: Entry) -> dict[str, Any]:
    """A candidate and how far it came, JSON-able."""
    candidate = asdict(entry.candidate)
    if candidate.pop("derivatives") is False:
        candidate["derivatives"] = False
    return {
        **candidate,
        "validation_error": entry.fit.best.validation_error,
        "work_units": entry.fit.objective.meter.total,
        "status": entry.fit.status.value,
    }
