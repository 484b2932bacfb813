"""Observations that a user drops on the page: read as `gnvpro.invert` reads them, and fitted; nothing is kept on disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import orjson

from gnvpro.apps.inversion.maximum_a_posteriori import find_minima
from gnvpro.apps.inversion.posterior.observations import COLUMNS, observations_of
from gnvpro.apps.inversion.posterior.posterior import Posterior
from gnvpro.pde_data.files import table_of
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.forward_model import ForwardModel

# Characters of a file, and of what the noise is said to be.
MOST_TEXT, _MOST_NOISE = 500_000, 200
# Starts of the search for the most probable point.
_STARTS = 8
NOISE = "2%"
# Root mean square of the residuals in standard deviations of the noise, above which a fit is called none.
_POOR = 2.0
# The only word in place of a formula: what a file of observations brought with it.
_OWN_NOISE = "data"


def posterior_of(model: ForwardModel, text: str, name: str, noise: str) -> tuple[Posterior, str]:
    """The posterior of a model given the text of a file, by the law of its parameters; and the noise that was taken.

    Without noise it is that of the file where it has a column for it, else `NOISE`.

    Raises
    ------
    UsageError
        What `gnvpro.invert` refuses, noise that is the name of a file, or numbers whose squares are none.
    """
    if len(text) > MOST_TEXT:
        raise UsageError(
            f"expected at most {MOST_TEXT:,} characters of data, got {len(text):,}; gnvpro invert takes more"
        )
    if model.observables.mesh is not None:
        raise UsageError("the observables are a field on a mesh, which the page does not fit; use gnvpro invert")
    observations = _parsed(text, name)
    found = observations_of(observations, model.observables)
    noise = noise.strip() or (NOISE if found.standard_deviations is None else _OWN_NOISE)
    if len(noise) > _MOST_NOISE or Path(noise).suffix.lower() in (".npy", ".csv"):
        raise UsageError(
            f"expected noise such as {NOISE}, 0.001, 2%+0.001 or {_OWN_NOISE}, got {noise[:_MOST_NOISE]!r}"
        )
    posterior = Posterior.of(model, observations, noise)
    _require_squares(posterior)
    return posterior, noise


def _require_squares(posterior: Posterior) -> None:
    """Observations in units of their noise, and that noise, have squares that are finite and not zero."""
    values, scales = posterior.values, posterior.noise_of_data.scales
    with np.errstate(all="ignore"):
        precision = 1 / scales**2
        terms = np.stack([precision, np.abs(values) * precision, (values / scales) ** 2])
        fine = np.isfinite(terms).all(axis=0) & (precision > 0)
        if fine.all() and np.isfinite(terms[1:].sum(axis=1)).all():
            return
    i = int(np.argmin(fine))
    raise UsageError(
        f"expected values and standard deviations whose ratio has a square, got {values[i]:.3g} and {scales[i]:.3g}; check "
        "the units of the data and of the noise"
    )


def _parsed(text: str, name: str) -> object:
    """An object or a list of JSON, where the text is one; else a table. Never a text, which would be read as a path."""
    if text.lstrip()[:1] not in ("{", "["):
        return table_of(text.removeprefix("\ufeff"), Path(name or "the data"), COLUMNS)
    try:
        content = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise UsageError(f"{name}: it begins as JSON, and is none: {error}") from None
    if isinstance(content, dict) and isinstance(content.get("observations"), dict | list):
        content = content["observations"]
    if isinstance(content, dict):
        return {name: _missing_as_nan(value) for name, value in content.items()}
    return _missing_as_nan(content)


def _missing_as_nan(value: object) -> object:
    """JSON has null for what was not measured."""
    if isinstance(value, list):
        return [np.nan if one is None else one for one in value]
    return np.nan if value is None else value


def overlay(posterior: Posterior, noise: str) -> dict[str, Any]:
    """What is drawn of them: values and standard deviations by observable, NaN where there is none."""
    values, deviations = posterior.by_observable
    return {"values": values, "deviations": deviations, "n": posterior.n_data, "noise": noise}


def fit(posterior: Posterior) -> dict[str, Any]:
    """The most probable point, how well it fits, and what is to be said of it."""
    minima = find_minima(posterior, _STARTS, 0)
    best, names = minima[0], posterior.solves.parameters.names
    misfit, remarks = float(np.sqrt(2 * best.misfit / posterior.n_data)), []
    if misfit > _POOR:
        remarks.append("the model does not explain these data within their noise")
    if not best.converged:
        remarks.append("the search did not converge")
    if len(others := [m for m in minima[1:] if m.value < best.value + 2]):
        remarks.append(f"{len(others)} other points fit nearly as well")
    if best.at_bound.any():
        held = ", ".join(np.array(names)[best.at_bound][:5])
        remarks.append(f"at a bound: {held}{' and more' if best.at_bound.sum() > 5 else ''}".replace("_", " "))
    return {
        "parameters": best.parameters,
        "standard_deviations": best.standard_deviations,
        "misfit": misfit,
        "remarks": remarks,
    }
