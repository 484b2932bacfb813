"""Newton's method for the last layer of classes: regularised multinomial regression for W at fixed features.

Each step in float64 by conjugate gradients to the accuracy it deserves, safeguarded by backtracking, which converges from
anywhere (Nocedal & Wright 2006, Sec. 7.1). The preconditioner is the explicit inverse of an earlier Hessian
(`gnvpro.surrogate.elimination.class_hessian`), made anew when iterations add up and before it is believed that nothing is
left to gain.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from gnvpro.surrogate.elimination.class_hessian import ClassHessian, ClassInverse, Solved, is_resolved

# Where classes are separable each step adds about one to the logits, until they are the logarithm of 1/alpha_w.
MAX_NEWTON_STEPS = 200
MAX_CG_STEPS = 200
SUFFICIENT_DECREASE = 1e-4
# Conjugate-gradient iterations after which the inverse is made anew: about what making it costs; from half to twice that many
# make no difference.
REFRESH_AFTER = 80
# Reductions below this part of the value drown in its rounding; from there on the gradient judges.
_ROUNDING = 1e-12
# W is found where a further step changes it by less than this part, or where the gradient is below so many roundings of
# the sums that it is the difference of.
_FOUND = 1e-6
_ROUNDINGS = 64
_EPSILON = torch.finfo(torch.float64).eps


@dataclass(frozen=True, eq=False)
class Iterate:
    """phi at one W; what its derivatives need is made when asked, as most tries of a search are not."""

    columns: Tensor
    weights: Tensor
    predictions: Tensor
    logarithms: Tensor
    objective: Tensor

    @cached_property
    def value(self) -> float:
        """phi."""
        return float(self.objective)

    @cached_property
    def rounding(self) -> Tensor:
        """Rounding of every sample's loss, (n,)."""
        return _EPSILON * (1 + self.predictions.abs().amax(1))

    @cached_property
    def probabilities(self) -> Tensor:
        """The softmax of the predictions, (n, K)."""
        return self.logarithms.exp()


@dataclass(frozen=True, eq=False)
class NewtonResult:
    """Where the iteration ended: the iterate and the gradient there, what it took, and whether W is found."""

    at: Iterate
    gradient: Tensor
    steps: int = 0
    products: int = 0
    converged: bool = False


class ClassNewton:
    """The iteration for one training set; it keeps the last inverse of a Hessian from one solve to the next.

    Parameters
    ----------
    targets : (n, K)
    row_scale : (n, 1)
        Weights of the samples' losses.
    """

    def __init__(self, targets: Tensor, row_scale: Tensor, alpha_w: float) -> None:
        # Memory is class by class throughout: reductions over classes then run along the samples.
        self._weighted_targets = (targets.t() * row_scale[:, 0]).t()
        self._row_scale, self._alpha_w = row_scale, alpha_w
        self._inverse: ClassInverse | None = None
        self._products_since = 0

    def minimise(self, columns: Tensor, start: Tensor | None, accuracy: float) -> NewtonResult:
        """The best W of these columns (n, width + 1) from a first guess, by default zeros.

        Stops where half the Newton decrement, which estimates the error of the value, is below `accuracy`; zero asks for W
        to rounding.
        """
        shape = columns.shape[1], self._weighted_targets.shape[1]
        zeros = columns.new_zeros(shape)
        at = self._at(columns, zeros if start is None else _centred(start))
        # Every class alike costs log K. From where it costs more, logits would have to be brought back first.
        if start is not None and not at.value <= math.log(shape[1]):
            at = self._at(columns, zeros)
        if not math.isfinite(at.value):
            return NewtonResult(at, self._gradient(at))
        return self._iterate(at, accuracy)

    def residual(self, at: Iterate) -> Tensor:
        """The gradient by the predictions, (n, K)."""
        return at.probabilities.mul(self._row_scale).sub_(self._weighted_targets)

    def hessian(self, columns: Tensor, probabilities: Tensor, dtype: torch.dtype = torch.float64) -> ClassHessian:
        """The Hessian by W, its products in this dtype if that resolves alpha_w beside the rest."""
        hessian = ClassHessian.at(columns, probabilities, self._row_scale, self._alpha_w)
        resolved = self._inverse is not None and is_resolved(self._inverse.condition, dtype)
        return hessian.to(dtype) if resolved else hessian

    def invert(self, columns: Tensor, probabilities: Tensor) -> ClassInverse:
        """The inverse of that Hessian, kept as preconditioner of the solves to come."""
        self._inverse, self._products_since = self.hessian(columns, probabilities).inverse(), 0
        return self._inverse

    def _iterate(self, at: Iterate, accuracy: float) -> NewtonResult:
        gradient = self._gradient(at)
        steps = products = 0
        # Features in any unit: each is measured by its own size, or the largest would hide the others.
        sizes = at.columns.abs().amax(0).unsqueeze(1)
        sizes = torch.where(sizes > 0, sizes, 1.0)
        while steps < MAX_NEWTON_STEPS:
            if self._inverse is None or self._products_since >= REFRESH_AFTER or not self._inverse.fits(at.weights):
                self.invert(at.columns, at.probabilities)
            is_new = not self._products_since
            direction, used = self._direction(at, gradient, accuracy)
            products += used
            # Of the quadratic model, at the minimiser within the Krylov space: half the Newton decrement.
            reduction = -0.5 * float((gradient * direction).sum())
            if 0 < reduction <= accuracy:
                return NewtonResult(at, gradient, steps, products, True)
            better = self._step(at, gradient, direction, reduction, sizes) if reduction > accuracy else None
            if better is None and not is_new:
                # By an inverse of another W nothing is left to gain; that is believed of its own only.
                self.invert(at.columns, at.probabilities)
                continue
            if better is None:
                return NewtonResult(at, gradient, steps, products, self._is_found(at, gradient, direction))
            steps += 1
            at, gradient = better
        return NewtonResult(at, gradient, steps, products, False)

    def _step(
        self, at: Iterate, gradient: Tensor, direction: Tensor, reduction: float, sizes: Tensor
    ) -> tuple[Iterate, Tensor] | None:
        """The next W and the gradient there; None where no length of the direction gains anything."""
        # Logits are as exact as they are large, and so is the sum of their logarithms.
        if reduction < _ROUNDING * abs(at.value) + _ROUNDINGS * float((self._row_scale[:, 0] * at.rounding).sum()):
            trial = self._at(at.columns, at.weights + direction)
            there = self._gradient(trial)
            halved = any(float(_norm(there / size)) < 0.5 * float(_norm(gradient / size)) for size in (1.0, sizes))
            return (trial, there) if halved else None
        lower = self._search(at, direction, reduction)
        return None if lower is None else (lower, self._gradient(lower))

    def _is_found(self, at: Iterate, gradient: Tensor, direction: Tensor) -> bool:
        columns, weights = at.columns.abs(), at.weights.abs()
        # A probability is as exact as its logit, which is a sum of products.
        logits = 1 + (columns @ weights).amax(1, keepdim=True)
        terms = (columns.t() @ (at.probabilities * self._row_scale * logits)).amax(1, keepdim=True)
        terms += self._alpha_w * weights.max()
        if not bool(torch.isfinite(terms).all()):
            return False
        if bool((gradient.abs() <= _ROUNDINGS * _EPSILON * terms).all()):
            return True
        if not bool(direction.any()):  # rounding or underflow left none
            return bool((gradient.abs() <= 1e-10 * (terms + self._alpha_w)).all())
        moved = bool((_predictions(at.columns, direction).abs() > _FOUND * logits).any())
        # Of a feature next to nothing, alpha_w is all the curvature there is.
        is_small = bool((gradient.abs() <= _FOUND * (terms + self._alpha_w)).all())
        return is_small and not moved and float(_norm(direction)) <= _FOUND * (1 + float(_norm(at.weights)))

    def _direction(self, at: Iterate, gradient: Tensor, accuracy: float) -> Solved:
        assert self._inverse is not None

        def small_enough(remaining: float, first: float) -> bool:
            # Squared errors: shrinking by the Newton decrement, sqrt(first), makes convergence superlinear.
            return remaining <= min(1e-2, max(first, 1e-12)) * first or 0.5 * remaining <= 0.1 * accuracy

        # A direction need not be more exact than float32: what is left of the gradient is float64's, and shows.
        hessian = self.hessian(at.columns, at.probabilities, torch.float32)
        solved = hessian.descend(-gradient, self._inverse, small_enough, MAX_CG_STEPS)
        self._products_since += solved.products
        return solved._replace(solution=_centred(solved.solution))

    def _search(self, at: Iterate, direction: Tensor, reduction: float) -> Iterate | None:
        """The first point along the direction with sufficient decrease, by interpolation; None if rounding hides it.

        A try costs no product with Phi: predictions are linear in the length. Where the softmax saturates the Hessian
        sees little, and the step of one is far too long.
        """
        change, length, slope = _predictions(at.columns, direction), 1.0, -2 * reduction
        while length > 1e-10:
            trial = self._with_predictions(
                at.columns, at.weights + length * direction, at.predictions + length * change
            )
            if trial.value <= at.value + SUFFICIENT_DECREASE * length * slope:
                return trial
            # The minimiser of the parabola through both values and the slope.
            bend = trial.value - at.value - length * slope
            best = -slope * length**2 / (2 * bend) if math.isfinite(bend) else 0.0
            length = min(max(best, 0.05 * length), 0.5 * length)
        return None

    def _at(self, columns: Tensor, weights: Tensor) -> Iterate:
        return self._with_predictions(columns, weights, _predictions(columns, weights))

    def _with_predictions(self, columns: Tensor, weights: Tensor, predictions: Tensor) -> Iterate:
        logarithms = torch.log_softmax(predictions.t(), 0).t()
        loss = (self._weighted_targets * logarithms).sum()
        value = 0.5 * self._alpha_w * torch.linalg.vector_norm(weights) ** 2 - loss
        return Iterate(columns, weights, predictions, logarithms, value)

    def _gradient(self, at: Iterate) -> Tensor:
        return torch.addmm(at.weights, at.columns.t(), self.residual(at), beta=self._alpha_w)


def _centred(weights: Tensor) -> Tensor:
    """Without what is the same for all classes: it moves no probability, and is zero at the minimiser."""
    return weights - weights.mean(1, keepdim=True)


def _norm(values: Tensor) -> Tensor:
    return torch.linalg.vector_norm(values)


def _predictions(columns: Tensor, weights: Tensor) -> Tensor:
    """Phi W, (n, K), class by class in memory."""
    return (weights.t() @ columns.t()).t()
