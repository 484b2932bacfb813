"""First-order methods: torch's updates, on the right gradients, paid for what they use."""

import math
from types import SimpleNamespace

import pytest
import torch

from gnvpro.surrogate.networks.dense import DenseNetwork
from gnvpro.surrogate.objectives.full import FullObjective
from gnvpro.training.fitting.fit import Fit
from gnvpro.training.solvers.first_order import GradientDescent, MinibatchDescent, Rule
from gnvpro.training.solvers.lbfgs import LimitedMemoryBFGS
from gnvpro.training.solvers.protocol import Status
from tests.training.problems import objective_and_validation

NETWORK = DenseNetwork(3, (4,))


@pytest.fixture
def problem():
    reduced, validation = objective_and_validation(NETWORK, alpha_w=1e-6)
    return FullObjective(reduced, watched=True), validation, reduced


def fitted(problem, solver, budget, **options):
    full, validation, _ = problem
    fit = Fit(
        full,
        full.start(NETWORK.initial(0)),
        solver,
        validation,
        time_validation=False,
        choose_beyond_budget=False,
        **options,
    )
    fit.advance(budget - full.meter.total)
    return fit


def test_an_epoch_costs_two_work_units_and_a_look_none(problem):
    full, _, _ = problem
    fit = fitted(problem, MinibatchDescent(Rule("adam", 1e-2, 11.0), 7, seed=1), 11.0)
    assert [record.work_units for record in fit.history] == pytest.approx([1, 3, 5, 7, 9, 11])
    assert fit.status is Status.budget_spent
    assert full.meter.forward == pytest.approx(1 + 5)  # W solved for at the start; five epochs
    assert all(record.validation_error is not None for record in fit.history)


def test_the_last_epoch_ends_where_the_budget_does(problem):
    n = len(problem[0].inputs)
    fit = fitted(problem, MinibatchDescent(Rule("sgd", 1e-2, 4.0), 8), 4.0)
    assert 4.0 <= fit.objective.meter.total < 4.0 + 2 * 8 / n + 1e-12


def test_steps_of_a_few_batches_go_through_the_same_epochs(problem):
    epochs = fitted(problem, MinibatchDescent(Rule("adam", 1e-2, 9.0), 10, seed=3), 9.0)
    other = FullObjective(problem[2], watched=True), *problem[1:]
    parts = fitted(other, MinibatchDescent(Rule("adam", 1e-2, 9.0), 10, seed=3, batches=4), 9.0)
    assert torch.equal(epochs.point.theta, parts.point.theta)
    assert len(parts.history) == 2 * (len(epochs.history) - 1) + 1


def test_averages_are_of_the_weights_that_a_run_without_them_visits(problem):
    full, _, reduced = problem
    n, rule = len(full.inputs), Rule("adam", 1e-2, 50.0)

    def steps(count, **averaging):
        objective = FullObjective(reduced, watched=True)
        solver = MinibatchDescent(rule, 10, seed=3, batches=1, **averaging)
        points = [objective.at(full.start(NETWORK.initial(0)))]
        for _ in range(count):
            points.append(solver.step(points[-1]).point)
        return [point.theta for point in points]

    expected, *visited = steps(12)
    for theta in visited:
        expected = expected.lerp(theta, 10 / (2 * n))
    torch.testing.assert_close(steps(12, averaged=2.0)[-1], expected)


@pytest.mark.parametrize("kind", ["adam", "sgd"])
def test_updates_are_those_of_torch_on_autodiff_gradients(problem, kind):
    full, _, reduced = problem
    rule, n = Rule(kind, 0.02, 60.0, warm_up=0.1), len(full.inputs)
    solver = MinibatchDescent(rule, n)  # the whole set: the order does not matter
    point = full.at(full.start(NETWORK.initial(0)))
    theta = point.theta.clone().requires_grad_()
    torch_rule = (
        torch.optim.Adam([theta], lr=0.02) if kind == "adam" else torch.optim.SGD([theta], lr=0.02, momentum=0.9)
    )
    for j in range(8):
        point = solver.step(point).point
        features = NETWORK.bind(theta[: NETWORK.n_theta])(full.inputs)
        outer = theta[NETWORK.n_theta :].view(full.outer_shape)
        misfit = torch.cat([features, torch.ones(n, 1)], 1) @ outer - reduced.elimination.targets
        value = 0.5 * (misfit**2).sum() / n + full.regulariser.value(theta)
        torch_rule.zero_grad()
        value.backward()
        torch_rule.param_groups[0]["lr"] = rule.rate_at(1 + 2 * j)
        torch_rule.step()
    torch.testing.assert_close(point.theta, theta.detach(), rtol=1e-9, atol=1e-11)


def test_adam_on_the_reduced_objective_uses_its_gradient_and_pays_two_passes(problem):
    _, validation, reduced = problem
    fit = Fit(reduced, NETWORK.initial(0), GradientDescent(Rule("adam", 0.01, 40.0)), validation)
    theta = NETWORK.initial(0)
    rule = torch.optim.Adam([theta], lr=0.01)
    for j in range(10):
        theta.grad = reduced.sibling(NETWORK, reduced.inputs, reduced.regulariser).at(theta).gradient
        rule.param_groups[0]["lr"] = Rule("adam", 0.01, 40.0).rate_at(2 + 2 * j)
        rule.step()
    fit.advance(20)
    torch.testing.assert_close(fit.point.theta, theta, rtol=1e-10, atol=1e-12)
    assert fit.objective.meter.total == 2 + 20


def test_rate_rises_and_falls_to_zero():
    rule = Rule("adam", 0.1, 100.0, warm_up=0.2)
    assert rule.rate_at(0) == 0
    assert rule.rate_at(10) == pytest.approx(0.05)
    assert rule.rate_at(20) == pytest.approx(0.1)
    assert rule.rate_at(60) == pytest.approx(0.05)
    assert rule.rate_at(100) == pytest.approx(0, abs=1e-15)
    assert rule.rate_at(1e9) == pytest.approx(0, abs=1e-15)


def test_same_seed_same_bits_another_seed_another_order(problem):
    def run(seed):
        again = FullObjective(problem[2], watched=True), *problem[1:]
        return fitted(again, MinibatchDescent(Rule("sgd", 1e-2, 9.0), 8, seed=seed), 9.0).point.theta

    assert torch.equal(run(0), run(0))
    assert not torch.equal(run(0), run(1))


def test_a_rate_that_explodes_ends_the_fit_with_the_last_good_point(problem):
    fit = fitted(problem, MinibatchDescent(Rule("sgd", 1e8, 400.0, warm_up=0.0), 8), 400.0)
    assert fit.status is Status.nonfinite
    assert math.isfinite(fit.best.validation_error)
    assert bool(fit.point.theta.isfinite().all())


def test_bad_settings_are_refused(problem):
    with pytest.raises(ValueError, match="adam or sgd"):
        Rule("lion", 1e-3, 10.0)
    with pytest.raises(ValueError, match="rate"):
        Rule("adam", 0.0, 10.0)
    with pytest.raises(ValueError, match="size > 0"):
        MinibatchDescent(Rule("adam", 1e-3, 10.0), 0)
    with pytest.raises(ValueError, match="FullObjective"):
        MinibatchDescent(Rule("adam", 1e-3, 10.0), 4).step(problem[2].at(NETWORK.initial(0)))


class Slow:
    """Validation that takes a second by a clock that stands still otherwise."""

    def __init__(self, validation):
        self._validation, self.now = validation, 0.0

    def measure(self, point):
        self.now += 1.0
        return self._validation.measure(point)


def test_looks_off_the_clock_change_the_clock_alone(monkeypatch):
    def fit(**options):
        reduced, validation = objective_and_validation(NETWORK)
        slow = Slow(validation)
        clock = SimpleNamespace(process_time=lambda: slow.now, perf_counter=lambda: slow.now)
        monkeypatch.setattr("gnvpro.surrogate.stopwatch.time", clock)
        found = Fit(reduced, NETWORK.initial(0), LimitedMemoryBFGS(), slow, **options)
        found.advance(60)
        return found, slow.now

    (charged, looks), (free, _) = fit(), fit(time_validation=False)
    assert torch.equal(charged.best.theta, free.best.theta)
    assert [r.work_units for r in charged.history] == [r.work_units for r in free.history]
    assert looks > 1
    assert (charged.cpu_seconds, charged.wall_seconds) == (looks, looks)
    assert (free.cpu_seconds, free.wall_seconds) == (0, 0)


def test_an_iterate_beyond_the_budget_is_not_chosen():
    def best(choose_beyond_budget):
        reduced, validation = objective_and_validation(NETWORK)
        fit = Fit(
            reduced, NETWORK.initial(0), LimitedMemoryBFGS(), validation, choose_beyond_budget=choose_beyond_budget
        )
        for _ in range(3):
            fit.advance(2.5)
        return fit.best.work_units, reduced.meter.total

    chosen, spent = best(False)
    assert chosen <= spent
    reduced, validation = objective_and_validation(NETWORK)
    fit = Fit(reduced, NETWORK.initial(0), LimitedMemoryBFGS(), validation, choose_beyond_budget=False)
    fit.advance(1e-3)  # one step costs more
    assert fit.best.iteration == 0
