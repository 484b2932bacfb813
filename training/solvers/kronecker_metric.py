"""A Kronecker-factored metric: the Gauss-Newton matrix at fixed W, layer by layer.

The gradient of a dense layer is h'g with h its inputs and g its sensitivities, so with J the derivative of the weighted
predictions by theta at fixed W, the layer's block of J'J is close to (h'h / n) (x) (g'g). With random signs E, the seed E W'
has the covariance of that matrix, and one backward pass gives g in every layer. In the eigenbases U_A, U_B of the two factors
the diagonal is measured, not assumed to be a product (George et al. 2018, EKFAC):

    D = ((h U_A)²)' ((g U_B)²),   H_0 V = U_A [ (U_A' V U_B) / (D + lambda mean(D) + alpha_theta) ] U_B'.

The reduced objective's own Gauss-Newton matrix, in which W moves, is that of the projected derivative; its trace is 10 to 1e6
times smaller. L-BFGS mends the size, by the scale of its last step; estimates of the projected matrix cost more passes and
were no better (docs/method.md).

The gradient of a convolution at one sample is a sum of h'g over positions. Its factors sum over samples and positions
(Grosse & Martens 2016); its D is that of the true gradients of the samples, cross terms between positions included,
which costs as much as the gradient does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from gnvpro.surrogate.coupling import ALONE, Coupling
from gnvpro.surrogate.networks.protocol import Layer
from gnvpro.surrogate.objectives.protocol import Point

# Relative to the mean of D over all layers; larger damping suits noisy data.
DAMPING = 1e-5
# Entries of per-sample gradients held at one time while D of a convolution is measured.
GRADIENTS_AT_ONCE = 2**22


class Factors(NamedTuple):
    """Of one layer: its places in theta, its eigenbases U_A and U_B, and D in them."""

    where: slice | Tensor
    inputs_basis: Tensor
    outputs_basis: Tensor
    diagonal: Tensor


@dataclass(frozen=True, eq=False)
class Block:
    """The same with 1 / (D + shift)."""

    where: slice | Tensor
    inputs_basis: Tensor
    outputs_basis: Tensor
    inverse_diagonal: Tensor


@dataclass(frozen=True, eq=False)
class KroneckerMetric:
    """The inverse metric H_0 and its square root, from one backward pass at a point; without blocks the identity."""

    blocks: list[Block]

    @classmethod
    def at(cls, point: Point, seed: int) -> KroneckerMetric | None:
        """The metric at this point, or None for a network that does not show its layers."""
        chunks = point.layer_chunks(seed)
        return None if chunks is None else cls.of(factors_of(chunks, point.objective.elimination.coupling), point)

    @classmethod
    def of(cls, factors: list[Factors], point: Point, damping: float = DAMPING) -> KroneckerMetric:
        """The metric of these factors of all of theta; the regularisation is the point's."""
        mean = sum(diagonal.sum() * _copies(where) for where, *_, diagonal in factors) / len(point.theta)
        shift, alpha = damping * mean, point.objective.regulariser.mean_diagonal
        return cls(
            [Block(where, a, b, 1 / (diagonal + (shift + alpha(_span(where))))) for where, a, b, diagonal in factors]
        )

    def apply(self, vectors: Tensor) -> Tensor:
        """H_0 on one vector (n_theta,) or on rows (r, n_theta)."""
        return self._scaled(vectors, root=False)

    def apply_root(self, vectors: Tensor) -> Tensor:
        """The symmetric square root of H_0, likewise."""
        return self._scaled(vectors, root=True)

    def _scaled(self, vectors: Tensor, root: bool) -> Tensor:
        if not self.blocks:
            return vectors
        out = torch.empty_like(vectors)
        for block in self.blocks:
            diagonal = block.inverse_diagonal.sqrt() if root else block.inverse_diagonal
            if vectors.ndim == 1 and isinstance(block.where, slice):
                # The same products without the dispatch of the general case, which costs more than they do: twice a step.
                inside = torch.mm(block.inputs_basis.t(), vectors[block.where].view(diagonal.shape))
                inside = torch.mm(inside, block.outputs_basis).mul_(diagonal)
                back = out[block.where].view(diagonal.shape)
                torch.mm(torch.mm(block.inputs_basis, inside), block.outputs_basis.t(), out=back)
                continue
            part = vectors[..., block.where]
            if isinstance(block.where, slice):
                part = part.reshape(*vectors.shape[:-1], *diagonal.shape)
            inside = (block.inputs_basis.t() @ part @ block.outputs_basis) * diagonal
            scaled = block.inputs_basis @ inside @ block.outputs_basis.t()
            out[..., block.where] = scaled.reshape(out[..., block.where].shape)
        return out


IDENTITY = KroneckerMetric([])


def factors_of(chunks: Callable[[], Iterable[list[Layer]]], coupling: Coupling = ALONE) -> list[Factors]:
    """U_A, U_B and D of every layer, D the sum of the samples' squared gradients.

    `chunks` gives the layers at some samples after the other, as often as it is called: twice, as D is in the bases.
    """
    totals: list[tuple[Tensor, Tensor]] = []
    for number, layers in enumerate(chunks()):
        found = [_products(layer) for layer in layers]
        totals = found if not number else [(a + c, b + d) for (a, b), (c, d) in zip(totals, found, strict=True)]
    spectra = []
    for by_inputs, by_outputs in totals:
        by_inputs, by_outputs = coupling.sums(by_inputs, by_outputs)
        spectra.append((torch.linalg.eigh(by_inputs), torch.linalg.eigh(by_outputs)))
    diagonals: list[Tensor] = []
    places: list[slice | Tensor] = []
    for number, layers in enumerate(chunks()):
        places = [layer.where for layer in layers]
        found = [_diagonal(layer, a[1], b[1]) for layer, (a, b) in zip(layers, spectra, strict=True)]
        diagonals = found if not number else [one + other for one, other in zip(diagonals, found, strict=True)]
    return [
        # Whole gradients have their eigenvalues for D.
        Factors(where, a[1], b[1], b[0].clamp(min=0).unsqueeze(0) if a[1].numel() == 1 else coupling.sum(diagonal))
        for where, (a, b), diagonal in zip(places, spectra, diagonals, strict=True)
    ]


def _products(layer: Layer) -> tuple[Tensor, Tensor]:
    """h'h and g'g, of rows of samples and positions; of whole gradients 1 and theirs."""
    _, h, g = layer
    if _has_whole_gradients(layer):
        rows = h * g
        return h.new_ones(1, 1), rows.t() @ rows
    rows_h, rows_g = (h.flatten(0, 1), g.flatten(0, 1)) if h.ndim == 3 else (h, g)
    return rows_h.t() @ rows_h, rows_g.t() @ rows_g


def _diagonal(layer: Layer, inputs_basis: Tensor, outputs_basis: Tensor) -> Tensor:
    """D in these bases; zero where it is not made so."""
    _, h, g = layer
    diagonal = h.new_zeros(len(inputs_basis), len(outputs_basis))
    if _has_whole_gradients(layer):
        return diagonal
    h, g = h @ inputs_basis, g @ outputs_basis
    if h.ndim == 2:
        return (h**2).t() @ g**2
    together = max(1, GRADIENTS_AT_ONCE // diagonal.numel())
    for some_h, some_g in zip(h.split(together), g.split(together), strict=True):
        diagonal += torch.bmm(some_h.transpose(1, 2), some_g).square_().sum(0)
    return diagonal


def _has_whole_gradients(layer: Layer) -> bool:
    return layer.inputs.ndim == 2 and layer.inputs.shape[1] == 1


def _copies(where: slice | Tensor) -> int:
    return 1 if isinstance(where, slice) or where.ndim == 2 else len(where)


def _span(where: slice | Tensor) -> slice:
    return where if isinstance(where, slice) else slice(int(where.min()), int(where.max()) + 1)
