"""VarPro + L-BFGS: limited-memory BFGS on the reduced objective, with a Kronecker-factored initial metric.

The inverse Hessian is kept in the compact form of Byrd, Nocedal & Schnabel (1994), with H_0 an operator: the pairs
(s, y) outlive a refresh of H_0, only H_0 y is recomputed. Step lengths satisfy the weak Wolfe conditions.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from scipy.linalg import get_lapack_funcs
from torch import Tensor

from gnvpro.surrogate.objectives.protocol import Point
from gnvpro.surrogate.precision import in_precision
from gnvpro.surrogate.transfer import on_device
from gnvpro.training.solvers.kronecker_metric import IDENTITY, KroneckerMetric
from gnvpro.training.solvers.line_search import wolfe_search
from gnvpro.training.solvers.protocol import Status, Step, StoppingTest

# Of a step and its change of the gradient, in float64: below it their product is rounding.
LEAST_COSINE = 1e-12

(_trtrs,) = get_lapack_funcs(("trtrs",), dtype=np.float64)


class LimitedMemoryBFGS:
    """L-BFGS as a `gnvpro.training.solvers.protocol.Solver`.

    `memory` is the number of pairs (s, y). With `metric`, H_0 is the Kronecker-factored metric where `estimate`, of a point
    and a seed, has one there; otherwise a multiple of one.
    """

    name = "varpro-lbfgs"
    validation_interval = 10

    def __init__(
        self,
        memory: int = 30,
        metric: bool = True,
        seed: int = 0,
        estimate: Callable[[Point, int], KroneckerMetric | None] = KroneckerMetric.at,
    ) -> None:
        self._memory, self._use_metric, self._seed, self._estimate = memory, metric, seed, estimate
        self.state = _State()

    def step(self, point: Point) -> Step:
        """One quasi-Newton step; a direction that fails is retried once along the gradient, memory dropped."""
        state = self.state
        status = state.stopping.status(point)
        if status is not Status.running:
            return Step(point, 0.0, False, status)
        pairs = state.pairs = state.pairs or Pairs.none(self._memory, point.theta)
        if self._use_metric and _is_refresh(state.iteration):
            state.metric = self._estimate(point, self._seed + state.iteration) or IDENTITY
            pairs.refresh(state.metric)
        state.iteration += 1

        end = None
        if pairs.count:
            end = wolfe_search(point, -pairs.inverse_product(point.gradient, state.metric), growth=2.0)
            if end is None:
                pairs.count = 0
        if not pairs.count:
            reach = min(1.0, 0.1 * float(torch.linalg.vector_norm(point.theta)))
            end = wolfe_search(point, point.gradient * (-reach / state.stopping.norm), growth=4.0)
        if end is None:
            return Step(point, 0.0, False, Status.line_search_failed)
        gradient = end.point.gradient
        pairs.add(end.point.theta - point.theta, gradient - point.gradient, gradient, state.metric)
        return Step(end.point, end.length, True)


def _is_refresh(iteration: int) -> bool:
    # Curvature changes fastest at the start; later a refresh every 50 iterations keeps its cost near 1 %.
    return iteration in (0, 20) or iteration % 50 == 10


@dataclass(eq=False)
class Pairs:
    """The last steps s, gradient changes y and H_0 y, with their small Gram matrices on the host.

    stack (3, memory, n_theta); sy, yhy (memory, memory) the products s'y, where y is not older than s, and y'H_0 y; count
    of all pairs so far, of which the last `memory` are kept.
    """

    stack: Tensor
    sy: np.ndarray
    yhy: np.ndarray
    count: int = 0

    def __post_init__(self) -> None:
        self._s, self._y, self._hy = self.stack
        self._memory = len(self.sy)
        self._along: tuple[Tensor, np.ndarray] | None = None  # a gradient g with s'g and (H_0 y)'g

    @classmethod
    def none(cls, memory: int, like: Tensor) -> Pairs:
        """Room for so many pairs of vectors like this one."""
        return cls(like.new_zeros(3, memory, like.numel()), np.zeros((memory, memory)), np.zeros((memory, memory)))

    def refresh(self, metric: KroneckerMetric) -> None:
        """Make H_0 y anew."""
        kept = min(self.count, self._memory)
        if kept:
            self._hy[:kept] = metric.apply(self._y[:kept])
            self.yhy[:] = _host(self._y @ self._hy.t())
        self._along = None

    def add(self, s: Tensor, y: Tensor, gradient: Tensor, metric: KroneckerMetric) -> None:
        """Remember a pair, unless its curvature is lost in rounding.

        All that is read of it, and what the next step will ask of the gradient where this one ended, comes in one transfer.
        """
        j = self.count % self._memory
        before = self.stack[:, j].clone()
        self._s[j], self._y[j], self._hy[j] = s, y, metric.apply(y)
        products = [self._s @ y, self._y @ self._hy[j], self._s @ gradient, self._hy @ gradient]
        *rows, sy, ss, yy = torch.cat([*products, torch.stack([s @ y, s @ s, y @ y])]).tolist()
        if not sy > in_precision(LEAST_COSINE, s.dtype) * math.sqrt(ss * yy):
            self.stack[:, j] = before
            return
        self.sy[:, j], self.yhy[:, j], *along = np.reshape(rows, (4, -1))
        self.yhy[j, :] = self.yhy[:, j]
        self._along = gradient, np.stack(along)
        self.count += 1

    def inverse_product(self, gradient: Tensor, metric: KroneckerMetric) -> Tensor:
        """H g, H the inverse BFGS matrix; H_0 is scaled by s'y / y'H_0y of the last pair."""
        kept = min(self.count, self._memory)
        order = (np.arange(kept) + (self.count if self.count > self._memory else 0)) % self._memory
        last = order[-1]
        scale = float(self.sy[last, last] / self.yhy[last, last])
        if self._along is None or self._along[0] is not gradient:
            self._along = gradient, _host(torch.stack([self._s @ gradient, self._hy @ gradient]))
        s_g, hy_g = self._along[1][:, order]
        upper = np.triu(self.sy[np.ix_(order, order)])
        u = _solve_upper(upper, s_g)
        v = np.diag(upper) * u + scale * (self.yhy[np.ix_(order, order)] @ u - hy_g)
        v = _solve_upper(upper, v, transposed=True)
        coefficients = np.zeros((2, self._memory))
        coefficients[0, order], coefficients[1, order] = v, -scale * u
        by_s, by_hy = on_device(coefficients, gradient)
        return scale * metric.apply(gradient) + by_s @ self._s + by_hy @ self._hy


def _solve_upper(matrix: np.ndarray, right: np.ndarray, transposed: bool = False) -> np.ndarray:
    """Substitution with a row-major upper triangle, which LAPACK reads as a lower one: thrice as fast as SciPy's checks."""
    return _trtrs(matrix.T, right, lower=1, trans=0 if transposed else 1)[0]


def _host(values: Tensor) -> np.ndarray:
    return np.asarray(values.tolist(), dtype=float)


@dataclass(eq=False)
class _State:
    iteration: int = 0
    stopping: StoppingTest = field(default_factory=StoppingTest)
    pairs: Pairs | None = None
    metric: KroneckerMetric = IDENTITY
