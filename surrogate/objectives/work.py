"""Work units: the currency in which training methods are compared."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class WorkMeter:
    """Counts passes through the feature network, where they happen.

    One unit is one forward or one backward pass over the whole training set (Newman et al. 2021, Sec. 5); a
    forward-mode derivative costs a forward pass. A pass over part of the set counts as that part. Passes over
    validation data are not work: they choose an iterate and do not compute one. Where samples have r derivatives that are
    trained on, a pass goes over 1 + r rows of each and counts as 1 + r: the unit stays that of values alone.

    Attributes
    ----------
    forward, backward
        Passes.
    rows
        Of every sample.
    """

    forward: float = 0.0
    backward: float = 0.0
    rows: int = 1

    @property
    def total(self) -> float:
        """Work units so far."""
        return self.rows * (self.forward + self.backward)
