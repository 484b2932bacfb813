"""Every method under one contract: it lowers the loss, pays, keeps its bits and leaves the problem alone."""

import pytest
import torch

from gnvpro.surrogate.elimination.labels import one_hot
from gnvpro.surrogate.networks.dense import DenseNetwork
from gnvpro.surrogate.networks.in_time.residual import ResidualNetwork
from gnvpro.surrogate.objectives.reduced import reduced_cross_entropy
from gnvpro.training.class_settings import CLASS_METHODS, ClassSettings
from gnvpro.training.classification import train_classes
from gnvpro.training.fitting.class_preparation import ClassPreparation
from gnvpro.training.fitting.methods import METHODS, TrainingTask, fit_by, train_by
from gnvpro.training.fitting.outcome import mean_relative_error
from gnvpro.training.fitting.preparation import Preparation
from gnvpro.training.fitting.validation import ClassValidation
from gnvpro.training.settings import TrainSettings
from tests.training.problems import objective_and_validation, smooth_samples
from tests.training.test_classification import SPLIT

NETWORK = DenseNetwork(3, (4,))


def least_squares():
    return task_of(NETWORK)


def task_of(network):
    reduced, validation = objective_and_validation(network, alpha_w=1e-8)
    return TrainingTask(reduced, network.initial(0), {"validation": validation}.__getitem__)


def classes():
    inputs = torch.randn(90, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    labels = ((inputs**2).sum(1) > 2.4).long() + (inputs[:, 0] > 1).long()
    reduced = reduced_cross_entropy(NETWORK, inputs[:60], one_hot(labels[:60], 3), alpha_theta=1e-6)
    validation = ClassValidation(NETWORK, inputs[60:], labels[60:])
    return TrainingTask(reduced, NETWORK.initial(0), {"validation": validation}.__getitem__)


@pytest.fixture(params=[least_squares, classes], ids=["least squares", "classes"])
def task(request):
    return request.param()


@pytest.mark.parametrize("name", METHODS)
def test_every_method_lowers_the_objective_within_its_budget(task, name):
    if not METHODS[name].suits(task.reduced, task.theta):
        assert name in ("varpro-lm", "varpro-batches")
        assert task.reduced.elimination.is_iterative
        return
    # So small a set asks SGD for a small rate.
    setting = dict(rate=1e-2, batch=0.32) if name == "sgd" else None
    fit = train_by(name, task, 60.0, setting, seed=1)
    assert fit.history[-1].objective < fit.history[0].objective
    assert fit.best.work_units <= 60
    # One iteration of a Krylov trust region is the most that goes beyond.
    longest = max(b.work_units - a.work_units for a, b in zip(fit.history, fit.history[1:], strict=False))
    assert fit.objective.meter.total <= 60 + longest
    assert task.reduced.meter.total == 0
    again = train_by(name, task, 60.0, setting, seed=1)
    assert torch.equal(fit.point.theta, again.point.theta)


@pytest.mark.parametrize("name", CLASS_METHODS)
def test_methods_of_classification_are_known(name):
    assert name in METHODS


def test_alpha_is_a_factor_on_the_regularisation():
    task = least_squares()
    reduced = task.reduced
    plain, scaled = (train_by("varpro-lbfgs", task, 40.0, dict(memory=10, alpha=alpha)) for alpha in (1.0, 1e6))
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
    shown, hidden = least_squares(), task_of(Bare(3, 4))
    assert METHODS["varpro-kf-lbfgs"].suits(shown.reduced, shown.theta)
    assert shown.reduced.meter.total == 0
    assert not METHODS["varpro-kf-lbfgs"].suits(hidden.reduced, hidden.theta)
    assert not METHODS["varpro-lm"].suits(hidden.reduced, hidden.theta)
    assert METHODS["varpro-lbfgs"].suits(hidden.reduced, hidden.theta)
    for name, words in (("varpro-kf-lbfgs", "take one without kf"), ("varpro-lm", "small dense network")):
        with pytest.raises(ValueError, match=words):
            train_by(name, hidden, 10.0)


def test_unknown_names_are_refused():
    task = least_squares()
    with pytest.raises(ValueError, match="varpro-batches works on least squares"):
        train_by("varpro-batches", classes(), 10.0)
    with pytest.raises(ValueError, match="known ones are varpro-lbfgs"):
        train_by("newton", task, 10.0)
    with pytest.raises(ValueError, match="rate, batch"):
        train_by("adam", task, 10.0, dict(rate=1.0))
    with pytest.raises(ValueError, match="got rate, solved"):
        train_by("varpro-adam", task, 10.0, dict(rate=1.0, solved=1.0))


def test_w_starts_at_random_or_solved_for():
    task = least_squares()
    setting = METHODS["lbfgs"].usual
    solved, random, other = (
        train_by("lbfgs", task, 9.0, {**setting, **more}, seed=seed)
        for more, seed in ((dict(solved=1.0), 0), ({}, 0), ({}, 1))
    )
    expected = task.reduced.at(task.theta).value
    assert solved.history[0].objective == pytest.approx(expected)
    assert random.history[0].objective > expected
    assert random.history[0].objective != other.history[0].objective
    # Solving for W is a forward pass more.
    assert solved.history[0].work_units == random.history[0].work_units + 1


@pytest.mark.parametrize("name", CLASS_METHODS)
def test_classification_trains_as_the_method_of_that_name_does(name):
    settings = ClassSettings(method=name, widths=(4,), features="raw", budget=12.0, finish="none", seed=3)
    fit = fit_by(name, ClassPreparation(SPLIT, settings).task(), 12.0, seed=3)
    fit.advance(12.0 - fit.objective.meter.total)
    assert torch.equal(train_classes(SPLIT, settings).classifier.theta, fit.best.theta.cpu())


def test_prepared_samples_are_measured_on_every_set():
    split = smooth_samples(120).split(0)
    prepared = Preparation(split, TrainSettings(seed=0, goal="absolute"))
    formulation = prepared.standardised(1.0)
    task = prepared.task(DenseNetwork(3, (5,)), formulation, curvature="kaufman")
    assert task.reduced.elimination.curvature == "kaufman"
    fit = train_by("adam", task, 60.0)
    surrogate = prepared.surrogate(fit.network, fit.best.theta, fit.best.weights, formulation)
    for name in ("train", "validation", "test"):
        expected = mean_relative_error(surrogate, getattr(split, name))
        assert task.measures(name).measure(fit.best)[1] == pytest.approx(expected, rel=1e-6)
    assert task.validation is task.validation
