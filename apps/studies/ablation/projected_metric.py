"""What the Kronecker-factored metric would be of the projected Gauss-Newton matrix, in which W moves with theta.

The product's metric estimates the matrix at fixed W. Seeds that are projected, (I - Q Q') E W', have the covariance of
Kaufman's matrix, but the projector couples samples: what it removes is gone from the sum of the samples' gradients only. So D
is the square of that sum, averaged over several seeds, where the product's is the sum of the samples' squares from one.
"""

from __future__ import annotations

from typing import cast

import torch

from gnvpro.surrogate.elimination.least_squares import LeastSquaresSolution
from gnvpro.surrogate.objectives.protocol import Point
from gnvpro.training.solvers.kronecker_metric import KroneckerMetric, factors_of

PROBES = 8
# Relative to mean(D): an average of so few squares is a tenth of its mean often enough. 1e-3 to 1e-1 were tried.
DAMPING = 1e-2


def projected_metric(point: Point, seed: int) -> KroneckerMetric | None:
    """The metric at a point of a least-squares objective of a dense network; a backward pass for every seed."""
    inner = cast(LeastSquaresSolution, point.inner)
    first = point.curvature_layers(seed)
    if first is None:
        return None
    factors = factors_of(lambda: [first])
    diagonals = [torch.zeros_like(factor.diagonal) for factor in factors]
    for number in range(1, PROBES + 1):
        layers = point.layers(inner.probe(seed + number, projected=True))
        assert layers is not None
        for factor, diagonal, layer in zip(factors, diagonals, layers, strict=True):
            gradient = factor.inputs_basis.t() @ (layer.inputs.t() @ layer.sensitivities) @ factor.outputs_basis
            diagonal += gradient**2 / PROBES
    return KroneckerMetric.of(
        [factor._replace(diagonal=d) for factor, d in zip(factors, diagonals, strict=True)], point, DAMPING
    )
