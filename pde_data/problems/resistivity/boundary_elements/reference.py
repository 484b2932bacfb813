"""The data of a buried body by boundary elements: what the errors of all routes are stated against."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from gnvpro.pde_data.problems.resistivity.boundary_elements.oracle import EllipsoidOracle
from gnvpro.pde_data.problems.resistivity.buried_body import BuriedBody
from gnvpro.pde_data.problems.resistivity.ground.layered import LayeredGround
from gnvpro.surrogate.spaces import Array

# Tried in turn until the error is a tenth of that of the fine mesh: the first does for the default survey, current that
# enters right above a shallow body needs more.
_DEGREES, _ERROR = (10, 13, 16, 20, 24), 2e-5


@dataclass(frozen=True)
class BoundaryElements:
    """Observables of a body's whole range, to a degree that is high enough for all of it."""

    body: BuriedBody

    def evaluate(self, y: Array) -> Array:
        """Observables (n, n_out) of admissible parameters (n, n_in).

        Raises ArithmeticError: no degree is high enough.
        """
        return self.body.background + self._anomalous_by(self.oracle, self.body.parameters.require(y))

    @cached_property
    def oracle(self) -> EllipsoidOracle:
        """Of a degree that is high enough for the worst body: the largest, nearest the surface."""
        body = self.body
        previous, error = None, math.inf
        for degree in _DEGREES:
            oracle = EllipsoidOracle(
                body.semi_axis_ratio, body.ground.conductivity, body.body_conductivity, degree, layered=self._layered
            )
            anomalous = self._anomalous_by(oracle, self._worst_bodies())
            if previous is not None:
                change, norm = np.linalg.norm(anomalous - previous, axis=1), np.linalg.norm(anomalous, axis=1)
                error = float((change / np.maximum(norm, np.finfo(float).tiny)).max())
            previous = anomalous
            if error < _ERROR:
                return oracle
        raise ArithmeticError(
            f"boundary elements of degree {_DEGREES[-1]} have an error of {error:.1e} for the largest body at the "
            f"least depth, expected at most {_ERROR:g}: it is too long, or too near an electrode, for them"
        )

    @property
    def _layered(self) -> LayeredGround | None:
        return self.body.ground if isinstance(self.body.ground, LayeredGround) else None

    def _worst_bodies(self) -> Array:
        """The largest body at the least depth, at azimuths across their range and towards every electrode.

        In a layer at the greatest depth too, where its bottom is nearest.
        """
        low, high = self.body.azimuth
        bodies = []
        depths = self.body.depth if self._layered is not None and self._layered.body_in_layer else self.body.depth[:1]
        for centre in self._worst_centres():
            x1, x2 = (self.body.survey.current_electrodes - centre).T
            # Of a line all electrodes are in two directions.
            towards = np.unique(np.arctan2(x2, x1))
            azimuths = [
                *np.linspace(low, high, 3),
                *(a for t in towards for a in (t - np.pi, t, t + np.pi) if low < a < high),
            ]
            moved = [centre[j] for j in self.body.moving]
            bodies += [(depth, self.body.volume[1], azimuth, *moved) for depth in depths for azimuth in azimuths]
        return np.array(bodies)

    def _worst_centres(self) -> list[Array]:
        """Centres of the body that come nearest to electrodes with current: three of them where many come as near."""
        body = self.body
        lower, upper = np.array([p if isinstance(p, tuple) else (p, p) for p in body.centre]).T
        nearest = np.unique(np.clip(body.survey.current_electrodes, lower, upper), axis=0)
        gaps = np.linalg.norm(body.survey.current_electrodes[:, None] - nearest, axis=2).min(axis=0)
        nearest = nearest[gaps <= gaps.min() + 1e-9]
        return [nearest[i] for i in sorted({0, len(nearest) // 2, len(nearest) - 1})]

    def _anomalous_by(self, oracle: EllipsoidOracle, y: Array) -> Array:
        survey = self.body.survey
        anomalous = np.empty((len(y), self.body.observables.size))
        for out, row in zip(anomalous, y, strict=True):
            body = self.body.placed(row)
            by_electrode = oracle.secondary_potential(
                np.array([*body.centre, -body.depth]),
                body.size,
                body.azimuth,
                survey.current_electrodes,
                survey.potential_electrodes,
            )
            out[:] = self.body.data(survey.currents @ by_electrode)
        return anomalous
