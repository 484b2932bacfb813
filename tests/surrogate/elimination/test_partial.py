"""Outputs that some samples lack: every column of W by the samples that have it, and derivatives through that."""

import math

import pytest
import torch

from gnvpro.surrogate.elimination.least_squares import LeastSquaresLayer
from gnvpro.surrogate.elimination.partial import PartialLeastSquaresLayer
from gnvpro.surrogate.elimination.patterns import Patterns, Restriction
from gnvpro.surrogate.elimination.ridge_path import alphas
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.networks.dense import DenseNetwork
from gnvpro.surrogate.objectives.full import FullObjective
from gnvpro.surrogate.objectives.reduced import reduced_least_squares
from gnvpro.surrogate.objectives.streamed import streamed
from tests.calculus import assert_taylor

torch.set_default_dtype(torch.float64)

N, WIDTH, OUTPUTS, ALPHA_W, ALPHA_THETA = 60, 7, 9, 1e-3, 1e-3


def data(seed=0):
    """Features, fixed columns, row weights and targets: two outputs complete, two for few samples, others scattered."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=generator)

    features, fixed, targets = normal(N, WIDTH), normal(N, 3), normal(N, OUTPUTS)
    lacks = torch.rand(N, OUTPUTS, generator=generator) < 0.15
    lacks[:, [2, 5]] = False
    lacks[:, [7, 8]] = (torch.arange(N) < 40).unsqueeze(1)
    targets[lacks] = math.nan
    return features, fixed, 0.5 + torch.rand(N, generator=generator), targets


def by_itself(j, alpha_w=ALPHA_W):
    """The layer of one output on the samples that have it, with the weights that they have among all; and which these are."""
    _, fixed, weights, targets = data()
    rows = ~torch.isnan(targets[:, j])
    weights = weights[rows] * math.sqrt(int(rows.sum()) / N)
    return LeastSquaresLayer(targets[rows][:, [j]], weights, alpha_w, fixed[rows]), rows


@pytest.mark.parametrize("compression", [None, 0.0], ids=["as they are", "compressed"])
@pytest.mark.parametrize("solve", ["by_qr", "by_svd"])
def test_every_column_is_that_of_a_fit_to_the_samples_that_have_it(solve, compression):
    features, fixed, weights, targets = data()
    layer = PartialLeastSquaresLayer(targets, weights, ALPHA_W, fixed, compression)
    solution = getattr(layer, solve)(features)
    found, value = solution.outer @ layer.rotation, 0.0
    for j in range(OUTPUTS):
        alone, rows = by_itself(j)
        expected = alone.solve(features[rows])
        value += float(expected.value)
        torch.testing.assert_close(found[:, [j]], expected.outer, rtol=1e-11, atol=1e-12)
        left_out = (solution.leave_one_out() @ layer.rotation)[rows][:, [j]]
        torch.testing.assert_close(left_out, expected.leave_one_out(), rtol=1e-10, atol=1e-12)
    assert float(solution.value) == pytest.approx(value, rel=1e-12)
    assert not (solution.residual @ layer.rotation)[torch.isnan(targets)].any()


@pytest.mark.parametrize("kind", ["golub-pereyra", "kaufman"])
def test_one_factorisation_and_one_a_pattern_say_the_same(kind):
    features, fixed, weights, targets = data()
    layer = PartialLeastSquaresLayer(targets, weights, ALPHA_W, fixed, 0.0, kind)
    one, each = layer.by_qr(features), layer.by_svd(features)
    change = torch.randn(features.shape, generator=torch.Generator().manual_seed(3))

    def of(solution):
        products = solution.curvature_product(change)[0], solution.feature_gradient(), solution.leverages()
        return [
            *products,
            solution.probe(3),
            solution.probe(3, projected=True),
            torch.tensor(solution.training_error()),
        ]

    for quick, exact in zip(of(one), of(each), strict=True):
        torch.testing.assert_close(quick, exact, rtol=1e-10, atol=1e-12)


def test_without_missing_values_it_is_the_layer_of_all_samples():
    features, fixed, weights, targets = data()
    targets = torch.nan_to_num(targets)
    partial = PartialLeastSquaresLayer(targets, weights, ALPHA_W, fixed).by_qr(features)
    whole = LeastSquaresLayer(targets, weights, ALPHA_W, fixed).by_qr(features)
    torch.testing.assert_close(partial.outer, whole.outer, rtol=1e-12, atol=1e-13)
    objective = reduced_least_squares(DenseNetwork(7, (3,)), features, targets)
    assert type(objective.elimination) is LeastSquaresLayer


def problem(kind="golub-pereyra"):
    inputs, fixed, weights, targets = data()
    network = DenseNetwork(WIDTH, (4, 3))
    options = dict(row_weights=weights, fixed=fixed, alpha_w=ALPHA_W, alpha_theta=ALPHA_THETA, curvature=kind)
    return reduced_least_squares(network, inputs, targets, **options), network, network.initial(0)


def residual_of(network, theta):
    """All residuals of the reduced problem, each output by the normal equations of its samples: for autograd."""
    inputs, fixed, weights, targets = data()
    blocks = [math.sqrt(ALPHA_THETA) * theta]
    columns = torch.cat([network.bind(theta)(inputs), fixed, torch.ones(N, 1)], 1) * (weights / math.sqrt(N))[:, None]
    ridge = math.sqrt(ALPHA_W) * torch.eye(columns.shape[1])
    for j in range(OUTPUTS):
        rows = ~torch.isnan(targets[:, j])
        a = torch.cat([columns[rows], ridge])
        b = torch.cat([targets[rows, j] * weights[rows] / math.sqrt(N), torch.zeros(len(ridge))])
        blocks.append(a @ torch.linalg.solve(a.t() @ a, a.t() @ b) - b)
    return torch.cat(blocks)


def test_gradient_and_both_curvatures_equal_dense_ones():
    objective, network, theta = problem()
    jacobian, residual = torch.func.jacrev(lambda at: residual_of(network, at))(theta), residual_of(network, theta)
    point = objective.at(theta)
    assert point.value == pytest.approx(0.5 * float(residual @ residual), rel=1e-12)
    torch.testing.assert_close(point.gradient, jacobian.t() @ residual, rtol=1e-9, atol=1e-12)
    whole = jacobian.t() @ jacobian
    torch.testing.assert_close(point.gauss_newton_matrix("golub-pereyra"), whole, rtol=1e-9, atol=1e-11)
    kaufman = point.gauss_newton_matrix("kaufman")
    for j in range(0, network.n_theta, 5):
        unit = torch.eye(network.n_theta)[j]
        torch.testing.assert_close(point.gauss_newton(unit), whole[j], rtol=1e-9, atol=1e-11)
        torch.testing.assert_close(point.gauss_newton(unit, "kaufman"), kaufman[j], rtol=1e-9, atol=1e-11)
    # What Kaufman leaves out is positive semidefinite.
    assert float(torch.linalg.eigvalsh(whole - kaufman)[0]) > -1e-12


def test_gradient_by_taylor():
    objective, _, theta = problem()
    direction = torch.randn(len(theta), generator=torch.Generator().manual_seed(1))
    slope = float(objective.at(theta).gradient @ direction)

    def value(at):
        return objective.at(torch.as_tensor(at)).value

    assert_taylor(value, slope, theta.numpy(), direction.numpy())
    with pytest.raises(AssertionError):
        assert_taylor(value, 1.001 * slope, theta.numpy(), direction.numpy())


def test_generalised_cross_validation_is_that_of_the_patterns_together():
    features, fixed, weights, targets = data()
    layer = PartialLeastSquaresLayer(targets, weights, ALPHA_W, fixed)
    path = layer.best_alpha(features).path
    for alpha in alphas()[::4]:
        squares = 0.0
        for j in range(OUTPUTS):
            alone, rows = by_itself(j, alpha)
            squares += alone.best_alpha(features[rows]).path[alpha] ** 2
        assert path[alpha] == pytest.approx(math.sqrt(squares), rel=1e-10)
    chosen = layer.with_alpha(0.5).by_qr(features)
    assert float(chosen.value) == pytest.approx(float(layer.with_alpha(0.5).by_svd(features).value), rel=1e-12)


def test_dependent_columns_are_solved_for_with_the_least_norm_by_pattern():
    features, fixed, weights, targets = data()
    # The last feature is nothing at the samples that have the last outputs.
    features[40:, -1] = 0
    layer = PartialLeastSquaresLayer(targets, weights, 0.0, fixed)
    assert math.isnan(float(layer.by_qr(features).value))
    solution = layer.solve(features)
    found = solution.outer @ layer.rotation
    for j in (0, 8):
        alone, rows = by_itself(j, 0.0)
        torch.testing.assert_close(found[:, [j]], alone.solve(features[rows]).outer, rtol=1e-9, atol=1e-10)
    assert abs(float(found[WIDTH - 1, 8])) < 1e-12


def test_what_few_samples_determine_is_solved_to_rounding():
    # Without the last sample the last feature is of size 1e-5: S has the smallest eigenvalue 1e-10.
    features, fixed, weights, targets = data()
    features[:-1, -1] *= 1e-5
    targets[-1, 0] = math.nan
    layer = PartialLeastSquaresLayer(targets, weights, 0.0, fixed)
    quick, exact = layer.by_qr(features), layer.by_svd(features)
    assert float(quick.value) == pytest.approx(float(exact.value), rel=1e-10)
    torch.testing.assert_close(quick.residual, exact.residual, rtol=0, atol=1e-6)
    # The normal equations of every output hold, in the scale of their columns.
    columns = torch.cat([features, fixed, torch.ones(N, 1)], 1) * layer.row_scale
    assert float((columns / columns.norm(dim=0)).t().matmul(quick.residual).abs().max()) < 1e-12


def test_patterns_are_in_the_order_of_their_first_columns():
    present = torch.tensor([[1, 0, 1, 0], [1, 1, 1, 1], [0, 1, 0, 0]], dtype=torch.bool)
    patterns, order = Patterns.of(present)
    assert patterns.counts == (2, 1, 1)
    assert order.tolist() == [0, 2, 1, 3]
    assert [(rows.tolist(), columns) for rows, columns in patterns.groups()] == [
        ([0, 1], slice(0, 2)), ([1, 2], slice(2, 3)), ([1], slice(3, 4)),
    ]  # fmt: skip


def test_a_restriction_is_the_projector_of_the_rows_of_a_pattern():
    generator = torch.Generator().manual_seed(5)
    basis = torch.linalg.qr(torch.randn(12, 3, generator=generator)).Q
    present = torch.ones(12, 2, dtype=torch.bool)
    present[:4, 1] = False
    values = torch.randn(12, 2, generator=generator)
    found = Restriction(Patterns(present, (1, 1)), basis).complement(values)[4:, 1]
    rows = basis[4:]
    torch.testing.assert_close(found, values[4:, 1] - rows @ torch.linalg.lstsq(rows, values[4:, 1:]).solution[:, 0])


def test_what_does_not_eliminate_by_pattern_is_refused():
    objective, _, _ = problem()
    for make in (FullObjective, streamed):
        with pytest.raises(UsageError, match="needs every output of every sample, and some are missing; leave these"):
            make(objective)
    with pytest.raises(UsageError, match="expected values of every output, got none of number 1"):
        PartialLeastSquaresLayer(torch.tensor([[1.0, math.nan], [2.0, math.nan]]))
