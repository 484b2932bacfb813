"""The eliminated layer for classes: regularised multinomial regression for W at fixed features.

With Phi = [Z, 1] (n, width + 1), S = softmax(Phi W) and weights omega of mean one,

    phi(W) = 1/n sum_i omega_i CE(phi_i' W, c_i) + alpha_w/2 ||W||²,

smooth and strongly convex. Newton's method in float64, each step by conjugate gradients to the accuracy it deserves and
safeguarded by backtracking, which converges from anywhere (Nocedal & Wright 2006, Sec. 7.1). The preconditioner is the
explicit inverse of an earlier Hessian (`gnvpro.surrogate.elimination.class_hessian`), made anew when iterations add up
and before it is believed that nothing is left to gain. Whether W was found is said with it: the envelope theorem holds
only there.
"""

from __future__ import annotations

import math
import time
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from gnvpro.surrogate.elimination.class_hessian import ClassHessian, ClassInverse, Solved, is_resolved
from gnvpro.surrogate.errors import UsageError

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


@dataclass(frozen=True)
class ClassSolution:
    """W(theta) and what derivative products through it need.

    Attributes
    ----------
    weights : (width + 1, K)
        Bias last.
    probabilities, residual : (n, K)
        S, and the gradient by the predictions, omega/n (S - C).
    gradient : (width + 1, K)
        By W: what the inner solve left. The gradient by theta is off in proportion to it.
    value
        phi, a scalar tensor.
    columns : (n, width + 1)
        Phi.
    newton_steps, products
        What the solve took, products being those with the Hessian.
    converged
        Whether the value is within the accuracy asked for and, where that was zero, W found to six digits or the gradient
        is rounding. Where not, the envelope theorem does not hold and the gradient by the features is wrong.
    """

    weights: Tensor
    probabilities: Tensor
    residual: Tensor
    gradient: Tensor
    value: Tensor
    columns: Tensor
    newton_steps: int = 0
    products: int = 0
    converged: bool = True


@dataclass(frozen=True)
class _State:
    """phi at one W; what its derivatives need is made when asked, as most tries of a search are not."""

    columns: Tensor
    weights: Tensor
    predictions: Tensor
    logarithms: Tensor
    objective: Tensor

    @cached_property
    def value(self) -> float:
        return float(self.objective)

    @cached_property
    def rounding(self) -> Tensor:
        """Of every sample's loss, (n,)."""
        return _EPSILON * (1 + self.predictions.abs().amax(1))

    @cached_property
    def probabilities(self) -> Tensor:
        return self.logarithms.exp()


class CrossEntropyLayer:
    """The inner problem of one training set, ready to be solved for any features.

    Keeps the last inverse of a Hessian as preconditioner: solutions depend on earlier solves within the accuracy
    asked for, and not at all beyond.

    Parameters
    ----------
    targets : (n, K)
        Probabilities of the classes: one-hot rows, smoothed or not (`gnvpro.surrogate.elimination.labels.one_hot`).
    row_weights : (n,)
        omega, positive; scaled to mean one.
    alpha_w
        Regularisation of W, bias included; positive, or separable classes would send W to infinity.

    Attributes
    ----------
    cpu_seconds
        Time of this process spent in inner solves, inverses and derivative solves so far.

    Raises
    ------
    ValueError
        Targets that are not probabilities, weights that are not positive, or alpha_w that is not.
    """

    def __init__(self, targets: Tensor, row_weights: Tensor, alpha_w: float) -> None:
        _require_probabilities(targets)
        if row_weights.shape != targets.shape[:1] or not bool((row_weights > 0).all() & row_weights.isfinite().all()):
            raise UsageError(
                f"expected {len(targets)} positive row weights, got shape {tuple(row_weights.shape)} from "
                f"{float(row_weights.min()):g}; leave a sample out instead of giving it weight zero"
            )
        if not (alpha_w > 0 and math.isfinite(alpha_w)):
            raise UsageError(f"expected alpha_w > 0, got {alpha_w}: without it separable classes send W to infinity")
        self.targets, self.alpha_w = targets.double(), alpha_w
        self.row_weights = row_weights.double() / row_weights.double().mean()
        self.row_scale = (self.row_weights / len(targets)).unsqueeze(1)
        # Memory is class by class throughout: reductions over classes then run along the samples.
        self._weighted_targets = (self.targets.t() * self.row_scale[:, 0]).t()
        self.cpu_seconds = 0.0
        self._running = False
        self._inverse: ClassInverse | None = None
        self._products_since = 0

    def solve(self, features: Tensor, start: Tensor | None = None, accuracy: float = 0.0) -> ClassSolution:
        """W for these features (n, width), float64.

        Parameters
        ----------
        start : (width + 1, K)
            First guess, by default zeros.
        accuracy
            Stops where half the Newton decrement, which estimates the error of the value, is below it; zero asks for
            W to rounding.
        """
        with self._timed():
            columns = torch.cat([features, features.new_ones(len(features), 1)], 1)
            shape = columns.shape[1], self.targets.shape[1]
            if start is not None and start.shape != shape:
                raise UsageError(f"expected a start of shape {shape}, got {tuple(start.shape)}")
            zeros = features.new_zeros(shape)
            at = self._at(columns, zeros if start is None else _centred(start))
            # Every class alike costs log K. From where it costs more, logits would have to be brought back first.
            if start is not None and not at.value <= math.log(shape[1]):
                at = self._at(columns, zeros)
            if not math.isfinite(at.value):
                return self._solution(at, self._gradient(at), 0, 0, False)
            return self._newton(at, accuracy)

    def hessian(self, solution: ClassSolution, dtype: torch.dtype = torch.float64) -> ClassHessian:
        """The Hessian by W at a solution, its products in this dtype if that resolves alpha_w beside the rest."""
        return self._hessian(solution.columns, solution.probabilities, dtype)

    def inverse_at(self, solution: ClassSolution) -> ClassInverse:
        """The inverse of that Hessian in float32, kept as preconditioner of the solves to come."""
        with self._timed():
            return self._invert(self.hessian(solution))

    def solve_hessian(self, hessian: ClassHessian, inverse: ClassInverse, right: Tensor, tolerance: float) -> Tensor:
        """H^-1 B for derivative products, see `ClassHessian.solve`; on this layer's clock."""
        with self._timed():
            return hessian.solve(right, inverse, tolerance)

    def _newton(self, at: _State, accuracy: float) -> ClassSolution:
        gradient = self._gradient(at)
        steps = products = 0
        converged = False
        # Features in any unit: each is measured by its own size, or the largest would hide the others.
        sizes = at.columns.abs().amax(0).unsqueeze(1)
        sizes = torch.where(sizes > 0, sizes, 1.0)
        while steps < MAX_NEWTON_STEPS:
            if self._inverse is None or self._products_since >= REFRESH_AFTER or not self._fits(at):
                self._invert(self._hessian(at.columns, at.probabilities))
            is_new = not self._products_since
            found = self._direction(at, gradient, accuracy)
            products += found.products
            # Of the quadratic model, at the minimiser within the Krylov space: half the Newton decrement.
            reduction = -0.5 * float((gradient * found.solution).sum())
            if 0 < reduction <= accuracy:
                converged = True
                break
            better = self._step(at, gradient, found.solution, reduction, sizes) if reduction > accuracy else None
            if better is None and not is_new:
                # By an inverse of another W nothing is left to gain; that is believed of its own only.
                self._invert(self._hessian(at.columns, at.probabilities))
                continue
            if better is None:
                converged = self._is_found(at, gradient, found.solution)
                break
            steps += 1
            at, gradient = better
        return self._solution(at, gradient, steps, products, converged)

    def _step(
        self, at: _State, gradient: Tensor, direction: Tensor, reduction: float, sizes: Tensor
    ) -> tuple[_State, Tensor] | None:
        """The next W and the gradient there; None where no length of the direction gains anything."""
        # Logits are as exact as they are large, and so is the sum of their logarithms.
        if reduction < _ROUNDING * abs(at.value) + _ROUNDINGS * float((self.row_scale[:, 0] * at.rounding).sum()):
            trial = self._at(at.columns, at.weights + direction)
            there = self._gradient(trial)
            halved = any(float(_norm(there / size)) < 0.5 * float(_norm(gradient / size)) for size in (1.0, sizes))
            return (trial, there) if halved else None
        lower = self._search(at, direction, reduction)
        return None if lower is None else (lower, self._gradient(lower))

    def _is_found(self, at: _State, gradient: Tensor, direction: Tensor) -> bool:
        columns, weights = at.columns.abs(), at.weights.abs()
        # A probability is as exact as its logit, which is a sum of products.
        logits = 1 + (columns @ weights).amax(1, keepdim=True)
        terms = (columns.t() @ (at.probabilities * self.row_scale * logits)).amax(1, keepdim=True)
        terms += self.alpha_w * weights.max()
        if not bool(torch.isfinite(terms).all()):
            return False
        if bool((gradient.abs() <= _ROUNDINGS * _EPSILON * terms).all()):
            return True
        if not bool(direction.any()):  # rounding or underflow left none
            return bool((gradient.abs() <= 1e-10 * (terms + self.alpha_w)).all())
        moved = bool((_predictions(at.columns, direction).abs() > _FOUND * logits).any())
        # Of a feature next to nothing, alpha_w is all the curvature there is.
        is_small = bool((gradient.abs() <= _FOUND * (terms + self.alpha_w)).all())
        return is_small and not moved and float(_norm(direction)) <= _FOUND * (1 + float(_norm(at.weights)))

    def _direction(self, at: _State, gradient: Tensor, accuracy: float) -> Solved:
        assert self._inverse is not None

        def small_enough(remaining: float, first: float) -> bool:
            # Squared errors: shrinking by the Newton decrement, sqrt(first), makes convergence superlinear.
            return remaining <= min(1e-2, max(first, 1e-12)) * first or 0.5 * remaining <= 0.1 * accuracy

        # A direction need not be more exact than float32: what is left of the gradient is float64's, and shows.
        hessian = self._hessian(at.columns, at.probabilities, torch.float32)
        found = hessian.descend(-gradient, self._inverse, small_enough, MAX_CG_STEPS)
        self._products_since += found.products
        return found._replace(solution=_centred(found.solution))

    def _search(self, at: _State, direction: Tensor, reduction: float) -> _State | None:
        """The first point along the direction with sufficient decrease, by interpolation; None if rounding hides it.

        A try costs no product with Phi: predictions are linear in the length. Where the softmax saturates the Hessian
        sees little, and the step of one is far too long.
        """
        change, length, slope = _predictions(at.columns, direction), 1.0, -2 * reduction
        while length > 1e-10:
            trial = self._state(at.columns, at.weights + length * direction, at.predictions + length * change)
            if trial.value <= at.value + SUFFICIENT_DECREASE * length * slope:
                return trial
            # The minimiser of the parabola through both values and the slope.
            bend = trial.value - at.value - length * slope
            best = -slope * length**2 / (2 * bend) if math.isfinite(bend) else 0.0
            length = min(max(best, 0.05 * length), 0.5 * length)
        return None

    def _hessian(self, columns: Tensor, probabilities: Tensor, dtype: torch.dtype = torch.float64) -> ClassHessian:
        hessian = ClassHessian.at(columns, probabilities, self.row_scale, self.alpha_w)
        resolved = self._inverse is not None and is_resolved(self._inverse.condition, dtype)
        return hessian.to(dtype) if resolved else hessian

    def _invert(self, hessian: ClassHessian) -> ClassInverse:
        self._inverse, self._products_since = hessian.inverse(), 0
        return self._inverse

    def _fits(self, at: _State) -> bool:
        """Whether the inverse kept is of this size and device: a layer may be solved for features of any width."""
        blocks = self._inverse.blocks if self._inverse else at.weights
        return blocks.shape[0] * blocks.shape[1] == at.weights.numel() and blocks.device == at.weights.device

    def _at(self, columns: Tensor, weights: Tensor) -> _State:
        return self._state(columns, weights, _predictions(columns, weights))

    def _state(self, columns: Tensor, weights: Tensor, predictions: Tensor) -> _State:
        logarithms = torch.log_softmax(predictions.t(), 0).t()
        loss = (self._weighted_targets * logarithms).sum()
        value = 0.5 * self.alpha_w * torch.linalg.vector_norm(weights) ** 2 - loss
        return _State(columns, weights, predictions, logarithms, value)

    def _gradient(self, at: _State) -> Tensor:
        return torch.addmm(at.weights, at.columns.t(), self._residual(at), beta=self.alpha_w)

    def _residual(self, at: _State) -> Tensor:
        return at.probabilities.mul(self.row_scale).sub_(self._weighted_targets)

    def _solution(self, at: _State, gradient: Tensor, steps: int, products: int, converged: bool) -> ClassSolution:
        residual = self._residual(at)
        return ClassSolution(
            at.weights, at.probabilities, residual, gradient, at.objective, at.columns, steps, products, converged
        )

    @contextmanager
    def _timed(self):
        # The clock is for reports: nothing that is computed depends on it. Nested calls count once.
        if self._running:
            yield
            return
        self._running, began = True, time.process_time()
        try:
            yield
        finally:
            self.cpu_seconds += time.process_time() - began
            self._running = False


def _centred(weights: Tensor) -> Tensor:
    """Without what is the same for all classes: it moves no probability, and is zero at the minimiser."""
    return weights - weights.mean(1, keepdim=True)


def _norm(values: Tensor) -> Tensor:
    return torch.linalg.vector_norm(values)


def _predictions(columns: Tensor, weights: Tensor) -> Tensor:
    """Phi W, (n, K), class by class in memory."""
    return (weights.t() @ columns.t()).t()


def _require_probabilities(targets: Tensor) -> None:
    if targets.ndim != 2 or not len(targets) or targets.shape[1] < 2:
        raise UsageError(f"expected targets (n, K), n >= 1 and K >= 2, got {tuple(targets.shape)}; see labels.one_hot")
    rows = targets.double().sum(1)
    if not bool((targets >= 0).all() and (rows - 1).abs().max() < 1e-9):
        raise UsageError("expected targets that are probabilities, rows summing to one; see labels.one_hot")
