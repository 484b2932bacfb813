"""The outer loop, the race and the entry point."""

import contextlib
import dataclasses
import itertools

import numpy as np
import pytest
import torch
from torch.overrides import TorchFunctionMode

from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.model.surrogate import Surrogate
from gnvpro.surrogate.networks.dense import DenseNetwork
from gnvpro.surrogate.networks.in_time.residual import ResidualNetwork
from gnvpro.surrogate.objectives.reduced import reduced_least_squares
from gnvpro.surrogate.samples import Samples
from gnvpro.surrogate.spaces import Space
from gnvpro.training.choice.candidates import Candidate, candidates
from gnvpro.training.choice.race import race
from gnvpro.training.fitting.fit import Fit
from gnvpro.training.fitting.run import Run
from gnvpro.training.fitting.validation import ValidationSet
from gnvpro.training.solvers.lbfgs import LimitedMemoryBFGS
from gnvpro.training.solvers.protocol import Status
from gnvpro.training.solvers.trust_region import TrustRegionKrylov
from gnvpro.training.train import Progress, TrainSettings, train
from tests.training.problems import objective_and_validation, smooth_samples

SPLIT = smooth_samples(200).split(0)
SHORT = TrainSettings(widths=(6, 8), gain=1.0, budget=60)


def fit_of(network, solver=None, **options):
    objective, validation = objective_and_validation(network)
    return Fit(objective, network.initial(0), solver or LimitedMemoryBFGS(), validation, **options)


def test_pausing_changes_nothing():
    network = DenseNetwork(3, (5, 6))
    whole, paused = fit_of(network), fit_of(network)
    whole.advance(101)
    for _ in range(3):
        paused.advance(30)
    paused.advance(whole.objective.meter.total - paused.objective.meter.total)
    assert paused.objective.meter.total == whole.objective.meter.total
    assert torch.equal(whole.point.theta, paused.point.theta)


def test_best_iterate_is_kept():
    fit = fit_of(DenseNetwork(3, (8, 16)))
    fit.advance(600)
    looked = [r for r in fit.history if r.validation_error is not None]
    best = min(looked, key=lambda r: r.validation_error)
    assert fit.best.validation_error == best.validation_error
    assert fit.best.work_units == best.work_units


def test_history_is_monotone_in_work_and_time_and_decreases_the_objective():
    fit = fit_of(DenseNetwork(3, (5, 6)), TrustRegionKrylov())
    fit.advance(200)
    for name in ("work_units", "cpu_seconds", "wall_seconds"):
        values = [getattr(r, name) for r in fit.history]
        assert all(a <= b for a, b in itertools.pairwise(values))
    values = [r.objective for r in fit.history]
    assert all(a >= b for a, b in itertools.pairwise(values))
    assert all(r.step > 0 for r in fit.history[1:])


def test_patience_ends_the_fit():
    fit = fit_of(DenseNetwork(3, (8, 16)), patience=0)
    assert fit.advance(10_000) is Status.no_improvement
    assert fit.objective.meter.total < 10_000


def test_interrupt_keeps_the_best_so_far():
    fit = fit_of(DenseNetwork(3, (5, 6)))

    def interrupt(fit):
        if fit.objective.meter.total > 50:
            raise KeyboardInterrupt

    assert fit.advance(500, interrupt) is Status.interrupted
    assert np.isfinite(fit.best.validation_error)
    assert fit.advance(500) is Status.interrupted


def test_nonfinite_start_is_refused():
    network = DenseNetwork(3, (5,))
    objective, validation = objective_and_validation(network)
    with pytest.raises(ValueError, match="not finite"):
        Fit(objective, torch.full((network.n_theta,), torch.nan), LimitedMemoryBFGS(), validation)


def test_race_gives_the_winner_the_rest_and_keeps_to_the_budget():
    contenders = [Candidate((4,), 1.0), Candidate((6, 8), 1.0), Candidate((2,), 1.0), Candidate((3, 3), 1.0)]
    winner, entries = race(contenders, lambda c: fit_of(DenseNetwork(3, c.widths)), 1000, Run(1000).advance)
    total = sum(entry.fit.objective.meter.total for entry in entries)
    assert 1000 <= total < 1000 * 1.05
    assert winner.fit.best.validation_error == min(entry.fit.best.validation_error for entry in entries)
    assert winner.fit.objective.meter.total > 0.5 * total


def test_candidates_fit_the_samples():
    for n in (3, 8, 50, 5000):
        for d in (1, 3, 55):
            found = candidates(n, d)
            assert len(set(found)) == len(found)
            assert all(c.widths[-1] <= max(1, n // 4) for c in found)


def test_one_seed_gives_identical_weights_twice():
    first, second = train(SPLIT, SHORT), train(SPLIT, SHORT)
    assert torch.equal(first.surrogate.theta, second.surrogate.theta)
    assert torch.equal(first.surrogate.weights, second.surrogate.weights)
    other = train(SPLIT, dataclasses.replace(SHORT, seed=1))
    assert not torch.equal(first.surrogate.theta, other.surrogate.theta)


def test_samples_are_split_by_the_seed_and_settings_may_be_given_one_by_one():
    samples = smooth_samples(90)
    settings = TrainSettings(widths=(6, 8), gain=1.0, budget=60, seed=3)
    expected = train(samples.split(3, train=50, validation=20), settings)
    found = train(samples, widths=(6, 8), gain=1.0, budget=60, seed=3, train=50, validation=20)
    assert torch.equal(found.surrogate.weights, expected.surrogate.weights)
    assert found.surrogate.training["samples"] == {"train": 50, "validation": 20, "calibration": 0, "test": 20}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(settings=SHORT, seed=1), "settings or seed by themselves, got both"),
        (dict(sed=1), r"unknown setting 'sed'; did you mean seed\? expected some of .*seed"),
        (dict(test=5), "split already; leave the size of test out"),
        (dict(budget=-1), "budget > 0"),
    ],
)
def test_arguments_that_do_not_go_together_are_refused(arguments, message):
    with pytest.raises(UsageError, match=message):
        train(SPLIT, **arguments)


@pytest.mark.parametrize("solver", ["lbfgs", "krylov"])
def test_defaults_learn_a_smooth_map(solver):
    seen: list[Progress] = []
    trained = train(SPLIT, TrainSettings(polynomial="off", solver=solver, budget=1200), seen.append)
    summary = trained.numbers()
    assert summary["error"]["test"] < (3e-4 if solver == "lbfgs" else 3e-3)
    assert summary["method"] == f"varpro-kf-{solver}"
    assert summary["choice"]["reason"].startswith("lowest validation error")
    assert len(summary["choice"]["candidates"]) >= 3
    assert [p.work_units for p in seen] == sorted(p.work_units for p in seen)
    errors = [r.validation_error for r in trained.history if r.validation_error is not None]
    assert summary["error"]["validation"] == pytest.approx(min(errors), rel=1e-6)


def test_paper_protocol_trains_three_levels():
    trained = train(SPLIT, TrainSettings(network="paper", solver="krylov", budget=100))
    assert [r.stage for r in trained.history if r.iteration == 0] == [
        "level 1, 1 steps",
        "level 2, 2 steps",
        "level 3, 4 steps",
    ]
    assert trained.errors["test"] < 0.05


def test_any_module_trains_through_the_general_path(tmp_path):
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.SiLU(), torch.nn.Linear(8, 12), torch.nn.Tanh())
    trained = train(SPLIT, TrainSettings(budget=200), module=module)
    assert trained.errors["test"] < 0.02
    trained.save(tmp_path / "model")
    with pytest.raises(ValueError, match="module"):
        Surrogate.load(tmp_path / "model")
    loaded = Surrogate.load(tmp_path / "model", module=module)
    y = SPLIT.test.parameters
    np.testing.assert_array_equal(loaded.evaluate(y), trained.surrogate.evaluate(y))


def test_float32_trains_and_is_remembered():
    trained = train(SPLIT, dataclasses.replace(SHORT, dtype="float32"))
    assert trained.surrogate.dtype == "float32"
    assert trained.errors["test"] == pytest.approx(train(SPLIT, SHORT).errors["test"], rel=0.5)


@pytest.mark.parametrize(
    "settings",
    [
        dict(budget=-1.0),
        dict(gain=0.0),
        dict(quick=True, budget=5.0),
        dict(network="paper", gain=1.0),
        dict(network="paper", width=8),
        dict(levels=2),
        dict(network="residual", widths=(8, 8)),
        dict(network="residual", steps=0),
        dict(device="abacus"),
        dict(device="meta"),
    ],
)
def test_impossible_settings_are_refused(settings):
    with pytest.raises(ValueError, match="expected|give either|leave widths|cannot be used"):
        train(SPLIT, TrainSettings(**settings))


def test_zero_regularisation_is_not_the_default():
    none = train(SPLIT, dataclasses.replace(SHORT, alpha_theta=0.0))
    assert not torch.equal(none.surrogate.theta, train(SPLIT, SHORT).surrogate.theta)


def test_training_bounds_are_kept():
    model = train(SPLIT, SHORT).surrogate
    assert model.inside(SPLIT.train.parameters).all()


@pytest.mark.parametrize("goal", ["auto", "relative", "absolute"])
def test_a_sample_of_zeros_is_one_sample(goal):
    samples = smooth_samples(40)
    samples.observables[7] = 0
    training = train(samples.split(0), dataclasses.replace(SHORT, goal=goal))
    assert all(np.isfinite(error) for error in training.errors.values())
    assert training.numbers()["goal"]["used"] == ("relative" if goal == "relative" else "absolute")


@pytest.mark.parametrize("polynomial", ["off", "auto"])
@pytest.mark.parametrize("n_out", [1, 3, 30])
@pytest.mark.parametrize("value", [0.0, 300.0])
def test_observables_that_do_not_vary_are_predicted(value, n_out, polynomial):
    rng = np.random.default_rng(0)
    y, c = rng.normal(size=(40, 2)), np.full((40, n_out), value)
    spaces = Space.observed(y, "y"), Space.observed(c, "c")
    training = train(Samples(y, c, *spaces).split(0), dataclasses.replace(SHORT, polynomial=polynomial))
    np.testing.assert_allclose(training.surrogate.evaluate(y[:5]), value, rtol=1e-6, atol=1e-12)
    assert max(training.errors.values()) < 1e-6


def test_a_constant_beside_outputs_that_vary_costs_them_nothing():
    rng = np.random.default_rng(0)
    y = rng.uniform(-1, 1, (80, 2))
    c = np.stack([np.sin(y.sum(1)), np.full(80, 1e5), np.zeros(80)], 1)
    training = train(Samples(y, c, Space.observed(y, "y"), Space.observed(c, "c")).split(0), SHORT)
    predicted = training.surrogate.evaluate(y)
    np.testing.assert_allclose(predicted[:, 1:], c[:, 1:], rtol=1e-9, atol=1e-9)
    assert np.abs(predicted[:, 0] - c[:, 0]).max() < 0.01


def test_outputs_of_different_units_are_all_learned():
    """A displacement beside a temperature of 300 ± 1: with one scale the displacement had errors of 30 % and more."""
    rng = np.random.default_rng(0)
    y = rng.uniform(-1, 1, (160, 2))
    c = np.stack([1e-3 * np.sin(2 * y[:, 0]) * y[:, 1], 300 + np.cos(y.sum(1))], 1)
    space = Space.vector(["displacement", "temperature"], units=("m", "K"))
    training = train(Samples(y, c, Space.observed(y, "y"), space).split(0), dataclasses.replace(SHORT, budget=200.0))
    rmse = np.sqrt(((training.surrogate.evaluate(y) - c) ** 2).mean(0))
    assert (rmse < 0.02 * c.std(0)).all()
    assert training.errors["test"] == pytest.approx(float(np.sqrt(((rmse / c.std(0)) ** 2).mean())), rel=2.0)


class _ScalarsOnMeta(TorchFunctionMode):
    """Lets control flow run under the meta device, where tensors have no values: every scalar reads as 0.5."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        tensor = args[0] if args else None
        if isinstance(tensor, torch.Tensor) and tensor.device.type == "meta":
            if func in (torch.Tensor.__float__, torch.Tensor.item):
                return 0.5
            if func in (torch.Tensor.__bool__,):
                return True
            if func is torch.Tensor.__int__:
                return 3
            if func is torch.Tensor.tolist:
                return np.full(tuple(tensor.shape), 0.5).tolist()
            if func is torch.Tensor.__getitem__ and isinstance(args[1], torch.Tensor | tuple):
                with contextlib.suppress(RuntimeError):
                    return func(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("network", [DenseNetwork(3, (5, 6)), ResidualNetwork(3, 4)], ids=["dense", "residual"])
@pytest.mark.parametrize("solver", [LimitedMemoryBFGS, lambda: TrustRegionKrylov(metric=True)], ids=["lbfgs", "krylov"])
def test_one_step_under_the_meta_device(network, solver):
    step_under_meta(network, solver())


def test_a_factory_call_that_forgot_its_device_fails_under_meta():
    class Forgetful(DenseNetwork):
        def linearize(self, theta, inputs):
            return super().linearize(theta, inputs + torch.ones(len(inputs), 1))

    with pytest.raises((RuntimeError, NotImplementedError), match="device"):
        step_under_meta(Forgetful(3, (5, 6)), LimitedMemoryBFGS())


def step_under_meta(network, solver):
    with _ScalarsOnMeta():
        inputs, targets = torch.empty(30, 3, device="meta"), torch.empty(30, 4, device="meta")
        objective = reduced_least_squares(network, inputs, targets)
        validation = ValidationSet(objective, inputs, targets, torch.empty(30, device="meta"))
        fit = Fit(objective, network.initial(0).to("meta"), solver, validation)
        fit._one_step()
        assert fit.point.theta.device.type == "meta"
