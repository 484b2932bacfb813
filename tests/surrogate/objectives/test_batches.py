"""The objective of batches: its gradient is that of what a batch minimises, its points are those of the reduced one."""

import pytest
import torch

from gnvpro.surrogate.elimination.labels import one_hot
from gnvpro.surrogate.networks.dense import DenseNetwork
from gnvpro.surrogate.objectives import batches, streamed
from gnvpro.surrogate.objectives.batches import BatchObjective
from gnvpro.surrogate.objectives.reduced import reduced_cross_entropy, reduced_least_squares

NETWORK = DenseNetwork(3, (5, 4))
N, ALPHA_W, ALPHA_THETA = 60, 1e-3, 1e-2


@pytest.fixture
def exact(monkeypatch):
    """Passes in float64, and chunks smaller than the set."""
    monkeypatch.setattr(batches, "PASSES", torch.float64)
    monkeypatch.setattr(streamed, "rows_at_once", lambda _: 17)
    monkeypatch.setattr(batches, "WATCHED", 40)


def problem(compression=0.0):
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(N, 3, generator=generator, dtype=torch.float64)
    targets = torch.sin(inputs @ torch.randn(3, 6, generator=generator, dtype=torch.float64))
    weights = torch.rand(N, generator=generator, dtype=torch.float64) + 0.5
    return reduced_least_squares(
        NETWORK,
        inputs,
        targets,
        row_weights=weights,
        fixed=inputs[:, :1] ** 2,
        alpha_w=ALPHA_W,
        alpha_theta=ALPHA_THETA,
        compression=compression,
    )


def pulled_value(objective, theta, index, before, strength):
    """What a batch minimises over W, by autograd through the solution; `strength` is lambda."""
    layer = problem().elimination
    columns = torch.cat([NETWORK.bind(theta)(problem().inputs[index]), layer.columns[index]], 1)
    scale = layer.row_weights[index].unsqueeze(1) / len(index) ** 0.5
    columns, targets = columns * scale, layer.targets[index] * scale
    shifted = torch.eye(columns.shape[1]) * (ALPHA_W + strength)
    outer = torch.linalg.solve(columns.t() @ columns + shifted, columns.t() @ targets + strength * before)
    misfit = 0.5 * ((columns @ outer - targets) ** 2).sum() + 0.5 * ALPHA_W * (outer**2).sum()
    value = misfit + 0.5 * strength * ((outer - before) ** 2).sum() + 0.5 * ALPHA_THETA * (theta**2).sum()
    return value, outer


def test_the_gradient_is_that_of_what_the_batch_minimises(exact):
    objective = BatchObjective(problem())
    theta = NETWORK.initial(1).requires_grad_()
    index = torch.tensor([3, 50, 7, 20, 41, 9, 11, 30, 31])
    before = torch.randn(objective.outer_shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    batch = objective.on_batch(theta.detach(), index, before, 0.3)
    with torch.no_grad():
        columns = torch.cat([NETWORK.bind(theta)(problem().inputs[index]), problem().elimination.columns[index]], 1)
        squares = (columns * problem().elimination.row_weights[index].unsqueeze(1) / 3) ** 2
    strength = 0.3 * float(squares.sum(0).mean())
    value, outer = pulled_value(objective, theta, index, before, strength)
    value.backward()
    torch.testing.assert_close(batch.outer, outer.detach(), rtol=1e-9, atol=1e-11)
    torch.testing.assert_close(batch.gradient, theta.grad, rtol=1e-8, atol=1e-10)
    # A gradient at another W is another one: the test tells them apart.
    other = objective.on_batch(theta.detach(), index, before, 0.3 * 1.01).gradient
    assert float((other - theta.grad).norm()) > 1e-6 * float(theta.grad.norm())


def test_without_a_pull_the_batch_of_all_samples_is_the_reduced_objective(exact):
    reduced = problem()
    objective, theta = BatchObjective(reduced), NETWORK.initial(1)
    batch = objective.on_batch(theta, torch.arange(N), torch.zeros(objective.outer_shape), 1e-14)
    point = reduced.at(theta)
    torch.testing.assert_close(batch.outer, point.outer.compressed, rtol=1e-8, atol=1e-9)
    torch.testing.assert_close(batch.gradient, point.gradient, rtol=1e-8, atol=1e-10)


def test_repeated_solves_of_one_set_end_at_its_solution(exact):
    reduced = problem()
    objective, theta = BatchObjective(reduced), NETWORK.initial(1)
    outer = torch.zeros(objective.outer_shape, dtype=torch.float64)
    for _ in range(400):
        outer = objective.on_batch(theta, torch.arange(N), outer, 1e-4).outer
    torch.testing.assert_close(outer, reduced.at(theta).outer.compressed, rtol=1e-5, atol=1e-5)


def test_points_are_watched_on_the_first_samples_and_all_at_the_end(exact):
    reduced = problem(compression=1e-2)
    objective, theta = BatchObjective(reduced), NETWORK.initial(1)
    some = objective.at(theta)
    layer = reduced.elimination
    columns = torch.cat([NETWORK.bind(theta)(reduced.inputs[:40]), layer.columns[:40]], 1)
    scale = layer.row_weights[:40].unsqueeze(1) / 40**0.5
    gram = (columns * scale).t() @ (columns * scale) + ALPHA_W * torch.eye(6)
    expected = torch.linalg.solve(gram, (columns * scale).t() @ (layer.targets[:40] * scale))
    torch.testing.assert_close(some.outer.compressed, expected, rtol=1e-9, atol=1e-11)
    assert torch.isfinite(some.gradient).all()
    errors = (columns @ expected @ layer.rotation - layer.targets[:40] @ layer.rotation).norm(dim=1)
    errors = (errors**2 + layer.dropped[:40] ** 2).sqrt() / layer.target_norms[:40]
    assert some.training_error() == pytest.approx(float(errors.mean()), rel=1e-9)
    assert objective.meter.total == 0

    whole, all_at_once = objective.at_all(theta), reduced.at(theta)
    assert (objective.meter.forward, objective.meter.backward) == (1, 0)
    assert whole.value == pytest.approx(all_at_once.value, rel=1e-12)
    torch.testing.assert_close(whole.outer_weights, all_at_once.outer_weights, rtol=1e-9, atol=1e-11)


def test_a_batch_is_charged_as_its_share(exact):
    objective = BatchObjective(problem())
    objective.on_batch(NETWORK.initial(0), torch.arange(15), torch.zeros(objective.outer_shape), 0.1)
    assert (objective.meter.forward, objective.meter.backward) == (0.25, 0.25)


def test_passes_in_single_precision_are_close(monkeypatch):
    theta, index = NETWORK.initial(1), torch.arange(N)
    found = {}
    for dtype in (torch.float32, torch.float64):
        monkeypatch.setattr(batches, "PASSES", dtype)
        objective = BatchObjective(problem())
        found[dtype] = objective.on_batch(theta, index, torch.zeros(objective.outer_shape), 1e-2)
    single, double = found[torch.float32], found[torch.float64]
    assert single.outer.dtype == torch.float64
    assert single.gradient.dtype == torch.float32
    torch.testing.assert_close(single.outer, double.outer, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(single.gradient.double(), double.gradient, rtol=1e-4, atol=1e-5)


def test_classes_are_refused():
    inputs = torch.randn(20, 3, dtype=torch.float64)
    with pytest.raises(ValueError, match="works on least squares"):
        BatchObjective(reduced_cross_entropy(NETWORK, inputs, one_hot(torch.arange(20) % 2, 2)))
