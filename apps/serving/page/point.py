"""What the page shows of a model at one point: observables, band, whether it is trusted there, and its domain."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from gnvpro.apps.reports.raster import Raster
from gnvpro.apps.serving.page.description import Band, impossible, outside
from gnvpro.pde_data.problems.scene import Scene, View, views_by
from gnvpro.surrogate.checks import numbers
from gnvpro.surrogate.forward_model import ForwardModel
from gnvpro.surrogate.spaces import Array

# (model, parameters (1, n_in), its observables (1, n_out)) -> the error band around them, or None where there is none.
Bands = Callable[[ForwardModel, Array, Array], Band | None]


@dataclass(frozen=True, eq=False)
class Shown:
    """A model as it is drawn: a field by its `raster`."""

    model: ForwardModel
    raster: Raster | None
    bands: Bands
    scene: Scene | None = None

    def at(self, y: Array) -> dict[str, Any]:
        """Of a point (1, n_in); `impossible` alone where the space has no such point, or the model no finite value."""
        if (no_point := impossible(self.model, y[0])) is not None:
            return {"impossible": no_point}
        observables, seconds = timed(self.model, y)
        shown = self.drawn(observables)[0]
        if not np.isfinite(shown).any():
            return {"impossible": {"why": ["the model has no finite value here"], "which": []}}
        answer: dict[str, Any] = {"observables": shown, "seconds": seconds, "outside": outside(self.model, y[0])}
        # Outside of the training range nothing is promised, so there is no band to draw.
        if not answer["outside"] and (band := self.bands(self.model, y, observables)) is not None:
            lower, upper = (self.drawn(end)[0] for end in (band.lower, band.upper))
            answer |= {"lower": lower, "upper": upper, "band": band.label}
        if self.scene is not None:
            views = views_by(self.scene, y[0], self.model.observables.size)
            if views:
                answer["scene"] = [_with_values(view, observables[0]) for view in views]
        return answer

    def drawn(self, observables: Array) -> Array:
        """What is drawn of observables (1, n_out): all of them, or the pictures of a field."""
        return observables if self.raster is None else self.raster(observables)

    def difference(self, predicted: Array, solved: Array) -> dict[str, Any]:
        """Relative in the Euclidean norm, to all observables and to the anomaly; and the largest one, by its place."""
        if self.raster is None:
            return _difference(predicted[0], solved[0], getattr(self.model, "background", None))
        # Where it is largest of the points that are drawn.
        rest = np.abs(self.drawn(predicted - solved)[0])
        return {**_difference(predicted[0], solved[0], None), "largest_at": int(np.nan_to_num(rest).argmax())}


def timed(model: ForwardModel, y: Array) -> tuple[Array, float]:
    """Observables (n, n_out) and the seconds they took."""
    began = time.perf_counter()
    observables = model.evaluate(y)
    return numbers(observables, "what the model returns"), time.perf_counter() - began


def _with_values(view: View, observables: Array) -> dict[str, Any]:
    """A view as it is sent: its sensors with `values` (n, k) of observables (n_out,)."""
    shapes = [
        {
            "kind": shape.kind,
            "points": shape.points,
            "label": shape.label,
            "labels": shape.labels,
            "values": None if shape.observables is None else observables[shape.observables],
        }
        for shape in view.shapes
    ]
    return {"title": view.title, "axes": view.axes, "ends": view.ends, "shapes": shapes}


def _difference(predicted: Array, solved: Array, background: Any) -> dict[str, Any]:
    rest = predicted - solved
    worst = int(np.abs(rest).argmax())

    def relative_to(observables: Array) -> float | None:
        size = float(np.linalg.norm(observables))
        return float(np.linalg.norm(rest)) / size if size else None

    difference = {"relative": relative_to(solved), "largest": float(abs(rest[worst])), "largest_at": worst}
    if background is None:
        return difference
    return {**difference, "relative_to_anomaly": relative_to(solved - np.asarray(background))}
