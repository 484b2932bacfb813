"""The Kronecker-factored metric against dense matrices made of autograd's per-sample gradients, for every network."""

import pytest
import torch
from torch import nn
from torch.func import grad, vmap

from gnvpro.surrogate.elimination.losses import random_signs
from gnvpro.surrogate.networks.dense import DenseNetwork
from gnvpro.surrogate.networks.in_time.hamiltonian import HamiltonianNetwork
from gnvpro.surrogate.networks.in_time.residual import ResidualNetwork
from gnvpro.surrogate.networks.module import ModuleNetwork
from gnvpro.training.fitting.fit import Fit
from gnvpro.training.solvers.kronecker_metric import DAMPING, KroneckerMetric
from gnvpro.training.solvers.lbfgs import LimitedMemoryBFGS
from gnvpro.training.solvers.trust_region import TrustRegionKrylov
from tests.training.problems import objective_and_validation


def convolutions():
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Unflatten(1, (1, 3)), nn.Conv1d(1, 3, 2, padding=1), nn.Tanh(), nn.Flatten(), nn.Linear(12, 5), nn.Tanh()
    )


def normalised():
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Tanh(), nn.Linear(4, 4), nn.Tanh())


NETWORKS = {
    "dense": DenseNetwork(3, (5, 6)),
    "residual": ResidualNetwork(3, 4, steps=2),
    "plain": ResidualNetwork(3, 4, kind="plain"),
    "hamiltonian": HamiltonianNetwork(3, 4, steps=2),
    "convolutions": ModuleNetwork(convolutions(), 3),
    "normalised": ModuleNetwork(normalised(), 3),
}


@pytest.fixture(params=NETWORKS.values(), ids=NETWORKS)
def network(request):
    return request.param


def start_of(network):
    objective, validation = objective_and_validation(network)
    return objective.at(network.initial(0)), validation


def seeds_of(point, seed):
    """E W' times the row weights, as the metric draws it."""
    signs = random_signs(point.inner.residual, seed)
    return signs.to(point.theta) @ point.inner.weights.t() * point.objective.elimination.row_scale


def gradients_of_samples(point, seeds):
    network, inputs = point.objective.network, point.objective.inputs
    return vmap(grad(lambda at, x, s: (network.bind(at)(x[None])[0] * s).sum()), in_dims=(None, 0, 0), chunk_size=40)(
        point.theta, inputs, seeds
    )


def places_of(where, n_theta):
    return torch.arange(n_theta)[where]


def test_gradients_rebuilt_of_layers_are_those_of_autograd(network):
    point, _ = start_of(network)
    seeds = seeds_of(point, 3)
    exact = gradients_of_samples(point, seeds)
    for layer in point.curvature_layers(3):
        places = places_of(layer.where, network.n_theta)
        if places.ndim == 3:  # a multiple of one, for what is no such layer
            assert float(layer.sensitivities) == pytest.approx(float(exact.sum(0)[places].square().mean().sqrt()))
            continue
        h, g = (part if part.ndim == 3 else part[:, None] for part in (layer.inputs, layer.sensitivities))
        rebuilt = (h.transpose(1, 2) @ g).flatten(1)
        torch.testing.assert_close(rebuilt, exact[:, places.flatten()], rtol=1e-9, atol=1e-12)


def test_blocks_are_diagonal_in_their_bases_as_the_gradients_of_samples_are(network):
    """U' H_0^-1 U less the shift = the diagonal of U' (sum of g g' over samples) U, block by block."""
    point, _ = start_of(network)
    exact = gradients_of_samples(point, seeds_of(point, 3))
    metric = KroneckerMetric.at(point, 3)
    inverse = torch.linalg.inv(metric.apply(torch.eye(network.n_theta)))
    covered, trace = torch.zeros(network.n_theta), 0.0
    for block in metric.blocks:
        places = places_of(block.where, network.n_theta)
        covered[places] += 1
        trace += float((1 / block.inverse_diagonal).sum()) * (len(places) if places.ndim == 3 else 1)
    assert bool((covered == 1).all())
    # trace(D) + n (damping mean(D) + alpha) is all that D + shift has.
    alpha = point.objective.regulariser.alpha
    mean = (trace / network.n_theta - alpha) / (1 + DAMPING)
    for block in metric.blocks:
        places = places_of(block.where, network.n_theta)
        if places.ndim == 3:
            continue
        basis = torch.kron(block.inputs_basis, block.outputs_basis)
        own = places.flatten()
        ours = basis.t() @ inverse[own][:, own] @ basis
        shift = DAMPING * mean + alpha
        expected = ((exact[:, own] @ basis) ** 2).sum(0) + shift
        torch.testing.assert_close(ours.diagonal(), expected, rtol=1e-6, atol=1e-9 * float(expected.max()))
        off = ours - torch.diag(ours.diagonal())
        assert float(off.abs().max()) < 1e-6 * float(expected.max())


def test_the_block_of_an_antisymmetric_matrix_is_exact():
    network = NETWORKS["residual"]
    point, _ = start_of(network)
    exact = gradients_of_samples(point, seeds_of(point, 3))
    block = KroneckerMetric.at(point, 3).blocks[2]
    own = exact[:, block.where]
    dense = block.outputs_basis @ torch.diag(1 / block.inverse_diagonal[0]) @ block.outputs_basis.t()
    shift = dense - own.t() @ own
    torch.testing.assert_close(shift, torch.eye(len(shift)) * float(shift[0, 0]), rtol=1e-6, atol=1e-9)
    assert float(shift[0, 0]) > 0


def test_metric_is_symmetric_positive_and_its_root_is_a_root(network):
    point, _ = start_of(network)
    metric = KroneckerMetric.at(point, seed=1)
    dense = metric.apply(torch.eye(network.n_theta))
    torch.testing.assert_close(dense, dense.t(), rtol=1e-9, atol=1e-9 * float(dense.norm()))
    assert float(torch.linalg.eigvalsh(dense).min()) > 0
    root = metric.apply_root(torch.eye(network.n_theta))
    torch.testing.assert_close(root @ root, dense, rtol=1e-9, atol=1e-9 * float(dense.norm()))
    torch.testing.assert_close(metric.apply(dense[0]), dense @ dense[0], rtol=1e-9, atol=1e-9 * float(dense.norm()))


@pytest.mark.parametrize("kind", ["dense", "convolutions", "residual"])
def test_metric_approximates_the_inverse_gauss_newton_matrix(kind):
    network = NETWORKS[kind]
    point, _ = start_of(network)
    product = torch.stack([point.gauss_newton(e, "kaufman") for e in torch.eye(network.n_theta)])
    roots = [KroneckerMetric.at(point, seed).apply_root(torch.eye(network.n_theta)) for seed in range(9)]
    # Directions of comparable curvature: of the dense network measured 7 before and 12-15 after, of 56.
    after = torch.stack([torch.as_tensor(effective_rank(root @ product @ root)) for root in roots])
    assert after.median() > 1.7 * effective_rank(product)


@pytest.mark.parametrize(
    "solver", [lambda: LimitedMemoryBFGS(), lambda: TrustRegionKrylov(metric=True)], ids=["lbfgs", "krylov"]
)
def test_convolutions_reach_a_stationary_point(solver):
    objective, validation = objective_and_validation(NETWORKS["convolutions"], alpha_theta=1e-3, alpha_w=1e-3)
    fit = Fit(objective, objective.network.initial(0), solver(), validation)
    first = float(fit.point.gradient.norm())
    fit.advance(3000)
    assert float(fit.point.gradient.norm()) < 2e-5 * first


def test_metric_of_a_module_is_charged_a_forward_and_a_backward_pass():
    point, _ = start_of(NETWORKS["convolutions"])
    before = point.objective.meter.total
    KroneckerMetric.at(point, seed=0)
    assert point.objective.meter.total == before + 2


def test_networks_without_layers_have_no_metric():
    for network in (ResidualNetwork(3, 60), ModuleNetwork(nn.PReLU(), 3)):
        point, _ = start_of(network)
        before = point.objective.meter.total
        assert KroneckerMetric.at(point, seed=0) is None
        assert point.objective.meter.total == before


def effective_rank(matrix):
    spectrum = torch.linalg.eigvalsh(matrix)
    return float(spectrum.sum() ** 2 / (spectrum**2).sum())
