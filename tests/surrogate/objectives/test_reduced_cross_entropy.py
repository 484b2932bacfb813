"""The reduced objective of classes against autograd through a converged solve, and its identities."""

import math

import pytest
import torch

from gnvpro.surrogate.elimination.labels import class_weights, one_hot
from gnvpro.surrogate.networks.dense import DenseNetwork
from gnvpro.surrogate.networks.in_time.residual import ResidualNetwork
from gnvpro.surrogate.networks.module import ModuleNetwork
from gnvpro.surrogate.objectives.reduced import reduced_cross_entropy
from gnvpro.surrogate.objectives.regularisation import TimeDerivative
from tests.calculus import assert_taylor

torch.set_default_dtype(torch.float64)

ALPHA_W, ALPHA_THETA, N_CLASSES = 1e-2, 1e-3, 3
torch.manual_seed(0)  # of the module's weights
NETWORKS = {
    "dense": DenseNetwork(4, (5, 3)),
    "residual": ResidualNetwork(4, 3, steps=2),
    "module": ModuleNetwork(torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.SiLU()), 4),
}


def problem(network, n=23, dtype=torch.float64, **options):
    generator = torch.Generator().manual_seed(7)
    inputs = torch.randn(n, 4, generator=generator)
    labels = torch.randint(0, N_CLASSES, (n,), generator=generator)
    given = dict(row_weights=class_weights(labels, N_CLASSES), alpha_w=ALPHA_W, alpha_theta=ALPHA_THETA) | options
    theta = network.initial(0) + 0.1 * torch.randn(network.n_theta, generator=generator)
    objective = reduced_cross_entropy(network, inputs.to(dtype), one_hot(labels, N_CLASSES, smoothing=0.1), **given)
    return objective, theta.to(dtype), generator


def predictions(objective, theta, weights):
    columns = torch.cat([objective.network.bind(theta)(objective.inputs), torch.ones(len(objective.inputs), 1)], 1)
    return columns @ weights


def loss_of(objective, logits):
    losses = torch.nn.functional.cross_entropy(logits, objective.elimination.targets, reduction="none")
    return (objective.elimination.row_weights * losses).mean()


def full_value(objective, theta, weights):
    penalty = 0.5 * objective.elimination.alpha_w * (weights**2).sum() + 0.5 * ALPHA_THETA * (theta**2).sum()
    return loss_of(objective, predictions(objective, theta, weights)) + penalty


def solved_by_newton(objective, theta, start):
    """W(theta) by three Newton steps from a converged start, differentiable by theta."""
    weights, shape = start, start.shape
    for _ in range(3):
        gradient, hessian = (
            make(lambda w: full_value(objective, theta, w))(weights) for make in (torch.func.grad, torch.func.hessian)
        )
        size = shape.numel()
        weights = weights - torch.linalg.solve(hessian.reshape(size, size), gradient.flatten()).view(shape)
    return weights


@pytest.fixture(params=NETWORKS.values(), ids=NETWORKS)
def network(request):
    return request.param


def test_value_and_gradient_equal_autograd_through_the_solve(network):
    objective, theta, _ = problem(network)
    point = objective.at(theta)

    def reduced(at):
        return full_value(objective, at, solved_by_newton(objective, at, point.inner.weights))

    assert point.value == pytest.approx(float(reduced(theta)), rel=1e-13)
    torch.testing.assert_close(point.gradient, torch.func.grad(reduced)(theta), rtol=1e-10, atol=1e-13)


def test_the_papers_curvature_is_that_of_the_reduced_predictions(network):
    objective, theta, generator = problem(network, curvature="paper")
    point = objective.at(theta)

    def outer(at):
        return solved_by_newton(objective, at, point.inner.weights)

    by_predictions = torch.func.jacfwd(lambda at: predictions(objective, at, outer(at)))(theta)
    by_outer = torch.func.jacfwd(outer)(theta).flatten(0, 1)
    hessian = torch.func.hessian(lambda x: loss_of(objective, x))(predictions(objective, theta, point.inner.weights))
    flat = by_predictions.flatten(0, 1)
    dense = flat.t() @ hessian.reshape(len(flat), len(flat)) @ flat + ALPHA_W * by_outer.t() @ by_outer
    direction = torch.randn(network.n_theta, generator=generator)
    expected = dense @ direction + ALPHA_THETA * direction
    assert_equal_vectors(point.gauss_newton(direction), expected)
    # What it remembers is the derivative of W.
    assert_equal_vectors(point._responses[-1][1].flatten(), by_outer @ direction)


def test_schur_is_the_schur_complement_of_the_full_gauss_newton_matrix(network):
    objective, theta, generator = problem(network)
    point = objective.at(theta)
    weights, p = point.inner.weights, network.n_theta

    def together(x):
        return predictions(objective, x[:p], x[p:].view(weights.shape))

    jacobian = torch.func.jacfwd(together)(torch.cat([theta, weights.flatten()])).flatten(0, 1)
    hessian = torch.func.hessian(lambda x: loss_of(objective, x))(predictions(objective, theta, weights))
    full = jacobian.t() @ hessian.reshape(len(jacobian), len(jacobian)) @ jacobian
    corner = full[p:, p:] + ALPHA_W * torch.eye(weights.numel())
    schur = full[:p, :p] - full[:p, p:] @ torch.linalg.solve(corner, full[p:, :p])
    direction = torch.randn(p, generator=generator)
    assert_equal_vectors(point.gauss_newton(direction), schur @ direction + ALPHA_THETA * direction)


def assert_equal_vectors(ours, expected):
    assert float((ours - expected).norm()) <= 1e-10 * float(expected.norm())


@pytest.mark.parametrize("kind", ["schur", "paper"])
def test_curvature_is_symmetric_and_positive_semidefinite(network, kind):
    objective, theta, _ = problem(network, curvature=kind)
    point = objective.at(theta)
    dense = torch.stack([point.gauss_newton(e) for e in torch.eye(network.n_theta)])
    torch.testing.assert_close(dense, dense.t(), rtol=1e-9, atol=1e-12)
    assert float(torch.linalg.eigvalsh(dense).min()) > 0.99 * ALPHA_THETA


def test_gradient_is_a_derivative(network):
    objective, theta, generator = problem(network)
    direction = 0.3 * torch.randn(network.n_theta, generator=generator)
    derivative = float(objective.at(theta).gradient @ direction)

    def value(at):
        return objective.at(torch.as_tensor(at)).value

    assert_taylor(value, derivative, theta.numpy(), direction.numpy())
    with pytest.raises(AssertionError, match="order"):
        assert_taylor(value, 1.001 * derivative, theta.numpy(), direction.numpy())


@pytest.mark.parametrize("accuracy", [1e-3, 1e-5, 1e-7])
def test_gradient_at_an_inexact_outer_layer_is_within_its_bound(accuracy):
    network = NETWORKS["dense"]
    objective, theta, _ = problem(network)
    exact, point = objective.at(theta), objective.at(theta, accuracy=accuracy)
    moved = point.inner.weights - exact.inner.weights
    # phi is alpha_w-strongly convex in W: the distance to its minimiser is bounded by the gradient that is left.
    left = float(point.inner.gradient.norm())
    assert float(moved.norm()) <= left / ALPHA_W
    at_fixed = torch.func.grad(lambda at, w: full_value(objective, at, w))
    steepest = torch.func.jacrev(at_fixed, argnums=1)(theta, exact.inner.weights).reshape(network.n_theta, -1)
    bound = float(torch.linalg.matrix_norm(steepest, 2)) * left / ALPHA_W
    error = float((point.gradient - exact.gradient).norm())
    assert 0 < error <= 1.1 * bound
    assert 0 <= point.value - exact.value <= 1.5 * accuracy


def test_outer_layer_is_predicted_to_first_order(network):
    objective, theta, generator = problem(network, curvature="paper")
    point = objective.at(theta)
    directions = torch.randn(2, network.n_theta, generator=generator)
    for direction in directions:
        point.gauss_newton(direction)
    step = 0.7 * directions[0] - 0.2 * directions[1]
    errors = []
    for length in (1e-2, 1e-3):
        there = objective.at(theta + length * step)
        errors.append(float((point.predicted_outer(there.theta) - there.inner.weights).norm()))
    assert errors[0] / errors[1] > 50  # of second order: 100
    other = objective.at(theta + 1e-3 * step, near=point, accuracy=1e-9)
    assert other.inner.newton_steps < objective.at(theta + 1e-3 * step, accuracy=1e-9).inner.newton_steps
    unasked = objective.at(theta)
    assert unasked.predicted_outer(theta + step) is unasked.inner.weights


def test_where_the_inner_solve_starts_does_not_change_the_point(network):
    objective, theta, generator = problem(network)
    near = objective.at(theta + 0.1 * torch.randn(network.n_theta, generator=generator))
    cold, warm = objective.at(theta), objective.at(theta, near=near)
    torch.testing.assert_close(warm.inner.weights, cold.inner.weights, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(warm.gradient, cold.gradient, rtol=1e-10, atol=1e-12)
    assert warm.value == pytest.approx(cold.value, rel=1e-14)


def test_layers_have_the_covariance_of_the_gauss_newton_matrix():
    network = DenseNetwork(4, (3,))
    objective, theta, _ = problem(network, n=7)
    point = objective.at(theta)
    weights = point.inner.weights[:-1]
    # Averaged over seeds, g g' of one sample is W (diag(s) - s s') W' omega/n, times the slopes of tanh.
    seeds = range(4000)
    total = sum(
        torch.einsum("na,nb->nab", g, g) for g in (point.curvature_layers(seed)[0].sensitivities for seed in seeds)
    ) / len(seeds)
    s = point.inner.probabilities
    hessian = (torch.diag_embed(s) - s[:, :, None] * s[:, None, :]) * objective.elimination.row_scale[:, :, None]
    slope = 1 - network.bind(theta)(objective.inputs) ** 2
    expected = (weights @ hessian @ weights.t()) * slope[:, :, None] * slope[:, None, :]
    assert float((total - expected).norm()) < 0.05 * float(expected.norm())
    assert objective.meter.backward == len(seeds)


def test_work_is_charged_where_it_happens():
    objective, theta, _ = problem(DenseNetwork(4, (5, 3)))
    point = objective.at(theta)
    assert objective.meter.total == 1  # the forward pass of a trial point
    _ = point.value, point.gradient, point.gradient, point.outer.weights, point.training_error()
    assert objective.meter.total == 2  # one backward pass, once
    for kind in ("schur", "paper"):
        point.gauss_newton(theta, kind)
    assert (objective.meter.forward, objective.meter.backward) == (3, 3)
    point.predicted_outer(theta)
    assert objective.meter.total == 6


def test_training_error_counts_samples():
    objective, theta, _ = problem(NETWORKS["dense"])
    point = objective.at(theta)
    guessed = predictions(objective, theta, point.outer.compressed).argmax(1)
    assert point.training_error() == pytest.approx(
        float((guessed != objective.elimination.targets.argmax(1)).double().mean())
    )
    assert point.outer.weights.shape == (N_CLASSES, 4)


def test_float32_network_keeps_the_inner_solve_in_float64():
    network = DenseNetwork(4, (5, 3))
    double, theta, generator = problem(network)
    single, *_ = problem(network, dtype=torch.float32)
    point, reference = single.at(theta.float()), double.at(theta)
    assert point.inner.weights.dtype == torch.float64
    assert point.gradient.dtype == torch.float32
    assert point.value == pytest.approx(reference.value, rel=1e-6)
    torch.testing.assert_close(point.gradient.double(), reference.gradient, rtol=1e-4, atol=1e-6)
    direction = torch.randn(network.n_theta, generator=generator)
    for kind in ("schur", "paper"):
        ours, expected = point.gauss_newton(direction.float(), kind), reference.gauss_newton(direction, kind)
        assert float((ours.double() - expected).norm()) < 2e-3 * float(expected.norm())


def test_time_derivative_enters_value_gradient_and_products():
    network = NETWORKS["residual"]
    regulariser = TimeDerivative(1e-2, 1e-1, network.n_opening, network.n_times)
    with_it, theta, _ = problem(network, alpha_theta=regulariser)
    without, *_ = problem(network, alpha_theta=0.0)
    point, bare = with_it.at(theta), without.at(theta)
    assert point.value - bare.value == pytest.approx(float(regulariser.value(theta)), rel=1e-12)
    torch.testing.assert_close(point.gradient - bare.gradient, regulariser.apply(theta), rtol=1e-9, atol=1e-12)
    difference = point.gauss_newton(theta) - bare.gauss_newton(theta)
    torch.testing.assert_close(difference, regulariser.apply(theta), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("wrong", ["count", "nan", "weights", "alpha", "curvature", "targets"])
def test_wrong_input_is_refused_before_the_first_step(wrong):
    network = DenseNetwork(4, (5, 3))
    inputs, targets, options = torch.ones(6, 4), torch.full((6, 2), 0.5), {}
    if wrong == "count":
        targets = targets[:5]
    if wrong == "nan":
        inputs[2, 1] = math.nan
    if wrong == "weights":
        options["row_weights"] = torch.zeros(6)
    if wrong == "alpha":
        options["alpha_w"] = 0.0
    if wrong == "curvature":
        options["curvature"] = "kaufman"
    if wrong == "targets":
        targets = torch.ones(6, 2)
    message = "disagree on samples|not finite|positive row weights|expected alpha_w|expected curvature|probabilities"
    with pytest.raises(ValueError, match=message):
        reduced_cross_entropy(network, inputs, targets, **options)


def test_a_point_whose_outer_layer_was_not_found_is_no_point():
    class Enormous(torch.nn.Module):
        def forward(self, x):
            return 1e150 * x

    network = ModuleNetwork(torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.Tanh(), Enormous()), 4)
    objective, theta, _ = problem(network, alpha_w=1e-30)
    point = objective.at(theta)
    assert not point.inner.converged
    assert math.isnan(point.value)
