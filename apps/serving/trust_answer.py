"""How far an answer can be trusted, for clients that ask for it: `"config": {"trust": LEVEL}` in a request to Evaluate."""

from __future__ import annotations

from typing import Any

import numpy as np

from gnvpro.apps.serving import protocol
from gnvpro.surrogate.forward_model import ForwardModel
from gnvpro.surrogate.model.surrogate import Surrogate
from gnvpro.surrogate.spaces import Array, shortened

KEY = "trust"


def trust_asked(name: str, model: ForwardModel, config: dict[str, Any] | None) -> float | None:
    """The level that the `config` of a request asks for; None where it asks for none.

    Raises
    ------
    ProtocolError
        A model without calibration, or a level that is not stored.
    """
    if not config or KEY not in config:
        return None
    if not isinstance(model, Surrogate) or model.trust is None:
        raise protocol.UnsupportedFeature(
            f"model {name!r} has no error bands: leave `trust` out of `config`, or make them with `gnvpro calibrate`"
        )
    level, bands = config[KEY], model.trust.bands
    try:
        if type(level) not in (int, float):
            raise ValueError
        bands.half_width(level)
    except ValueError:
        known = ", ".join(f"{one:g}" for one in bands.levels)
        raise protocol.InvalidInput(f"config.trust: expected a level of {known}, got {shortened(level)}") from None
    return level


def trust_answer(model: ForwardModel, y: Array, level: float) -> dict[str, Any]:
    """Score, verdict and half widths of the error bands at y (n_in,), to stand beside the output.

    Widths are absolute, in the units of the observables; null in place of a band that so few calibration samples cannot give.

    Parameters
    ----------
    level
        What `trust_asked` gave for this model.
    """
    assert isinstance(model, Surrogate)
    assert model.trust is not None
    bands, score = model.trust.bands, model.score(y[None])
    return {
        "level": level,
        "calibrated_on": bands.source,
        "score": float(score[0]) if np.isfinite(score[0]) else None,
        "trusted": bool(model.trusted(y[None], score)[0]),
        "half_width": bands.finite_half_width(level),
        "half_width_simultaneous": bands.finite_half_width(level, simultaneous=True),
    }
