"""Least squares for outputs that some samples lack: every column of W is solved for on the samples that have it.

One factorisation of all samples and a small matrix a pattern (`gnvpro.surrogate.elimination.patterns`) give W, the gradient
and products with the curvature. Where features depend on each other at the samples of a pattern, each pattern is a problem of
its own, solved by the SVD of its samples.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import override

import torch
from torch import Tensor

from gnvpro.surrogate.elimination.compression import compressed
from gnvpro.surrogate.elimination.least_squares import (
    RANK_TOLERANCE,
    GaussNewtonKind,
    LeastSquaresLayer,
    LeastSquaresSolution,
)
from gnvpro.surrogate.elimination.losses import random_signs
from gnvpro.surrogate.elimination.patterns import Patterns, Restriction
from gnvpro.surrogate.elimination.protocol import GramTerm, InnerProblem
from gnvpro.surrogate.elimination.ridge_path import FULL_LEVERAGE, SMALLEST, Choice, alphas, choose_alpha, chosen
from gnvpro.surrogate.errors import UsageError


@dataclass(frozen=True, eq=False)
class PartialSolution(LeastSquaresSolution):
    """As `LeastSquaresSolution`; the residual is zero where a value is missing, and `restriction` is of the whole basis."""

    layer: PartialLeastSquaresLayer
    restriction: Restriction

    @override
    def curvature_product(self, change: Tensor, kind: str | None = None) -> tuple[Tensor, None]:
        """As of complete outputs, each with the projector and the inverse of its own pattern."""
        change = change.double() * self.layer.row_scale
        seed = self.restriction.complement(change @ self.weights) @ self.weights.t()
        if (kind or self.layer.curvature) == "golub-pereyra":
            seed += self.residual @ self._by_inverse(change.t() @ self.residual).t()
        return seed * self.layer.row_scale, None

    def _by_inverse(self, values: Tensor) -> Tensor:
        """The block of (A_g'A_g)^-1 that belongs to the features, times values (width, k) of the columns of every pattern."""
        along = self.feature_inverse.t() @ values
        padded = torch.cat([along.new_zeros(self.fixed_basis.shape[1], along.shape[1]), along])
        found = self.layer.patterns.by_pattern(self.restriction.inverse, padded)
        return self.feature_inverse @ found[self.fixed_basis.shape[1] :]

    @override
    def gram_terms(self, kind: str) -> list[GramTerm]:
        """Those of every pattern."""
        terms, q = list[GramTerm](), self.fixed_basis.shape[1]
        of_patterns = zip(
            self.layer.patterns.groups(), self.restriction.bases(), self.restriction.inverses(), strict=True
        )
        for g, ((_, columns), basis, inverse) in enumerate(of_patterns):
            scale = self.layer.row_scale * self.layer.patterns.present[:, g, None]
            seeds = torch.linalg.qr(self.weights[:, columns].t(), mode="r").R
            terms.append(GramTerm(seeds[torch.linalg.vector_norm(seeds, dim=1) > 0], basis, scale, True))
            if kind == "golub-pereyra":
                half = self.feature_inverse @ torch.linalg.cholesky(inverse[q:, q:])
                terms.append(GramTerm(half.t().contiguous(), self.residual[:, columns], scale, False))
        return terms

    @override
    def probe(self, seed: int, projected: bool = False) -> Tensor:
        random = random_signs(self.residual, seed, self.layer.first_row) * self.layer.patterns.mask
        if projected:
            random = self.restriction.complement(random)
        return random @ self.weights.t() * self.layer.row_scale

    @override
    def leverages(self) -> Tensor:
        """As of complete outputs, (n, k): those of a sample differ by pattern, and are zero where it has no value."""
        return self.restriction.of_columns(self.restriction.leverages())

    @override
    def leave_one_out(self) -> Tensor:
        """As of complete outputs; zero where there is no value."""
        return self.residual / (1 - self.leverages().clamp(max=FULL_LEVERAGE))


@dataclass(frozen=True, eq=False)
class GroupedSolution(LeastSquaresSolution):
    """Solutions of the patterns by themselves, in their order; bases and inverse of the whole are empty."""

    layer: PartialLeastSquaresLayer
    parts: list[LeastSquaresSolution]

    @override
    def curvature_product(self, change: Tensor, kind: str | None = None) -> tuple[Tensor, None]:
        def of_part(part: LeastSquaresSolution, rows: Tensor) -> Tensor:
            return part.curvature_product(change[rows], kind)[0]

        return self._sum(change, of_part), None

    @override
    def gram_terms(self, kind: str) -> list[GramTerm]:
        terms = list[GramTerm]()
        for part, (rows, _) in zip(self.parts, self.layer.patterns.groups(), strict=True):
            for term in part.gram_terms(kind):
                along, scale = (self._scattered(values, rows) for values in (term.along, term.row_scale))
                terms.append(term._replace(along=along, row_scale=scale))
        return terms

    @override
    def probe(self, seed: int, projected: bool = False) -> Tensor:
        signs = random_signs(self.residual, seed, self.layer.first_row)
        columns = {id(part): of for part, (_, of) in zip(self.parts, self.layer.patterns.groups(), strict=True)}

        def of_part(part: LeastSquaresSolution, rows: Tensor) -> Tensor:
            random = signs[rows][:, columns[id(part)]]
            if projected:
                random = random - part.span @ (part.span.t() @ random)
            return random @ part.weights.t() * part.layer.row_scale

        return self._sum(signs, of_part)

    @override
    def leverages(self) -> Tensor:
        """(n, k), zero where there is no value."""
        return self._by_column(lambda part: part.leverages().unsqueeze(1).expand_as(part.residual))

    @override
    def leave_one_out(self) -> Tensor:
        return self._by_column(LeastSquaresSolution.leave_one_out)

    def _sum(self, like: Tensor, of_part: Callable[[LeastSquaresSolution, Tensor], Tensor]) -> Tensor:
        """Of seeds (n_g, width) of every part and its samples, at all samples."""
        total = self.residual.new_zeros(len(like), len(self.weights))
        for part, (rows, _) in zip(self.parts, self.layer.patterns.groups(), strict=True):
            total.index_add_(0, rows, of_part(part, rows))
        return total

    def _by_column(self, of_part: Callable[[LeastSquaresSolution], Tensor]) -> Tensor:
        parts = zip(self.parts, self.layer.patterns.groups(), strict=True)
        return torch.cat([self._scattered(of_part(part), rows) for part, (rows, _) in parts], 1)

    def _scattered(self, values: Tensor, rows: Tensor) -> Tensor:
        return _placed(values, rows, len(self.layer.targets))


class PartialLeastSquaresLayer(LeastSquaresLayer):
    """`LeastSquaresLayer` of targets some of which are missing, for one process.

    Parameters
    ----------
    targets : (n, n_out)
        NaN where a value is missing. Those of `LeastSquaresLayer.targets` are sorted by pattern, and zero there.
    compression
        As there, of the targets of a pattern: they alone may be rotated.
    norms : (n,)
        What errors of samples are relative to, which is to be known of all of their outputs.

    The others are those of `LeastSquaresLayer`.

    Raises
    ------
    UsageError
        An output without any value, and what `LeastSquaresLayer` refuses.
    """

    def __init__(
        self,
        targets: Tensor,
        row_weights: Tensor | None = None,
        alpha_w: float = 1e-10,
        fixed: Tensor | None = None,
        compression: float | None = None,
        curvature: GaussNewtonKind = "golub-pereyra",
        norms: Tensor | None = None,
    ) -> None:
        targets = targets.double()
        present = ~torch.isnan(targets)
        if not bool(present.any(0).all()):
            raise UsageError(
                f"expected values of every output, got none of number {int((~present.any(0)).nonzero()[0])}"
            )
        patterns, order = Patterns.of(present)
        weights = targets.new_ones(len(targets)) if row_weights is None else row_weights.double()
        kept, rotations, dropped = list[Tensor](), list[Tensor](), torch.zeros_like(targets[:, 0])
        for rows, columns in patterns.groups():
            own = targets[rows][:, order[columns]]
            if compression is None or own.shape[1] == 1:
                rotations.append(torch.eye(own.shape[1]).to(own))
            else:
                rotation, own, lost = compressed(own, weights[rows], compression)
                rotations.append(rotation)
                dropped[rows] = torch.hypot(dropped[rows], lost)
            kept.append(_placed(own, rows, len(targets)))
        self.patterns = patterns.with_counts([len(rotation) for rotation in rotations])
        norms = torch.linalg.vector_norm(torch.nan_to_num(targets), dim=1) if norms is None else norms
        super().__init__(torch.cat(kept, 1), row_weights, alpha_w, fixed, None, curvature, norms)
        whole = torch.block_diag(*rotations)
        self.rotation: Tensor | None = torch.empty_like(whole).index_copy_(1, order, whole)
        self.dropped = dropped
        self._weighted = self.targets * self.row_scale

    @override
    def by_qr(self, features: Tensor) -> PartialSolution:
        columns, along_fixed = self._moving(features)
        (n, _), q = self.targets.shape, self._fixed_basis.shape[1]
        basis, triangle = torch.linalg.qr(columns)
        fixed_basis, basis = self._fixed_basis[:n], basis[:n]
        restriction = Restriction(self.patterns, torch.cat([fixed_basis, basis], 1))
        found = restriction.coordinates(self._weighted)
        width, k = len(triangle), self.targets.shape[1]
        right_sides = torch.cat([found[q:], torch.eye(width).to(triangle)], 1)
        weights, inverse = torch.linalg.solve_triangular(triangle, right_sides, upper=True).split([k, width], 1)
        fixed_weights = self._fixed_inverse @ (found[:q] - along_fixed @ weights)
        residual = self.patterns.mask * (restriction.basis @ found) - self._weighted
        squares = [torch.linalg.vector_norm(part) ** 2 for part in (residual, weights, fixed_weights)]
        value = 0.5 * (squares[0] + self.alpha_w * (squares[1] + squares[2]))
        condition = torch.linalg.vector_norm(triangle) * torch.linalg.vector_norm(inverse)
        value = torch.where(restriction.is_usable & (condition < 1 / RANK_TOLERANCE), value, torch.nan)
        return PartialSolution(
            self, weights, fixed_weights, residual, fixed_basis, basis, inverse, value, restriction=restriction
        )

    @override
    def by_svd(self, features: Tensor) -> GroupedSolution:
        """W of minimum norm, of every pattern by itself."""
        parts = [
            layer.by_svd(features[rows]) for layer, (rows, _) in zip(self._parts(), self.patterns.groups(), strict=True)
        ]
        n = len(self.targets)
        residual = [
            _placed(part.residual, rows, n) for part, (rows, _) in zip(parts, self.patterns.groups(), strict=True)
        ]
        weights, fixed_weights = (
            torch.cat(of, 1) for of in ([p.weights for p in parts], [p.fixed_weights for p in parts])
        )
        none = weights.new_zeros(n, 0)
        value = torch.stack([part.value for part in parts]).sum()
        return GroupedSolution(
            self, weights, fixed_weights, torch.cat(residual, 1), none, none, none[:0], value, parts=parts
        )

    def _parts(self) -> list[LeastSquaresLayer]:
        """The problem of every pattern by itself, with the weights that its samples have among all."""
        return [
            LeastSquaresLayer(
                self.targets[rows][:, columns],
                self._weights_among_all(rows),
                self.alpha_w,
                self.columns[rows][:, :-1],
                curvature=self.curvature,
            )
            for rows, columns in self.patterns.groups()
        ]

    def _weights_among_all(self, rows: Tensor) -> Tensor:
        """Row weights of some samples alone, with which each counts as it does among all."""
        return self.row_weights[rows] * math.sqrt(len(rows) / len(self.targets))

    @override
    def training_error(self, predictions: Tensor) -> float:
        """Mean relative L2 error of what there is, dropped directions of the targets included."""
        return self.mean_error((self.patterns.mask * (predictions - self.targets) ** 2).sum(1))

    @override
    def best_alpha(self, features: Tensor, smallest: float = SMALLEST) -> Choice:
        """As of complete outputs, by the sum over the patterns of their squared scores."""
        path, squares = alphas(smallest), dict[float, float]()
        for rows, columns in self.patterns.groups():
            weights = self._weights_among_all(rows)
            scores = choose_alpha(
                features[rows], self.targets[rows][:, columns], weights, self.columns[rows], path=path
            ).path
            squares = {alpha: squares.get(alpha, 0.0) + score**2 for alpha, score in scores.items()}
        return chosen({alpha: math.sqrt(square) for alpha, square in squares.items()})


def _placed(values: Tensor, rows: Tensor, n: int) -> Tensor:
    """Values of some of n samples among zeros of the others."""
    return values.new_zeros(n, values.shape[1]).index_copy_(0, rows, values)


def require_complete(problem: InnerProblem, what: str) -> None:
    """UsageError where outputs of samples are missing, for what does without elimination by pattern."""
    if isinstance(problem, PartialLeastSquaresLayer):
        raise UsageError(
            f"{what} needs every output of every sample, and some are missing; leave these samples out "
            "(samples.complete), or eliminate the last layer of all samples together, as varpro-lbfgs does"
        )
