"""The reduced objective against autograd through a textbook inner solve, and its identities."""

import math

import numpy as np
import pytest
import torch

from gnvpro.surrogate.elimination.least_squares import LeastSquaresLayer
from gnvpro.surrogate.networks.concatenated import ConcatenatedNetwork
from gnvpro.surrogate.networks.dense import DenseNetwork
from gnvpro.surrogate.networks.in_time.residual import ResidualNetwork
from gnvpro.surrogate.networks.kernels import KernelFeatures
from gnvpro.surrogate.networks.module import ModuleNetwork
from gnvpro.surrogate.networks.sparse_polynomials import SparsePolynomials
from gnvpro.surrogate.objectives.full import FullObjective
from gnvpro.surrogate.objectives.reduced import reduced_least_squares

torch.set_default_dtype(torch.float64)

ALPHA_W, ALPHA_THETA = 1e-2, 1e-3
torch.manual_seed(0)  # of the module's weights
POLYNOMIALS = SparsePolynomials(np.array([[1, 0, 0, 0], [0, 2, 0, 1]]), ("legendre",) * 4, (0.0,) * 4, (2.0,) * 4)
NETWORKS = {
    "dense": DenseNetwork(4, (5, 3)),
    "residual": ResidualNetwork(4, 3, steps=2),
    "polynomials beside a network": ConcatenatedNetwork((POLYNOMIALS, DenseNetwork(4, (3, 2)))),
    "kernels beside polynomials": ConcatenatedNetwork((KernelFeatures(4, 3, "matern52"), POLYNOMIALS)),
    "module": ModuleNetwork(torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.SiLU()), 4),
}


def problem(network, n=23, n_out=6, **options):
    generator = torch.Generator().manual_seed(7)
    inputs, targets = torch.randn(n, 4, generator=generator), torch.randn(n, n_out, generator=generator)
    weights = 0.5 + torch.rand(n, generator=generator)
    given = dict(row_weights=weights, alpha_w=ALPHA_W, alpha_theta=ALPHA_THETA) | options
    theta = network.initial(0) + 0.1 * torch.randn(network.n_theta, generator=generator)
    return reduced_least_squares(network, inputs, targets, **given), theta, targets, weights, generator


def augmented_residual(network, inputs, targets, weights, theta):
    """All residual blocks of the reduced problem, W from the normal equations: differentiable by autograd."""
    n = len(inputs)
    scale = (weights / math.sqrt(n))[:, None]
    features = torch.cat([network.bind(theta)(inputs), torch.ones(n, 1)], 1)
    columns = torch.cat([features * scale, math.sqrt(ALPHA_W) * torch.eye(features.shape[1])])
    padded = torch.cat([targets * scale, torch.zeros(features.shape[1], targets.shape[1])])
    solution = torch.linalg.solve(columns.t() @ columns, columns.t() @ padded)
    return torch.cat([(columns @ solution - padded).reshape(-1), math.sqrt(ALPHA_THETA) * theta])


@pytest.fixture(params=NETWORKS.values(), ids=NETWORKS)
def network(request):
    return request.param


def test_value_gradient_and_golub_pereyra_equal_autograd_through_the_solve(network):
    objective, theta, targets, weights, generator = problem(network)

    def residual(at):
        return augmented_residual(network, objective.inputs, targets, weights, at)

    jacobian, at = torch.func.jacrev(residual)(theta), residual(theta)
    point = objective.at(theta)
    assert point.value == pytest.approx(0.5 * float(at @ at), rel=1e-13)
    torch.testing.assert_close(point.gradient, jacobian.t() @ at, rtol=1e-10, atol=1e-12)
    direction = torch.randn(network.n_theta, generator=generator)
    torch.testing.assert_close(
        point.gauss_newton(direction), jacobian.t() @ (jacobian @ direction), rtol=1e-10, atol=1e-12
    )


def test_kaufman_drops_a_positive_semidefinite_term(network):
    objective, theta, *_ = problem(network)
    point = objective.at(theta)
    identity = torch.eye(network.n_theta)
    full = torch.stack([point.gauss_newton(e) for e in identity])
    kaufman = torch.stack([point.gauss_newton(e, "kaufman") for e in identity])
    torch.testing.assert_close(kaufman, kaufman.t(), rtol=1e-10, atol=1e-12)
    assert float(torch.linalg.eigvalsh(full - kaufman).min()) > -1e-12
    assert float(torch.linalg.eigvalsh(kaufman).min()) > 0.99 * ALPHA_THETA


@pytest.mark.parametrize("projected", [False, True])
def test_probes_have_the_covariance_of_the_curvature(projected):
    """That of the matrix at fixed W, and that of Kaufman's, for which the data rows of Q are taken as orthonormal."""
    network = NETWORKS["dense"]
    objective, theta, *_ = problem(network, alpha_w=1e-12)
    point, identity = objective.at(theta), torch.eye(network.n_theta)
    full = FullObjective(objective)
    kept = full.at(full.start(theta))
    of_w = torch.zeros(full.n_theta - network.n_theta)
    expected = (
        torch.stack([point.gauss_newton(e, "kaufman") for e in identity])
        if projected
        else torch.stack([kept.gauss_newton(torch.cat([e, of_w]))[: network.n_theta] for e in identity])
    ) - ALPHA_THETA * identity
    linearization, n = network.linearize(theta, objective.inputs), 3000
    probes = (point.inner.probe(j, projected) for j in range(n))
    gradients = torch.stack([linearization.vjp(probe) for probe in probes])
    assert float((gradients.t() @ gradients / n - expected).norm()) < 0.1 * float(expected.norm())


def test_reduced_gradient_is_the_full_one_at_the_inner_optimum(network):
    objective, theta, targets, weights, _ = problem(network)
    weights_at = objective.at(theta).outer_weights.clone().requires_grad_()
    theta = theta.clone().requires_grad_()
    predictions = torch.cat([network.bind(theta)(objective.inputs), torch.ones(23, 1)], 1) @ weights_at.t()
    value = 0.5 * (((predictions - targets) * weights[:, None]) ** 2).sum() / 23
    value = value + 0.5 * ALPHA_W * (weights_at**2).sum() + 0.5 * ALPHA_THETA * (theta**2).sum()
    value.backward()
    assert float(weights_at.grad.norm()) < 1e-13
    torch.testing.assert_close(theta.grad, objective.at(theta.detach()).gradient, rtol=1e-10, atol=1e-13)


def test_compressed_equals_uncompressed():
    network = DenseNetwork(4, (5, 3))
    _narrow, theta, targets, _, generator = problem(network)
    mixing = torch.randn(6, 40, generator=generator)
    wide, *_ = problem(network)
    weights = wide.elimination.row_weights
    many = reduced_least_squares(
        network, wide.inputs, targets @ mixing, row_weights=weights, alpha_w=ALPHA_W, alpha_theta=ALPHA_THETA
    )
    assert many.rotation.shape == (6, 40)
    point, direction = many.at(theta), torch.randn(network.n_theta, generator=generator)
    layer = LeastSquaresLayer(targets @ mixing, weights, ALPHA_W)
    features = network.bind(theta)(wide.inputs)
    plain = layer.solve(features)
    torch.testing.assert_close(point.inner.value, plain.value, rtol=1e-12, atol=0)
    torch.testing.assert_close(point.outer_weights[:, :-1], plain.weights.t(), rtol=1e-9, atol=1e-11)
    assert float((point.gauss_newton(direction) - direction * ALPHA_THETA).norm()) > 0
    assert float(many.elimination.dropped.max()) < 1e-12


def test_truncation_error_is_stated_in_the_training_error():
    network = DenseNetwork(4, (5, 3))
    objective, theta, targets, *_ = problem(network, compression=0.5)
    point = objective.at(theta)
    assert len(objective.rotation) < 6
    features = torch.cat([network.bind(theta)(objective.inputs), torch.ones(23, 1)], 1)
    error = (features @ point.outer_weights.t() - targets).norm(dim=1) / targets.norm(dim=1)
    assert point.training_error() == pytest.approx(float(error.mean()), rel=1e-12)


def test_dependent_features_give_the_minimum_norm_weights():
    generator = torch.Generator().manual_seed(1)
    features, targets = torch.randn(20, 3, generator=generator), torch.randn(20, 2, generator=generator)
    features = torch.cat([features, features[:, :1], torch.zeros(20, 1)], 1)
    solved = LeastSquaresLayer(targets, torch.ones(20), alpha_w=0.0).solve(features)
    centred, centred_targets = features - features.mean(0), targets - targets.mean(0)
    torch.testing.assert_close(solved.weights, torch.linalg.pinv(centred) @ centred_targets, rtol=1e-9, atol=1e-11)


def test_more_features_than_samples_is_solved():
    generator = torch.Generator().manual_seed(1)
    features, targets = torch.randn(6, 9, generator=generator), torch.randn(6, 2, generator=generator)
    solved = LeastSquaresLayer(targets, torch.ones(6), alpha_w=1e-8).solve(features)
    assert float(solved.residual.norm()) < 1e-6


def test_work_is_charged_where_it_happens():
    objective, theta, *_ = problem(DenseNetwork(4, (5, 3)))
    point = objective.at(theta)
    assert objective.meter.total == 1  # the forward pass of a trial point
    _ = point.value, point.gradient, point.gradient, point.outer_weights, point.training_error()
    assert objective.meter.total == 2  # one backward pass, once
    point.gauss_newton(theta)
    assert (objective.meter.forward, objective.meter.backward) == (2, 2)
    point.curvature_layers(0)
    assert objective.meter.backward == 3


def test_float32_features_keep_the_inner_solve_in_float64():
    network = DenseNetwork(4, (5, 3))
    double, theta, targets, weights, _ = problem(network)
    single = reduced_least_squares(
        network, double.inputs.float(), targets, row_weights=weights, alpha_w=ALPHA_W, alpha_theta=ALPHA_THETA
    )
    point, reference = single.at(theta.float()), double.at(theta)
    assert point.inner.weights.dtype == torch.float64
    assert point.gradient.dtype == torch.float32
    assert point.value == pytest.approx(reference.value, rel=1e-6)
    torch.testing.assert_close(point.gradient.double(), reference.gradient, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("wrong", ["count", "infinite", "weights", "alpha"])
def test_wrong_input_is_refused_before_the_first_step(wrong):
    network = DenseNetwork(4, (5, 3))
    inputs, targets, options = torch.ones(6, 4), torch.ones(6, 2), {}
    if wrong == "count":
        targets = targets[:5]
    if wrong == "infinite":
        targets[2, 1] = math.inf
    if wrong == "weights":
        options["row_weights"] = torch.zeros(6)
    if wrong == "alpha":
        options["alpha_w"] = -1.0
    with pytest.raises(ValueError, match="disagree on samples|not finite|positive row weights|expected regularisation"):
        reduced_least_squares(network, inputs, targets, **options)
