"""The eliminated layer for classes: cross-entropy, W found by Newton's method at fixed features.

With Phi = [Z, 1] (n, width + 1), S = softmax(Phi W) and weights omega of mean one,

    phi(W) = 1/n sum_i omega_i CE(phi_i' W, c_i) + alpha_w/2 ||W||²,

smooth and strongly convex. Whether W was found is said with it: the envelope theorem holds only there. Two curvatures are at
hand, both positive semidefinite (derivations in docs/method.md; Newman et al. 2021, Sec. 3):

- `schur`: the Schur complement, in theta, of the generalised Gauss-Newton matrix of (theta, W);
- `paper`: J' H J with J the derivative of the reduced predictions, in which W moves with theta.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, Self, get_args

import torch
from torch import Tensor

from gnvpro.surrogate.coupling import ALONE, Coupling
from gnvpro.surrogate.elimination.class_features import Features
from gnvpro.surrogate.elimination.class_hessian import ClassHessian, ClassInverse
from gnvpro.surrogate.elimination.class_newton import ClassNewton, centred
from gnvpro.surrogate.elimination.losses import CrossEntropy, Loss, random_signs, root_at
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.precision import in_precision
from gnvpro.surrogate.stopwatch import Stopwatch

ClassCurvature = Literal["schur", "paper"]

# Relative error of the implicit derivative, by the dtype of the network's passes. A float32 product carries 7 digits.
_TOLERANCE = {torch.float64: 1e-13, torch.float32: 1e-3}


@dataclass(frozen=True, eq=False)
class ClassSolution:
    """W(theta) and derivatives through it, see `gnvpro.surrogate.elimination.protocol.Solution`.

    Attributes
    ----------
    weights : (width + 1, K)
        Bias last.
    probabilities, residual : (n, K)
        S, and the gradient by the predictions, omega/n (S - C).
    gradient : (width + 1, K)
        By W: what the inner solve left. The gradient by theta is off in proportion to it.
    features
        Phi.
    newton_steps, products
        What the solve took, products being those with the Hessian.
    converged
        Whether the value is within the accuracy asked for and, where that was zero, W found to six digits or the gradient
        is rounding.
    """

    layer: CrossEntropyLayer
    weights: Tensor
    probabilities: Tensor
    residual: Tensor
    gradient: Tensor
    value: Tensor
    features: Features
    newton_steps: int
    products: int
    converged: bool
    _hessians: dict[torch.dtype, ClassHessian] = field(default_factory=dict, repr=False)

    @property
    def outer(self) -> Tensor:
        """W, (width + 1, K)."""
        return self.weights

    def settled(self, value: float, features: Tensor) -> Self:
        """Itself."""
        return self

    def feature_gradient(self) -> Tensor:
        """That of phi by the features, W fixed."""
        return self.residual @ self.weights[:-1].t()

    def curvature_product(self, change: Tensor, kind: str | None = None) -> tuple[Tensor, Tensor]:
        """Seed and change of W for a change dZ of the features, D the Hessian by the predictions.

        `schur`: D (dZ W + Phi dW) W', dW = -H^-1 Phi' D dZ W. `paper`: J' D J and the regularisation of W, which moves too,
        with dW = -H^-1 (Phi' D dZ W + [dZ, 0]' R); the way back is the adjoint of the way there.
        """
        hessian = self._hessian(change.dtype)
        is_paper = (kind or self.layer.curvature) == "paper"
        tolerance = _TOLERANCE.get(change.dtype, 1e-3)
        change, weights = change.to(hessian.probabilities), self.weights[:-1].to(hessian.probabilities)
        curved = hessian.of_predictions(change @ weights)
        right = self.features.adjoint(curved)
        if is_paper:
            right[:-1] += change.t() @ self.residual.to(change)
        response = -self._solve(hessian, self.features.coupling.sum(right), tolerance)
        curved += hessian.of_predictions(self.features.predictions(response))
        if not is_paper:
            return curved @ weights.t(), response
        back = -self._solve(hessian, hessian.total(curved, response), tolerance)
        curved += hessian.of_predictions(self.features.predictions(back))
        return torch.addmm(self.residual.to(change) @ back[:-1].t(), curved, weights.t()), response

    def gram_terms(self, kind: str) -> None:
        """None: D differs from sample to sample."""

    def probe(self, seed: int) -> Tensor:
        """sqrt(omega/n) B e W', B B' the Hessian by the predictions, e random signs."""
        signs = random_signs(self.residual, seed, self.layer.first)
        return self.layer.row_scale.sqrt() * root_at(self.probabilities, signs) @ self.weights[:-1].t()

    def training_error(self) -> float:
        """Share of the training samples misclassified, every sample counting alike."""
        return self.layer.training_error(self.probabilities)

    def _solve(self, hessian: ClassHessian, right: Tensor, tolerance: float) -> Tensor:
        with self.layer.stopwatch:
            return centred(hessian.solve(right, self._inverse, tolerance))

    def _hessian(self, dtype: torch.dtype) -> ClassHessian:
        if dtype not in self._hessians:
            # The inverse first: it knows whether alpha_w is resolved in float32.
            _ = self._inverse
            self._hessians[dtype] = self.layer.hessian(self, dtype)
        return self._hessians[dtype]

    @cached_property
    def _inverse(self) -> ClassInverse:
        with self.layer.stopwatch:
            return self.layer.newton.invert(self.features, self.probabilities)


class CrossEntropyLayer:
    """The inner problem of one training set as `gnvpro.surrogate.elimination.protocol.Elimination`.

    Keeps the last inverse of a Hessian as preconditioner: solutions depend on earlier solves within the accuracy
    asked for, and not at all beyond.

    Parameters
    ----------
    targets : (n, K)
        Probabilities of the classes, of the samples of this process: one-hot rows, smoothed or not
        (`gnvpro.surrogate.elimination.labels.one_hot`).
    row_weights : (n,)
        omega, positive; scaled to mean one over all samples. Ones where not given.
    alpha_w
        Regularisation of W, bias included; positive, or separable classes would send W to infinity.
    curvature
        What products are of.
    coupling
        The processes that have the other samples, each at least one. All solve together, and W is the same in all.

    Attributes
    ----------
    stopwatch
        Time of this process spent in inner solves, inverses and derivative solves so far.
    first, n_samples
        The number of the first sample of this process among all, and of all samples.

    Raises
    ------
    UsageError
        Targets that are not probabilities, weights that are not positive, alpha_w that is not, or an unknown curvature; in
        every process, where it is so in one.

    Notes
    -----
    Bytes, for n samples of a process, K classes and features of width w and f bytes (4 or 8): the layer holds 16 n K
    (targets, plain and weighted) and its inverse, f (w K)² where it is dense. A solution holds 16 n K (probabilities,
    residual) and the features as they came. While it is sought there are besides up to 56 n K (predictions and logarithms
    of two iterates, the change of predictions, temporary ones), 4 n K for float32 products, and 8 n w for float32
    features, whose value and gradient need them in float64. What is made by chunks does not grow with n.
    """

    rotation: Tensor | None = None
    is_iterative = True
    group = 1

    def __init__(
        self,
        targets: Tensor,
        row_weights: Tensor | None = None,
        alpha_w: float = 1e-3,
        curvature: ClassCurvature = "schur",
        coupling: Coupling = ALONE,
    ) -> None:
        weights = targets.new_ones(len(targets)) if row_weights is None else row_weights
        # What is wrong in one process would leave the others waiting.
        fault = next(filter(None, coupling.gathered(_fault(targets, weights, alpha_w, curvature))), None)
        if fault is not None:
            raise UsageError(fault)
        self.loss: Loss = CrossEntropy()
        self.targets, self.alpha_w = targets.double(), alpha_w
        self.curvature: ClassCurvature = curvature
        self.matrix_curvature: str = curvature
        self.coupling, (self.first, self.n_samples) = coupling, coupling.place(len(targets))
        self.row_weights = weights.double() * (self.n_samples / coupling.sum(weights.double().sum()))
        self.row_scale = self.sample_weights = (self.row_weights / self.n_samples).unsqueeze(1)
        self.columns = torch.ones_like(self.row_scale)
        self.newton, self.stopwatch = ClassNewton(self.targets, self.row_scale, alpha_w), Stopwatch()

    def solve(self, features: Tensor, start: Tensor | None = None, accuracy: float = 0.0) -> ClassSolution:
        """W in float64 for these features (n, width) of any precision; see `ClassNewton.minimise`.

        Raises
        ------
        UsageError
            A start that is not (width + 1, K).
        """
        shape = features.shape[1] + 1, self.targets.shape[1]
        if start is not None and start.shape != shape:
            raise UsageError(f"expected a start of shape {shape}, got {tuple(start.shape)}")
        with self.stopwatch:
            end = self.newton.minimise(Features(features, self.coupling), start, accuracy)
            at, residual = end.at, self.newton.residual(end.at)
        return ClassSolution(
            self, at.weights, at.probabilities, residual, end.gradient, at.objective, Features(features, self.coupling),
            end.steps, end.products, end.converged,
        )  # fmt: skip

    def hessian(self, solution: ClassSolution, dtype: torch.dtype = torch.float64) -> ClassHessian:
        """The Hessian by W at a solution, its products in this dtype if that resolves alpha_w beside the rest."""
        return self.newton.hessian(solution.features, solution.probabilities, dtype)

    def training_error(self, predictions: Tensor) -> float:
        """Share of the training samples misclassified, every sample counting alike."""
        wrong = (predictions.argmax(1) != self.targets.argmax(1)).sum()
        return float(self.coupling.sum(wrong)) / self.n_samples

    def fresh(self) -> Self:
        """The same problem without the inverse that is kept."""
        return type(self)(self.targets, self.row_weights, self.alpha_w, self.curvature, self.coupling)


def _fault(targets: Tensor, weights: Tensor, alpha_w: float, curvature: str) -> str | None:
    """What is wrong with these."""
    if targets.ndim != 2 or not len(targets) or targets.shape[1] < 2:
        return f"expected targets (n, K), n >= 1 and K >= 2, got {tuple(targets.shape)}; see labels.one_hot"
    rounding = in_precision(1e-9, targets.dtype) if targets.is_floating_point() else 0.0
    if not bool((targets >= 0).all() and (targets.double().sum(1) - 1).abs().max() <= rounding):
        return "expected targets that are probabilities, rows summing to one; see labels.one_hot"
    if weights.shape != targets.shape[:1] or not bool((weights > 0).all() & weights.isfinite().all()):
        return (
            f"expected {len(targets)} positive row weights, got shape {tuple(weights.shape)} from "
            f"{float(weights.min()):g}; leave a sample out instead of giving it weight zero"
        )
    if not (alpha_w > 0 and math.isfinite(alpha_w)):
        return f"expected alpha_w > 0, got {alpha_w}: without it separable classes send W to infinity"
    if curvature not in get_args(ClassCurvature):
        return f"expected curvature {' or '.join(get_args(ClassCurvature))}, got {curvature!r}"
    return None
