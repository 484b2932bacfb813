"""Regularisation of the last layer from the data: leave-one-out and generalised cross-validation along a path.

With A = U S V' the weighted columns, fixed ones included, and B the weighted targets, ridge regression with alpha has the
leverages h_i = sum_j U_ij² S_j² / (S_j² + alpha) and the residuals r = B - U S²/(S² + alpha) U'B: every alpha of a path
costs two small products after one SVD. The residual of a sample that is left out is r_i / (1 - h_i) (Allen 1974);
generalised cross-validation has the mean of h in place of h_i (Golub, Heath & Wahba 1979). Along a training, choosing
alpha anew from time to time is what slimTrain does (Newman, Chung, Chung & Ruthotto, SIAM J. Sci. Comput. 2022).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from gnvpro.surrogate.coupling import ALONE, Coupling

Score = Literal["leave-one-out", "gcv"]

# What noise-free data of a PDE bear, and what ruins smooth data.
SMALLEST, LARGEST = 1e-10, 1e-2
# Smaller ones are preferred until a larger one is better by more than this factor: noise-free data lose nothing.
_MARGIN = 0.99
# A sample that fixes a direction alone predicts nothing when it is left out.
FULL_LEVERAGE = 1 - 1e-9


class Choice(NamedTuple):
    """The chosen alpha, its score (root mean square of weighted residuals left out), and the scores of the path."""

    alpha: float
    score: float
    path: dict[float, float]


def alphas(smallest: float = SMALLEST, largest: float = LARGEST) -> list[float]:
    """Powers of ten from the smallest to the largest."""
    return [smallest * 10**k for k in range(round(math.log10(largest / smallest)) + 1)]


def choose_alpha(
    features: Tensor,
    targets: Tensor,
    row_weights: Tensor | None = None,
    fixed: Tensor | None = None,
    *,
    path: Sequence[float] | None = None,
    score: Score = "gcv",
    theta_weights: int = 0,
    coupling: Coupling = ALONE,
) -> Choice:
    """The regularisation of W of least score; the smallest where others gain less than a hundredth.

    Parameters
    ----------
    features : (n, width)
    targets : (n, k)
    row_weights : (n,)
        omega, as in `gnvpro.surrogate.elimination.least_squares.LeastSquaresLayer`; ones where not given.
    fixed : (n, q)
        Columns beside the features, those of ones included; ones alone where not given.
    theta_weights
        Degrees of freedom that the features have taken already, added to the trace of the leverages in
        generalised cross-validation.
    coupling
        With the processes that hold other samples.
    """
    omega = features.new_ones(len(features), dtype=torch.float64) if row_weights is None else row_weights.double()
    ones = torch.ones_like(omega).unsqueeze(1)
    n = coupling.place(len(omega)).total
    scale = (omega / math.sqrt(n)).unsqueeze(1)
    columns = torch.cat([features.double(), ones if fixed is None else fixed.double()], 1) * scale
    weighted = targets.double() * scale
    basis, triangle = coupling.orthogonal(columns)
    turned, singular, _ = torch.linalg.svd(triangle, full_matrices=False)
    left = basis @ turned
    along, squares, energies = coupling.sum(left.t() @ weighted), singular**2, left**2
    outside = weighted - left @ along
    scores: dict[float, float] = {}
    for alpha in alphas() if path is None else path:
        kept = torch.where(squares > 0, squares / (squares + alpha), 0.0)
        residual = outside + left @ ((1 - kept).unsqueeze(1) * along)
        shares = energies @ kept if score == "leave-one-out" else ((kept.sum() + theta_weights) / n).expand_as(omega)
        shares = shares.clamp(max=FULL_LEVERAGE)
        scores[alpha] = float(coupling.sum(((residual**2).sum(1) / (1 - shares) ** 2).sum()).sqrt())
    return chosen(scores)


def chosen(scores: dict[float, float]) -> Choice:
    """The alpha of least score, or a smaller one that is as good."""
    least = min(scores.values())
    alpha = next(alpha for alpha in sorted(scores) if scores[alpha] * _MARGIN <= least)
    return Choice(alpha, scores[alpha], scores)
