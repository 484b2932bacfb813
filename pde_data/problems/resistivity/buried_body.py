"""A survey over a half-space, or a layer on one, with an ellipsoid in it whose depth, volume and azimuth are not known.

What every route has: where the body may be, which parameters say so, and the data of the ground without it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property

from gnvpro.pde_data.problems.contract import PickledWithoutCaches
from gnvpro.pde_data.problems.resistivity.half_space import HalfSpace
from gnvpro.pde_data.problems.resistivity.layered import Ground, Layer, LayeredGround
from gnvpro.pde_data.problems.resistivity.survey import Survey
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.spaces import Array, Space

Range = tuple[float, float]
# Of a body with semi-axes 2b, b, b and b = 0.15 to 0.30 m.
_VOLUME_RANGE = (4 / 3 * math.pi * 2 * 0.15**3, 4 / 3 * math.pi * 2 * 0.30**3)
# Ground that has to stay between every body and the surface, or the bottom of the layer, in units of its vertical semi-axis.
_LEAST_GAP = 0.25


@dataclass(frozen=True)
class BuriedBody(PickledWithoutCaches):
    """Half-space of conductivity m0 with one ellipsoid of conductivity m1, and electrodes on its surface.

    Attributes
    ----------
    survey
        Sources and receivers.
    background_conductivity, body_conductivity
        In S/m.
    depth, volume, azimuth
        Ranges: depth of the body's centre in m, its volume in m³, and the angle in rad by which it is turned from
        x1 towards x2.
    semi_axis_ratio
        Shape of the body: its semi-axes along x1, x2 (at azimuth 0) and x3, up to a factor.
    background_layer
        A layer on top of the ground, of another conductivity: `background_conductivity` is then the one below it. All
        bodies lie in the layer, or all below it.

    Raises UsageError: ranges or conductivities that make no body, or a body that comes too near the surface or the
    bottom of the layer.
    """

    survey: Survey = field(default_factory=Survey)
    background_conductivity: float = 1.0
    body_conductivity: float = 10.0
    depth: Range = (0.45, 0.75)
    volume: Range = _VOLUME_RANGE
    azimuth: Range = (0.0, math.pi / 2)
    semi_axis_ratio: tuple[float, float, float] = (2.0, 1.0, 1.0)
    background_layer: Layer | None = None

    def __post_init__(self) -> None:
        for conductivity in (self.background_conductivity, self.body_conductivity):
            HalfSpace(conductivity)
        for what in ("depth", "volume", "azimuth"):
            low, high = getattr(self, what)
            if not -math.inf < low <= high < math.inf or (what != "azimuth" and not low > 0):
                raise UsageError(
                    f"expected an ascending range of {what}"
                    + " above 0" * (what != "azimuth")
                    + f", got {low} to {high}"
                )
        if not min(self.semi_axis_ratio) > 0:
            raise UsageError(f"expected positive semi-axes, got the ratio {self.semi_axis_ratio}")
        half_height = self.size(self.volume[1]) * self.semi_axis_ratio[2]
        if self.depth[0] < (1 + _LEAST_GAP) * half_height:
            raise UsageError(
                f"a body of {self.volume[1]:g} m³ reaches {half_height:g} m above its centre, which may be only "
                f"{self.depth[0]:g} m deep; expected at least {(1 + _LEAST_GAP) * half_height:g} m, or smaller bodies"
            )
        if self.background_layer is not None:
            self._require_one_side(self.background_layer.thickness, half_height)
            _ = self.ground

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

    @cached_property
    def parameters(self) -> Space:
        """Depth, volume and azimuth, uniform in their ranges."""
        lower, upper = zip(self.depth, self.volume, self.azimuth, strict=True)
        return Space.vector(
            ["depth", "volume", "azimuth"], units=("m", "m3", "rad"), lower=lower, upper=upper, law="uniform"
        )

    @cached_property
    def observables(self) -> Space:
        """Differences of the total potential."""
        return self.survey.observables

    @cached_property
    def background(self) -> Array:
        """The observables without the body (n_out,)."""
        survey = self.survey
        by_electrode = self.ground.potential(survey.electrodes, survey.receivers.electrodes)
        return survey.data(survey.currents @ by_electrode)
