"""A model as the page draws it: sliders in groups, the kind of picture, the error band, and where it is out of bounds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from gnvpro.apps.reports.images import are_images, image_names
from gnvpro.apps.reports.raster import Raster
from gnvpro.apps.serving.bounds import Bounds, shortened_list
from gnvpro.surrogate.admissible import box
from gnvpro.surrogate.formatting import percent, shown_unit
from gnvpro.surrogate.forward_model import ForwardModel
from gnvpro.surrogate.laws.law import Law
from gnvpro.surrogate.model.inputs import training_range
from gnvpro.surrogate.model.model import held_out
from gnvpro.surrogate.spaces import Array, Space

# So many sliders are seen at once; more are put in groups.
_UNGROUPED, _GROUP = 12, 10
# Single values of a parameter, beyond which its slider is as fine as any.
_MOST_VALUES = 200
# On a simplex the bounds 0 and 1 say nothing: sliders reach so far beyond the training samples, or the equal share.
_BEYOND_TRAINING, _BEYOND_SHARE = 2.0, 4.0
# Outside components named in a warning.
_NAMED = 5
# Along the longer side of the picture of a field.
_POINTS = 64
# Of the error band that is drawn.
LEVEL = 0.9


def describe(name: str, model: ForwardModel, with_pde: bool, raster: Raster | None = None) -> dict[str, Any]:
    """JSON-able description of one model; of a field that of its pictures."""
    return {
        "name": name,
        "parameters": _parameters(model),
        "observables": _observables(model, raster),
        "error": _error(model),
        "pde": with_pde,
    }


def _error(model: ForwardModel) -> str:
    """What was found on data that neither trained nor chose the model, if there were any, in words."""
    anomalous = getattr(model, "errors_anomalous", None)
    errors = anomalous or getattr(model, "errors", None) or {}
    if (kind := held_out(errors)) is None:
        return ""
    where = ", cross-validated" if kind == "cross-validated" else f" on {kind} data"
    return f"mean error {percent(errors[kind])}{' of the anomaly' if anomalous else ''}{where}"


def _parameters(model: ForwardModel) -> dict[str, Any]:
    space = model.parameters
    low, high = slider_range(model)
    start = (low + high) / 2
    if space.laws:
        start = space.own_laws.of_normal(np.zeros((1, space.size)))[0]
    elif space.constraint == "simplex":
        start = np.full(space.size, 1 / space.size)
    return {
        "names": [name.replace("_", " ") for name in space.names],
        "units": _unit_each(space),
        "low": low.tolist(),
        "high": high.tolist(),
        "start": start.tolist(),
        "simplex": space.constraint == "simplex",
        "simplexes": [[of.start, of.stop] for of in space.simplexes],
        "values": [_values(law) for law in space.laws for _ in range(law.size)] or [None] * space.size,
        "groups": groups(space),
    }


def _values(law: Law) -> list[float] | None:
    """The single values that a parameter has, if it has some, and not too many for a slider."""
    values = getattr(law, "values_in_order", np.zeros(0))
    return values.tolist() if 0 < len(values) <= _MOST_VALUES else None


def slider_range(model: ForwardModel) -> tuple[Array, Array]:
    """Where the sliders end, (n_in,) twice: the bounds of the space, or around the training samples on a simplex."""
    space, trained = model.parameters, training_range(getattr(model, "training", None) or {}, margin=0.0)
    if space.constraint == "simplex":
        highest = _BEYOND_SHARE / space.size if trained is None else _BEYOND_TRAINING * float(trained[1].max())
        return np.zeros(space.size), np.full(space.size, min(1.0, highest))
    low, high = box(space)
    if trained is not None:  # where the space has no bound
        open_below, open_above = ~np.isfinite(space.lower_bounds), ~np.isfinite(space.upper_bounds)
        if space.laws:
            open_below |= space.own_laws.coordinates.logarithmic & (space.lower_bounds <= 0)
        low, high = np.where(open_below, trained[0], low), np.where(open_above, trained[1], high)
    return low, high


def groups(space: Space) -> list[dict[str, Any]]:
    """Parameters under titles: by what their names begin with, or ten at a time; one without title where they are few."""
    everything = list(range(space.size))
    if space.size <= _UNGROUPED:
        return [{"title": "", "members": everything}]
    by_start: dict[str, list[int]] = {}
    for j, name in enumerate(space.names):
        start = name.rpartition(", ")[0] or name.rpartition("_")[0]
        by_start.setdefault(start.replace("_", " "), []).append(j)
    if "" not in by_start and 2 <= len(by_start) <= space.size // 2:
        return [{"title": title, "members": members} for title, members in by_start.items()]
    parts = [everything[i : i + _GROUP] for i in range(0, space.size, _GROUP)]
    return [{"title": f"{part[0] + 1} to {part[-1] + 1}", "members": part} for part in parts]


def raster_of(model: ForwardModel) -> Raster | None:
    """How the page shows the observables of a model on a mesh; None for others."""
    return None if model.observables.mesh is None else Raster.of(model.observables, _POINTS)


def _observables(model: ForwardModel, raster: Raster | None) -> dict[str, Any]:
    """`images`: the last two axes are numbers, several pictures; `curves`: over the first axis, one for each of the rest."""
    space = model.observables if raster is None else raster.pictures
    background = getattr(model, "background", None) if raster is None else None
    about: dict[str, Any] = {
        "names": list(space.names),
        "unit": "" if len(set(space.units)) > 1 else shown_unit(space.units[0]),
        "background": None if background is None else np.asarray(background).tolist(),
    }
    if are_images(space):
        x, y = space.axes[-2:]
        return {**about, "kind": "images", "titles": image_names(space), "x": _axis(x), "y": _axis(y)}
    first, *rest = space.axes
    if not rest:
        return {**about, "kind": "curves", "x": _axis(first), "series": [""]}
    series = Space(tuple(rest)).names if len(rest) > 1 else [f"{rest[0].name} {label}" for label in rest[0].labels]
    return {**about, "kind": "curves", "x": _axis(first), "series": list(series)}


def _axis(axis: Any) -> dict[str, Any]:
    return {"name": axis.name, "unit": shown_unit(axis.unit), "labels": list(axis.labels)}


def _unit_each(space: Space) -> list[str]:
    units = space.units if len(space.units) == space.size else space.units * space.size
    return [shown_unit(unit) for unit in units]


def outside(model: ForwardModel, y: Array) -> list[str]:
    """Why a point (n_in,) lies outside the training range, in words; empty where it is inside."""
    space = model.parameters
    inside = getattr(model, "inside", space.contains)
    if inside(y[None])[0]:
        # A model that was calibrated also knows how far a point is from its training samples in its features.
        if getattr(model, "trust", None) is None or getattr(model, "trusted", inside)(y[None])[0]:
            return []
        return ["the network's features are unlike those of the training samples"]
    violations = [text.replace("_", " ") for text in Bounds.of(model).violations(y)]
    return shortened_list(violations or ["by the model's own rule"], _NAMED)


def impossible(model: ForwardModel, y: Array) -> dict[str, Any] | None:
    """Why a point (n_in,) is none of the model's space, and which parameters are at fault; None where it is one.

    Another thing than outside of the training range: there the model has an answer, and here there is no question.
    """
    space = model.parameters
    if space.contains(y[None])[0]:
        return None
    lower, upper = space.lower_bounds, space.upper_bounds
    at_fault = set(np.flatnonzero((y < lower) | (y > upper)).tolist())
    if not at_fault:
        for of, law in space.own_laws.columns if space.laws else ((slice(0, space.size), None),):
            if law is None or not law.contains(y[None, of])[0]:
                at_fault |= set(range(of.start, of.stop))
    why = Bounds(space, lower, upper, lower, upper).violations(y)
    return {"why": [text.replace("_", " ") for text in shortened_list(why, _NAMED)], "which": sorted(at_fault)}


@dataclass(frozen=True, eq=False)
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
