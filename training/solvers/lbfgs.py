"""VarPro + L-BFGS: limited-memory BFGS on the reduced objective, with a Kronecker-factored initial metric.

The inverse Hessian is kept in the compact form of Byrd, Nocedal & Schnabel (1994), with H_0 an operator: the pairs
(s, y) outlive a refresh of H_0, only H_0 y is recomputed. Step lengths satisfy the weak Wolfe conditions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from scipy.linalg import get_lapack_funcs
from torch import Tensor

from gnvpro.surrogate.objectives.protocol import Point
from gnvpro.training.solvers.kronecker_metric import KroneckerMetric
from gnvpro.training.solvers.protocol import Status, Step, judge
from gnvpro.training.solvers.state import State, as_tensor

SUFFICIENT_DECREASE = 1e-4
CURVATURE = 0.9
MAX_TRIALS = 20
# See `gnvpro.training.solvers.protocol.INNER_SHARE`. A search along one line asks less of W than the ratio of a trust
# region: Indian Pines ends alike from 1e-3 to 1e-1 (docs/method.md), and the solves cost less.
INNER_SHARE = 0.05
(_trtrs,) = get_lapack_funcs(("trtrs",), dtype=np.float64)


class LimitedMemoryBFGS:
    """L-BFGS as a `gnvpro.training.solvers.protocol.Solver`.

    Parameters
    ----------
    memory
        Number of (s, y) pairs.
    metric
        Use the Kronecker-factored metric where the network shows its layers; otherwise H_0 is a multiple of one.
    seed
        Of the random signs in the metric.
    """

    name = "varpro-lbfgs"
    validation_interval = 10

    def __init__(self, memory: int = 30, metric: bool = True, seed: int = 0) -> None:
        self._memory, self._use_metric, self._seed = memory, metric, seed
        self._pairs: _Pairs | None = None
        self._metric: KroneckerMetric | None = None
        self._iteration = 0
        self._first_gradient = 0.0

    def step(self, point: Point) -> Step:
        """One quasi-Newton step; a direction that fails is retried once along the gradient, memory dropped."""
        pairs = self._pairs = self._pairs or _Pairs(self._memory, point.theta)
        gradient_norm = float(torch.linalg.vector_norm(point.gradient))
        self._first_gradient = self._first_gradient or gradient_norm
        status = judge(gradient_norm, self._first_gradient)
        if status is not Status.running:
            return Step(point, 0.0, False, status)
        if self._use_metric and _is_refresh(self._iteration):
            self._metric = KroneckerMetric.at(point, self._seed + self._iteration)
            pairs.refresh(self._metric)
        self._iteration += 1

        found = None
        if pairs.count:
            found = _wolfe(point, -pairs.inverse_product(point.gradient, self._metric), growth=2.0)
            if found is None:
                pairs.clear()
        if not pairs.count:
            reach = min(1.0, 0.1 * float(torch.linalg.vector_norm(point.theta)))
            found = _wolfe(point, point.gradient * (-reach / gradient_norm), growth=4.0)
        if found is None:
            return Step(point, 0.0, False, Status.line_search_failed)
        pairs.add(found.point.theta - point.theta, found.point.gradient - point.gradient, self._metric)
        return Step(found.point, found.length, True)

    def state(self) -> State:
        """See `gnvpro.training.solvers.state.Resumable`."""
        state = State({"iteration": self._iteration, "first_gradient": self._first_gradient})
        state.add("pairs", None if self._pairs is None else self._pairs.state())
        state.add("metric", None if self._metric is None else self._metric.state())
        return state

    def restore(self, state: State) -> None:
        """See `gnvpro.training.solvers.state.Resumable`."""
        self._iteration, self._first_gradient = state.values["iteration"], state.values["first_gradient"]
        pairs, metric = state.part("pairs"), state.part("metric")
        self._pairs = None if pairs is None else _Pairs.of(pairs)
        self._metric = None if metric is None else KroneckerMetric.of(metric)


def _is_refresh(iteration: int) -> bool:
    # Curvature changes fastest at the start; later a refresh every 50 iterations keeps its cost near 1 %.
    return iteration in (0, 20) or iteration % 50 == 10


class _Pairs:
    """The last steps s, gradient changes y and H_0 y, with their small Gram matrices on the host."""

    def __init__(self, memory: int, like: Tensor) -> None:
        self._stack = like.new_zeros(3, memory, like.numel())
        self._s, self._y, self._hy = self._stack
        self._sy, self._yhy = np.zeros((memory, memory)), np.zeros((memory, memory))
        self._memory, self.count = memory, 0

    def state(self) -> State:
        tensors = {"stack": self._stack, "sy": as_tensor(self._sy), "yhy": as_tensor(self._yhy)}
        return State({"count": self.count}, tensors)

    @classmethod
    def of(cls, state: State) -> _Pairs:
        stack = state.tensors["stack"]
        pairs = cls(stack.shape[1], stack[0, 0])
        pairs._stack.copy_(stack)
        pairs._sy, pairs._yhy, pairs.count = state.array("sy"), state.array("yhy"), state.values["count"]
        return pairs

    def clear(self) -> None:
        self.count = 0

    def refresh(self, metric: KroneckerMetric | None) -> None:
        kept = min(self.count, self._memory)
        if kept:
            self._hy[:kept] = self._y[:kept] if metric is None else metric.apply(self._y[:kept])
            self._yhy[:] = _host(self._y @ self._hy.t())

    def add(self, s: Tensor, y: Tensor, metric: KroneckerMetric | None) -> None:
        """Remember a pair, unless its curvature is lost in rounding."""
        sy, ss, yy = _host(torch.stack([s @ y, s @ s, y @ y]))
        if not sy > 1e-12 * math.sqrt(ss * yy):
            return
        j = self.count % self._memory
        self._s[j], self._y[j] = s, y
        self._hy[j] = y if metric is None else metric.apply(y)
        with_y = _host(torch.stack([self._s @ y, self._y @ self._hy[j]]))
        self._sy[:, j], self._yhy[:, j] = with_y
        self._sy[j, :] = _host(self._y @ s)
        self._yhy[j, :] = self._yhy[:, j]
        self.count += 1

    def inverse_product(self, gradient: Tensor, metric: KroneckerMetric | None) -> Tensor:
        """H g, H the inverse BFGS matrix; H_0 is scaled by s'y / y'H_0y of the last pair."""
        kept = min(self.count, self._memory)
        order = (np.arange(kept) + (self.count if self.count > self._memory else 0)) % self._memory
        last = order[-1]
        scale = float(self._sy[last, last] / self._yhy[last, last])
        s_g, hy_g = _host(torch.stack([self._s @ gradient, self._hy @ gradient]))[:, order]
        upper = np.triu(self._sy[np.ix_(order, order)])
        u = _solve_upper(upper, s_g)
        v = np.diag(upper) * u + scale * (self._yhy[np.ix_(order, order)] @ u - hy_g)
        v = _solve_upper(upper, v, transposed=True)
        coefficients = np.zeros((2, self._memory))
        coefficients[0, order], coefficients[1, order] = v, -scale * u
        by_s, by_hy = torch.as_tensor(coefficients, dtype=gradient.dtype, device=gradient.device)
        preconditioned = gradient if metric is None else metric.apply(gradient)
        return scale * preconditioned + by_s @ self._s + by_hy @ self._hy


@dataclass(frozen=True)
class _Found:
    point: Point
    length: float


def _wolfe(start: Point, direction: Tensor, growth: float) -> _Found | None:
    """A step length with sufficient decrease and curvature, by bracketing and safeguarded interpolation.

    None where the direction does not descend or no length was found in `MAX_TRIALS`.
    """
    slope = float(start.gradient @ direction)
    if not slope < 0:
        return None
    length, low, high = 1.0, 0.0, math.inf
    for _ in range(MAX_TRIALS):
        # The Wolfe tests and the gradient need the value to a small part of the decrease that the slope promises.
        accuracy = -INNER_SHARE * length * slope
        trial = start.objective.at(start.theta + length * direction, near=start, accuracy=accuracy)
        excess = trial.value - start.value - SUFFICIENT_DECREASE * length * slope
        if not excess <= 0:  # also where the value is not a number
            high = length
        elif float(trial.gradient @ direction) < CURVATURE * slope:
            low = length
        else:
            return _Found(trial, length)
        if high == math.inf:
            length *= growth
        elif low == 0.0 and math.isfinite(trial.value):
            # The minimiser of the parabola through both values and the slope, kept inside the bracket.
            bend = trial.value - start.value - length * slope
            best = -slope * length**2 / (2 * bend) if bend > 0 else 0.5 * length
            length = min(max(best, 0.1 * length), 0.6 * length)
        else:
            length = 0.5 * (low + high)
    return None


def _solve_upper(matrix: np.ndarray, right: np.ndarray, transposed: bool = False) -> np.ndarray:
    """Substitution with a row-major upper triangle, which LAPACK reads as a lower one: thrice as fast as SciPy's checks."""
    return _trtrs(matrix.T, right, lower=1, trans=0 if transposed else 1)[0]


def _host(values: Tensor) -> np.ndarray:
    return np.asarray(values.tolist(), dtype=float)
