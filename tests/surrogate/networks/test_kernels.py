"""Kernels as features: their formulas, and what happens exactly at a centre."""

import math

import pytest
import torch
from sklearn.gaussian_process.kernels import RBF, Matern

from gnvpro.surrogate.networks.kernels import KERNELS, KernelFeatures
from tests.calculus import assert_taylor

torch.set_default_dtype(torch.float64)

SECOND_AT_CENTRE = {"gaussian": -1.0, "matern52": -5 / 3}


def features(kernel, n_centres=7):
    network = KernelFeatures(3, n_centres, kernel)
    theta = network.initial(2)
    theta[:3] = torch.tensor([-0.3, 0.2, 0.8])
    return network, theta, network.unpack(theta)[1]


@pytest.mark.parametrize(("kernel", "reference"), [("gaussian", RBF), ("matern52", lambda of: Matern(of, nu=2.5))])
def test_values_are_those_of_scikit_learn(kernel, reference):
    network, theta, centres = features(kernel)
    inputs = torch.randn(9, 3, generator=torch.Generator().manual_seed(0))
    expected = reference(theta[:3].exp().numpy())(inputs.numpy(), centres.numpy())
    torch.testing.assert_close(network.bind(theta)(inputs), torch.from_numpy(expected), rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("kernel", KERNELS)
def test_derivatives_by_the_inputs_exist_twice_also_at_the_centres(kernel):
    network, theta, centres = features(kernel)
    at = centres.clone().requires_grad_()
    values = network.bind(theta)(at)
    torch.testing.assert_close(values.diagonal(), torch.ones(7))
    # The kernel about its own centre: the gradient is zero, the second derivative -c / ℓ².
    (gradient,) = torch.autograd.grad(values.diagonal().sum(), at, create_graph=True)
    torch.testing.assert_close(gradient, torch.zeros(7, 3), rtol=0, atol=1e-14)
    for j in range(3):
        (second,) = torch.autograd.grad(gradient[:, j].sum(), at, retain_graph=True)
        expected = torch.zeros(7, 3)
        expected[:, j] = SECOND_AT_CENTRE[kernel] * math.exp(-2 * theta[j])
        torch.testing.assert_close(second, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kernel", KERNELS)
def test_gradient_and_hessian_products_between_the_centres(kernel):
    network, theta, centres = features(kernel)
    bound, weights = network.bind(theta), torch.randn(7, generator=torch.Generator().manual_seed(1))
    point, direction = centres[:1] + 0.3, torch.tensor([[0.4, -0.8, 0.5]])

    def gradient(y):
        at = torch.as_tensor(y).clone().requires_grad_()
        return torch.autograd.grad((bound(at) @ weights).sum(), at, create_graph=True)[0], at

    slope, at = gradient(point)
    assert_taylor(
        lambda y: (bound(torch.as_tensor(y)) @ weights).numpy(),
        (slope * direction).sum(1).detach().numpy(),
        point.numpy(),
        direction.numpy(),
    )
    (product,) = torch.autograd.grad((slope * direction).sum(), at)
    assert_taylor(lambda y: gradient(y)[0].detach().numpy(), product.numpy(), point.numpy(), direction.numpy())


@pytest.mark.parametrize("kernel", KERNELS)
def test_forward_and_reverse_mode_and_batches_of_torch_func_agree(kernel):
    network, theta, centres = features(kernel)
    bound, y = network.bind(theta), centres[0] + 0.2
    one = lambda at: bound(at[None])[0]  # noqa: E731
    torch.testing.assert_close(torch.func.jacfwd(one)(y), torch.func.jacrev(one)(y), rtol=1e-12, atol=1e-13)


def test_a_far_origin_costs_no_digits():
    network, theta, centres = features("gaussian")
    far = torch.tensor([1e6, -1e6, 1e6])
    moved = torch.cat([theta[:3], (centres + far).reshape(-1)])
    inputs = centres + 0.25
    torch.testing.assert_close(
        network.bind(moved)(inputs + far), network.bind(theta)(inputs), rtol=1e-8, atol=1e-9
    )  # the centres themselves are rounded to 1e-10


@pytest.mark.parametrize("kernel", KERNELS)
def test_single_precision(kernel):
    network, theta, centres = features(kernel)
    inputs = centres + 0.1
    low = network.linearize(theta.float(), inputs.float())
    assert low.features.dtype == low.vjp(low.features).dtype == torch.float32
    torch.testing.assert_close(low.features.double(), network.bind(theta)(inputs), rtol=1e-5, atol=1e-6)
