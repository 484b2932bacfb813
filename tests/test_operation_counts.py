"""Operations counted by hand against torch's own counter; traffic against a product whose bytes are known."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from gnvpro.surrogate.networks.dense import DenseNetwork
from gnvpro.surrogate.networks.in_time.residual import ResidualNetwork
from gnvpro.surrogate.objectives.reduced import reduced_least_squares
from tests.benchmarks import operations as by_hand

NETWORKS = {
    "dense": DenseNetwork(5, (9, 7, 12)),
    "one layer": DenseNetwork(5, (6,)),
    "residual": ResidualNetwork(5, 6, 2),
}
N, TARGETS = 31, 4


@pytest.fixture(params=NETWORKS.values(), ids=NETWORKS)
def network(request):
    return request.param


def in_place(_, left, right, *__, **___):
    return 2 * left[0] * left[1] * right[1]


def counted(run):
    # The counter knows addmm, and not the one that works in place.
    with FlopCounterMode(display=False, custom_mapping={torch.ops.aten.addmm_: in_place}) as counter:
        run()
    return counter.get_total_flops()


def point_of(network):
    generator = torch.Generator().manual_seed(0)
    inputs, targets = (torch.randn(N, k, generator=generator, dtype=torch.float64) for k in (network.n_inputs, TARGETS))
    return reduced_least_squares(network, inputs, targets).at(network.initial(0))


def test_passes_of_a_network(network):
    theta, inputs = network.initial(0), torch.ones(N, network.n_inputs, dtype=torch.float64)
    at, seed = network.linearize(theta, inputs), torch.ones(N, network.width, dtype=torch.float64)
    assert counted(lambda: network.linearize(theta, inputs)) == by_hand.linearise(network, N)
    assert counted(lambda: at.jvp(theta)) == by_hand.jvp(network, N)
    assert counted(lambda: at.vjp(seed)) == by_hand.vjp(network, N)


def test_product_and_inner_solve(network):
    point = point_of(network)
    point.gauss_newton(point.theta)
    assert counted(lambda: point.gauss_newton(point.theta)) == by_hand.product(network, N, TARGETS)
    layer, features = point.objective.elimination, point._linearization.features
    assert counted(lambda: layer.solve(features)) == by_hand.inner_products(network.width, N, TARGETS)


def test_traffic_sees_the_products_that_the_counter_sees_and_their_bytes(network):
    point = point_of(network)
    point.gauss_newton(point.theta)
    seen = by_hand.traffic(lambda: point.gauss_newton(point.theta))
    assert by_hand.operations(seen.gemms) == by_hand.product(network, N, TARGETS)
    left, right = torch.ones(3, 4, dtype=torch.float64), torch.ones(4, 5, dtype=torch.float64)
    seen = by_hand.traffic(lambda: left.t().t() @ right)
    assert seen.bytes == 8 * (12 + 20 + 15)
    assert dict(seen.gemms) == {(3, 4, 5): 1}


def test_a_wrong_count_is_noticed():
    theta, inputs = NETWORKS["dense"].initial(0), torch.ones(N, 5, dtype=torch.float64)
    run = counted(lambda: NETWORKS["dense"].linearize(theta, inputs))
    assert run != by_hand.linearise(NETWORKS["dense"], N + 1)
    assert run != by_hand.linearise(DenseNetwork(5, (9, 7, 11)), N)
