"""Levenberg-Marquardt on the dense projected Gauss-Newton matrix, for few weights.

Solves (J'J + alpha L'L + lambda mean(diag) I) s = -g by Cholesky; lambda follows the ratio of the actual reduction to
the predicted one (Nielsen 1999). A rejected step keeps the matrix, so trying a larger lambda costs one forward pass.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.objectives.protocol import Point
from gnvpro.surrogate.transfer import numbers
from gnvpro.training.solvers.protocol import Status, Step, StoppingTest, try_step

# The matrix of 4000 weights has 128 MB and takes seconds to factorise.
MAX_WEIGHTS = 4000
FIRST_DAMPING, SMALLEST_DAMPING, LARGEST_DAMPING = 1e-3, 1e-14, 1e12


class LevenbergMarquardt:
    """Levenberg-Marquardt as a `gnvpro.training.solvers.protocol.Solver`.

    The curvature is the point's `gauss_newton_matrix`: Kaufman's, from a structured Gram matrix, for least squares; otherwise
    products with the identity. `damping` is the first lambda.
    """

    name = "varpro-lm"
    validation_interval = 1

    def __init__(self, damping: float = FIRST_DAMPING) -> None:
        self.state = _State(damping)

    def step(self, point: Point) -> Step:
        """One trial step; a matrix is built only where the last step moved. `UsageError` for more than `MAX_WEIGHTS`."""
        state = self.state
        if state.matrix is None:
            _require_few(len(point.theta))
            status = state.stopping.status(point)
            if status is not Status.running:
                return Step(point, 0.0, False, status)
            state.matrix = point.gauss_newton_matrix()
        found = self._solved(state.matrix, point.gradient.double())
        if found is None:
            return Step(point, 0.0, False, Status.nonfinite)
        step, length, predicted = found
        trial = try_step(point, step.to(point.theta), predicted)
        if not trial.is_accepted:
            self._raise_damping()
            collapsed = state.damping > LARGEST_DAMPING
            return Step(point, length, False, Status.radius_collapsed if collapsed else Status.running)
        state.damping = max(state.damping * max(1 / 9, 1 - (2 * trial.ratio - 1) ** 3), SMALLEST_DAMPING)
        state.growth, state.matrix = 2.0, None
        return Step(trial.point, length, True)

    def _solved(self, matrix: Tensor, gradient: Tensor) -> tuple[Tensor, float, float] | None:
        """The step, its length and its predicted reduction; more damping where the matrix is not numerically definite."""
        mean = matrix.diagonal().mean()
        while self.state.damping <= LARGEST_DAMPING:
            shift, shifted = self.state.damping * mean, matrix.clone()
            shifted.diagonal().add_(shift)
            factor, failed = torch.linalg.cholesky_ex(shifted)
            step = -torch.cholesky_solve(gradient.unsqueeze(1), factor)[:, 0]
            # m(0) - m(s) = -g's - s'Hs/2, and (H + shift I) s = -g.
            model = step @ (shift * step - gradient)
            size, has_failed, length, reduction = numbers(mean, failed, torch.linalg.vector_norm(step), model)
            if not math.isfinite(size):
                return None
            if not has_failed:
                return step, length, 0.5 * reduction
            self._raise_damping()
        return None

    def _raise_damping(self) -> None:
        self.state.damping *= self.state.growth
        self.state.growth *= 2.0


def _require_few(n_theta: int) -> None:
    if n_theta > MAX_WEIGHTS:
        raise UsageError(
            f"Levenberg-Marquardt factorises a dense matrix and expects at most {MAX_WEIGHTS} weights, got {n_theta}; "
            "use a smaller network, or the solver lbfgs or krylov"
        )


@dataclass(eq=False)
class _State:
    """`matrix` is that of the point where the last step was refused."""

    damping: float
    growth: float = 2.0
    matrix: Tensor | None = None
    stopping: StoppingTest = field(default_factory=StoppingTest)
