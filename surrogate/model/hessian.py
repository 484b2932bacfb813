"""Second derivatives of a surrogate, as products with a direction."""

from __future__ import annotations

import numpy as np
import torch

from gnvpro.surrogate.model.surrogate import Surrogate
from gnvpro.surrogate.spaces import Array


def hessian_product(surrogate: Surrogate, y: Array, dc: Array, dy: Array) -> Array:
    """Hessian of <dc, observables> at `y` times `dy`, row by row and exact: reverse over reverse.

    (n, n_in), (n, n_out), (n, n_in) -> (n, n_in). On a simplex in ambient coordinates, as all derivatives.
    """
    at = torch.from_numpy(y).requires_grad_()
    along = torch.from_numpy(dy)
    # Rows do not mix, so the gradient of the sum over rows is each row's own.
    (gradient,) = torch.autograd.grad((surrogate.evaluate(at) * torch.from_numpy(dc)).sum(), at, create_graph=True)
    slope = (gradient * along).sum()
    if not slope.requires_grad:  # affine: no y is left in the gradient
        return np.zeros_like(y)
    (product,) = torch.autograd.grad(slope, at, allow_unused=True)
    return np.zeros_like(y) if product is None else product.numpy()
