"""Variable projection on batches: paid by the batch, the same bits by seed and after a checkpoint, better than plain Adam."""

import copy
import itertools
import math
from dataclasses import replace

import pytest
import torch

from gnvpro.surrogate.coupling import ALONE
from gnvpro.surrogate.networks.dense import DenseNetwork
from gnvpro.surrogate.objectives import batches as objectives
from gnvpro.surrogate.objectives.batches import BatchObjective
from gnvpro.training.fitting.checkpoint import restored_fit
from gnvpro.training.fitting.fit import Fit
from gnvpro.training.fitting.methods import TrainingTask, fit_by, train_by
from gnvpro.training.fitting.stored import stored
from gnvpro.training.solvers.batches import BatchProjection, _Basis, _Moments
from gnvpro.training.solvers.first_order import Rule
from gnvpro.training.solvers.protocol import Status
from tests.training.problems import objective_and_validation, smooth_samples

NETWORK = DenseNetwork(3, (6, 5))


def task(n=120, network=NETWORK):
    reduced, validation = objective_and_validation(network, smooth_samples(n))
    return TrainingTask(reduced, network.initial(0), {"validation": validation}.__getitem__)


def fitted(budget, batch=16, seed=0, problem=None):
    problem = problem or task()
    solver = BatchProjection(Rule("adam", 2e-2, budget), batch, seed=seed)
    return Fit(BatchObjective(problem.reduced), problem.theta, solver, problem.validation)


def test_work_units_by_hand():
    # 80 samples in batches of 16 are five batches an epoch, two units; the budget's steps are of at least one epoch.
    fit = fitted(9.2)
    assert fit.advance(9.2) is Status.budget_spent
    assert [record.work_units for record in fit.history[:5]] == pytest.approx([0, 2, 4, 6, 9])
    assert (fit.objective.meter.forward, fit.objective.meter.backward) == pytest.approx((5, 4))


def test_a_long_budget_is_looked_at_ten_times():
    fit = fitted(101.0)
    fit.advance(101.0)
    assert [record.work_units for record in fit.history[1:4]] == pytest.approx([10.4, 20.8, 31.2])  # 26 batches each
    assert len([record for record in fit.history if record.accepted]) == 11


def test_the_end_is_w_of_all_samples(monkeypatch):
    monkeypatch.setattr(objectives, "WATCHED", 30)
    fit = fitted(21.0)
    fit.advance(21.0)
    assert fit.best.iteration == len([record for record in fit.history if record.accepted]) - 1
    expected = task().reduced.at(fit.best.theta).outer_weights
    torch.testing.assert_close(fit.best.weights, expected, rtol=1e-6, atol=1e-8)


def test_a_budget_without_a_batch_leaves_the_start():
    fit = fitted(1.2)
    assert fit.advance(1.2) is Status.budget_spent
    assert torch.equal(fit.point.theta, NETWORK.initial(0))
    assert fit.objective.meter.total == 0


def test_bits_follow_the_seed():
    ends = []
    for seed in (0, 0, 1):
        fit = fitted(20.0, seed=seed)
        fit.advance(20.0)
        ends.append(fit.best.theta)
    assert torch.equal(ends[0], ends[1])
    assert not torch.equal(ends[0], ends[2])


@pytest.mark.parametrize("cut", [1, 3, 6])
def test_resumed_it_ends_with_the_same_bits(cut):
    whole = fitted(21.0)
    whole.advance(21.0)
    steps = itertools.count()

    def kill(_):
        if next(steps) == cut:
            raise RuntimeError

    killed = fitted(21.0)
    with pytest.raises(RuntimeError):
        killed.advance(21.0, kill)
    state = stored(killed.state())
    content = copy.deepcopy(state._replace(tensors={name: tensor.clone() for name, tensor in state.tensors.items()}))
    resumed = fitted(21.0)
    resumed.restore(restored_fit(content, resumed))
    resumed.advance(21.0)
    assert torch.equal(resumed.best.theta, whole.best.theta)
    assert torch.equal(resumed.best.weights, whole.best.weights)
    untimed = [
        [replace(record, cpu_seconds=0.0, wall_seconds=0.0) for record in fit.history] for fit in (resumed, whole)
    ]
    assert untimed[0] == untimed[1]


def test_every_sample_is_drawn_once_an_epoch():
    seen = []

    class Watching(BatchObjective):
        def on_batch(self, theta, index, outer, pull):
            seen.append(index)
            return super().on_batch(theta, index, outer, pull)

    solver, problem = BatchProjection(Rule("adam", 1e-2, 7.0), 20), task()
    Fit(Watching(problem.reduced), problem.theta, solver, problem.validation).advance(7.0)
    epochs = torch.cat(seen).view(3, 80)
    assert all(torch.equal(epoch.sort().values, torch.arange(80)) for epoch in epochs)
    assert not torch.equal(epochs[0], epochs[1])


def test_second_moments_of_uncorrelated_gradients_follow_the_basis():
    # Where the true second moments are diagonal in the old basis, those in the new one are R² D S²'.
    generator = torch.Generator().manual_seed(0)
    left, right = (torch.linalg.qr(torch.randn(k, k, generator=generator))[0] for k in (4, 3))
    moments = torch.rand(4, 3, generator=generator)
    draws = torch.randn(200_000, 4, 3, generator=generator) * moments.sqrt()
    expected = ((left @ draws @ right.t()) ** 2).mean(0)
    carried = left.square() @ moments @ right.square().t()
    torch.testing.assert_close(carried, expected, rtol=0.03, atol=1e-3)

    fit = fitted(5.0)
    batch = fit.objective.on_batch(fit.point.theta, torch.arange(80), torch.zeros(fit.objective.outer_shape), 0.1)
    layer = batch.linearization.layers(batch.probe(0))[0]
    basis, square = _Basis.of(layer, ALONE), torch.rand(NETWORK.n_theta, dtype=torch.float32)
    total, before = float(square[layer.where].sum()), basis.inputs_basis
    basis.refresh(layer, square, ALONE)
    assert float(square[layer.where].sum()) == pytest.approx(total, rel=1e-4)  # rotations keep the trace
    torch.testing.assert_close(
        (before.t() @ basis.inputs_basis).abs(), torch.eye(4, dtype=torch.float32), rtol=0, atol=1e-3
    )


def test_without_layers_it_is_adam():
    class Bare(DenseNetwork):
        def linearize(self, theta, inputs):
            inner = super().linearize(theta, inputs)
            return type("Bare", (), dict(features=inner.features, vjp=inner.vjp))()

    network = Bare(3, (6, 5))
    objective = BatchObjective(task(network=network).reduced)
    theta = network.initial(0)
    expected = theta.float().requires_grad_()
    rule = torch.optim.Adam([expected], lr=1e-2, betas=(0.9, 0.99))
    moments = _Moments(torch.zeros_like(theta).float(), torch.zeros_like(theta).float())
    for _ in range(4):
        batch = objective.on_batch(theta, torch.arange(80), torch.zeros(objective.outer_shape), 0.1)
        moments.update(theta, batch, 1e-2, 0)
        expected.grad = batch.gradient
        rule.step()
    torch.testing.assert_close(theta.float(), expected.detach(), rtol=1e-4, atol=1e-5)


def test_features_that_overflow_end_the_fit():
    problem = task()
    fit = fitted(9.0)
    fit.point.theta[0] = math.nan
    assert fit.advance(9.0) is Status.nonfinite
    assert math.isfinite(fit.best.validation_error)
    assert problem.reduced.meter.total == 0


def test_settings_that_are_none_are_refused():
    with pytest.raises(ValueError, match="size > 0 and a pull > 0, got 0 and"):
        BatchProjection(Rule("adam", 1e-2, 9.0), 0)
    with pytest.raises(ValueError, match="needs a BatchObjective"):
        BatchProjection(Rule("adam", 1e-2, 9.0), 8).step(task().reduced.at(NETWORK.initial(0)))


def test_at_equal_work_it_is_better_than_adam_on_many_samples():
    problem = task(3000, DenseNetwork(3, (16, 16)))
    errors = [
        train_by(method, problem, 41.0, dict(rate=2e-2, batch=128)).best.validation_error
        for method in ("varpro-batches", "adam")
    ]
    assert errors[0] < 0.5 * errors[1]


def test_its_name_is_a_method():
    assert isinstance(fit_by("varpro-batches", task(), 20.0).solver, BatchProjection)
