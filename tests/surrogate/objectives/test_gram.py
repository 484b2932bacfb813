"""The structured Gauss-Newton matrix against products with the identity and against autograd."""

import math

import pytest
import torch

from gnvpro.surrogate.networks.dense import DenseNetwork
from gnvpro.surrogate.networks.in_time.hamiltonian import HamiltonianNetwork
from gnvpro.surrogate.networks.in_time.residual import ResidualNetwork
from gnvpro.surrogate.objectives import gram
from gnvpro.surrogate.objectives.gram import gram_by_products, regulariser_matrix
from gnvpro.surrogate.objectives.reduced import reduced_least_squares
from gnvpro.surrogate.objectives.regularisation import LayerRidge, Ridge, TimeDerivative
from tests.held_bytes import HeldBytes
from tests.surrogate.objectives.test_reduced_least_squares import NETWORKS, augmented_residual, problem

NETWORKS = {
    **NETWORKS,
    "one layer": DenseNetwork(4, (3,)),
    "plain residual": ResidualNetwork(4, 3, steps=2, kind="plain"),
    "width one": ResidualNetwork(4, 1),
    "hamiltonian": HamiltonianNetwork(4, 4, steps=2),
}


@pytest.fixture(params=NETWORKS.values(), ids=NETWORKS)
def network(request):
    return request.param


@pytest.mark.parametrize("kind", ["kaufman", "golub-pereyra"])
@pytest.mark.parametrize("n_out", [2, 6])  # fewer and more targets than features: L is of W, or of its triangle
def test_matrix_equals_products_with_the_identity(network, kind, n_out):
    objective, theta, *_ = problem(network, n_out=n_out)
    point = objective.at(theta)
    expected = gram_by_products(lambda v: point.gauss_newton(v, kind), network.n_theta, theta)
    assert float((point.gauss_newton_matrix(kind) - expected).norm() / expected.norm()) < 1e-12


def test_matrix_equals_autograd_through_the_solve():
    network = DenseNetwork(4, (5, 3))
    objective, theta, targets, weights, _ = problem(network)
    jacobian = torch.func.jacrev(lambda t: augmented_residual(network, objective.inputs, targets, weights, t))(theta)
    matrix = objective.at(theta).gauss_newton_matrix("golub-pereyra")
    torch.testing.assert_close(matrix, jacobian.t() @ jacobian, rtol=1e-10, atol=1e-12)


def test_chunks_change_nothing(network, monkeypatch):
    objective, theta, *_ = problem(network)
    whole = objective.at(theta).gauss_newton_matrix("golub-pereyra")
    for limit in (8 * 7 * 60, 1):  # a few of the samples and seeds at a time, or each by itself
        monkeypatch.setattr(gram, "BYTES", limit)
        chunked = objective.at(theta).gauss_newton_matrix("golub-pereyra")
        torch.testing.assert_close(chunked, whole, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize(
    ("widths", "n_out", "n"), [((6, 12), 3, 3000), ((6, 12), 40, 3000), ((4, 40), 60, 600), ((30,), 200, 600)]
)
def test_memory_is_bounded_at_every_width_and_number_of_outputs(widths, n_out, n, monkeypatch):
    monkeypatch.setattr(gram, "BYTES", 2**20)
    network, generator = DenseNetwork(5, widths), torch.Generator().manual_seed(0)
    inputs, targets = (torch.randn(n, k, generator=generator) for k in (5, n_out))
    objective = reduced_least_squares(network, inputs, targets)
    point = objective.at(network.initial(0))
    _ = point.gradient
    with HeldBytes() as held:
        matrix = point.gauss_newton_matrix("golub-pereyra")
    passes = 8 * n * (max(widths) + n_out)  # the range and the residual of the inner solve, once
    assert held.most < 5 * matrix.nbytes + 3 * gram.BYTES + 2 * passes


def test_fixed_columns_are_projected_out_too():
    network = DenseNetwork(4, (5, 3))
    columns = torch.randn(23, 2, generator=torch.Generator().manual_seed(5))
    objective, theta, *_ = problem(network, fixed=columns)
    point = objective.at(theta)
    expected = gram_by_products(lambda v: point.gauss_newton(v, "kaufman"), network.n_theta, theta)
    torch.testing.assert_close(point.gauss_newton_matrix(), expected, rtol=1e-12, atol=1e-13)


def test_work_is_one_forward_pass_and_a_backward_pass_for_every_seed():
    objective, theta, *_ = problem(DenseNetwork(4, (5, 3)), n_out=2)
    point = objective.at(theta)
    point.gauss_newton_matrix()
    assert (objective.meter.forward, objective.meter.backward) == (1 + 1, 2)  # rank of W: two targets
    point.gauss_newton_matrix("golub-pereyra")
    assert (objective.meter.forward, objective.meter.backward) == (2 + 2, 2 + 2 + 3)  # and three features


def test_general_path_is_charged_by_products():
    network = NETWORKS["module"]
    objective, theta, *_ = problem(network)
    objective.at(theta).gauss_newton_matrix()
    assert objective.meter.total == 1 + 2 * network.n_theta


def test_float32_network_gives_the_matrix_in_float64():
    network = DenseNetwork(4, (5, 3))
    objective, theta, *_ = problem(network)
    expected = objective.at(theta).gauss_newton_matrix()
    objective.inputs = objective.inputs.float()
    matrix = objective.at(theta.float()).gauss_newton_matrix()
    assert matrix.dtype == torch.float64
    assert float((matrix - expected).norm() / expected.norm()) < 1e-5


@pytest.mark.parametrize(
    "regulariser", [Ridge(0.3), LayerRidge(0.2, 0.5, 4), TimeDerivative(0.2, 0.7, 4, 3)], ids=lambda r: type(r).__name__
)
def test_regulariser_as_a_matrix(regulariser):
    theta = torch.randn(10, generator=torch.Generator().manual_seed(0))
    matrix = regulariser_matrix(regulariser, theta)
    torch.testing.assert_close(matrix @ theta, regulariser.apply(theta), rtol=1e-13, atol=1e-14)
    assert float(0.5 * theta @ matrix @ theta) == pytest.approx(float(regulariser.value(theta)), rel=1e-13)
    assert not math.isclose(float(matrix[0, 0]), 0.0)
