"""Levenberg-Marquardt on the dense projected Gauss-Newton matrix, for few weights.

Solves (J'J + alpha L'L + lambda mean(diag) I) s = -g by Cholesky; lambda follows the ratio of the reduction found to the one
predicted (Nielsen 1999). A rejected step keeps the matrix, so trying a larger lambda costs one forward pass.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.objectives.gram import gram_by_products
from gnvpro.surrogate.objectives.protocol import Point
from gnvpro.training.solvers.protocol import INNER_SHARE, Status, Step, judge
from gnvpro.training.solvers.state import State

# The matrix of 4000 weights has 128 MB and takes seconds to factorise.
MAX_WEIGHTS = 4000
ACCEPT = 1e-4
FIRST_DAMPING, SMALLEST_DAMPING, LARGEST_DAMPING = 1e-3, 1e-14, 1e12


class LevenbergMarquardt:
    """Levenberg-Marquardt as a `gnvpro.training.solvers.protocol.Solver`.

    The curvature is the point's own `gauss_newton_matrix()`, where it has one (Kaufman's, from a structured Gram matrix, for
    least squares); otherwise products with the identity.

    Parameters
    ----------
    damping
        The first lambda.
    """

    name = "varpro-lm"
    validation_interval = 1

    def __init__(self, damping: float = FIRST_DAMPING) -> None:
        self._damping, self._growth = damping, 2.0
        self._matrix: Tensor | None = None
        self._first_gradient = 0.0

    def step(self, point: Point) -> Step:
        """One trial step; a matrix is built only where the last step moved.

        Raises
        ------
        ValueError
            More weights than a dense matrix is good for.
        """
        if self._matrix is None:
            _require_few(len(point.theta))
            gradient_norm = float(torch.linalg.vector_norm(point.gradient))
            self._first_gradient = self._first_gradient or gradient_norm
            status = judge(gradient_norm, self._first_gradient)
            if status is not Status.running:
                return Step(point, 0.0, False, status)
            self._matrix = curvature_matrix(point)
        gradient = point.gradient.double()
        factor, shift = self._factorised(self._matrix)
        if factor is None:
            return Step(point, 0.0, False, Status.nonfinite)
        step = -torch.cholesky_solve(gradient.unsqueeze(1), factor)[:, 0]
        length = float(torch.linalg.vector_norm(step))
        # m(0) - m(s) = -g's - s'Hs/2, and (H + shift I) s = -g.
        predicted = 0.5 * float(step @ (shift * step - gradient))
        trial = point.objective.at(point.theta + step.to(point.theta), near=point, accuracy=INNER_SHARE * predicted)
        ratio = (point.value - trial.value) / predicted

        if not ratio > ACCEPT:  # also where the trial is not a number
            self._raise_damping()
            collapsed = self._damping > LARGEST_DAMPING
            return Step(point, length, False, Status.radius_collapsed if collapsed else Status.running)
        self._damping = max(self._damping * max(1 / 9, 1 - (2 * ratio - 1) ** 3), SMALLEST_DAMPING)
        self._growth, self._matrix = 2.0, None
        return Step(trial, length, True)

    def state(self) -> State:
        """See `gnvpro.training.solvers.state.Resumable`."""
        values = {"damping": self._damping, "growth": self._growth, "first_gradient": self._first_gradient}
        return State(values, {} if self._matrix is None else {"matrix": self._matrix})

    def restore(self, state: State) -> None:
        """See `gnvpro.training.solvers.state.Resumable`."""
        self._damping, self._growth = state.values["damping"], state.values["growth"]
        self._first_gradient, self._matrix = state.values["first_gradient"], state.tensors.get("matrix")

    def _factorised(self, matrix: Tensor) -> tuple[Tensor | None, float]:
        """Cholesky factor of the damped matrix and the shift; more damping where it is not numerically definite."""
        mean = float(matrix.diagonal().mean())
        while math.isfinite(mean) and self._damping <= LARGEST_DAMPING:
            shift, shifted = self._damping * mean, matrix.clone()
            shifted.diagonal().add_(shift)
            factor, failed = torch.linalg.cholesky_ex(shifted)
            if not int(failed):
                return factor, shift
            self._raise_damping()
        return None, math.nan

    def _raise_damping(self) -> None:
        self._damping *= self._growth
        self._growth *= 2.0


def curvature_matrix(point: Point) -> Tensor:
    """The Gauss-Newton matrix of a point, (n_theta, n_theta) in float64."""
    own = getattr(point, "gauss_newton_matrix", None)
    if own is not None:
        return own()
    return gram_by_products(point.gauss_newton, len(point.theta), point.theta).double()


def _require_few(n_theta: int) -> None:
    if n_theta > MAX_WEIGHTS:
        raise UsageError(
            f"Levenberg-Marquardt factorises a dense matrix and expects at most {MAX_WEIGHTS} weights, got {n_theta}; "
            "use a smaller network, or the solver lbfgs or krylov"
        )
