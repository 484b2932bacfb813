"""How far an answer can be trusted, for clients that ask for it: `"config": {"trust": LEVEL}` in a request to Evaluate."""

from __future__ import annotations

from typing import Any

import numpy as np

from apps.serving import protocol
from surrogate.forward_model import Array, ForwardModel
from surrogate.saved import Surrogate

KEY = "trust"


def trust_answer(name: str, model: ForwardModel, y: Array, level: Any) -> dict[str, Any]:
    """Score, verdict and half widths of the error bands at y (n_in,), to stand beside the output.

    Widths are absolute, in the units of the observables; null in place of a band that so few calibration samples cannot give.

    Raises
    ------
    ProtocolError
        A model without calibration, or a level that is not stored.
    """
    if not isinstance(model, Surrogate) or model.trust is None:
        raise protocol.UnsupportedFeature(
            f"model {name!r} has no error bands: leave `trust` out of `config`, or make them with `gnvpro calibrate`"
        )
    bands = model.trust.bands
    if type(level) not in (int, float) or level not in bands.levels:
        raise protocol.InvalidInput(
            f"config.trust: expected a level of {', '.join(f'{one:g}' for one in bands.levels)}, got {level!r}"
        )

    def width(simultaneous: bool) -> Array | None:
        found = bands.half_width(level, simultaneous=simultaneous)
        return found if np.isfinite(found).all() else None

    (score,) = model.score(y[None])
    return {
        "level": level,
        "calibrated_on": bands.source,
        "score": float(score) if np.isfinite(score) else None,
        "trusted": bool(model.trusted(y[None])[0]),
        "half_width": width(False),
        "half_width_simultaneous": width(True),
    }
