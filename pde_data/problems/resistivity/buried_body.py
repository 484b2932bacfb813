"""A survey over a half-space, or a layer on one, with an ellipsoid in it whose depth, volume and azimuth are not known.

What every route has: where the body may be, which parameters say so, and the data of the ground without it.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from gnvpro.pde_data.problems.contract import PickledWithoutCaches
from gnvpro.pde_data.problems.resistivity.ground.half_space import HalfSpace
from gnvpro.pde_data.problems.resistivity.ground.layered import Ground, Layer, LayeredGround
from gnvpro.pde_data.problems.resistivity.surveys.four_electrode_survey import FourElectrodeSurvey
from gnvpro.pde_data.problems.resistivity.surveys.survey import Survey
from gnvpro.surrogate.checks import numbers
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.spaces import Array, Space

Range = tuple[float, float]
Observable = Literal["resistance", "apparent_resistivity"]
# Of a body with semi-axes 2b, b, b and b = 0.15 to 0.30 m.
_VOLUME_RANGE = (4 / 3 * math.pi * 2 * 0.15**3, 4 / 3 * math.pi * 2 * 0.30**3)
# Ground that has to stay between every body and the surface, or the bottom of the layer, in units of its vertical semi-axis.
_LEAST_GAP = 0.25


@dataclass(frozen=True)
class PlacedBody:
    """One body: `depth` of its centre and `size` in m, `azimuth` in rad, the `centre` seen from above (x1, x2) in m."""

    depth: float
    size: float
    azimuth: float
    centre: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True)
class BuriedBody(PickledWithoutCaches):
    """Half-space of conductivity m0 with one ellipsoid of conductivity m1, and electrodes on its surface.

    Attributes
    ----------
    survey
        Sources and receivers, or electrodes and a list of measurements with four of them; as an option also the path of a
        file of measurements, or `{"file": path, "flatten": true}`: its electrodes at one height.
    background_conductivity, body_conductivity
        In S/m.
    depth, volume, azimuth
        Ranges: depth of the body's centre in m, its volume in m³, and the angle in rad by which it is turned from
        x1 towards x2.
    centre
        Of the body in the coordinates of the survey, (x1, x2) in m: each a number, or a range, which makes it a parameter.
    semi_axis_ratio
        Shape of the body: its semi-axes along x1, x2 (at azimuth 0) and x3, up to a factor.
    background_layer
        A layer on top of the ground, of another conductivity: `background_conductivity` is then the one below it. All
        bodies lie in the layer, or all below it.
    observable
        `resistance`, V per A; `apparent_resistivity`: times the geometric factor of the half-space, in Ω·m.

    Raises UsageError: ranges or conductivities that make no body, a body that comes too near the surface or the bottom of
    the layer, or measurements that have no apparent resistivity.
    """

    survey: Survey | FourElectrodeSurvey = field(default_factory=Survey)
    background_conductivity: float = 1.0
    body_conductivity: float = 10.0
    depth: Range = (0.45, 0.75)
    volume: Range = _VOLUME_RANGE
    azimuth: Range = (0.0, math.pi / 2)
    centre: tuple[float | Range, float | Range] = (0.0, 0.0)
    semi_axis_ratio: tuple[float, float, float] = (2.0, 1.0, 1.0)
    background_layer: Layer | None = None
    observable: Observable = "resistance"

    def __post_init__(self) -> None:
        if not isinstance(self.survey, Survey | FourElectrodeSurvey):
            raise UsageError(
                f"expected a Survey or a FourElectrodeSurvey, got a {type(self.survey).__name__}; "
                "gnvpro.read_survey(path).survey is that of a file of measurements"
            )
        if self.observable not in get_args(Observable):
            raise UsageError(f"expected observable {' or '.join(get_args(Observable))}, got {self.observable!r}")
        for conductivity in (self.background_conductivity, self.body_conductivity):
            HalfSpace(conductivity)
        for what in ("depth", "volume", "azimuth"):
            object.__setattr__(self, what, _as_tuple(getattr(self, what)))
            _require_range(what, getattr(self, what), above_zero=what != "azimuth")
        centre = _as_tuple(self.centre)
        if not isinstance(centre, tuple) or len(centre) != 2:
            raise UsageError(f"expected the centre as (x1, x2), each a number or a range, got {self.centre}")
        object.__setattr__(self, "centre", tuple(map(_as_tuple, centre)))
        for j, place in enumerate(self.centre):
            _require_range(f"centre, x{j + 1}", place if isinstance(place, tuple) else (place, place))
        ratio = numbers(self.semi_axis_ratio, "semi_axis_ratio", 1)
        if len(ratio) != 3 or not (ratio > 0).all():
            raise UsageError(f"expected three positive semi-axes, got the ratio {self.semi_axis_ratio}")
        half_height = self.size(self.volume[1]) * self.semi_axis_ratio[2]
        if self.depth[0] < (1 + _LEAST_GAP) * half_height:
            raise UsageError(
                f"a body of {self.volume[1]:g} m³ reaches {half_height:g} m above its centre, which may be only "
                f"{self.depth[0]:g} m deep; expected at least {(1 + _LEAST_GAP) * half_height:g} m, or smaller bodies"
            )
        if self.background_layer is not None:
            if not isinstance(self.background_layer, Layer):
                raise UsageError(
                    f"expected background_layer a Layer(thickness, conductivity), got {self.background_layer!r}"
                )
            self._require_one_side(self.background_layer.thickness, half_height)
            _ = self.ground
        if self.observable == "apparent_resistivity":
            none = np.flatnonzero(~np.isfinite(self.survey.geometric_factors))
            if len(none):
                raise UsageError(
                    f"{len(none)} of {len(self.survey.geometric_factors)} measurements have no apparent resistivity, the "
                    f"first {self.survey.observables.names[none[0]]!r}: homogeneous ground gives no signal there, and their "
                    "geometric factor is infinite; take observable=resistance, or leave them out"
                )

    @classmethod
    def read_options(cls, options: dict[str, Any]) -> dict[str, Any]:
        """Options with the survey of a file as numbers: a data set is to know what was measured, not a path.

        Raises UsageError, OSError: as `read_survey` does.
        """
        from gnvpro.pde_data.problems.resistivity.surveys.survey_files import read_survey

        survey = options.get("survey")
        if isinstance(survey, str | Path):
            return {**options, "survey": asdict(read_survey(survey).survey)}
        if isinstance(survey, dict) and "file" in survey:
            if unknown := [key for key in survey if key not in ("file", "flatten")]:
                raise UsageError(f"option survey: expected file and flatten, got {', '.join(unknown)} beside them")
            flatten = survey.get("flatten", False)
            if not isinstance(flatten, bool) or not isinstance(survey["file"], str | Path):
                raise UsageError(f"option survey: expected a path as file, and true or false as flatten; got {survey}")
            return {**options, "survey": asdict(read_survey(survey["file"], flatten=flatten).survey)}
        return options

    def _require_one_side(self, thickness: float, half_height: float) -> None:
        free = (1 + _LEAST_GAP) * half_height
        if self.depth[0] - free < thickness < self.depth[1] + free:
            raise UsageError(
                f"a body of {self.volume[1]:g} m³ reaches {half_height:g} m above and below its centre, which is "
                f"{self.depth[0]:g} to {self.depth[1]:g} m deep, and the layer ends at {thickness:g} m; expected all bodies "
                f"in the layer or all below it, with {_LEAST_GAP * half_height:g} m between: a layer of at most "
                f"{max(0.0, self.depth[0] - free):g} m or at least {self.depth[1] + free:g} m, or other depths and volumes"
            )

    @cached_property
    def ground(self) -> Ground:
        """The ground without the body."""
        layer = self.background_layer
        if layer is None:
            return HalfSpace(self.background_conductivity)
        return LayeredGround(layer, self.background_conductivity, self.depth[1] < layer.thickness)

    def size(self, volume: float) -> float:
        """Factor of `semi_axis_ratio` that makes a body of this volume, in m."""
        return (volume / (4 / 3 * math.pi * math.prod(self.semi_axis_ratio))) ** (1 / 3)

    @property
    def moving(self) -> tuple[int, ...]:
        """Which of x1 (0) and x2 (1) of the centre are parameters, in this order after depth, volume and azimuth."""
        return tuple(j for j, place in enumerate(self.centre) if isinstance(place, tuple))

    @property
    def mean_centre(self) -> tuple[float, float]:
        """The centre (x1, x2) in m; where it is a parameter, the middle of its range."""
        x1, x2 = (sum(place) / 2 if isinstance(place, tuple) else place for place in self.centre)
        return x1, x2

    def placed(self, parameters: Array) -> PlacedBody:
        """The body that parameters (n_in,) describe."""
        depth, volume, azimuth, *moved = parameters.tolist()
        centre = list(self.mean_centre)
        for j, x in zip(self.moving, moved, strict=True):
            centre[j] = x
        return PlacedBody(depth, self.size(volume), azimuth, (centre[0], centre[1]))

    @cached_property
    def parameters(self) -> Space:
        """Depth, volume and azimuth, and what is free of the centre; uniform in their ranges."""
        places = [place for place in self.centre if isinstance(place, tuple)]
        lower, upper = zip(self.depth, self.volume, self.azimuth, *places, strict=True)
        names = ["depth", "volume", "azimuth", *(f"centre_x{j + 1}" for j in self.moving)]
        units = ("m", "m3", "rad", *("m" for _ in places))
        return Space.vector(names, units=units, lower=lower, upper=upper, law="uniform")

    @cached_property
    def observables(self) -> Space:
        """Differences of the total potential, or apparent resistivities."""
        space = self.survey.observables
        return space if self.observable == "resistance" else replace(space, units=("ohm m",))

    def data(self, potentials: Array) -> Array:
        """The observables that potentials (n_sources, n_potential_electrodes, …) make: (n_out, …)."""
        measured = self.survey.data(potentials)
        if self.observable == "resistance":
            return measured
        return measured * self.survey.geometric_factors.reshape(-1, *(1,) * (measured.ndim - 1))

    @cached_property
    def background(self) -> Array:
        """The observables without the body (n_out,)."""
        survey = self.survey
        by_electrode = self.ground.potential(survey.current_electrodes, survey.potential_electrodes)
        # Infinite where one electrode serves for both, in measurements that are different ones: no datum has it.
        by_electrode[~np.isfinite(by_electrode)] = 0.0
        return self.data(survey.currents @ by_electrode)


def _as_tuple(given: Any) -> Any:
    """A range or a place as what compares and is written as JSON, where a list or an array is given."""
    return tuple(given.tolist() if isinstance(given, np.ndarray) else given) if np.iterable(given) else given


def _require_range(what: str, given: Range, above_zero: bool = False) -> None:
    pair = numbers(given, what, 1)
    if len(pair) != 2:
        raise UsageError(f"expected {what} as a range (lowest, highest), got {given}")
    low, high = pair.tolist()
    if not -math.inf < low <= high < math.inf or (above_zero and not low > 0):
        raise UsageError(f"expected an ascending range of {what}" + " above 0" * above_zero + f", got {low} to {high}")
