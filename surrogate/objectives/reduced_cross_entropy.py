"""The reduced objective of cross-entropy: theta alone, the last layer eliminated.

    phi(theta) = 1/n sum_i omega_i CE(W' phi_i, c_i) + alpha_w/2 ||W||² + alpha_theta/2 ||L theta||²,   W = W(theta).

At the exact W the gradient is the plain one at fixed W (the envelope theorem); at a W that is off by dW it is off in
proportion to ||dW||, while the value is off by its square. Two curvatures are at hand, both positive semidefinite
(derivations in docs/method.md; Newman et al. 2021, Sec. 3):

- `schur`: the Schur complement, in theta, of the generalised Gauss-Newton matrix of (theta, W);
- `paper`: J' H J with J the derivative of the reduced predictions, in which W moves with theta.
"""

from __future__ import annotations

import math
from collections import deque
from functools import cached_property
from typing import Literal, get_args

import torch
from torch import Tensor

from gnvpro.surrogate.elimination.class_hessian import ClassHessian, ClassInverse
from gnvpro.surrogate.elimination.cross_entropy import ClassSolution, CrossEntropyLayer
from gnvpro.surrogate.elimination.losses import CrossEntropy
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.networks.protocol import FeatureNetwork, Layer, Linearization
from gnvpro.surrogate.objectives.layers import charged_layers
from gnvpro.surrogate.objectives.protocol import OuterLayer, Point
from gnvpro.surrogate.objectives.regularisation import Regulariser, as_regulariser
from gnvpro.surrogate.objectives.work import WorkMeter

ClassCurvature = Literal["schur", "paper"]

# Relative error of the implicit derivative, by the dtype of the network's passes. A float32 product carries 7 digits.
_TOLERANCE = {torch.float64: 1e-13, torch.float32: 1e-3}
# Directions whose change of W is remembered: a trust region's Krylov basis is smaller.
_REMEMBERED = 64


class ReducedClasses:
    """Value, gradient and curvature products of the reduced cross-entropy problem; counts its own work.

    Parameters
    ----------
    inputs : (n, n_inputs)
        Scaled features of the samples; their dtype and device are those of the network passes.
    targets : (n, K)
        Probabilities of the classes (`gnvpro.surrogate.elimination.labels.one_hot`).
    row_weights : (n,)
        omega, scaled to mean one (`gnvpro.surrogate.elimination.labels.class_weights`); ones where not given.
    alpha_w
        Regularisation of W, positive.
    alpha_theta
        Regularisation of theta: a number for a ridge, or any `gnvpro.surrogate.objectives.regularisation.Regulariser`.
    curvature
        What `gauss_newton` is a product with.

    Raises
    ------
    ValueError
        Inputs and targets that disagree on samples or are not finite; targets, weights or alpha_w as in
        `gnvpro.surrogate.elimination.cross_entropy.CrossEntropyLayer`; an unknown curvature.

    Notes
    -----
    The inner problem is solved in float64 whatever the dtype of the network.
    """

    def __init__(
        self,
        network: FeatureNetwork,
        inputs: Tensor,
        targets: Tensor,
        *,
        row_weights: Tensor | None = None,
        alpha_w: float = 1e-3,
        alpha_theta: float | Regulariser = 1e-3,
        curvature: ClassCurvature = "schur",
        meter: WorkMeter | None = None,
    ) -> None:
        if len(inputs) != len(targets):
            raise UsageError(
                f"inputs and targets disagree on samples: {len(inputs)} and {len(targets)}; check the split"
            )
        if not bool(torch.isfinite(inputs).all()):
            raise UsageError("inputs hold values that are not finite; remove these samples first")
        if curvature not in get_args(ClassCurvature):
            raise UsageError(f"expected curvature {' or '.join(get_args(ClassCurvature))}, got {curvature!r}")
        weights = targets.new_ones(len(targets)) if row_weights is None else row_weights
        self.network, self.inputs = network, inputs
        self.layer, self.loss = CrossEntropyLayer(targets, weights, alpha_w), CrossEntropy()
        self.targets, self.row_weights, self.alpha_w = self.layer.targets, self.layer.row_weights, alpha_w
        self.regulariser = as_regulariser(alpha_theta)
        self.curvature: ClassCurvature = curvature
        self.meter = WorkMeter() if meter is None else meter

    def at(self, theta: Tensor, *, near: Point | None = None, accuracy: float = 0.0) -> ClassPoint:
        """See `gnvpro.surrogate.objectives.protocol.Objective`; W starts from what `near` predicts for it."""
        self.meter.forward += 1
        start = near.predicted_outer(theta) if isinstance(near, ClassPoint) else None
        return ClassPoint(self, theta, start, accuracy)


class ClassPoint:
    """The reduced cross-entropy objective at one theta, derivatives made on demand."""

    def __init__(
        self, objective: ReducedClasses, theta: Tensor, start: Tensor | None = None, accuracy: float = 0.0
    ) -> None:
        self.objective, self.theta = objective, theta
        self._linearization: Linearization = objective.network.linearize(theta, objective.inputs)
        self.inner: ClassSolution = objective.layer.solve(self._linearization.features.double(), start, accuracy)
        self._responses: deque[tuple[Tensor, Tensor]] = deque(maxlen=_REMEMBERED)

    @property
    def value(self) -> float:
        """The reduced objective; not finite where the features are not, or where W was not found.

        A solver steps back from such a point: its gradient by the envelope theorem would be wrong.
        """
        return self._value

    @property
    def gradient(self) -> Tensor:
        """By theta, (n_theta,): one backward pass. Exact as far as W is."""
        return self._gradient

    @cached_property
    def _value(self) -> float:
        if not self.inner.converged:
            return math.nan
        return float(self.inner.value + self.objective.regulariser.value(self.theta))

    @cached_property
    def _gradient(self) -> Tensor:
        self.objective.meter.backward += 1
        seed = self.inner.residual @ self._feature_weights.t()
        return self._pull_back(seed) + self.objective.regulariser.apply(self.theta)

    def gauss_newton(self, direction: Tensor, kind: ClassCurvature | None = None) -> Tensor:
        """Product of the curvature with a direction: one forward, one backward pass, and small solves by W.

        The change of W that goes with the direction is remembered for `predicted_outer`.

        Parameters
        ----------
        direction : (n_theta,)
        kind
            None for the objective's.
        """
        self.objective.meter.forward += 1
        self.objective.meter.backward += 1
        change = self._linearization.jvp(direction).to(self._hessian.columns)
        product = self._schur if (kind or self.objective.curvature) == "schur" else self._paper
        seed, response = product(change)
        self._responses.append((direction.clone(), response))
        return self._pull_back(seed) + self.objective.regulariser.apply(direction)

    def _schur(self, change: Tensor) -> tuple[Tensor, Tensor]:
        """Seed (n, width) and change of W for a change of the features: D (dZ W + Phi dW) W', dW = -H^-1 Phi' D dZ W."""
        hessian, weights = self._hessian, self._feature_weights.to(change)
        curved = hessian.of_predictions(change @ weights)
        response = -self._solve(hessian.columns.t() @ curved)
        curved += hessian.of_predictions(hessian.columns @ response)
        return curved @ weights.t(), response

    def _paper(self, change: Tensor) -> tuple[Tensor, Tensor]:
        """The same for J' H J and the regularisation of W, which moves too.

        dX = dZ W + Phi dW with dW = -H^-1 (Phi' D dZ W + [dZ, 0]' R); the way back is its adjoint.
        """
        hessian, weights = self._hessian, self._feature_weights.to(change)
        residual = self.inner.residual.to(change)
        curved = hessian.of_predictions(change @ weights)
        right = hessian.columns.t() @ curved
        right[:-1] += change.t() @ residual
        response = -self._solve(right)
        curved += hessian.of_predictions(hessian.columns @ response)
        back = -self._solve(torch.addmm(response, hessian.columns.t(), curved, beta=hessian.alpha_w))
        curved += hessian.of_predictions(hessian.columns @ back)
        return torch.addmm(residual @ back[:-1].t(), curved, weights.t()), response

    def predicted_outer(self, theta: Tensor) -> Tensor:
        """W at another theta to first order, as far as the products asked for here tell; the start of its inner solve.

        The step is resolved in the directions of those products by least squares; what is outside of their span is
        taken not to move W.
        """
        if not self._responses:
            return self.inner.weights
        directions = torch.stack([direction for direction, _ in self._responses])
        gram, along = (directions @ directions.t()).double(), (directions @ (theta - self.theta)).double()
        # Directions may be dependent; a ridge at the level of rounding keeps the system solvable.
        gram.diagonal().add_(1e-6 * gram.diagonal().mean())
        coordinates = torch.linalg.solve(gram, along)
        changes = torch.stack([change for _, change in self._responses])
        return self.inner.weights + torch.tensordot(coordinates.to(changes), changes, 1)

    def curvature_layers(self, generator: torch.Generator) -> list[Layer] | None:
        """Layers with sensitivities to sqrt(omega/n) B e W', B B' the Hessian by the predictions, e random signs.

        Their covariance is the generalised Gauss-Newton matrix of theta at fixed W. See
        `gnvpro.surrogate.objectives.protocol.Point`.
        """
        inner, scale = self.inner, self.objective.layer.row_scale
        signs = 2.0 * torch.randint(0, 2, inner.residual.shape, generator=generator) - 1.0
        root = self.objective.loss.root(inner.columns @ inner.weights, signs.to(inner.weights))
        seed = (scale.sqrt() * root @ self._feature_weights.t()).to(self.theta)
        return charged_layers(self._linearization, seed, self.objective.meter)

    @property
    def network_weights(self) -> Tensor:
        """All of theta: W is not in it."""
        return self.theta

    @property
    def outer(self) -> OuterLayer:
        """W(theta), (width + 1, K)."""
        return OuterLayer(self.inner.weights)

    def training_error(self) -> float:
        """Share of the training samples misclassified, every sample counting alike."""
        wrong = self.inner.probabilities.argmax(1) != self.objective.targets.argmax(1)
        return float(wrong.double().mean())

    @property
    def _feature_weights(self) -> Tensor:
        return self.inner.weights[:-1]

    @cached_property
    def _hessian(self) -> ClassHessian:
        # The inverse first: it knows whether alpha_w is resolved in float32.
        _ = self._inverse
        return self.objective.layer.hessian(self.inner, self.theta.dtype)

    @cached_property
    def _inverse(self) -> ClassInverse:
        return self.objective.layer.inverse_at(self.inner)

    def _solve(self, right: Tensor) -> Tensor:
        tolerance = _TOLERANCE.get(self.theta.dtype, 1e-3)
        return self.objective.layer.solve_hessian(self._hessian, self._inverse, right, tolerance)

    def _pull_back(self, seed: Tensor) -> Tensor:
        return self._linearization.vjp(seed.to(self.theta))
