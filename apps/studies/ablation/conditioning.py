"""Condition of the Gauss-Newton matrices with W kept and with W eliminated, dense, at one point.

Kaufman's matrix of the reduced problem is the Schur complement, in theta, of the full one, so its condition number cannot
be larger: eliminating variables of a positive definite matrix shrinks the interval of its eigenvalues.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from gnvpro.surrogate.objectives.full import FullObjective
from gnvpro.surrogate.objectives.reduced import ReducedObjective


class Spectra(NamedTuple):
    """Eigenvalues in ascending order, at (theta, W(theta))."""

    full: Tensor
    kaufman: Tensor
    golub_pereyra: Tensor

    def conditions(self) -> dict[str, float]:
        """Largest over smallest eigenvalue of each matrix."""
        return {name: float(values[-1] / values[0]) for name, values in self._asdict().items()}


def spectra(reduced: ReducedObjective, theta: Tensor) -> Spectra:
    """All three, from products with every unit vector: for some hundred weights, and a ridge on theta."""
    point, full, whole = reduced.at(theta), FullObjective(reduced), slice(0, len(theta))
    kept = full.at(full.start(theta, outer="solved"))
    units = torch.eye(len(theta), dtype=theta.dtype)
    by_theta = [torch.stack([point.gauss_newton(e, kind) for e in units]) for kind in ("kaufman", "golub-pereyra")]
    by_all = torch.stack([kept.gauss_newton(e) for e in torch.eye(full.n_theta, dtype=theta.dtype)])
    # No eigenvalue is below the regularisation; what rounding puts there is put back.
    alpha = reduced.regulariser.mean_diagonal(whole)
    floors = min(reduced.elimination.alpha_w, alpha), alpha
    return Spectra(_eigenvalues(by_all, floors[0]), *(_eigenvalues(matrix, floors[1]) for matrix in by_theta))


def _eigenvalues(matrix: Tensor, floor: float) -> Tensor:
    return torch.linalg.eigvalsh(0.5 * (matrix + matrix.t())).clamp(min=floor)
