"""The dense projected Gauss-Newton matrix of the reduced least-squares problem, without its Jacobian.

With A the weighted augmented features, W the last layer, Q the basis of the range of A, L L' = W W' and A^+ = T Q',

    J'J = <dA L, (I - Q Q') dA L>  [Kaufman]  +  ||R' dA T||²  [what Golub & Pereyra keep besides].

A sample's derivative of any feature by a dense layer is h (x) g, with h the layer's inputs and g what is pulled back, so
sums over samples of products of two layers' derivatives are one GEMM of (h h') with (g g'): n (a b)² operations for a
layer of shape (a, b), where a stored Jacobian (n k, a b) would ask for k times as many. Q and R enter through products
(k² and k n_targets rows) alone. Samples are taken in chunks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from gnvpro.surrogate.coupling import ALONE, Coupling
from gnvpro.surrogate.elimination.protocol import GramTerm
from gnvpro.surrogate.networks.protocol import Evaluation
from gnvpro.surrogate.objectives.regularisation import Regulariser

# Products of two layers are (chunk, width²) matrices: at width 48 this is 20 MB.
CHUNK = 1024


@runtime_checkable
class LayerSum(Protocol):
    """A linearisation whose derivative is a sum over evaluations of dense layers."""

    @property
    def features(self) -> Tensor:
        """Z: features, (n, width)."""
        ...

    def evaluations(self, seeds: Tensor) -> list[Evaluation]:
        """Every evaluation of a layer, for seeds (..., n, width)."""
        ...

    def fold(self, rows: Tensor) -> Tensor:
        """Gradients by theta (r, n_theta) from those by the unfolded coordinates."""
        ...


def structured_gram(
    linearize: Callable[[slice], LayerSum], term: GramTerm, group: int = 1, coupling: Coupling = ALONE
) -> Tensor:
    """A term as a matrix (n_theta, n_theta); `linearize` gives the `group` rows of every sample in a slice of them."""
    seeds, along, row_scale, _ = term
    n, sums, fold, together = len(along) // group, None, None, max(1, CHUNK // group)
    for start in range(0, n, together):
        samples = slice(start, min(start + together, n))
        rows = slice(samples.start * group, samples.stop * group)
        at = linearize(samples)
        fold, scale = at.fold, row_scale[rows]
        everywhere = (seeds.unsqueeze(1) * scale).to(at.features)
        layers = [
            Evaluation(e.where, e.with_bias.double(), e.sensitivities.double()) for e in at.evaluations(everywhere)
        ]
        if sums is None:
            size = max(layer.where.stop for layer in layers)
            sums = _Sums(
                seeds.new_zeros(size, size) if term.projects else None,
                seeds.new_zeros(along.shape[1], len(seeds), size),
            )
        sums.add(layers, along[rows])
    assert sums is not None
    assert fold is not None
    products = None if sums.products is None else coupling.sum(sums.products)
    projections = coupling.sum(sums.projections).flatten(0, 1)
    if products is None:
        folded = fold(projections)
        return folded.t() @ folded
    matrix = products.addmm_(projections.t(), projections, alpha=-1)
    return fold(fold(matrix).t().contiguous())


class _Sums:
    """Unfolded sums over the samples seen so far."""

    def __init__(self, products: Tensor | None, projections: Tensor) -> None:
        self.products, self.projections = products, projections

    def add(self, layers: list[Evaluation], along: Tensor) -> None:
        for i, first in enumerate(layers):
            self._project(first, along)
            if self.products is not None:
                for second in layers[: i + 1]:
                    self._multiply(first, second)

    def _project(self, layer: Evaluation, along: Tensor) -> None:
        # (q, n) x (n, r b) for every input would do; one GEMM over all of them is faster.
        n, b = len(along), layer.sensitivities.shape[2]
        sides = torch.einsum("nq,rnb->nqrb", along, layer.sensitivities).reshape(n, -1)
        block = (sides.t() @ layer.inputs).view(*self.projections.shape[:2], b, -1)
        self.projections[..., layer.where] += block.transpose(2, 3).flatten(2)

    def _multiply(self, first: Evaluation, second: Evaluation) -> None:
        assert self.products is not None
        n = len(first.inputs)
        inputs = (first.inputs.unsqueeze(2) * second.inputs.unsqueeze(1)).view(n, -1)
        left, right = first.sensitivities.permute(1, 2, 0), second.sensitivities.transpose(0, 1)
        backward = torch.bmm(left, right).view(n, -1)
        sizes = first.inputs.shape[1], second.inputs.shape[1], left.shape[1], right.shape[2]
        block = (inputs.t() @ backward).view(sizes).transpose(1, 2).reshape(sizes[0] * sizes[2], -1)
        self.products[first.where, second.where] += block
        if first is not second:
            self.products[second.where, first.where] += block.t()


def gram_by_products(product: Callable[[Tensor], Tensor], n_theta: int, like: Tensor) -> Tensor:
    """Any symmetric operator as a matrix: its products with the columns of the identity, one at a time."""
    matrix = like.new_zeros(n_theta, n_theta)
    unit = like.new_zeros(n_theta)
    for j in range(n_theta):
        unit[j] = 1.0
        matrix[j] = product(unit)
        unit[j] = 0.0
    return matrix


def regulariser_matrix(regulariser: Regulariser, like: Tensor) -> Tensor:
    """A of 1/2 <theta, A theta>."""
    return torch.func.vmap(regulariser.apply)(torch.eye(len(like), dtype=torch.float64, device=like.device))
