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
from typing import NamedTuple

import torch
from torch import Tensor

from gnvpro.surrogate.elimination.class_features import Features
from gnvpro.surrogate.elimination.class_hessian import ClassHessian, ClassInverse, Solved, is_resolved
from gnvpro.surrogate.transfer import numbers

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
    """phi at one W, predictions and logarithms of probabilities of the samples of this process."""

    features: Features
    weights: Tensor
    predictions: Tensor
    logarithms: Tensor
    objective: Tensor

    @cached_property
    def value(self) -> float:
        """phi."""
        return numbers(self.objective)[0]

    @cached_property
    def probabilities(self) -> Tensor:
        """The softmax of the predictions, (n, K): made when asked for, as most tries of a search are not."""
        return self.logarithms.exp()


class Slope(NamedTuple):
    """The gradient (width + 1, K) at an iterate, and the rounding of the sum of the losses there."""

    gradient: Tensor
    rounding: Tensor


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

    Samples are those of this process. What is decided rests on sums over the samples of all of them, whose bits are the same
    everywhere: all take the same steps.

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

    def minimise(self, features: Features, start: Tensor | None, accuracy: float) -> NewtonResult:
        """The best W of these features from a first guess (width + 1, K), by default zeros.

        Stops where half the Newton decrement, which estimates the error of the value, is below `accuracy`; zero asks for W
        to rounding.
        """
        shape = features.n_columns, self._weighted_targets.shape[1]
        zeros = self._row_scale.new_zeros(shape)
        at = self._at(features, zeros if start is None else centred(start))
        # Every class alike costs log K. From where it costs more, logits would have to be brought back first.
        if start is not None and not at.value <= math.log(shape[1]):
            at = self._at(features, zeros)
        if not math.isfinite(at.value):
            return NewtonResult(at, self._slope(at).gradient)
        return self._iterate(at, accuracy)

    def residual(self, at: Iterate) -> Tensor:
        """The gradient by the predictions, (n, K)."""
        return at.probabilities.mul(self._row_scale).sub_(self._weighted_targets)

    def hessian(self, features: Features, probabilities: Tensor, dtype: torch.dtype = torch.float64) -> ClassHessian:
        """The Hessian by W, its products in this dtype if that resolves alpha_w beside the rest."""
        hessian = ClassHessian.at(features, probabilities, self._row_scale, self._alpha_w)
        resolved = self._inverse is not None and is_resolved(self._inverse.condition, dtype)
        return hessian.to(dtype) if resolved else hessian

    def invert(self, features: Features, probabilities: Tensor) -> ClassInverse:
        """The inverse of that Hessian, kept as preconditioner of the solves to come."""
        self._inverse, self._products_since = self.hessian(features, probabilities).inverse(), 0
        return self._inverse

    def _iterate(self, at: Iterate, accuracy: float) -> NewtonResult:
        slope = self._slope(at)
        steps = products = 0
        while steps < MAX_NEWTON_STEPS:
            if self._inverse is None or self._products_since >= REFRESH_AFTER or not self._inverse.fits(at.weights):
                self.invert(at.features, at.probabilities)
            is_new = not self._products_since
            direction, used = self._direction(at, slope.gradient, accuracy)
            products += used
            # Of the quadratic model, at the minimiser within the Krylov space: half the Newton decrement.
            reduction, rounding = numbers(-0.5 * (slope.gradient * direction).sum(), slope.rounding)
            if 0 < reduction <= accuracy:
                return NewtonResult(at, slope.gradient, steps, products, True)
            better = self._step(at, slope, direction, reduction, rounding) if reduction > accuracy else None
            if better is None and not is_new:
                # By an inverse of another W nothing is left to gain; that is believed of its own only.
                self.invert(at.features, at.probabilities)
                continue
            if better is None:
                found = self._is_found(at, slope.gradient, direction)
                return NewtonResult(at, slope.gradient, steps, products, found)
            steps += 1
            at, slope = better
        return NewtonResult(at, slope.gradient, steps, products, False)

    def _step(
        self, at: Iterate, slope: Slope, direction: Tensor, reduction: float, rounding: float
    ) -> tuple[Iterate, Slope] | None:
        """The next W and the gradient there; None where no length of the direction gains anything."""
        # Logits are as exact as they are large, and so is the sum of their logarithms.
        if reduction < _ROUNDING * abs(at.value) + _ROUNDINGS * rounding:
            trial = self._at(at.features, at.weights + direction)
            there, sizes = self._slope(trial), at.features.sizes
            # Features in any unit: each is measured by its own size too, or the largest would hide the others.
            here, left, here_by_size, left_by_size = numbers(
                *(_norm(gradient / size) for size in (1.0, sizes) for gradient in (slope.gradient, there.gradient))
            )
            return (trial, there) if left < 0.5 * here or left_by_size < 0.5 * here_by_size else None
        lower = self._search(at, direction, reduction)
        return None if lower is None else (lower, self._slope(lower))

    def _is_found(self, at: Iterate, gradient: Tensor, direction: Tensor) -> bool:
        weights, moves = at.weights.abs(), at.features.predictions(direction).abs()
        moved, terms = gradient.new_zeros(()), torch.zeros_like(gradient)
        for rows, part in at.features.chunks(len(gradient), gradient.dtype):
            # A probability is as exact as its logit, which is a sum of products.
            logits = 1 + (part.abs_().t() @ weights).amax(1, keepdim=True)
            terms += part @ (at.probabilities[rows] * self._row_scale[rows] * logits)
            moved += (moves[rows] > _FOUND * logits).sum()
        terms, moved = at.features.coupling.sums(terms, moved)
        terms = terms.amax(1, keepdim=True) + self._alpha_w * weights.max()
        left, curvature = gradient.abs(), terms + self._alpha_w
        is_finite, is_rounding, is_tiny, is_small, moves_any, n_moved, length, size = numbers(
            torch.isfinite(terms).all(),
            (left <= _ROUNDINGS * _EPSILON * terms).all(),
            (left <= 1e-10 * curvature).all(),
            # Of a feature next to nothing, alpha_w is all the curvature there is.
            (left <= _FOUND * curvature).all(),
            direction.any(),
            moved,
            _norm(direction),
            _norm(at.weights),
        )
        if not is_finite:
            return False
        if is_rounding:
            return True
        if not moves_any:  # rounding or underflow left none
            return bool(is_tiny)
        return bool(is_small) and not n_moved and length <= _FOUND * (1 + size)

    def _direction(self, at: Iterate, gradient: Tensor, accuracy: float) -> Solved:
        assert self._inverse is not None

        def small_enough(remaining: float, first: float) -> bool:
            # Squared errors: shrinking by the Newton decrement, sqrt(first), makes convergence superlinear.
            return remaining <= min(1e-2, max(first, 1e-12)) * first or 0.5 * remaining <= 0.1 * accuracy

        # A direction need not be more exact than the features: what is left of the gradient is float64's, and shows.
        hessian = self.hessian(at.features, at.probabilities, at.features.own.dtype)
        solved = hessian.descend(-gradient, self._inverse, small_enough, MAX_CG_STEPS)
        self._products_since += solved.products
        return solved._replace(solution=centred(solved.solution))

    def _search(self, at: Iterate, direction: Tensor, reduction: float) -> Iterate | None:
        """The first point along the direction with sufficient decrease, by interpolation; None if rounding hides it.

        A try costs no product with Phi: predictions are linear in the length. Where the softmax saturates the Hessian
        sees little, and the step of one is far too long.
        """
        change, length, slope = at.features.predictions(direction), 1.0, -2 * reduction
        while length > 1e-10:
            trial = self._with_predictions(
                at.features, at.weights + length * direction, at.predictions + length * change
            )
            if trial.value <= at.value + SUFFICIENT_DECREASE * length * slope:
                return trial
            # The minimiser of the parabola through both values and the slope.
            bend = trial.value - at.value - length * slope
            best = -slope * length**2 / (2 * bend) if math.isfinite(bend) else 0.0
            length = min(max(best, 0.05 * length), 0.5 * length)
        return None

    def _at(self, features: Features, weights: Tensor) -> Iterate:
        return self._with_predictions(features, weights, features.predictions(weights))

    def _with_predictions(self, features: Features, weights: Tensor, predictions: Tensor) -> Iterate:
        logarithms = torch.log_softmax(predictions.t(), 0).t()
        loss = features.coupling.sum((self._weighted_targets * logarithms).sum())
        value = 0.5 * self._alpha_w * torch.linalg.vector_norm(weights) ** 2 - loss
        return Iterate(features, weights, predictions, logarithms, value)

    def _slope(self, at: Iterate) -> Slope:
        rounding = _EPSILON * (1 + at.predictions.abs().amax(1)) @ self._row_scale[:, 0]
        gradient, rounding = at.features.coupling.sums(at.features.adjoint(self.residual(at)), rounding)
        return Slope(gradient.add(at.weights, alpha=self._alpha_w), rounding)


def centred(weights: Tensor) -> Tensor:
    """Without what is the same for all classes: it moves no probability, and is zero at the minimiser."""
    return weights - weights.mean(1, keepdim=True)


def _norm(values: Tensor) -> Tensor:
    return torch.linalg.vector_norm(values)
