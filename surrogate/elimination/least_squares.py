"""The eliminated layer: exact least squares for W at fixed features.

With Z: features (n, width), P: fixed columns (n, q; the bias is a column of ones) and omega: row weights,

    A = [omega Z / sqrt(n), omega P / sqrt(n); sqrt(alpha_w) I],   B = [omega C / sqrt(n); 0],
    W = argmin ||A W - B||²    (Golub & Pereyra 1973; Newman et al. 2021, Sec. 3).

Derivatives along directions v_1 … v_r of the inputs are further rows of a sample, Ż W = Ċ with the same W: they follow the
row of its value and have no bias, and n stays the number of samples.

The fixed columns do not move during training, so their orthonormal basis is made once and projected out of the
moving ones. A is never squared: cond(Z) passes 1e8 late in training, which Z'Z would turn into 1e16.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from copy import copy
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple, Self, get_args

import torch
from torch import Tensor

from gnvpro.surrogate.coupling import ALONE, Coupling
from gnvpro.surrogate.elimination.compression import compressed
from gnvpro.surrogate.elimination.losses import LeastSquares, Loss, random_signs
from gnvpro.surrogate.elimination.protocol import GramTerm
from gnvpro.surrogate.elimination.ridge_path import FULL_LEVERAGE, SMALLEST, Choice, alphas, choose_alpha
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.precision import all_finite

GaussNewtonKind = Literal["golub-pereyra", "kaufman"]

# One over the condition number from which columns count as dependent, and the SVD takes over; all is in float64 here.
RANK_TOLERANCE = 1e-13


@dataclass(frozen=True, eq=False)
class LeastSquaresSolution:
    """W(theta) and derivatives through it, see `gnvpro.surrogate.elimination.protocol.Solution`.

    Tensors have the rows of the data only unless said otherwise.

    Attributes
    ----------
    weights : (width, k)
        Last-layer weights of the features, transposed (features are rows).
    fixed_weights : (q, k)
        Those of the fixed columns.
    residual : (n, k)
        Weighted residual, omega (Phi W - C) / sqrt(n).
    fixed_basis, basis : (n, q), (n, width)
        Data rows of an orthonormal basis Q of the range of A, what the fixed columns span and what the features add;
        the projector on its complement is I - Q Q'.
    feature_inverse : (width, r)
        T with T T' = the block of (A'A)^+ that belongs to the features.
    value
        1/2 ||residual||² + alpha_w/2 ||W||², a scalar tensor.
    """

    layer: LeastSquaresLayer
    weights: Tensor
    fixed_weights: Tensor
    residual: Tensor
    fixed_basis: Tensor
    basis: Tensor
    feature_inverse: Tensor
    value: Tensor
    converged = True

    @property
    def outer(self) -> Tensor:
        """W, (width + q, k)."""
        return torch.cat([self.weights, self.fixed_weights])

    def settled(self, value: float, features: Tensor) -> LeastSquaresSolution:
        """Itself, or where the value is not a number the solution of minimum norm at these features."""
        return self.layer.by_svd(features) if math.isnan(value) else self

    def feature_gradient(self) -> Tensor:
        """That of the value by the features, W fixed."""
        return (self.residual @ self.weights.t()) * self.layer.row_scale

    def curvature_product(self, change: Tensor, kind: str | None = None) -> tuple[Tensor, None]:
        """The seed of J'J v, J the derivative of the reduced residual, for dA the change of the weighted features.

        With P = I - Q Q', dR = P dA W - (A^+)' dA' R. The two terms are orthogonal, so J'J is the sum of theirs; Kaufman's
        approximation is the first alone. Either gives the exact gradient J'R.
        """
        change = change.double() * self.layer.row_scale
        seed, sums = change @ self._weights_gram, self.layer.coupling.sums
        if (kind or self.layer.curvature) == "golub-pereyra":
            along, crossed = sums(self.span.t() @ seed, self.residual.t() @ change)
            seed += self.residual @ (crossed @ self._inverse_gram)
        else:
            (along,) = sums(self.span.t() @ seed)
        seed -= self.span @ along
        return seed * self.layer.row_scale, None

    def gram_terms(self, kind: str) -> list[GramTerm]:
        """Of J'J: <dA L, P dA L> with L L' = W W', and ||R' dA T||² besides for Golub and Pereyra."""
        # L' by QR of W': rows of zeros, where the rank is smaller, are seeds that need no pass.
        seeds = torch.linalg.qr(self.weights.t(), mode="r").R
        seeds = seeds[torch.linalg.vector_norm(seeds, dim=1) > 0]
        scale, inverse = self.layer.row_scale, self.feature_inverse.t().contiguous()
        terms = [GramTerm(seeds, self.span, scale, True), GramTerm(inverse, self.residual, scale, False)]
        return terms if kind == "golub-pereyra" else terms[:1]

    def probe(self, seed: int, projected: bool = False) -> Tensor:
        """E W' with E random signs, weighted; P E W' couples samples and has, but for alpha_w, Kaufman's covariance."""
        layer = self.layer
        random = random_signs(self.residual, seed, layer.first_row) @ self.weights.t()
        if projected:
            random -= self.span @ layer.coupling.sum(self.span.t() @ random)
        return random * layer.row_scale

    def leverages(self) -> Tensor:
        """Diagonal of the projector on the range of the columns, (n,): how far a sample determines its own prediction."""
        return (self.span**2).sum(1)

    def leave_one_out(self) -> Tensor:
        """Weighted residuals (n, k) of each sample by the W of all others: r_i / (1 - h_i), in closed form.

        At this theta, which has seen the sample: of features that were trained they are too small. A sample with derivatives
        is left out with all of its rows.
        """
        if (group := self.layer.group) > 1:
            return left_out_together(self.span, self.residual, group)
        return self.residual / (1 - self.leverages().clamp(max=FULL_LEVERAGE)).unsqueeze(1)

    def training_error(self) -> float:
        """Mean relative L2 error of the values, dropped directions of the targets included."""
        norms = torch.linalg.vector_norm(self.residual, dim=1) / self.layer.row_scale[:, 0]
        return self.layer.mean_error(norms**2)

    @cached_property
    def span(self) -> Tensor:
        """Both bases beside each other, (n, q + width)."""
        return torch.cat([self.fixed_basis, self.basis], 1)

    @cached_property
    def _weights_gram(self) -> Tensor:
        return self.weights @ self.weights.t()

    @cached_property
    def _inverse_gram(self) -> Tensor:
        return self.feature_inverse @ self.feature_inverse.t()


class LeastSquaresLayer:
    """The inner problem of one training set as `gnvpro.surrogate.elimination.protocol.Elimination`.

    Parameters
    ----------
    targets : (n, n_out)
    row_weights : (n,)
        omega, one per row, positive; ones where not given.
    alpha_w
        Regularisation of W, >= 0; zero asks for the minimum-norm W where features are dependent.
    fixed : (n, q)
        Columns beside the features and the column of ones that is the bias.
    compression
        Targets are rotated onto their right singular vectors, and those below this fraction of the largest
        singular value are dropped. Rotating outputs changes nothing, so zero is exact and still brings the
        number of targets down to their numerical rank. None leaves them as they are.
    curvature
        What products are of: the full derivative of the reduced residual, or Kaufman's approximation.
    norms : (n,)
        What errors of samples are relative to; the norms of the targets where not given.
    group
        Rows of every sample, one after the other: its value, then its derivatives, on which the bias does not act. What is
        called n above is the number of samples times this, but for `norms`.
    coupling
        With the processes that hold other samples of the set: arrays have the rows of this one.

    Raises
    ------
    UsageError
        Targets, columns or weights that are not finite, weights that are not positive, alpha_w or compression below zero.
    """

    matrix_curvature = "kaufman"
    is_iterative = False

    def __init__(
        self,
        targets: Tensor,
        row_weights: Tensor | None = None,
        alpha_w: float = 1e-10,
        fixed: Tensor | None = None,
        compression: float | None = None,
        curvature: GaussNewtonKind = "golub-pereyra",
        norms: Tensor | None = None,
        group: int = 1,
        coupling: Coupling = ALONE,
    ) -> None:
        if min(alpha_w, compression or 0.0) < 0:
            raise UsageError(f"expected regularisation and compression >= 0, got {alpha_w} and {compression}")
        if curvature not in get_args(GaussNewtonKind):
            raise UsageError(f"expected curvature {' or '.join(get_args(GaussNewtonKind))}, got {curvature!r}")
        targets, n = targets.double(), len(targets)
        weights = targets.new_ones(n) if row_weights is None else row_weights.double()
        if n % group:
            raise UsageError(f"expected {group} rows of every sample, got {n} rows")
        self.group, self._values, self.coupling = group, slice(None, None, group), coupling
        self.first, self.n_samples = coupling.place(n // group)
        ones = targets.new_zeros(n, 1)
        ones[self._values] = 1.0
        self.columns = ones if fixed is None else torch.cat([fixed.double(), ones], 1)
        for what, values in (("targets", targets), ("row weights", weights), ("fixed columns", self.columns)):
            if coupling.any(not all_finite(values)):
                raise UsageError(f"{what} hold values that are not finite; remove these samples first")
        if coupling.any(weights.shape != (n,) or not bool((weights > 0).all())):
            raise UsageError(
                f"expected {n} positive row weights, got shape {tuple(weights.shape)}; "
                "leave a sample out instead of giving it weight zero"
            )
        self.loss: Loss = LeastSquares()
        self.row_weights = weights
        self.curvature: GaussNewtonKind = curvature
        self.target_norms = torch.linalg.vector_norm(targets[self._values], dim=1) if norms is None else norms
        self.rotation: Tensor | None = None
        self.targets, self.dropped = targets, torch.zeros_like(weights)
        if compression is not None:
            self.rotation, self.targets, self.dropped = compressed(targets, weights, compression, coupling)
        self.row_scale = (weights / math.sqrt(self.n_samples)).unsqueeze(1)
        self.sample_weights = self.row_scale**2
        self._regularise(alpha_w)

    def _regularise(self, alpha_w: float) -> None:
        """Project the fixed columns out of the targets, with this regularisation."""
        self.alpha_w, targets = alpha_w, self.targets
        n_fixed, n_targets = self.columns.shape[1], targets.shape[1]
        ridge = self._ridge(n_fixed, targets)
        columns = torch.cat([self.columns * self.row_scale, ridge])
        padded = torch.cat([targets * self.row_scale, targets.new_zeros(len(ridge), n_targets)])
        basis, self._fixed_solution, self._fixed_inverse = factorised(columns, padded, self.coupling)
        self._fixed_basis = basis
        self._free_targets = padded.addmm_(basis, self.coupling.sum(basis.t() @ padded), alpha=-1)

    def _ridge(self, width: int, like: Tensor) -> Tensor:
        """Rows that are the regularisation of so many columns: the first process has them."""
        return math.sqrt(self.alpha_w) * _eye(width, like)[: width if self.coupling.is_first else 0]

    def solve(self, features: Tensor, start: Tensor | None = None, accuracy: float = 0.0) -> LeastSquaresSolution:
        """W for these features (n, width), by an orthogonal factorisation: exact, so that the rest is ignored."""
        solution = self.by_qr(features)
        return solution.settled(float(solution.value), features)

    def by_qr(self, features: Tensor) -> LeastSquaresSolution:
        """The same, whose value is not a number where it shows, once it is read, that the columns are dependent."""
        return self._solved(features, _by_qr)

    def by_svd(self, features: Tensor) -> LeastSquaresSolution:
        """W of minimum norm."""
        return self._solved(features, _by_svd)

    def _solved(self, features: Tensor, factorise: _Factorise) -> LeastSquaresSolution:
        n, (rows, _), coupling = len(self.targets), self._fixed_basis.shape, self.coupling
        columns, along_fixed = self._moving(features)
        basis, weights, inverse, is_usable = factorise(columns, self._free_targets, coupling)
        # The rows of `columns` are feature rows with the fixed part removed, so this residual is that of all columns.
        residual = torch.addmm(self._free_targets, columns[:rows], weights, beta=-1)
        fixed_weights = self._fixed_solution - self._fixed_inverse @ (along_fixed @ weights)
        misfit = coupling.sum(torch.linalg.vector_norm(residual) ** 2)
        value = 0.5 * (misfit + self.alpha_w * torch.linalg.vector_norm(weights) ** 2)
        value = torch.where(is_usable, value, torch.nan)
        return LeastSquaresSolution(
            self, weights, fixed_weights, residual[:n], self._fixed_basis[:n], basis[:n], inverse, value
        )

    def _moving(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Weighted features without what fixed columns span, with the rows of both regularisations, and what these span."""
        n, (rows, _), features = len(self.targets), self._fixed_basis.shape, features.double()
        ridge = self._ridge(features.shape[1], features)
        columns = features.new_zeros(rows + len(ridge), features.shape[1])
        torch.mul(features, self.row_scale, out=columns[:n])
        along_fixed = self.coupling.sum(self._fixed_basis[:n].t() @ columns[:n])
        columns[:rows].addmm_(self._fixed_basis, along_fixed, alpha=-1)
        columns[rows:] = ridge
        return columns, along_fixed

    def training_error(self, predictions: Tensor) -> float:
        """Mean relative L2 error, dropped directions of the targets included."""
        return self.mean_error(((predictions - self.targets) ** 2).sum(1))

    def mean_error(self, squares: Tensor) -> float:
        """Mean relative L2 error of the values from the squared misfit of every row in the targets that were kept, (n,)."""
        errors = (squares + self.dropped**2)[self._values].sqrt() / self.target_norms
        return float(self.coupling.sum(errors.sum()) / self.n_samples)

    @property
    def first_row(self) -> int:
        """The number of this process's first row among all."""
        return self.first * self.group

    def fresh(self) -> Self:
        """Itself: nothing is remembered."""
        return self

    def with_alpha(self, alpha_w: float) -> LeastSquaresLayer:
        """The same problem with another regularisation of W: targets are not compressed anew."""
        layer = copy(self)
        layer._regularise(alpha_w)
        return layer

    def best_alpha(self, features: Tensor, smallest: float = SMALLEST) -> Choice:
        """The regularisation of W by generalised cross-validation at these features (n, width), none below the smallest."""
        weights = self.row_weights * math.sqrt(self.group)  # of as many samples as there are rows
        return choose_alpha(
            features, self.targets, weights, self.columns, path=alphas(smallest), coupling=self.coupling
        )


class _Factorised(NamedTuple):
    """Orthonormal Q of the range, columns^+ targets, T with columns^+ = T Q', and whether these hold, a scalar tensor."""

    basis: Tensor
    solution: Tensor
    inverse: Tensor
    is_usable: Tensor


_Factorise = Callable[[Tensor, Tensor, Coupling], _Factorised]


def factorised(columns: Tensor, targets: Tensor, coupling: Coupling = ALONE) -> tuple[Tensor, Tensor, Tensor]:
    """Q, columns^+ targets and T: by QR; by the SVD of R, hence of minimum norm, where the columns are dependent.

    Rows that the targets lack are zero.
    """
    result = _by_qr(columns, targets, coupling)
    return (result if bool(result.is_usable) else _by_svd(columns, targets, coupling))[:3]


def _by_qr(columns: Tensor, targets: Tensor, coupling: Coupling) -> _Factorised:
    """Usable unless the inverse of R shows that the columns are dependent."""
    basis, triangle = coupling.orthogonal(columns)
    along = coupling.sum(basis[: len(targets)].t() @ targets)
    # One substitution serves both; a solution by the explicit inverse would lose cond(R) digits.
    right_sides = torch.cat([along, _eye(len(triangle), triangle)], 1)
    solution, inverse = torch.linalg.solve_triangular(triangle, right_sides, upper=True).split(
        [targets.shape[1], len(triangle)], 1
    )
    # The diagonal of R does not do: Kahan's matrix has one of ordinary size, and a condition of 1e17.
    condition = torch.linalg.vector_norm(triangle) * torch.linalg.vector_norm(inverse)
    return _Factorised(basis, solution, inverse, condition < 1 / RANK_TOLERANCE)


def _by_svd(columns: Tensor, targets: Tensor, coupling: Coupling) -> _Factorised:
    """Of minimum norm; not usable where features overflowed."""
    basis, triangle = coupling.orthogonal(columns)
    along = coupling.sum(basis[: len(targets)].t() @ targets)
    is_finite = torch.isfinite(triangle).all()
    if not bool(is_finite):
        return _Factorised(basis, torch.full_like(along, torch.nan), triangle, is_finite)
    left, singular, right = torch.linalg.svd(triangle)
    keep = singular > RANK_TOLERANCE * singular[0]
    inverse = right[keep].t() / singular[keep]
    return _Factorised(basis @ left[:, keep], inverse @ (left[:, keep].t() @ along), inverse, is_finite)


def left_out_together(basis: Tensor, residual: Tensor, group: int) -> Tensor:
    """Residuals (n, k) of each sample's rows by a least-squares fit to all others: (I - H_s)^-1 r_s, H the projector on the
    range of the columns, of which `basis` (n, q) holds the data rows."""
    rows = basis.unflatten(0, (-1, group))
    hats = rows @ rows.mT
    values, vectors = torch.linalg.eigh(hats)
    shrunk = vectors / (1 - values.clamp(max=FULL_LEVERAGE)).unsqueeze(1) @ vectors.mT
    return (shrunk @ residual.unflatten(0, (-1, group))).flatten(0, 1)


def _eye(n: int, like: Tensor) -> Tensor:
    return torch.eye(n, dtype=like.dtype, device=like.device)
