"""Trust-region Gauss-Newton-Krylov on the reduced objective: the solver of the original study.

The model m(s) = g's + s'J'Js/2 is minimised exactly within the Krylov space of (J'J, -g) and the radius. A
rejected step keeps the basis, so trying a smaller radius costs one forward pass.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from scipy.optimize import brentq
from torch import Tensor

from gnvpro.surrogate.objectives.protocol import Point
from gnvpro.training.solvers.kronecker_metric import KroneckerMetric
from gnvpro.training.solvers.lanczos import KrylovBasis, lanczos
from gnvpro.training.solvers.protocol import INNER_SHARE, Status, Step, judge
from gnvpro.training.solvers.state import State, as_tensor

ACCEPT = 1e-4
SHRINK_BELOW, GROW_ABOVE = 0.1, 0.75
SMALLEST_RADIUS = 1e-13


class TrustRegionKrylov:
    """Trust-region Gauss-Newton-Krylov as a `gnvpro.training.solvers.protocol.Solver`.

    Parameters
    ----------
    size, tolerance
        Of the Krylov basis: products per iteration at most, and the relative residual that ends it early.
    metric
        Measure steps in the Kronecker-factored metric, where the network shows its layers.
    """

    name = "varpro-krylov"
    validation_interval = 1

    def __init__(
        self,
        size: int = 20,
        tolerance: float = 1e-2,
        metric: bool = False,
        seed: int = 0,
    ) -> None:
        self._size, self._tolerance = size, tolerance
        self._use_metric, self._seed, self._iteration = metric, seed, 0
        self._radius: float | None = None
        self._model: _Model | None = None
        self._first_gradient = 0.0

    def step(self, point: Point) -> Step:
        """One trial step; a model is built only where the last step moved."""
        if self._model is None:
            gradient_norm = float(torch.linalg.vector_norm(point.gradient))
            self._first_gradient = self._first_gradient or gradient_norm
            status = judge(gradient_norm, self._first_gradient)
            if status is not Status.running:
                return Step(point, self._radius or 0.0, False, status)
            self._model = self._build(point)
        self._iteration += 1
        model = self._model
        if self._radius is None:
            self._radius = _length(model.smallest(math.inf))
        coordinates = model.smallest(self._radius)
        length = _length(coordinates)
        predicted = model.predicted_reduction(coordinates)
        theta = point.theta + model.step(coordinates)
        trial = point.objective.at(theta, near=point, accuracy=INNER_SHARE * predicted)
        ratio = (point.value - trial.value) / predicted

        if not ratio > ACCEPT:  # also where the trial is not a number
            self._radius = 0.5 * min(self._radius, length)
            status = Status.radius_collapsed if self._radius < SMALLEST_RADIUS else Status.running
            return Step(point, self._radius, False, status)
        if ratio < SHRINK_BELOW:
            self._radius *= 0.5
        elif ratio > GROW_ABOVE and length > 0.99 * self._radius:
            self._radius *= 2.0
        self._model = None
        return Step(trial, self._radius, True)

    def state(self) -> State:
        """See `gnvpro.training.solvers.state.Resumable`."""
        state = State(
            {"iteration": self._iteration, "radius": self._radius, "first_gradient": self._first_gradient},
        )
        state.add("model", None if self._model is None else self._model.state())
        return state

    def restore(self, state: State) -> None:
        """See `gnvpro.training.solvers.state.Resumable`."""
        values, model = state.values, state.part("model")
        self._iteration, self._radius = values["iteration"], values["radius"]
        self._first_gradient = values["first_gradient"]
        self._model = None if model is None else _Model.restored(model)

    def _build(self, point: Point) -> _Model:
        metric = KroneckerMetric.at(point, self._seed + self._iteration) if self._use_metric else None

        def root(vector: Tensor) -> Tensor:
            return vector if metric is None else metric.apply_root(vector)

        downhill = -root(point.gradient)
        basis = lanczos(lambda v: root(point.gauss_newton(root(v))), downhill, self._size, self._tolerance)
        return _Model.of(basis, float(torch.linalg.vector_norm(downhill)), metric)


class _Model(NamedTuple):
    """The quadratic model in the eigenbasis of T: eigenvalues, -g in it, and the way back to theta."""

    curvatures: np.ndarray
    downhill: np.ndarray
    eigenvectors: np.ndarray
    basis: KrylovBasis
    metric: KroneckerMetric | None

    @classmethod
    def of(cls, basis: KrylovBasis, gradient_norm: float, metric: KroneckerMetric | None) -> _Model:
        curvatures, eigenvectors = np.linalg.eigh(basis.tridiagonal)
        # J'J + alpha I has no negative curvature; what Lanczos shows below this is rounding.
        curvatures = np.maximum(curvatures, 1e-16 * curvatures[-1])
        return cls(curvatures, gradient_norm * eigenvectors[0], eigenvectors, basis, metric)

    def state(self) -> State:
        arrays = (self.curvatures, self.downhill, self.eigenvectors, self.basis.tridiagonal)
        names = ("curvatures", "downhill", "eigenvectors", "tridiagonal")
        tensors = {name: as_tensor(array) for name, array in zip(names, arrays, strict=True)}
        state = State({}, {**tensors, "vectors": self.basis.vectors})
        state.add("metric", None if self.metric is None else self.metric.state())
        return state

    @classmethod
    def restored(cls, state: State) -> _Model:
        basis = KrylovBasis(state.tensors["vectors"], state.array("tridiagonal"))
        curvatures, downhill, vectors = (state.array(name) for name in ("curvatures", "downhill", "eigenvectors"))
        metric = state.part("metric")
        return cls(curvatures, downhill, vectors, basis, None if metric is None else KroneckerMetric.of(metric))

    def smallest(self, radius: float) -> np.ndarray:
        """Minimiser within the radius: (T + lambda I) c = -g with lambda >= 0 and ||c|| <= radius."""
        free = self.downhill / self.curvatures
        if _length(free) <= radius:
            return free

        def excess(shift: float) -> float:
            return 1 / radius - 1 / _length(self.downhill / (self.curvatures + shift))

        # ||c|| <= ||g|| / shift bounds the multiplier; in 1/||c|| the secular equation is nearly linear.
        shift = brentq(excess, 0.0, _length(self.downhill) / radius, xtol=1e-300, rtol=np.float64(1e-10))
        return self.downhill / (self.curvatures + shift)

    def predicted_reduction(self, coordinates: np.ndarray) -> float:
        """m(0) - m(s)."""
        return float(self.downhill @ coordinates - 0.5 * (self.curvatures * coordinates**2).sum())

    def step(self, coordinates: np.ndarray) -> Tensor:
        """The step in theta."""
        vectors = self.basis.vectors
        in_basis = torch.as_tensor(self.eigenvectors @ coordinates, dtype=vectors.dtype, device=vectors.device)
        step = in_basis @ vectors
        return step if self.metric is None else self.metric.apply_root(step)


def _length(vector: np.ndarray) -> float:
    return float(np.linalg.norm(vector))
