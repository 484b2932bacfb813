"""Hand-written derivatives against autograd through the same features, for every network."""

import itertools
import json
import math

import numpy as np
import pytest
import torch

from gnvpro.surrogate.networks.concatenated import ConcatenatedNetwork, weighted_sum
from gnvpro.surrogate.networks.dense import DenseNetwork
from gnvpro.surrogate.networks.in_time.hamiltonian import HamiltonianNetwork
from gnvpro.surrogate.networks.in_time.residual import ResidualNetwork
from gnvpro.surrogate.networks.kernel_tangents import KernelTangents
from gnvpro.surrogate.networks.kernels import KernelFeatures
from gnvpro.surrogate.networks.module import ModuleLinearization, ModuleNetwork
from gnvpro.surrogate.networks.protocol import LayeredLinearization
from gnvpro.surrogate.networks.registry import network_of
from gnvpro.surrogate.networks.sparse_polynomials import SparsePolynomials
from tests.calculus import assert_adjoint, assert_taylor

torch.set_default_dtype(torch.float64)


def module() -> torch.nn.Module:
    torch.manual_seed(3)
    return torch.nn.Sequential(torch.nn.Linear(5, 6), torch.nn.SiLU(), torch.nn.Linear(6, 4), torch.nn.Tanh())


POLYNOMIALS = SparsePolynomials(
    np.array([[2, 0, 0, 1, 0], [0, 0, 0, 0, 3]]), ("legendre",) * 3 + ("hermite",) * 2, (0.1,) * 5, (1.5,) * 5
)
NETWORKS = {
    "dense": DenseNetwork(5, (7, 3, 4)),
    "one layer": DenseNetwork(5, (4,)),
    "residual": ResidualNetwork(5, 4, steps=2, final_time=1.5),
    "width one": ResidualNetwork(5, 1),
    "plain residual": ResidualNetwork(5, 4, steps=2, final_time=1.5, kind="plain"),
    "hamiltonian": HamiltonianNetwork(5, 6, steps=3, final_time=1.5),
    "hamiltonian of width two": HamiltonianNetwork(5, 2),
    "module": ModuleNetwork(module(), 5),
    "gaussian": KernelFeatures(5, 6, "gaussian"),
    "matern52": KernelFeatures(5, 6, "matern52"),
    "gaussian with derivatives": KernelTangents(5, 3, "gaussian", 2),
    "matern52 with derivatives": KernelTangents(5, 3, "matern52", 2),
    "stack": ConcatenatedNetwork((POLYNOMIALS, KernelFeatures(5, 3, "matern52"), DenseNetwork(5, (4, 2)))),
}


@pytest.fixture(params=NETWORKS.values(), ids=NETWORKS)
def network(request):
    return request.param


def case(network, n=11):
    generator = torch.Generator().manual_seed(0)
    theta = network.initial(1) + 0.1 * torch.randn(network.n_theta, generator=generator)
    return theta, torch.randn(n, network.n_inputs, generator=generator), generator


def test_linearization_equals_autograd(network):
    theta, inputs, generator = case(network)
    ours, general = network.linearize(theta, inputs), ModuleLinearization(network, theta, inputs)
    direction, seed = (
        torch.randn(network.n_theta, generator=generator),
        torch.randn(11, network.width, generator=generator),
    )
    torch.testing.assert_close(ours.features, network.bind(theta)(inputs), rtol=1e-13, atol=1e-14)
    torch.testing.assert_close(ours.jvp(direction), general.jvp(direction), rtol=1e-12, atol=1e-13)
    torch.testing.assert_close(ours.vjp(seed), general.vjp(seed), rtol=1e-12, atol=1e-13)


def test_adjoint(network):
    theta, inputs, generator = case(network)
    at = network.linearize(theta, inputs)
    direction, seed = (
        torch.randn(network.n_theta, generator=generator),
        torch.randn(11, network.width, generator=generator),
    )
    assert float(at.jvp(direction).flatten() @ seed.flatten()) == pytest.approx(
        float(direction @ at.vjp(seed)), rel=1e-12
    )


def test_derivatives_by_theta(network):
    theta, inputs, generator = case(network)
    at = network.linearize(theta, inputs)
    direction = torch.randn(network.n_theta, generator=generator)
    seed = torch.randn(11, network.width, generator=generator).numpy()
    assert_taylor(
        lambda moved: network.bind(torch.from_numpy(moved))(inputs).numpy(),
        at.jvp(direction).numpy(),
        theta.numpy(),
        direction.numpy(),
    )
    assert_adjoint(
        lambda move: at.jvp(torch.from_numpy(move)).numpy(),
        lambda back: at.vjp(torch.from_numpy(back)).numpy(),
        direction.numpy(),
        seed,
    )


def test_initial_weights_depend_on_the_seed_alone():
    for network in (DenseNetwork(3, (4, 5)), ResidualNetwork(3, 4), KernelFeatures(3, 4, "gaussian")):
        assert torch.equal(network.initial(5), network.initial(5))
        assert not torch.equal(network.initial(5), network.initial(6))


def test_layers_reproduce_the_gradient():
    network = DenseNetwork(5, (7, 3, 4))
    theta, inputs, generator = case(network)
    seed = torch.randn(11, 4, generator=generator)
    at = network.linearize(theta, inputs)
    assert isinstance(at, LayeredLinearization)
    rebuilt = torch.cat([(layer.inputs.t() @ layer.sensitivities).reshape(-1) for layer in at.layers(seed)])
    torch.testing.assert_close(rebuilt, at.vjp(seed), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(
    ("coarse", "order"),
    [
        (ResidualNetwork(3, 4, steps=4), 4),
        (ResidualNetwork(3, 4, steps=4, kind="plain"), 4),
        (HamiltonianNetwork(3, 4, steps=4), 2),
    ],
    ids=["antisymmetric", "plain", "hamiltonian"],
)
def test_prolongation_converges_to_the_same_map(coarse, order):
    generator = torch.Generator().manual_seed(2)
    theta, inputs = coarse.initial(0), torch.randn(9, 3, generator=generator)
    changes = []
    for _ in range(4):
        fine, fine_theta = coarse.prolonged(theta)
        assert fine.n_theta == len(fine_theta)
        assert fine.steps == 2 * coarse.steps
        changes.append(float((fine.bind(fine_theta)(inputs) - coarse.bind(theta)(inputs)).norm()))
        coarse, theta = fine, fine_theta
    # Constant weights in time: the two differ by the error of the integrator alone, so the change falls with its order.
    orders = [math.log2(a / b) for a, b in itertools.pairwise(changes)]
    assert all(order - 0.3 < found < order + 0.3 for found in orders)


def test_weights_linear_in_time_are_prolonged_exactly():
    coarse = HamiltonianNetwork(3, 4, steps=2)
    start, slope = torch.randn(2, coarse.n_matrix + coarse.n_bias, generator=torch.Generator().manual_seed(0))
    opening = coarse.initial(0)[: coarse.n_opening]

    def linear(network):
        times = torch.linspace(0, 1, network.n_times)[:, None]
        return torch.cat([opening, (start + times * slope).reshape(-1)])

    fine, theta = coarse.prolonged(linear(coarse))
    torch.testing.assert_close(theta, linear(fine))


def test_verlet_is_reversible():
    network = HamiltonianNetwork(4, 4, steps=3)
    theta, _, generator = case(network)
    states = 0.5 * torch.randn(9, 4, generator=generator)
    forward = flow(network, theta, states)
    assert float((forward - states).norm()) > 0.1
    torch.testing.assert_close(flow(network, theta, forward, backwards=True), states, rtol=1e-12, atol=1e-13)


def flow(network, theta, states, backwards=False):
    y, z = states.split(network.half, 1)
    stages = list(zip(network.lengths, network.layers_in_time(theta), strict=True))
    for length, layer in reversed(stages) if backwards else stages:
        sign = -1 if backwards else 1
        if length < 0:
            z = z + sign * length * torch.tanh(y @ layer[:-1] + layer[-1])
        else:
            y = y + sign * length * torch.tanh(z @ layer[:-1] + layer[-1])
    return torch.cat([y, z], 1)


def test_antisymmetric_weights_conserve_the_linearised_norm():
    network = ResidualNetwork(3, 6)
    _, matrices, _ = network.unpack(network.initial(4))
    torch.testing.assert_close(matrices, -matrices.transpose(1, 2))


def test_frozen_weights_stay():
    given = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Linear(4, 2), torch.nn.Tanh())
    given[0].requires_grad_(False)
    network = ModuleNetwork(given, 3)
    assert network.n_theta == 4 * 2 + 2
    inputs = torch.ones(2, 3)
    torch.testing.assert_close(network.bind(network.initial(0))(inputs), given.double()(inputs).detach())


def test_module_is_copied_and_in_evaluation_mode():
    given = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Dropout(0.5), torch.nn.Tanh()).train()
    network = ModuleNetwork(given, 3)
    theta, inputs = network.initial(0), torch.ones(2, 3)
    assert torch.equal(network.bind(theta)(inputs), network.bind(theta)(inputs))
    assert given.training


@pytest.mark.parametrize(
    "make",
    [
        lambda: DenseNetwork(0, (3,)),
        lambda: DenseNetwork(3, ()),
        lambda: DenseNetwork(3, (4, -1)),
        lambda: ResidualNetwork(3, 4, steps=0),
        lambda: ResidualNetwork(3, 4, kind="upper"),
        lambda: HamiltonianNetwork(3, 5),
        lambda: HamiltonianNetwork(3, 4, final_time=0.0),
        lambda: KernelFeatures(0, 3, "gaussian"),
        lambda: KernelFeatures(3, 0, "gaussian"),
        lambda: KernelFeatures(3, 4, "linear"),
        lambda: ModuleNetwork(torch.nn.Tanh(), 3),
        lambda: ModuleNetwork(torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Flatten(0)), 3),
    ],
)
def test_impossible_networks_are_refused(make):
    with pytest.raises(ValueError, match="expected"):
        make()


def test_a_module_that_cannot_be_copied_is_answered():
    module = torch.nn.Linear(3, 2)
    module.last = module(torch.ones(1, 3))  # what a call left behind has a history
    with pytest.raises(ValueError, match="expected a module that can be copied: Only Tensors created explicitly"):
        ModuleNetwork(module, 3)


@pytest.mark.parametrize("name", [name for name in NETWORKS if name != "module"])
def test_descriptions_are_read_back(name):
    described = json.loads(json.dumps(NETWORKS[name].to_dict()))
    assert network_of(described, 5, None) == NETWORKS[name]


def test_stacks_in_stacks_are_taken_apart():
    stack = NETWORKS["stack"]
    assert ConcatenatedNetwork((DenseNetwork(5, (2,)), stack)).members == (DenseNetwork(5, (2,)), *stack.members)


def test_a_weighted_sum_of_separable_models_is_one():
    generator = torch.Generator().manual_seed(0)
    networks, coefficients = list(NETWORKS.values()), [0.5, -2.0, 1.0] * 5
    members = [
        (network, case(network)[0], torch.randn(2, network.width + 1, generator=generator)) for network in networks
    ]
    network, theta, weights = weighted_sum(members, coefficients[: len(members)])
    inputs = case(networks[0])[1]

    def values(network, theta, weights):
        return network.bind(theta)(inputs) @ weights[:, :-1].t() + weights[:, -1]

    expected = sum(c * values(*member) for c, member in zip(coefficients, members, strict=False))
    torch.testing.assert_close(values(network, theta, weights), expected, rtol=1e-12, atol=1e-12)
