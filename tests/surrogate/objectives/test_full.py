"""The objective that keeps W: equal to the reduced one at W(theta), and right anywhere else."""

import numpy as np
import pytest
import torch

from gnvpro.surrogate.elimination.labels import one_hot
from gnvpro.surrogate.networks.dense import DenseNetwork
from gnvpro.surrogate.networks.in_time.residual import ResidualNetwork
from gnvpro.surrogate.objectives.full import FullObjective
from gnvpro.surrogate.objectives.reduced import reduced_cross_entropy, reduced_least_squares
from gnvpro.training.solvers.kronecker_metric import KroneckerMetric
from tests.calculus import assert_taylor

torch.set_default_dtype(torch.float64)


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def least_squares(network, **options):
    inputs, n = random(15, 3), 15
    targets = torch.tanh(inputs @ random(3, 4, seed=1)) @ random(4, 6, seed=2)
    given = dict(row_weights=0.5 + torch.rand(n, generator=torch.Generator().manual_seed(3)), alpha_w=1e-2)
    return reduced_least_squares(network, inputs, targets, **{**given, "alpha_theta": 1e-2, **options})


def with_columns(network):
    return least_squares(network, fixed=random(15, 2, seed=8))


def compressed(network):
    return least_squares(network, compression=0.05)


def classes(network):
    inputs = random(15, 3)
    labels = (inputs @ random(3, 4, seed=1)).argmax(1)
    weights = 0.5 + torch.rand(15, generator=torch.Generator().manual_seed(3))
    targets = one_hot(labels, 4, 0.1)
    return reduced_cross_entropy(network, inputs, targets, row_weights=weights, alpha_w=1e-2, alpha_theta=1e-2)


KINDS = {"least squares": least_squares, "fixed columns": with_columns, "compressed": compressed, "classes": classes}
NETWORKS = {"dense": DenseNetwork(3, (4, 3)), "residual": ResidualNetwork(3, 3)}


@pytest.fixture(params=NETWORKS.values(), ids=NETWORKS)
def reduced(request, kind):
    return kind(request.param)


@pytest.fixture(params=KINDS.values(), ids=KINDS)
def kind(request):
    return request.param


@pytest.fixture
def anywhere(reduced):
    full = FullObjective(reduced)
    return full, full.at(full.start(reduced.network.initial(0), "random", seed=4) + 0.1 * random(full.n_theta, seed=5))


def test_at_the_solved_w_it_is_the_reduced_objective(reduced):
    theta, full = reduced.network.initial(0), FullObjective(reduced)
    point, expected = full.at(full.start(theta)), reduced.at(theta)
    assert point.value == pytest.approx(expected.value, rel=1e-12)
    by_theta, by_w = point.gradient.split([reduced.network.n_theta, full.n_theta - reduced.network.n_theta])
    torch.testing.assert_close(by_theta, expected.gradient, rtol=1e-7, atol=1e-10)
    assert float(by_w.norm()) < 1e-9
    assert point.training_error() == pytest.approx(expected.training_error(), rel=1e-10)
    torch.testing.assert_close(point.outer.weights, expected.outer.weights, rtol=1e-7, atol=1e-8)


def test_gradient_is_that_of_the_value(anywhere):
    full, point = anywhere
    direction = random(full.n_theta, seed=6)
    assert_taylor(
        lambda x: full.at(torch.as_tensor(x)).value,
        float(point.gradient @ direction), point.theta.numpy(), direction.numpy(),
    )  # fmt: skip


def test_gradient_and_curvature_equal_autodiff(anywhere):
    full, point = anywhere
    network, n = full.network, full.network.n_theta

    def predictions(theta):
        features = network.bind(theta[:n])(full.inputs)
        return torch.cat([features, full.elimination.columns], 1) @ theta[n:].view(full.outer_shape)

    def data(x):
        loss = (
            torch.nn.functional.cross_entropy(x, full.elimination.targets, reduction="none")
            if full.elimination.is_iterative
            else 0.5 * ((x - full.elimination.targets) ** 2).sum(1)
        )
        return (full.elimination.sample_weights[:, 0] * loss).sum()

    theta = point.theta.clone().requires_grad_()
    value = data(predictions(theta)) + full.regulariser.value(theta)
    torch.testing.assert_close(point.gradient, torch.autograd.grad(value, theta)[0], rtol=1e-10, atol=1e-12)
    jacobian = torch.func.jacrev(predictions)(point.theta).flatten(0, 1)
    hessian = torch.func.hessian(data)(predictions(point.theta)).reshape(len(jacobian), -1)
    eye = torch.eye(full.n_theta)
    expected = jacobian.t() @ hessian @ jacobian + torch.stack([full.regulariser.apply(e) for e in eye])
    dense = torch.stack([point.gauss_newton(e) for e in eye])
    torch.testing.assert_close(dense, expected, rtol=1e-9, atol=1e-11)


def test_batches_of_an_epoch_sum_to_the_gradient_and_to_two_work_units(anywhere):
    full, point = anywhere
    expected, before = point.gradient, full.meter.total
    batches = torch.randperm(15, generator=torch.Generator().manual_seed(0)).split(4)
    total = sum(full.batch_gradient(point.theta, batch) * (len(batch) / 15) for batch in batches)
    torch.testing.assert_close(total, expected, rtol=1e-10, atol=1e-12)
    assert full.meter.total - before == pytest.approx(2.0)


def test_work_is_counted_by_hand(reduced):
    full, apart = FullObjective(reduced), reduced.meter.total
    point = full.at(full.start(reduced.network.initial(0)))
    assert full.meter.total == 2  # W solved, the point
    assert np.isfinite(point.value)
    assert full.meter.total == 2
    point.gauss_newton(point.gradient)
    assert point.gradient is point.gradient
    assert full.meter.total == 2 + 1 + 2
    assert reduced.meter.total == apart


def test_points_that_are_only_watched_cost_nothing(reduced):
    full = FullObjective(reduced, watched=True)
    point = full.at(full.start(reduced.network.initial(0), "random"))
    assert point.gauss_newton(point.gradient).isfinite().all()
    assert full.meter.total == 0
    full.batch_gradient(point.theta, torch.arange(5))
    assert full.meter.total == pytest.approx(2 / 3)


def test_curvature_of_w_is_exact_up_to_the_signs(kind):
    full = FullObjective(kind(NETWORKS["dense"]))
    point = full.at(full.start(full.network.initial(0)))
    layers = point.curvature_layers(0)
    assert layers is not None
    last, width = layers[-1], full.outer_shape
    assert (last.inputs.shape[1], last.sensitivities.shape[1]) == width
    metric = KroneckerMetric.at(point, seed=1)
    assert metric is not None
    dense = metric.apply(torch.eye(full.n_theta))
    assert float(torch.linalg.eigvalsh(0.5 * (dense + dense.t())).min()) > 0
    # Averaged over seeds the layer's second moments are the Gauss-Newton block of W.
    n = full.network.n_theta
    block = torch.stack([point.gauss_newton(e)[n:] for e in torch.eye(full.n_theta)[n:]])
    block -= full.elimination.alpha_w * torch.eye(len(block))
    moments = torch.zeros_like(block)
    for seed in range(400):
        layer = point.curvature_layers(seed)[-1]
        each = torch.einsum("ni,nj->nij", layer.inputs, layer.sensitivities).flatten(1)
        moments += each.t() @ each / 400
    assert float((moments - block).norm()) < 0.15 * float(block.norm())


def test_variables_of_another_size_are_refused(reduced):
    with pytest.raises(ValueError, match="variables"):
        FullObjective(reduced).at(reduced.network.initial(0))
