"""Second derivatives of a surrogate, as products with a direction."""

from __future__ import annotations

import numpy as np
import torch

from gnvpro.surrogate.model.model import differentiable, tensor_of
from gnvpro.surrogate.model.surrogate import Surrogate
from gnvpro.surrogate.spaces import Array


def hessian_product(surrogate: Surrogate, y: Array, dc: Array, dy: Array) -> Array:
    """Hessian of <dc, observables> at `y` times `dy`, row by row and exact: reverse over reverse.

    (n, n_in), (n, n_out), (n, n_in) -> (n, n_in). On a simplex in ambient coordinates, as all derivatives.
    """
    space = surrogate.parameters
    y, dy, dc = space.rows(y), space.rows(dy), surrogate.observables.rows(dc)
    with differentiable():
        at = tensor_of(y).clone().requires_grad_()
        # Rows do not mix, so the gradient of the sum over rows is each row's own.
        (gradient,) = torch.autograd.grad((surrogate.evaluate(at) * tensor_of(dc)).sum(), at, create_graph=True)
        slope = (gradient * tensor_of(dy)).sum()
        if not slope.requires_grad:  # affine: no y is left in the gradient
            return np.zeros_like(y)
        (product,) = torch.autograd.grad(slope, at, allow_unused=True)
    return np.zeros_like(y) if product is None else product.numpy()
