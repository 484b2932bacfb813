"""Trust-region Gauss-Newton-Krylov on the reduced objective: the solver of the original study.

The model m(s) = g's + s'J'Js/2 is minimised exactly within the Krylov space of (J'J, -g) and the radius. A
rejected step keeps the basis, so trying a smaller radius costs one forward pass.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from scipy.optimize import brentq
from torch import Tensor

from gnvpro.surrogate.objectives.protocol import Point
from gnvpro.surrogate.precision import in_precision
from gnvpro.surrogate.transfer import numbers, on_device
from gnvpro.training.solvers.kronecker_metric import IDENTITY, KroneckerMetric
from gnvpro.training.solvers.protocol import Status, Step, StoppingTest, try_step

SHRINK_BELOW, GROW_ABOVE = 0.1, 0.75
# In float64, in others as `in_precision` says: a radius below which steps are rounding, and the parts of the largest
# curvature below which a new direction and a curvature are.
SMALLEST_RADIUS, INVARIANT, SMALLEST_CURVATURE = 1e-13, 1e-12, 1e-16


class TrustRegionKrylov:
    """Trust-region Gauss-Newton-Krylov as a `gnvpro.training.solvers.protocol.Solver`.

    `size` and `tolerance` are those of the Krylov basis: products per iteration at most, and the relative residual that ends
    it early. With `metric`, steps are measured in the Kronecker-factored one where the network shows its layers.
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
        self._use_metric, self._seed = metric, seed
        self.state = _State()

    def step(self, point: Point) -> Step:
        """One trial step; a model is built only where the last step moved."""
        state = self.state
        if state.model is None:
            status = state.stopping.status(point)
            if status is not Status.running:
                return Step(point, state.radius or 0.0, False, status)
            state.model = self._build(point)
        state.iteration += 1
        model = state.model
        radius = _length(model.smallest(math.inf)) if state.radius is None else state.radius
        coordinates = model.smallest(radius)
        length = _length(coordinates)
        trial = try_step(point, model.step(coordinates), model.predicted_reduction(coordinates))
        if not trial.is_accepted:
            state.radius = 0.5 * min(radius, length)
            collapsed = state.radius < in_precision(SMALLEST_RADIUS, point.theta.dtype)
            status = Status.radius_collapsed if collapsed else Status.running
            return Step(point, state.radius, False, status)
        if trial.ratio < SHRINK_BELOW:
            radius *= 0.5
        elif trial.ratio > GROW_ABOVE and length > 0.99 * radius:
            radius *= 2.0
        state.radius, state.model = radius, None
        return Step(trial.point, radius, True)

    def _build(self, point: Point) -> Model:
        metric = KroneckerMetric.at(point, self._seed + self.state.iteration) if self._use_metric else None
        metric = metric or IDENTITY
        downhill = -metric.apply_root(point.gradient)

        def operator(vector: Tensor) -> Tensor:
            return metric.apply_root(point.gauss_newton(metric.apply_root(vector)))

        basis = lanczos(operator, downhill, self._size, self._tolerance)
        return Model.of(basis, float(torch.linalg.vector_norm(downhill)), metric)


@dataclass(frozen=True, eq=False)
class Model:
    """The quadratic model in the eigenbasis of T: eigenvalues, -g in it, and the way back to theta."""

    curvatures: np.ndarray
    downhill: np.ndarray
    eigenvectors: np.ndarray
    vectors: Tensor
    metric: KroneckerMetric

    @classmethod
    def of(cls, basis: KrylovBasis, gradient_norm: float, metric: KroneckerMetric) -> Model:
        """From a Krylov basis that begins along the gradient."""
        curvatures, eigenvectors = np.linalg.eigh(basis.tridiagonal)
        # J'J + alpha I has no negative curvature; what Lanczos shows below this is rounding.
        curvatures = np.maximum(curvatures, in_precision(SMALLEST_CURVATURE, basis.vectors.dtype) * curvatures[-1])
        return cls(curvatures, gradient_norm * eigenvectors[0], eigenvectors, basis.vectors, metric)

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
        return self.metric.apply_root(on_device(self.eigenvectors @ coordinates, self.vectors) @ self.vectors)


class KrylovBasis(NamedTuple):
    """V (k, n) with orthonormal rows and T (k, k) tridiagonal: V H V' = T; the first row is along the start."""

    vectors: Tensor
    tridiagonal: np.ndarray


def lanczos(operator: Callable[[Tensor], Tensor], start: Tensor, size: int, tolerance: float) -> KrylovBasis:
    """Krylov basis of (operator, start) with full reorthogonalisation.

    Ends early where the space is invariant, or where solving with T already reduces the residual of
    H x = start below `tolerance` relative to ||start||: with a symmetric operator this is the stopping rule of
    GMRES as well as of conjugate gradients.
    """
    size, k = min(size, start.numel()), 0
    vectors = start.new_zeros(size, start.numel())
    vectors[0] = start / torch.linalg.vector_norm(start)
    diagonal, beside = np.zeros(size), np.zeros(size)
    rounding = in_precision(INVARIANT, start.dtype)
    pivot, last = math.nan, 1.0  # of T = L D L', and the last entry of T^-1 e_1
    for j in range(size):
        k = j + 1
        new = operator(vectors[j])
        along = new @ vectors[j]
        for _ in range(2):  # twice is enough (Parlett)
            new = new - vectors[: j + 1].t() @ (vectors[: j + 1] @ new)
        # Read after every product: one that is made before it is known to be needed costs more than to wait.
        diagonal[j], beside[j] = numbers(along, torch.linalg.vector_norm(new))
        pivot = diagonal[0] if j == 0 else diagonal[j] - beside[j - 1] ** 2 / max(pivot, np.finfo(float).tiny)
        # A pivot that is not positive is rounding of a singular T, whose solution tells nothing: go on.
        last = last * (1.0 if j == 0 else -beside[j - 1]) / pivot if pivot > 0 else math.inf
        invariant = beside[j] <= rounding * max(abs(diagonal[0]), beside[0])
        if k == size or invariant or beside[j] * abs(last) < tolerance:
            break
        vectors[j + 1] = new / beside[j]
    return KrylovBasis(vectors[:k], np.diag(diagonal[:k]) + np.diag(beside[: k - 1], 1) + np.diag(beside[: k - 1], -1))


@dataclass(eq=False)
class _State:
    """`model` is that of the point where the last step was refused."""

    iteration: int = 0
    radius: float | None = None
    model: Model | None = None
    stopping: StoppingTest = field(default_factory=StoppingTest)


def _length(vector: np.ndarray) -> float:
    return float(np.linalg.norm(vector))
