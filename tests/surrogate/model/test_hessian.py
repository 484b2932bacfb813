"""Second derivatives of a surrogate."""

import numpy as np
import pytest
import torch

from gnvpro.surrogate.model.hessian import hessian_product
from gnvpro.surrogate.model.surrogate import Surrogate
from gnvpro.surrogate.networks.dense import DenseNetwork
from gnvpro.surrogate.scaling import Scaling
from gnvpro.surrogate.spaces import Space

RNG = np.random.default_rng(5)
Y, C = RNG.uniform(1, 2, (40, 4)), RNG.uniform(3, 9, (40, 6))


@pytest.fixture(scope="module")
def surrogate():
    network = DenseNetwork(4, (5, 3))
    weights = torch.randn(6, network.width + 1, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    spaces = Space.observed(Y, "parameter"), Space.observed(C, "observable")
    scaling = Scaling.standardised(Y, C, gain=2.0)
    return Surrogate.assemble(network, network.initial(0), weights, scaling, *spaces, {"seed": 3})


def products(surrogate, y, dc):
    """The Hessian (n_in, n_in) by its products with the unit vectors, all in one call."""
    n = y.size
    return hessian_product(surrogate, np.tile(y, (n, 1)), np.tile(dc, (n, 1)), np.eye(n))


def test_the_hessian_is_symmetric_and_that_of_automatic_differentiation(surrogate):
    y, dc = Y[0], RNG.standard_normal(6)
    found = products(surrogate, y, dc)
    np.testing.assert_allclose(found, found.T, rtol=1e-12, atol=1e-14)
    weighted = torch.from_numpy(dc)
    dense = torch.autograd.functional.hessian(
        lambda at: (surrogate.evaluate(at[None])[0] * weighted).sum(), torch.from_numpy(y)
    )
    np.testing.assert_allclose(found, np.asarray(dense), rtol=1e-11, atol=1e-14)


def test_gradients_differ_by_the_product_to_second_order(surrogate):
    y, dc, dy = Y[:3], RNG.standard_normal((3, 6)), RNG.standard_normal((3, 4))
    product, gradient = hessian_product(surrogate, y, dc, dy), surrogate.vjp(y, dc)

    def remainder(step):
        return np.linalg.norm(surrogate.vjp(y + step * dy, dc) - gradient - step * product)

    rates = [np.log2(remainder(2.0**-k) / remainder(2.0 ** -(k + 1))) for k in range(5, 9)]
    np.testing.assert_allclose(rates, 2, atol=0.1)
