"""What the samples of a surrogate cost, in solves of the problem it replaces, and what part of them would have bought."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from gnvpro.surrogate.model.surrogate import Surrogate

# Of samples that were left out in training: the errors that alternatives are compared by.
_STATED = ("cross-validated", "validation", "test")


@dataclass(frozen=True)
class Alternative:
    """Samples of one kind alone: their cost in solves, and the error of a surrogate made of them, as training states it."""

    name: str
    solves: float
    error: float


@dataclass(frozen=True)
class Spent:
    """Samples of the surrogate and their cost.

    Attributes
    ----------
    samples, directions
        Solves of the problem itself, and derivatives beside each.
    coarse
        Solves of cheaper versions, the cheapest first.
    solves
        The cost of all in solves of the problem; None where the data do not say what they cost.
    alternatives
        The whole and parts of it, for samples of several kinds; empty otherwise.
    """

    samples: int
    directions: int
    coarse: tuple[int, ...]
    solves: float | None
    alternatives: tuple[Alternative, ...] = ()

    @classmethod
    def of(cls, surrogate: Surrogate) -> Spent:
        """From what a surrogate says of its data and its training."""
        training, provenance = surrogate.training, surrogate.provenance
        samples, directions = int(provenance["n_samples"]), int(training.get("directions") or 0)
        levels = training.get("fidelities", {}).get("levels", [])[:-1]
        own = _own_solves(samples, directions, provenance.get("cost") or {})
        coarse = _coarse_solves(levels, provenance.get("cost") or {})
        solves = None if own is None or coarse is None else own + coarse
        spent = cls(samples, directions, tuple(level["samples"] for level in levels), solves)
        stated = next((surrogate.errors[name] for name in _STATED if name in surrogate.errors), None)
        if solves is None or coarse is None or stated is None:
            return spent
        alternatives = _alternatives(training, spent, coarse, stated)
        return cls(**{**vars(spent), "alternatives": alternatives})

    def in_words(self) -> str:
        """Samples of every kind, and their cost."""
        derivatives = f", {self.directions} derivatives each" if self.directions else ""
        kinds = [f"{self.samples} solves{derivatives}", *(f"{n} coarse ones" for n in reversed(self.coarse))]
        if self.solves is None:
            return " and ".join(kinds)
        plain = not self.directions and not self.coarse
        return kinds[0] if plain else f"{' and '.join(kinds)}: as much as {self.solves:.3g} solves"

    def numbers(self) -> dict[str, Any]:
        """JSON-able."""
        return asdict(self)


def _own_solves(samples: int, directions: int, cost: Mapping[str, Any]) -> float | None:
    """Of samples with their derivatives, in solves."""
    if not directions:
        return float(samples)
    if not cost.get("seconds") or cost.get("derivative_seconds") is None:
        return None
    return samples * (1 + directions * cost["derivative_seconds"] / cost["seconds"])


def _coarse_solves(levels: list[dict[str, Any]], cost: Mapping[str, Any]) -> float | None:
    """Of all coarse samples, in solves of the problem itself."""
    if levels and (not cost.get("seconds") or any(level["seconds"] is None for level in levels)):
        return None
    return sum(level["samples"] * level["seconds"] / cost["seconds"] for level in levels)


def _alternatives(training: Mapping[str, Any], spent: Spent, coarse: float, stated: float) -> tuple[Alternative, ...]:
    """The contest's errors, which are root mean squares, in proportion to the error that is stated."""
    choice, levels = training.get("choice", {}), training.get("fidelities", {}).get("levels", [])
    chosen = choice.get("error_left_out")
    if not chosen or spent.solves is None:
        return ()
    contenders = choice.get("contenders", [])

    def least(kinds: list[dict[str, Any]]) -> float | None:
        return min((one["error"] for one in kinds), default=None)

    parts: list[tuple[str, float, float | None]] = []
    if spent.coarse:
        alone = [one for one in contenders if one.get("kind") == "fine samples alone"]
        parts = [("fine samples alone", spent.solves - coarse, least(alone))]
        if (off := levels[-2].get("off")) is not None:
            parts.append(("coarse samples alone", coarse, off * chosen / stated))
    elif spent.directions:
        alone = [one for one in contenders if one.get("directions") == 0]
        parts = [("values alone", float(spent.samples), least(alone))]
    if not parts:
        return ()
    found = (Alternative(name, solves, error * stated / chosen) for name, solves, error in parts if error is not None)
    return (*found, Alternative("all together", spent.solves, stated))
