"""The reduced objective: theta alone, the last layer eliminated (variable projection).

    phi(theta) = sum_i w_i loss(x_i, c_i) + alpha_w/2 ||W||² + alpha_theta/2 ||L theta||²,   W = W(theta),

with w_i = omega_i²/n and loss = 1/2 ||x - c||² for least squares, w_i = omega_i/n for cross-entropy. At the exact W the
gradient is the plain one at fixed W (the envelope theorem), so one backward pass gives it; at a W that is off by dW it is
off in proportion to ||dW||, while the value is off by its square. Curvatures let W move with theta (notation in
docs/method.md; Golub & Pereyra 1973, Kaufman 1975, Newman et al. 2021, Sec. 3).
"""

from __future__ import annotations

import torch
from torch import Tensor

from gnvpro.surrogate.coupling import ALONE, Coupling
from gnvpro.surrogate.elimination.cross_entropy import ClassCurvature, CrossEntropyLayer
from gnvpro.surrogate.elimination.least_squares import GaussNewtonKind, LeastSquaresLayer
from gnvpro.surrogate.elimination.partial import PartialLeastSquaresLayer
from gnvpro.surrogate.elimination.protocol import Elimination, Solution
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.networks.protocol import FeatureNetwork, Linearization
from gnvpro.surrogate.networks.tangents import linearize_tangents
from gnvpro.surrogate.objectives.protocol import Point
from gnvpro.surrogate.objectives.regularisation import Regulariser, as_regulariser
from gnvpro.surrogate.objectives.work import WorkMeter
from gnvpro.surrogate.precision import all_finite


class ReducedObjective:
    """An `gnvpro.surrogate.objectives.protocol.Objective` of theta alone; counts its own work.

    Parameters
    ----------
    inputs : (n, n_inputs)
        Scaled parameters; their dtype and device are those of the network passes.
    directions : (n, r, n_inputs)
        Along which the elimination's targets hold derivatives too, rows of a sample after each other
        (`gnvpro.surrogate.networks.tangents`); None for values alone.
    elimination
        The inner problem of the same samples. It is solved in float64 whatever the dtype of the network: float32 features
        carry 7 digits, and their QR would lose half.
    alpha_theta
        Regularisation of theta: a number for a ridge, or any `gnvpro.surrogate.objectives.regularisation.Regulariser`.

    Raises
    ------
    UsageError
        Inputs and targets that disagree on samples, or inputs that are not finite.
    """

    def __init__(
        self,
        network: FeatureNetwork,
        inputs: Tensor,
        elimination: Elimination,
        alpha_theta: float | Regulariser,
        meter: WorkMeter | None = None,
        directions: Tensor | None = None,
    ) -> None:
        n_targets, group = len(elimination.targets), elimination.group
        if len(inputs) * group != n_targets:
            raise UsageError(
                f"inputs and targets disagree on samples: {len(inputs)} and {n_targets // group}; check the split"
            )
        if (0 if directions is None else directions.shape[1]) != group - 1:
            raise UsageError(
                f"expected {group - 1} directions at every sample, as many as the targets have derivatives"
            )
        if not all_finite(inputs):
            raise UsageError("inputs hold values that are not finite; remove these samples first")
        self.network, self.inputs, self.directions, self.elimination = network, inputs, directions, elimination
        self.regulariser = as_regulariser(alpha_theta)
        self.meter = WorkMeter(rows=group) if meter is None else meter

    @property
    def rotation(self) -> Tensor:
        """From the targets that the last layer meets to those given, (k, n_out)."""
        rotation, n_targets = self.elimination.rotation, self.elimination.targets.shape[1]
        return torch.eye(n_targets).to(self.elimination.targets) if rotation is None else rotation

    def sibling(
        self,
        network: FeatureNetwork | None = None,
        inputs: Tensor | None = None,
        alpha_theta: float | Regulariser | None = None,
        directions: Tensor | None = None,
        alpha_w: float | None = None,
    ) -> ReducedObjective:
        """The same problem, for another network maybe, with a meter of its own and no memory of earlier solves.

        Compressed targets and the factorisation of the fixed columns are shared: at thousands of samples they cost
        more than hundreds of steps.
        """
        elimination = self.elimination.fresh()
        if alpha_w is not None:
            if not isinstance(elimination, LeastSquaresLayer):
                raise UsageError("expected least squares where alpha_w changes, got classes; prepare them anew")
            elimination = elimination.with_alpha(alpha_w)
        return ReducedObjective(
            self.network if network is None else network,
            self.inputs if inputs is None else inputs,
            elimination,
            self.regulariser if alpha_theta is None else alpha_theta,
            directions=self.directions if directions is None else directions,
        )

    def at(self, theta: Tensor, *, near: Point | None = None, accuracy: float = 0.0) -> Point:
        """The objective at theta; an iterative inner solve starts from what `near` predicts for it."""
        self.meter.forward += 1
        start = near.predicted_outer(theta) if near is not None and self.elimination.is_iterative else None
        return Point(self, theta, self.meter, start, accuracy)

    def network_weights(self, theta: Tensor) -> Tensor:
        """All of theta: W is not in it."""
        return theta

    def linearize(self, theta: Tensor, samples: slice | Tensor = slice(None)) -> Linearization:
        """The network at theta."""
        inputs = self.inputs[samples]
        if self.directions is None:
            return self.network.linearize(theta, inputs)
        return linearize_tangents(self.network, theta, inputs, self.directions[samples])

    def solve(self, theta: Tensor, features: Tensor, start: Tensor | None, accuracy: float) -> Solution:
        """W(theta); in closed form without waiting for the device, to be settled when the value is read."""
        if isinstance(self.elimination, LeastSquaresLayer):
            return self.elimination.by_qr(features)
        return self.elimination.solve(features, start, accuracy)

    def batch_gradient(self, theta: Tensor, index: Tensor) -> Tensor:
        """None exists."""
        raise UsageError("minibatches need a FullObjective; here the last layer is solved for on all samples together")


def reduced_least_squares(
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
    norms: Tensor | None = None,
    directions: Tensor | None = None,
    coupling: Coupling = ALONE,
) -> ReducedObjective:
    """The reduced least-squares problem; see `LeastSquaresLayer` and `ReducedObjective` for the parameters.

    Targets may be NaN where a sample lacks them (`PartialLeastSquaresLayer`): of values alone, in one process.
    """
    group = 1 if directions is None else 1 + directions.shape[1]
    if group == coupling.size == 1 and not all_finite(targets) and bool(torch.isnan(targets).any()):
        partial = PartialLeastSquaresLayer(targets, row_weights, alpha_w, fixed, compression, curvature, norms)
        return ReducedObjective(network, inputs, partial, alpha_theta)
    layer = LeastSquaresLayer(targets, row_weights, alpha_w, fixed, compression, curvature, norms, group, coupling)
    return ReducedObjective(network, inputs, layer, alpha_theta, directions=directions)


def reduced_cross_entropy(
    network: FeatureNetwork,
    inputs: Tensor,
    targets: Tensor,
    *,
    row_weights: Tensor | None = None,
    alpha_w: float = 1e-3,
    alpha_theta: float | Regulariser = 1e-3,
    curvature: ClassCurvature = "schur",
    coupling: Coupling = ALONE,
) -> ReducedObjective:
    """The reduced problem of classes; see `CrossEntropyLayer` and `ReducedObjective` for the parameters."""
    layer = CrossEntropyLayer(targets, row_weights, alpha_w, curvature, coupling)
    return ReducedObjective(network, inputs, layer, alpha_theta)
