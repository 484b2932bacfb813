"""Points at which a model could not be solved, counted by the reason."""

from __future__ import annotations

from collections import Counter

# Reasons that are kept apart, letters of each, and reasons that are told.
_MOST_REASONS, _LONGEST, _TOLD = 50, 200, 3


class Failures(Counter[str]):
    """Failures by reason: the rest of a message tells one point from another, and is cut off."""

    def add(self, reason: str) -> None:
        """One more."""
        short = " ".join(reason.split())[:_LONGEST]
        self[short if short in self or len(self) < _MOST_REASONS else "other reasons"] += 1

    def __str__(self) -> str:
        told = [reason + (f" ({n} times)" if n > 1 else "") for reason, n in self.most_common(_TOLD)]
        return "; ".join(told) + ("; …" if len(self) > _TOLD else "")
