"""Features with their tangents: what rows are, and products by theta against autograd, for every network."""

import pytest
import torch

from gnvpro.surrogate.networks.dense import DenseNetwork
from gnvpro.surrogate.networks.tangents import features_and_tangents, linearize_tangents, of_samples
from tests.calculus import assert_adjoint, assert_taylor
from tests.surrogate.networks.test_networks import NETWORKS, case

DENSE = DenseNetwork(5, (7, 3, 4))


@pytest.fixture(params=NETWORKS.values(), ids=NETWORKS)
def network(request):
    return request.param


def tangents_at(network, r=2):
    theta, inputs, generator = case(network)
    directions = torch.randn(len(inputs), r, network.n_inputs, generator=generator)
    return theta, inputs, directions, generator


def test_rows_are_values_then_derivatives_of_every_sample(network):
    theta, inputs, directions, _ = tangents_at(network)
    rows = linearize_tangents(network, theta, inputs, directions).features.view(len(inputs), 3, -1)
    torch.testing.assert_close(rows[:, 0], network.bind(theta)(inputs), rtol=1e-13, atol=1e-14)
    for k in range(2):
        assert_taylor(
            lambda x: network.bind(theta)(torch.from_numpy(x)).numpy(),
            rows[:, 1 + k],
            inputs.numpy(),
            directions[:, k].numpy(),
        )


def test_products_by_theta_equal_autograd_and_each_other(network):
    theta, inputs, directions, generator = tangents_at(network)
    at = linearize_tangents(network, theta, inputs, directions)
    direction, seed = (torch.randn(size, generator=generator) for size in (theta.shape, at.features.shape))

    def rows(weights):
        return features_and_tangents(network, weights, inputs, directions)

    expected = torch.func.vjp(rows, theta)[1](seed)[0]
    torch.testing.assert_close(at.vjp(seed), expected, rtol=1e-11, atol=1e-12)
    assert_taylor(lambda t: rows(torch.from_numpy(t)).numpy(), at.jvp(direction), theta.numpy(), direction.numpy())
    assert_adjoint(
        lambda u: at.jvp(torch.from_numpy(u)), lambda w: at.vjp(torch.from_numpy(w)), direction.numpy(), seed.numpy()
    )


def test_layers_and_evaluations_add_up_to_the_gradients_of_samples_and_rows():
    theta, inputs, directions, generator = tangents_at(DENSE)
    at = linearize_tangents(DENSE, theta, inputs, directions)
    seed = torch.randn(at.features.shape, generator=generator)
    for sample in range(len(inputs)):
        alone = torch.zeros_like(seed)
        alone[3 * sample : 3 * sample + 3] = seed[3 * sample : 3 * sample + 3]
        layers = at.layers(seed)
        gradient = torch.cat([(layer.inputs[sample].t() @ layer.sensitivities[sample]).reshape(-1) for layer in layers])
        torch.testing.assert_close(gradient, at.vjp(alone), rtol=1e-11, atol=1e-13)
    for row in range(len(seed)):
        alone, gradient = torch.zeros_like(seed), torch.zeros_like(theta)
        alone[row] = seed[row]
        for evaluation in at.evaluations(seed.unsqueeze(0)):
            outer = evaluation.with_bias[row].unsqueeze(1) * evaluation.sensitivities[0, row]
            gradient[evaluation.where] += outer.reshape(-1)
        torch.testing.assert_close(gradient, at.vjp(alone), rtol=1e-11, atol=1e-13)


def test_a_direction_of_zeros_gives_rows_of_zeros(network):
    theta, inputs, directions, _ = tangents_at(network)
    rows = linearize_tangents(network, theta, inputs, 0 * directions).features.view(len(inputs), 3, -1)
    assert not rows[:, 1:].any()


def test_rows_of_some_samples():
    rows = torch.arange(12).view(12, 1)
    assert of_samples(rows, 3, torch.tensor([2, 0]))[:, 0].tolist() == [6, 7, 8, 0, 1, 2]
    assert of_samples(rows, 3, slice(1, 2))[:, 0].tolist() == [3, 4, 5]
    assert of_samples(rows, 1, slice(1, 2))[:, 0].tolist() == [1]
