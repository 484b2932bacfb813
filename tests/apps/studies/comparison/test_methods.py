"""Every method under one contract: it lowers the loss, pays, keeps its bits and leaves the problem alone."""

import pytest
import torch

from gnvpro.apps.studies.comparison.methods import METHODS, run_method, set_up
from gnvpro.surrogate.elimination.labels import one_hot
from gnvpro.surrogate.networks.dense import DenseNetwork
from gnvpro.surrogate.networks.in_time.residual import ResidualNetwork
from gnvpro.surrogate.objectives.reduced import reduced_cross_entropy
from gnvpro.training.class_settings import CLASS_METHODS, ClassSettings
from gnvpro.training.classification import ClassProblem, train_classes
from gnvpro.training.fitting.class_validation import ClassValidation
from gnvpro.training.fitting.fit import Fit
from tests.training.problems import objective_and_validation
from tests.training.test_classification import SPLIT

NETWORK = DenseNetwork(3, (4,))


def least_squares():
    return objective_and_validation(NETWORK, alpha_w=1e-8)


def classes():
    inputs = torch.randn(90, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    labels = ((inputs**2).sum(1) > 2.4).long() + (inputs[:, 0] > 1).long()
    reduced = reduced_cross_entropy(NETWORK, inputs[:60], one_hot(labels[:60], 3), alpha_theta=1e-6)
    return reduced, ClassValidation(NETWORK, inputs[60:], labels[60:])


@pytest.fixture(params=[least_squares, classes], ids=["least squares", "classes"])
def problem(request):
    return request.param()


@pytest.mark.parametrize("name", METHODS)
def test_every_method_lowers_the_objective_within_its_budget(problem, name):
    reduced, validation = problem
    if not METHODS[name].suits(reduced, NETWORK.initial(0)):
        assert name == "varpro-lm"
        assert reduced.elimination.is_iterative
        return
    # So small a set asks SGD for a small rate.
    setting = dict(rate=1e-2, batch=0.32) if name == "sgd" else None
    fit = run_method(name, reduced, NETWORK.initial(0), validation, 60.0, setting, seed=1)
    assert fit.history[-1].objective < fit.history[0].objective
    assert fit.best.work_units <= 60
    # One iteration of a Krylov trust region is the most that goes beyond.
    longest = max(b.work_units - a.work_units for a, b in zip(fit.history, fit.history[1:], strict=False))
    assert fit.objective.meter.total <= 60 + longest
    assert reduced.meter.total == 0
    again = run_method(name, reduced, NETWORK.initial(0), validation, 60.0, setting, seed=1)
    assert torch.equal(fit.point.theta, again.point.theta)


@pytest.mark.parametrize("name", METHODS)
def test_settings_are_nine_and_twice_as_many_for_baselines_on_batches_and_all_make_a_solver(name):
    grid = METHODS[name].grid
    expected = 18 if METHODS[name].objective == "batches" else 9
    assert len(grid) == len({tuple(setting.items()) for setting in grid}) == expected
    assert METHODS[name].usual in grid
    for setting in grid:
        METHODS[name].solver(setting, 10.0, 0)


def test_alpha_is_a_factor_on_the_regularisation():
    reduced, validation = least_squares()
    plain, scaled = (
        run_method("varpro-lbfgs", reduced, NETWORK.initial(0), validation, 40.0, dict(memory=10, alpha=alpha))
        for alpha in (1.0, 1e6)
    )
    direction = torch.ones(NETWORK.n_theta)
    expected = 1e6 * reduced.regulariser.apply(direction)
    torch.testing.assert_close(scaled.objective.regulariser.apply(direction), expected)
    assert scaled.objective.regulariser.mean_diagonal(slice(0, 3)) == pytest.approx(
        1e6 * reduced.regulariser.mean_diagonal(slice(0, 3))
    )
    assert float(scaled.point.network_weights.norm()) < float(plain.point.network_weights.norm())


class Bare(ResidualNetwork):
    """A network that shows no layers."""

    def linearize(self, theta, inputs):
        inner = super().linearize(theta, inputs)
        return type("Bare", (), dict(features=inner.features, jvp=inner.jvp, vjp=inner.vjp))()


def test_methods_in_the_metric_need_layers():
    reduced, _ = least_squares()
    assert METHODS["varpro-kf-lbfgs"].suits(reduced, NETWORK.initial(0))
    assert reduced.meter.total == 0
    bare = Bare(3, 4)
    hidden, _ = objective_and_validation(bare)
    assert not METHODS["varpro-kf-lbfgs"].suits(hidden, bare.initial(0))
    assert not METHODS["varpro-lm"].suits(hidden, bare.initial(0))
    assert METHODS["varpro-lbfgs"].suits(hidden, bare.initial(0))
    for name, words in (("varpro-kf-lbfgs", "take one without kf"), ("varpro-lm", "small dense network")):
        with pytest.raises(ValueError, match=words):
            set_up(name, hidden, bare.initial(0), 10.0)


def test_unknown_names_are_refused():
    reduced, validation = least_squares()
    with pytest.raises(ValueError, match="known ones are varpro-lbfgs"):
        run_method("newton", reduced, NETWORK.initial(0), validation, 10.0)
    with pytest.raises(ValueError, match="rate, batch"):
        run_method("adam", reduced, NETWORK.initial(0), validation, 10.0, dict(rate=1.0))
    with pytest.raises(ValueError, match="got rate, solved"):
        run_method("varpro-adam", reduced, NETWORK.initial(0), validation, 10.0, dict(rate=1.0, solved=1.0))


def test_w_starts_at_random_or_solved_for():
    reduced, validation = least_squares()
    setting = METHODS["lbfgs"].grid[0]
    solved, random, other = (
        run_method("lbfgs", reduced, NETWORK.initial(0), validation, 9.0, {**setting, **more}, seed=seed)
        for more, seed in ((dict(solved=1.0), 0), ({}, 0), ({}, 1))
    )
    expected = reduced.at(NETWORK.initial(0)).value
    assert solved.history[0].objective == pytest.approx(expected)
    assert random.history[0].objective > expected
    assert random.history[0].objective != other.history[0].objective
    # Solving for W is a forward pass more.
    assert solved.history[0].work_units == random.history[0].work_units + 1


@pytest.mark.parametrize("name", CLASS_METHODS)
def test_classification_trains_as_the_method_of_that_name_does(name):
    settings = ClassSettings(method=name, widths=(4,), features="raw", budget=12.0, finish="none", seed=3)
    problem = ClassProblem(SPLIT, settings)
    objective, theta, solver = set_up(name, problem.reduced(), problem.start(), 12.0, seed=3)
    fit = Fit(objective, theta, solver, problem.validation, stage=name)
    fit.advance(12.0 - objective.meter.total)
    assert torch.equal(train_classes(SPLIT, settings).classifier.theta, problem.classifier(fit).theta)
