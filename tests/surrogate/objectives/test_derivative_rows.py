"""Derivative rows in the reduced and full objectives: value and gradient against a textbook solve, curvature, layers."""

import math

import pytest
import torch

from gnvpro.surrogate.elimination.least_squares import LeastSquaresLayer
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.networks.dense import DenseNetwork
from gnvpro.surrogate.networks.tangents import features_and_tangents, interleaved
from gnvpro.surrogate.objectives import gram
from gnvpro.surrogate.objectives.batches import BatchObjective
from gnvpro.surrogate.objectives.full import FullObjective
from gnvpro.surrogate.objectives.gram import gram_by_products
from gnvpro.surrogate.objectives.reduced import ReducedObjective, reduced_least_squares
from gnvpro.training.solvers.kronecker_metric import factors_of
from tests.calculus import assert_taylor
from tests.surrogate.objectives.test_reduced_least_squares import ALPHA_THETA, ALPHA_W, NETWORKS

torch.set_default_dtype(torch.float64)
N, R = 17, 2
DENSE = NETWORKS["dense"]


@pytest.fixture(params=NETWORKS.values(), ids=NETWORKS)
def network(request):
    return request.param


def problem(network, n_out=6, **options):
    generator = torch.Generator().manual_seed(7)
    inputs, directions = torch.randn(N, 4, generator=generator), torch.randn(N, R, 4, generator=generator)
    targets = torch.randn(N * (1 + R), n_out, generator=generator)
    weights = 0.5 + torch.rand(N * (1 + R), generator=generator)
    settings = dict(row_weights=weights, alpha_w=ALPHA_W, alpha_theta=ALPHA_THETA, directions=directions) | options
    theta = network.initial(0) + 0.1 * torch.randn(network.n_theta, generator=generator)
    return reduced_least_squares(network, inputs, targets, **settings), theta, targets, weights, generator


def augmented_residual(network, objective, targets, weights, theta):
    """All residual blocks, W from the normal equations; the bias is a column of ones in rows of values alone."""
    scale = (weights / math.sqrt(N))[:, None]
    bias = interleaved(torch.ones(N, 1), torch.zeros(N, R, 1))
    features = torch.cat([features_and_tangents(network, theta, objective.inputs, objective.directions), bias], 1)
    columns = torch.cat([features * scale, math.sqrt(ALPHA_W) * torch.eye(features.shape[1])])
    padded = torch.cat([targets * scale, torch.zeros(features.shape[1], targets.shape[1])])
    solution = torch.linalg.solve(columns.t() @ columns, columns.t() @ padded)
    return torch.cat([(columns @ solution - padded).reshape(-1), math.sqrt(ALPHA_THETA) * theta])


def test_value_gradient_and_curvatures_equal_autograd_through_the_solve(network):
    objective, theta, targets, weights, generator = problem(network)

    def residual(at):
        return augmented_residual(network, objective, targets, weights, at)

    jacobian, at = torch.func.jacrev(residual)(theta), residual(theta)
    point, direction = objective.at(theta), torch.randn(network.n_theta, generator=generator)
    assert point.value == pytest.approx(0.5 * float(at @ at), rel=1e-12)
    torch.testing.assert_close(point.gradient, jacobian.t() @ at, rtol=1e-9, atol=1e-11)
    product = jacobian.t() @ (jacobian @ direction)
    torch.testing.assert_close(point.gauss_newton(direction), product, rtol=1e-9, atol=1e-11)


def test_gradient_by_the_envelope_theorem_passes_taylor(network):
    objective, theta, *_, generator = problem(network)
    direction = torch.randn(network.n_theta, generator=generator)

    def value(at):
        return objective.at(torch.from_numpy(at)).value

    assert_taylor(value, float(objective.at(theta).gradient @ direction), theta.numpy(), direction.numpy())


@pytest.mark.parametrize("kind", ["kaufman", "golub-pereyra"])
@pytest.mark.parametrize("widths", [(5, 3), (3,)])
def test_structured_matrix_equals_products_with_the_identity(kind, widths, monkeypatch):
    network = DenseNetwork(4, widths)
    objective, theta, *_ = problem(network)
    point = objective.at(theta)
    expected = gram_by_products(lambda v: point.gauss_newton(v, kind), network.n_theta, theta)
    torch.testing.assert_close(point.gauss_newton_matrix(kind), expected, rtol=1e-11, atol=1e-12)
    monkeypatch.setattr(gram, "BYTES", 1)  # chunks of one sample
    torch.testing.assert_close(objective.at(theta).gauss_newton_matrix(kind), expected, rtol=1e-11, atol=1e-12)


def test_factors_of_the_metric_hold_the_gradients_of_samples():
    """D is the sum of the samples' squared gradients in the eigenbasis, bias and tangents included."""
    objective, theta, *_ = problem(DENSE)
    point = objective.at(theta)
    seed = point.inner.probe(3)
    for layer in point.layers(seed):
        ((where, left, right, diagonal),) = factors_of(lambda layer=layer: [[layer]])
        expected = torch.zeros_like(diagonal)
        for sample in range(N):
            alone = torch.zeros_like(seed)
            rows = slice(sample * (1 + R), (sample + 1) * (1 + R))
            alone[rows] = seed[rows]
            gradient = objective.linearize(theta).vjp(alone)[where].view(diagonal.shape)
            expected += (left.t() @ gradient @ right) ** 2
        torch.testing.assert_close(diagonal, expected, rtol=1e-10, atol=1e-13)


def test_rows_of_zeros_say_nothing():
    objective, theta, targets, weights, _ = problem(DENSE)
    directions, unknown = objective.directions.clone(), targets.clone()
    directions[:, 1], unknown[2 :: 1 + R] = 0, 0
    with_zeros, *_ = problem(DENSE, directions=directions)
    layer = LeastSquaresLayer(unknown, weights, ALPHA_W, group=1 + R)
    with_zeros = ReducedObjective(DENSE, objective.inputs, layer, ALPHA_THETA, directions=directions)
    known = torch.arange(N * (1 + R)) % (1 + R) < 2
    fewer = LeastSquaresLayer(targets[known], weights[known], ALPHA_W, group=2)
    without = ReducedObjective(DENSE, objective.inputs, fewer, ALPHA_THETA, directions=directions[:, :1])
    points = [one.at(theta) for one in (with_zeros, without)]
    assert points[0].value == pytest.approx(points[1].value, rel=1e-13)
    torch.testing.assert_close(points[0].gradient, points[1].gradient, rtol=1e-11, atol=1e-13)
    torch.testing.assert_close(points[0].outer_weights, points[1].outer_weights, rtol=1e-9, atol=1e-11)


def test_errors_are_those_of_the_values_and_a_sample_is_left_out_with_its_derivatives():
    objective, theta, targets, weights, _ = problem(DENSE, alpha_w=0.0, compression=None)
    point, scale = objective.at(theta), (weights / math.sqrt(N))[:, None]
    rows = objective.linearize(theta).features
    columns = torch.cat([rows, interleaved(torch.ones(N, 1), torch.zeros(N, R, 1))], 1)
    misfit = columns @ point.outer_weights.t() - targets
    errors = misfit[:: 1 + R].norm(dim=1) / targets[:: 1 + R].norm(dim=1)
    assert point.training_error() == pytest.approx(float(errors.mean()), rel=1e-12)
    left_out = point.inner.leave_one_out()
    for sample in (0, 5):
        out = torch.arange(len(targets)) // (1 + R) == sample
        others = torch.linalg.lstsq((columns * scale)[~out], (targets * scale)[~out]).solution
        expected = (columns[out] @ others - targets[out]) * scale[out]
        torch.testing.assert_close(left_out[out], expected, rtol=1e-8, atol=1e-10)


def test_the_full_objective_is_the_same_problem_and_its_batches_are_unbiased():
    objective, theta, *_ = problem(DENSE)
    full = FullObjective(objective)
    variables = full.start(theta)
    point, reduced = full.at(variables), objective.at(theta)
    assert point.value == pytest.approx(reduced.value, rel=1e-12)
    torch.testing.assert_close(point.gradient[: DENSE.n_theta], reduced.gradient, rtol=1e-9, atol=1e-11)
    mean = torch.stack([full.batch_gradient(variables, torch.tensor([j])) for j in range(N)]).mean(0)
    torch.testing.assert_close(mean, point.gradient, rtol=1e-9, atol=1e-11)


def test_a_pass_over_values_and_derivatives_counts_as_so_many_of_values():
    objective, theta, *_ = problem(DENSE)
    _ = objective.at(theta).gradient
    assert (objective.meter.forward, objective.meter.backward) == (1, 1)
    assert objective.meter.total == 2 * (1 + R)


def test_what_does_not_fit_is_refused():
    objective, *_ = problem(DENSE)
    with pytest.raises(UsageError, match="expected 2 directions at every sample"):
        ReducedObjective(DENSE, objective.inputs, objective.elimination, 0.0)
    with pytest.raises(UsageError, match="without derivatives for variable projection on batches"):
        BatchObjective(objective)
    with pytest.raises(UsageError, match="expected 3 rows of every sample, got 4 rows"):
        LeastSquaresLayer(torch.ones(4, 1), group=3)
