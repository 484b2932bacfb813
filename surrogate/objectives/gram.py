"""The dense projected Gauss-Newton matrix of the reduced least-squares problem, without its Jacobian.

With A the weighted augmented features, W the last layer, Q the basis of the range of A, L L' = W W' and A^+ = T Q',

    J'J = <dA L, (I - Q Q') dA L>  [Kaufman]  +  ||R' dA T||²  [what Golub & Pereyra keep besides].

A sample's derivative of any feature by a dense layer is h (x) g, with h the layer's inputs and g what is pulled back, so
sums over samples of products of two layers' derivatives are one GEMM of (h h') with (g g'): n (a b)² operations for a
layer of shape (a, b), where a stored Jacobian (n k, a b) would ask for k times as many. Q and R enter through products
(k² and k n_targets rows) alone. Samples are taken in chunks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from gnvpro.surrogate.coupling import ALONE, Coupling
from gnvpro.surrogate.elimination.protocol import GramTerm
from gnvpro.surrogate.networks.protocol import Evaluation
from gnvpro.surrogate.objectives.regularisation import Regulariser

# What is held at one time besides the matrix and what it is summed of: tables over a chunk of samples, and sums over all
# samples for some of the seeds. It decides how many there are of each, at every width and number of outputs.
BYTES = 2**25


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
    samples = _Samples(linearize, term, group)
    matrix = _fold_both(samples.fold, coupling.sum(_products(samples))) if term.projects else None
    n_rows = max(1, BYTES // (8 * samples.size))
    for along in term.along.split(n_rows, 1):
        for seeds in term.seeds.split(max(1, n_rows // along.shape[1])):
            # B'B is a sum over the rows of B, so that never all of them are there.
            rows = samples.fold(coupling.sum(_projections(samples, seeds, along)))
            if matrix is None:
                matrix = rows.new_zeros(rows.shape[1], rows.shape[1])
            matrix.addmm_(rows.t(), rows, alpha=-1 if term.projects else 1)
    assert matrix is not None
    return matrix


def _fold_both(fold: Callable[[Tensor], Tensor], matrix: Tensor) -> Tensor:
    """Rows and columns of a symmetric matrix by theta, from those by the unfolded coordinates."""
    return fold(fold(matrix).t().contiguous())


class _Samples:
    """The samples, some at a time, with what any seeds send back to the layers there."""

    def __init__(self, linearize: Callable[[slice], LayerSum], term: GramTerm, group: int) -> None:
        self._linearize, self._group, self.seeds = linearize, group, term.seeds
        self._row_scale, self.n = term.row_scale, len(term.along) // group
        first = linearize(slice(0, 1))
        self.shapes = [
            (e.with_bias.shape[1], e.sensitivities.shape[-1]) for e in first.evaluations(first.features.unsqueeze(0))
        ]
        self.size = max(e.where.stop for e in first.evaluations(first.features.unsqueeze(0)))
        self.fold = first.fold

    def evaluations(self, seeds: Tensor, of_a_row: int) -> Iterator[tuple[slice, list[Evaluation]]]:
        """Rows and evaluations in float64 of chunks in which numbers, so many of a row of a sample, fill the memory."""
        together = max(1, BYTES // (8 * of_a_row * self._group))
        for start in range(0, self.n, together):
            samples = slice(start, min(start + together, self.n))
            rows = slice(samples.start * self._group, samples.stop * self._group)
            at = self._linearize(samples)
            everywhere = (seeds.unsqueeze(1) * self._row_scale[rows]).to(at.features)
            yield (
                rows,
                [
                    Evaluation(e.where, e.with_bias.double(), e.sensitivities.double())
                    for e in at.evaluations(everywhere)
                ],
            )


def _products(samples: _Samples) -> Tensor:
    """Sums over samples and seeds of the products of two derivatives, unfolded."""
    seeds, (inputs, outputs) = samples.seeds, (max(sizes) for sizes in zip(*samples.shapes, strict=True))
    sensitivities = sum(b for _, b in samples.shapes) + outputs
    products = seeds.new_zeros(samples.size, samples.size)
    for _, layers in samples.evaluations(seeds, len(seeds) * sensitivities + inputs**2 + outputs**2):
        for i, first in enumerate(layers):
            for second in layers[: i + 1]:
                _multiply(first, second, products)
    return products


def _multiply(first: Evaluation, second: Evaluation, products: Tensor) -> None:
    n = len(first.inputs)
    inputs = (first.inputs.unsqueeze(2) * second.inputs.unsqueeze(1)).view(n, -1)
    left, right = first.sensitivities.permute(1, 2, 0), second.sensitivities.transpose(0, 1)
    backward = torch.bmm(left, right).view(n, -1)
    sizes = first.inputs.shape[1], second.inputs.shape[1], left.shape[1], right.shape[2]
    block = (inputs.t() @ backward).view(sizes).transpose(1, 2).reshape(sizes[0] * sizes[2], -1)
    products[first.where, second.where] += block
    if first is not second:
        products[second.where, first.where] += block.t()


def _projections(samples: _Samples, seeds: Tensor, along: Tensor) -> Tensor:
    """B (q r, size) of some seeds (r, width) and columns (n, q), unfolded."""
    sums = seeds.new_zeros(along.shape[1], len(seeds), samples.size)
    of_a_row = max(a * b for a, b in samples.shapes) + len(seeds) * sum(b for _, b in samples.shapes)
    for rows, layers in samples.evaluations(seeds, of_a_row):
        columns = along[rows].t()
        for layer in layers:
            for r, back in enumerate(layer.sensitivities):
                # The derivative of one seed at every sample, (n, a b), once for all columns.
                derivative = (layer.inputs.unsqueeze(2) * back.unsqueeze(1)).flatten(1)
                sums[:, r, layer.where] += columns @ derivative
    return sums.flatten(0, 1)


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
