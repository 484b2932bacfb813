"""A Kronecker-factored metric: the projected Gauss-Newton matrix, layer by layer.

The gradient of a dense layer is h'g with h its inputs and g its sensitivities, so the layer's block of J'J is
close to (h'h / n) (x) (g'g). With random signs E, the seed E W' has the covariance of the Gauss-Newton operator,
and one backward pass gives g in every layer. In the eigenbases U_A, U_B of the two factors the diagonal is
measured, not assumed to be a product (George et al. 2018, EKFAC):

    D = ((h U_A)²)' ((g U_B)²),   H_0 V = U_A [ (U_A' V U_B) / (D + lambda mean(D) + alpha_theta) ] U_B'.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from surrogate.objective import Point

# Relative to the mean of D over all layers; larger damping suits noisy data.
DAMPING = 1e-5


@dataclass(frozen=True)
class _Block:
    where: slice
    inputs_basis: Tensor
    outputs_basis: Tensor
    inverse_diagonal: Tensor


class KroneckerMetric:
    """The inverse metric H_0 and its square root, from one backward pass at a point."""

    def __init__(self, blocks: list[_Block]) -> None:
        self._blocks = blocks

    @classmethod
    def at(cls, point: Point, seed: int) -> KroneckerMetric | None:
        """The metric at this point, or None for a network that does not show its layers."""
        layers = point.curvature_layers(torch.Generator().manual_seed(seed))
        if layers is None:
            return None
        factors = []
        for layer in layers:
            _, inputs_basis = torch.linalg.eigh(layer.inputs.t() @ layer.inputs)
            _, outputs_basis = torch.linalg.eigh(layer.sensitivities.t() @ layer.sensitivities)
            diagonal = ((layer.inputs @ inputs_basis) ** 2).t() @ (layer.sensitivities @ outputs_basis) ** 2
            factors.append((layer.where, inputs_basis, outputs_basis, diagonal))
        mean = sum(diagonal.sum() for *_, diagonal in factors) / len(point.theta)
        shift, alpha = DAMPING * mean, point.objective.regulariser.typical
        return cls([_Block(where, a, b, 1 / (diagonal + (shift + alpha(where)))) for where, a, b, diagonal in factors])

    def apply(self, vectors: Tensor) -> Tensor:
        """H_0 on one vector (n_theta,) or on rows (r, n_theta)."""
        return self._scaled(vectors, root=False)

    def apply_root(self, vectors: Tensor) -> Tensor:
        """The symmetric square root of H_0, likewise."""
        return self._scaled(vectors, root=True)

    def _scaled(self, vectors: Tensor, root: bool) -> Tensor:
        out = torch.empty_like(vectors)
        for block in self._blocks:
            shape = block.inverse_diagonal.shape
            diagonal = block.inverse_diagonal.sqrt() if root else block.inverse_diagonal
            part = vectors[..., block.where].reshape(*vectors.shape[:-1], *shape)
            inside = (block.inputs_basis.t() @ part @ block.outputs_basis) * diagonal
            out[..., block.where] = (block.inputs_basis @ inside @ block.outputs_basis.t()).reshape(
                *vectors.shape[:-1], -1
            )
        return out
