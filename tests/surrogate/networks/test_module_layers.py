"""Layers of a module: their per-sample gradients are those of autograd, and what they miss is noticed."""

import pytest
import torch
from torch import nn
from torch.func import grad, vmap

from gnvpro.surrogate.networks.in_time.residual import ResidualNetwork
from gnvpro.surrogate.networks.module import ModuleLinearization, ModuleNetwork
from gnvpro.surrogate.networks.protocol import LayeredLinearization

torch.set_default_dtype(torch.float64)


class Twice(nn.Module):
    """One layer used at two depths."""

    def __init__(self):
        super().__init__()
        self.first, self.again = nn.Linear(6, 4), nn.Linear(4, 4)

    def forward(self, x):
        return torch.tanh(self.again(torch.tanh(self.again(torch.tanh(self.first(x))))))


class Behind(nn.Module):
    """A weight that is used in its layer and outside of it."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(6, 6), nn.Linear(6, 4)

    def forward(self, x):
        h = torch.tanh(self.first(x))
        return torch.tanh(self.second(h + torch.sin(x @ self.first.weight)))


def image(*layers):
    return nn.Sequential(nn.Unflatten(1, (1, 2, 3)), *layers, nn.Flatten())


MODULES = {
    "linear": lambda: nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 4, bias=False), nn.Tanh()),
    "in place": lambda: nn.Sequential(nn.Linear(6, 5), nn.SiLU(inplace=True), nn.Linear(5, 4), nn.Tanh()),
    "conv2d": lambda: image(nn.Conv2d(1, 4, (2, 3), padding=1, stride=(1, 2)), nn.Tanh(), nn.Conv2d(4, 2, 1)),
    "groups": lambda: image(nn.Conv2d(1, 4, 2, dilation=(1, 2)), nn.Tanh(), nn.Conv2d(4, 6, 1, groups=2, bias=False)),
    "same": lambda: image(nn.Conv2d(1, 2, (2, 3), padding="same"), nn.Tanh(), nn.Conv2d(2, 1, 2, padding="valid")),
    "circular": lambda: image(nn.Conv2d(1, 2, 3, padding=(1, 2), padding_mode="circular"), nn.Tanh()),
    "conv1d": lambda: nn.Sequential(
        nn.Unflatten(1, (2, 3)), nn.Conv1d(2, 3, 2, padding=1, stride=2), nn.Tanh(), nn.Flatten(), nn.Linear(6, 4)
    ),
    "sequence": lambda: nn.Sequential(nn.Unflatten(1, (2, 3)), nn.Linear(3, 4), nn.Tanh(), nn.Flatten()),
    "twice": Twice,
}


def made(build, n=7):
    torch.manual_seed(0)
    network = ModuleNetwork(build(), 6)
    generator = torch.Generator().manual_seed(1)
    theta, inputs = network.initial(0), torch.randn(n, 6, generator=generator)
    return network, theta, inputs, torch.randn(n, network.width, generator=generator)


@pytest.mark.parametrize("build", MODULES.values(), ids=MODULES)
def test_gradients_of_samples_are_those_of_autograd(build):
    network, theta, inputs, seed = made(build)

    def one(at, x, s):
        return (network.bind(at)(x[None])[0] * s).sum()

    exact = vmap(grad(one), in_dims=(None, 0, 0))(theta, inputs, seed)
    at = network.linearize(theta, inputs)
    assert isinstance(at, LayeredLinearization)
    rebuilt = torch.full_like(exact, torch.nan)
    for layer in at.layers(seed):
        h, g = (part if part.ndim == 3 else part[:, None] for part in (layer.inputs, layer.sensitivities))
        assert h.shape[:2] == g.shape[:2]
        rebuilt[:, layer.where] = h.transpose(1, 2) @ g
    torch.testing.assert_close(rebuilt, exact, rtol=1e-11, atol=1e-13)


def test_a_weight_used_outside_of_its_layer_is_a_multiple_of_one():
    network, theta, inputs, seed = made(Behind)
    first, second = sorted(network.linearize(theta, inputs).layers(seed), key=lambda layer: layer.where.ndim)[::-1][:2]
    places = torch.cat([first.where.flatten(), second.where.flatten()])
    assert set(range(36)) <= set(places.tolist())
    gradient = network.linearize(theta, inputs).vjp(seed)
    for layer in (first, second):
        assert layer.where.shape[1:] == (1, 1)
        assert float(layer.sensitivities) ** 2 == pytest.approx(float((gradient[layer.where] ** 2).mean()))


def test_every_weight_is_in_one_block():
    def build():
        return nn.Sequential(nn.Linear(6, 5), nn.LayerNorm(5), nn.PReLU(), nn.Linear(5, 4))

    network, theta, inputs, seed = made(build)
    places = torch.cat([layer.where.flatten() for layer in network.linearize(theta, inputs).layers(seed)])
    assert places.sort().values.tolist() == list(range(network.n_theta))


def test_frozen_weights_have_no_place():
    def build():
        found = MODULES["linear"]()
        found[0].requires_grad_(False)
        return found

    network, theta, inputs, seed = made(build)
    (layer,) = network.linearize(theta, inputs).layers(seed)
    assert layer.where.shape == (5, 4)


def test_a_module_without_such_layers_and_other_networks_show_none():
    network, theta, inputs, seed = made(lambda: nn.LayerNorm(6))
    assert network.linearize(theta, inputs).layers(seed) is None
    other = ResidualNetwork(6, 4)
    assert ModuleLinearization(other, other.initial(0), inputs).layers(torch.ones(7, 4)) is None


def test_hooks_are_gone_afterwards_and_the_linearisation_is_as_before():
    network, theta, inputs, seed = made(MODULES["conv2d"])
    at = network.linearize(theta, inputs)
    before = at.vjp(seed)
    at.layers(seed)
    assert not any(layer._forward_hooks for layer in network.module.modules())
    assert torch.equal(at.vjp(seed), before)
