"""Fixed columns beside the features: one big least-squares problem, and autodiff through it."""

import itertools
import math

import pytest
import torch

from gnvpro.surrogate.networks.dense import DenseNetwork
from gnvpro.surrogate.networks.none import NoFeatures
from gnvpro.surrogate.objectives.reduced import reduced_least_squares

ALPHA_W, ALPHA_THETA = 1e-3, 1e-3
NETWORK = DenseNetwork(2, (4, 3))
GENERATOR = torch.Generator().manual_seed(3)
N, N_OUT, Q = 26, 5, 6


def random(*shape):
    return torch.randn(*shape, generator=GENERATOR, dtype=torch.float64)


INPUTS, TARGETS, FIXED, WEIGHTS = random(N, 2), random(N, N_OUT), random(N, Q), 0.5 + random(N).abs()
THETA, DIRECTION = random(NETWORK.n_theta), random(NETWORK.n_theta)


def objective(network=NETWORK, **options):
    given = dict(row_weights=WEIGHTS, fixed=FIXED, alpha_w=ALPHA_W, alpha_theta=ALPHA_THETA) | options
    return reduced_least_squares(network, INPUTS, TARGETS, **given)


def dense_problem(theta, network=NETWORK):
    """Columns and padded targets of the least-squares problem for all of W at once."""
    scale = (WEIGHTS / math.sqrt(N))[:, None]
    columns = torch.cat([network.bind(theta)(INPUTS), FIXED, torch.ones(N, 1, dtype=torch.float64)], 1) * scale
    ridge = math.sqrt(ALPHA_W) * torch.eye(columns.shape[1], dtype=torch.float64)
    padding = torch.zeros(len(ridge), N_OUT, dtype=torch.float64)
    return torch.cat([columns, ridge]), torch.cat([TARGETS * scale, padding])


def residual(theta):
    columns, padded = dense_problem(theta)
    solution = torch.linalg.solve(columns.t() @ columns, columns.t() @ padded)
    return torch.cat([(columns @ solution - padded).reshape(-1), math.sqrt(ALPHA_THETA) * theta])


@pytest.mark.parametrize("network", [NETWORK, NoFeatures(2)], ids=["features", "no features"])
def test_projection_solves_the_whole_problem(network):
    theta = THETA[: network.n_theta]
    columns, padded = dense_problem(theta, network)
    expected = torch.linalg.lstsq(columns, padded).solution
    torch.testing.assert_close(objective(network).at(theta).outer_weights, expected.t(), rtol=1e-9, atol=1e-11)


def test_value_gradient_and_gauss_newton_equal_autograd_through_the_solve():
    point, jacobian, at = objective().at(THETA), torch.func.jacrev(residual)(THETA), residual(THETA)
    assert point.value == pytest.approx(0.5 * float(at @ at), rel=1e-12)
    torch.testing.assert_close(point.gradient, jacobian.t() @ at, rtol=1e-10, atol=1e-12)
    product = jacobian.t() @ (jacobian @ DIRECTION)
    torch.testing.assert_close(point.gauss_newton(DIRECTION), product, rtol=1e-10, atol=1e-12)


def test_taylor_remainder_is_of_second_order():
    problem = objective()
    point = problem.at(THETA)
    slope = float(point.gradient @ DIRECTION)
    steps = [2.0**-k for k in range(3, 12)]
    rest = [abs(problem.at(THETA + t * DIRECTION).value - point.value - t * slope) for t in steps]
    orders = [math.log2(a / b) for a, b in itertools.pairwise(rest)]
    assert min(orders[3:]) > 1.9
    assert max(orders[3:]) < 2.1


def test_a_sibling_shares_the_targets_and_counts_for_itself():
    first, other = objective(), DenseNetwork(2, (3,))
    theta = other.initial(0)
    second = first.sibling(other, INPUTS, 1e-2)
    alone = objective(other, alpha_theta=1e-2).at(theta)
    assert second.at(theta).value == alone.value
    assert torch.equal(second.at(theta).gradient, alone.gradient)
    assert second.elimination is first.elimination
    assert (first.meter.total, second.meter.total) == (0, 3)


def test_fixed_columns_that_are_not_finite_are_refused():
    with pytest.raises(ValueError, match="fixed columns"):
        objective(fixed=FIXED * math.nan)
