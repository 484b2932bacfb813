"""The error band that the page draws: of whatever a model knows of its own errors."""

from __future__ import annotations

from dataclasses import dataclass

from gnvpro.surrogate.forward_model import ForwardModel
from gnvpro.surrogate.spaces import Array

LEVEL = 0.9


@dataclass(frozen=True)
class Band:
    """Ends of an error band, each (1, n_out), and what it promises in a few words."""

    lower: Array
    upper: Array
    label: str


def band_of(model: ForwardModel, y: Array, observables: Array) -> Band | None:
    """The band around observables (1, n_out) at y (1, n_in) that was calibrated with the model; None without one.

    It is that of each observable by itself, of level `LEVEL`. Calibrated on too few samples it is infinite, and not drawn.
    """
    trust = getattr(model, "trust", None)
    if trust is None:
        return None
    half = trust.bands.finite_half_width(LEVEL)
    if half is None:
        return None
    return Band(observables - half, observables + half, f"{100 * LEVEL:g} % band of each observable")
