"""The reduced objective: theta alone, the last layer eliminated (variable projection).

    phi(theta) = 1/(2n) sum_i omega_i² ||x_i - c_i||² + alpha_w/2 ||W||² + alpha_theta/2 ||L theta||²,   W = W(theta).

At the exact W the gradient is the plain one at fixed W (the envelope theorem), so one backward pass gives it.
The Gauss-Newton operator differentiates the reduced residual, in which W moves with theta (notation in
docs/method.md; Golub & Pereyra 1973, Kaufman 1975, Newman et al. 2021, Sec. 3).
"""

from __future__ import annotations

import copy
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor

from gnvpro.surrogate.elimination.least_squares import InnerSolution, LeastSquaresLayer
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.networks.protocol import FeatureNetwork, Layer, Linearization
from gnvpro.surrogate.objectives.gram import LayerSum, gram_by_products, regulariser_matrix, structured_gram
from gnvpro.surrogate.objectives.layers import charged_layers
from gnvpro.surrogate.objectives.protocol import OuterLayer, Point
from gnvpro.surrogate.objectives.regularisation import Regulariser, as_regulariser
from gnvpro.surrogate.objectives.work import WorkMeter

GaussNewtonKind = Literal["golub-pereyra", "kaufman"]


class ReducedObjective:
    """Value, gradient and Gauss-Newton products of the reduced least-squares problem; counts its own work.

    Parameters
    ----------
    inputs : (n, n_inputs)
        Scaled parameters; their dtype and device are those of the network passes.
    targets : (n, n_out)
        Scaled observables.
    row_weights : (n,)
        omega; ones where not given.
    fixed : (n, q)
        Columns beside the features that do not depend on theta, such as polynomials of the inputs; W acts on them and
        on the bias too.
    compression
        Targets are rotated onto their right singular vectors, and those below this fraction of the largest
        singular value are dropped. Rotating outputs changes nothing, so zero is exact and still brings the
        number of targets down to their numerical rank.
    alpha_theta
        Regularisation of theta: a number for a ridge, or any `gnvpro.surrogate.objectives.regularisation.Regulariser`.
    curvature
        What Gauss-Newton products are of: the full derivative of the reduced residual, or Kaufman's approximation.

    Raises
    ------
    ValueError
        Inputs and targets that disagree on samples, that are not finite, or weights that are not positive.

    Notes
    -----
    The inner problem is always solved in float64: float32 features carry 7 digits, and their QR would lose half.
    """

    def __init__(
        self,
        network: FeatureNetwork,
        inputs: Tensor,
        targets: Tensor,
        *,
        row_weights: Tensor | None = None,
        fixed: Tensor | None = None,
        alpha_w: float = 1e-10,
        alpha_theta: float | Regulariser = 1e-9,
        compression: float = 0.0,
        curvature: GaussNewtonKind = "golub-pereyra",
        meter: WorkMeter | None = None,
    ) -> None:
        if len(inputs) != len(targets):
            raise UsageError(
                f"inputs and targets disagree on samples: {len(inputs)} and {len(targets)}; check the split"
            )
        if min(alpha_w, compression) < 0:
            raise UsageError(f"expected regularisation and compression >= 0, got {alpha_w} and {compression}")
        targets = targets.double()
        weights = targets.new_ones(len(targets)) if row_weights is None else row_weights.double()
        ones = targets.new_ones(len(targets), 1)
        columns = ones if fixed is None else torch.cat([fixed.double(), ones], 1)
        checked = (("inputs", inputs), ("targets", targets), ("row weights", weights), ("fixed columns", columns))
        for what, values in checked:
            if not bool(torch.isfinite(values).all()):
                raise UsageError(f"{what} hold values that are not finite; remove these samples first")
        if not bool((weights > 0).all()):
            raise UsageError("expected positive row weights; leave a sample out instead of giving it weight zero")
        self.network, self.inputs = network, inputs
        self.alpha_w, self.regulariser = alpha_w, as_regulariser(alpha_theta)
        self.curvature: GaussNewtonKind = curvature
        self.meter = WorkMeter() if meter is None else meter
        self.rotation, compressed, self.dropped = _compress(targets, weights, compression)
        self.layer = LeastSquaresLayer(compressed, weights, alpha_w, columns)
        self.target_norms = torch.linalg.vector_norm(targets, dim=1)
        self.row_weights, self.targets, self.columns = weights, compressed, columns

    def sibling(self, network: FeatureNetwork, inputs: Tensor, alpha_theta: float | Regulariser) -> ReducedObjective:
        """The same problem for another network, with a meter of its own.

        Compressed targets and the factorisation of the fixed columns are shared: at thousands of samples they cost
        more than hundreds of steps.
        """
        other = copy.copy(self)
        other.network, other.inputs, other.meter = network, inputs, WorkMeter()
        other.regulariser = as_regulariser(alpha_theta)
        return other

    def at(self, theta: Tensor, *, near: Point | None = None, accuracy: float = 0.0) -> ReducedPoint:
        """The objective at theta, W exact; see `gnvpro.surrogate.objectives.protocol.Objective`."""
        self.meter.forward += 1
        return ReducedPoint(self, theta)


class ReducedPoint:
    """The reduced objective at one theta, derivatives made on demand."""

    def __init__(self, objective: ReducedObjective, theta: Tensor) -> None:
        self.objective, self.theta = objective, theta
        self._linearization: Linearization = objective.network.linearize(theta, objective.inputs)
        self.inner: InnerSolution = objective.layer.solve(self._linearization.features.double())

    @property
    def value(self) -> float:
        """The reduced objective; not finite where the features are not."""
        return self._value

    @property
    def gradient(self) -> Tensor:
        """Exact gradient by theta, (n_theta,): one backward pass."""
        return self._gradient

    @cached_property
    def _value(self) -> float:
        return float(self.inner.value + self.objective.regulariser.value(self.theta))

    @cached_property
    def _gradient(self) -> Tensor:
        self.objective.meter.backward += 1
        return self._pull_back(self.inner.residual @ self.inner.weights.t()) + self.objective.regulariser.apply(
            self.theta
        )

    def gauss_newton(self, direction: Tensor, kind: GaussNewtonKind | None = None) -> Tensor:
        """Product of J'J with a direction, J the derivative of the reduced residual: one forward, one backward pass.

        With P = I - Q Q' and dA the change of the weighted features,
        dR = P dA W - (A^+)' dA' R. The two terms are orthogonal, so J'J is the sum of theirs; Kaufman's
        approximation is the first alone. Either gives the exact gradient J'R.

        Parameters
        ----------
        direction : (n_theta,)
        kind
            None for the objective's.
        """
        meter, inner, scale = self.objective.meter, self.inner, self.objective.layer.row_scale
        meter.forward += 1
        meter.backward += 1
        change = self._linearization.jvp(direction).double() * scale
        seed = change @ self._weights_gram
        seed -= self._basis @ (self._basis.t() @ seed)
        if (kind or self.objective.curvature) == "golub-pereyra":
            seed += inner.residual @ ((inner.residual.t() @ change) @ self._inverse_gram)
        return self._pull_back(seed) + self.objective.regulariser.apply(direction)

    def gauss_newton_matrix(self, kind: GaussNewtonKind = "kaufman") -> Tensor:
        """J'J with its regularisation as a matrix, (n_theta, n_theta) in float64, for few weights.

        Structured where the network shows its layers (`gnvpro.surrogate.objectives.gram`): one forward pass and as many
        backward passes as seeds are pulled back, which are rank(W), and for Golub-Pereyra the rank of the features
        besides. Otherwise by products with the identity.
        """
        if not isinstance(self._linearization, LayerSum):
            return gram_by_products(lambda v: self.gauss_newton(v, kind), len(self.theta), self.theta).double()
        objective, inner = self.objective, self.inner

        def linearize(rows: slice) -> LayerSum:
            found = objective.network.linearize(self.theta, objective.inputs[rows])
            assert isinstance(found, LayerSum)
            return found

        # L' by QR of W': rows of zeros, where the rank is smaller, are seeds that need no pass.
        seeds = torch.linalg.qr(inner.weights.t(), mode="r").R
        seeds = seeds[torch.linalg.vector_norm(seeds, dim=1) > 0]
        matrix = structured_gram(linearize, seeds, self._basis, objective.layer.row_scale, gram=True)
        objective.meter.forward += 1
        objective.meter.backward += len(seeds)
        if kind == "golub-pereyra":
            inverse = inner.feature_inverse.t().contiguous()
            moved = structured_gram(linearize, inverse, inner.residual, objective.layer.row_scale, gram=False)
            matrix.addmm_(moved.t(), moved)
            objective.meter.forward += 1
            objective.meter.backward += len(inverse)
        return matrix.add_(regulariser_matrix(objective.regulariser, self.theta))

    def curvature_layers(self, generator: torch.Generator) -> list[Layer] | None:
        """Layers with sensitivities to E W', E random signs: their covariance is the Gauss-Newton operator's.

        See `gnvpro.surrogate.objectives.protocol.Point`.
        """
        shape = self.inner.residual.shape
        signs = 2.0 * torch.randint(0, 2, shape, generator=generator) - 1.0
        return self.layers(signs.to(self.inner.weights) @ self.inner.weights.t())

    def layers(self, seed: Tensor) -> list[Layer] | None:
        """Layers with sensitivities to `seed` (n, width), a change of the weighted residual; None if unknown.

        Charged as `gnvpro.surrogate.objectives.layers.charged_layers` says.
        """
        weighted = (seed * self.objective.layer.row_scale).to(self.theta)
        return charged_layers(self._linearization, weighted, self.objective.meter)

    @property
    def network_weights(self) -> Tensor:
        """All of theta: W is not in it."""
        return self.theta

    @property
    def outer(self) -> OuterLayer:
        """W(theta)."""
        return OuterLayer(torch.cat([self.inner.weights, self.inner.fixed_weights]), self.objective.rotation)

    @property
    def outer_weights(self) -> Tensor:
        """W(theta) in the coordinates of the targets, (n_out, width + q + 1): features, fixed columns, bias."""
        return self.outer.weights

    def training_error(self) -> float:
        """Mean over samples of the relative L2 error, the dropped directions of the targets included."""
        objective = self.objective
        residual = torch.linalg.vector_norm(self.inner.residual, dim=1) / objective.layer.row_scale[:, 0]
        return float((torch.sqrt(residual**2 + objective.dropped**2) / objective.target_norms).mean())

    def _pull_back(self, seed: Tensor) -> Tensor:
        return self._linearization.vjp((seed * self.objective.layer.row_scale).to(self.theta))

    @cached_property
    def _basis(self) -> Tensor:
        return torch.cat([self.inner.fixed_basis, self.inner.basis], 1)

    @cached_property
    def _weights_gram(self) -> Tensor:
        return self.inner.weights @ self.inner.weights.t()

    @cached_property
    def _inverse_gram(self) -> Tensor:
        return self.inner.feature_inverse @ self.inner.feature_inverse.t()


def _compress(targets: Tensor, row_weights: Tensor, fraction: float) -> tuple[Tensor, Tensor, Tensor]:
    """Rotation (k, n_out) with orthonormal rows, targets in it (n, k), and the norm of what each row lost."""
    _, singular, right = torch.linalg.svd(targets * row_weights.unsqueeze(1), full_matrices=False)
    rank = max(1, int((singular > max(fraction, 1e-15) * singular[0]).sum()))
    rotation = right[:rank]
    compressed = targets @ rotation.t()
    return rotation, compressed, torch.linalg.vector_norm(targets - compressed @ rotation, dim=1)
