"""Training on a source of samples: of one process or several, in memory or from a file, with the same result."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from gnvpro.surrogate.coupling import ALONE
from gnvpro.surrogate.objectives import batches as objectives
from gnvpro.surrogate.sample_source import SamplesInMemory
from gnvpro.surrogate.samples import Samples
from gnvpro.training import regression
from gnvpro.training import train as of_one
from gnvpro.training.fitting.checkpoint import Checkpoint, identity_of
from gnvpro.training.large.train import LargeTraining, set_numbers
from gnvpro.training.settings import TrainSettings
from gnvpro.training.solvers import batches as solvers
from gnvpro.training.train import train
from tests.coupled import in_processes, in_threads
from tests.training.problems import smooth_samples

NO_SIZES: dict[str, int | None] = dict(train=None, validation=None, calibration=None, test=None)
NETWORK = TrainSettings(widths=(6, 5), gain=1.0, budget=80.0, seed=2, threads=1)
BATCHES = TrainSettings(budget=20.0, seed=2, threads=1)


def source():
    return SamplesInMemory(smooth_samples(701))


def no_checkpoint(_):
    return None


def trained(coupling, settings, sizes=NO_SIZES, checkpoint=no_checkpoint, samples=None):
    samples = samples or source()
    training = LargeTraining(samples, settings, sizes, coupling, checkpoint=checkpoint).strategy()
    model = training.surrogate
    return model.theta, model.weights, model.errors, model.training


def without_cost(record):
    """What must be equal."""
    kept = {name: record[name] for name in ("method", "status", "samples", "bounds", "goal", "work_units")}
    return {**kept, "choice": {k: v for k, v in record["choice"].items() if k in ("widths", "gain", "polynomial")}}


@pytest.mark.parametrize("settings", [NETWORK, BATCHES], ids=["network", "batches"])
@pytest.mark.parametrize("memory", [None, "1kB"])
@pytest.mark.parametrize("size", [1, 2, 3])
def test_any_number_of_processes_and_any_memory_train_the_same_model(size, memory, settings, monkeypatch):
    # Batches go through the network in single precision, whose rounding grows to a tenth of theta in 20 work units.
    for module in (objectives, solvers):
        monkeypatch.setattr(module, "PASSES", torch.float64)
    theta, weights, errors, record = trained(ALONE, settings)
    for found in in_threads(size, trained, replace(settings, memory=memory)):
        tolerance = 1e-6 if settings is NETWORK else 1e-4
        assert float((found[0] - theta).norm()) <= tolerance * float(theta.norm())
        torch.testing.assert_close(found[1], weights, rtol=10 * tolerance, atol=10 * tolerance)
        assert found[2].keys() == errors.keys()
        for name, error in errors.items():
            assert found[2][name] == pytest.approx(error, rel=100 * tolerance)
        assert found[3]["processes"] == size
        assert ("file" in found[3]["samples_kept"]) == (memory is not None)
        ours, theirs = without_cost(found[3]), without_cost(record)
        assert ours.pop("bounds")["lower"] == pytest.approx(theirs.pop("bounds")["lower"])
        assert ours.pop("choice")["gain"] == pytest.approx(theirs.pop("choice")["gain"])
        assert ours == theirs


def test_processes_of_gloo_train_the_same_model():
    theta, *_ = trained(ALONE, NETWORK)
    found = in_processes(2, trained, NETWORK)
    assert torch.equal(found[0][0], found[1][0])
    assert float((found[0][0] - theta).norm()) <= 1e-6 * float(theta.norm())


@pytest.mark.parametrize("sizes", [NO_SIZES, {**NO_SIZES, "calibration": 40, "test": 30}], ids=["no sizes", "some"])
@pytest.mark.parametrize("settings", [replace(NETWORK, polynomial="off"), BATCHES], ids=["network", "batches"])
def test_processes_train_the_model_of_one_that_has_all_samples(settings, sizes, monkeypatch):
    """The sets and the order of their samples are the same: random signs and batches go by a sample's place."""
    n = 2_503
    for module in (of_one, regression):
        monkeypatch.setattr(module, "MANY_SAMPLES", 2_400)
    for module in (objectives, solvers):
        monkeypatch.setattr(module, "PASSES", torch.float64)
    settings, samples = replace(settings, budget=12.0), smooth_samples(n)
    alone = train(samples, settings, **sizes).surrogate
    tolerance = 1e-7 if settings.asks_for_networks else 1e-4  # rounding of batches grows faster
    for theta, weights, errors, record in in_threads(
        2, trained, settings, sizes, no_checkpoint, SamplesInMemory(samples)
    ):
        assert record["processes"] == 2
        assert float((theta - alone.theta).norm()) <= tolerance * float(theta.norm())
        torch.testing.assert_close(weights, alone.weights, rtol=10 * tolerance, atol=10 * tolerance)
        for name in errors.keys() & {"validation", "cross-validated", "test"}:  # that of train is of some samples
            assert errors[name] == pytest.approx(alone.errors[name], rel=100 * tolerance)


def test_a_checkpoint_is_resumed_by_another_number_of_processes(tmp_path):
    def kept(writes):
        return lambda split: Checkpoint(tmp_path / "state", 10.0, identity_of(split, NETWORK, None), writes)

    theta, *_ = trained(ALONE, NETWORK)

    class Ended(Exception):
        pass

    def stop(progress):
        if progress.work_units > 40:
            raise Ended

    with pytest.raises(Ended):
        LargeTraining(source(), NETWORK, NO_SIZES, ALONE, stop, kept(True)).strategy()
    work = []

    def on_two(coupling):
        training = LargeTraining(
            source(), NETWORK, NO_SIZES, coupling, lambda now: work.append(now.work_units), kept(coupling.is_first)
        )
        return training.strategy().surrogate.theta

    for found in in_threads(2, on_two):
        assert float((found - theta).norm()) <= 1e-6 * float(theta.norm())
    assert min(work) > 30  # it went on and did not begin again


def test_scales_are_those_of_all_samples():
    """An offset and a background, parameters in units of their own, one of them positive over decades."""
    samples = smooth_samples(400)
    y = samples.parameters * [1.0, 1e3, 1.0]
    y[:, 2] = 10.0 ** (2 * samples.parameters[:, 2])
    space = replace(samples.parameter_space, lower=(-1.0, -1e3, 0.01), upper=(1.0, 1e3, 100.0), law="unknown")
    shifted = Samples(y, 1e4 + samples.observables, space, samples.observable_space, background=np.full(7, 1e4 + 1.0))
    prepared = LargeTraining(SamplesInMemory(shifted), NETWORK, NO_SIZES, ALONE)._prepared
    numbers = np.sort(set_numbers(400, NETWORK, NO_SIZES)["train"])
    train = shifted.subset(numbers)
    scaling = prepared.standardised(1.0).scaling
    inputs, targets = scaling.inputs(train.parameters), scaling.targets(train.parameters, train.observables)
    np.testing.assert_allclose(inputs.mean(axis=0), 0.0, atol=1e-12)
    np.testing.assert_allclose(inputs.std(axis=0), 1 / np.sqrt(3), rtol=1e-9)
    assert scaling.logarithmic.tolist() == [False, False, True]
    assert np.sqrt((targets**2).mean()) == pytest.approx(1.0, rel=1e-9)


def test_outputs_that_differ_little_from_a_large_mean_are_scaled_by_how_they_differ():
    samples = smooth_samples(400)
    lifted = Samples(
        samples.parameters, 1e7 + 1e-2 * samples.observables, samples.parameter_space, samples.observable_space
    )
    training = LargeTraining(SamplesInMemory(lifted), NETWORK, NO_SIZES, ALONE)
    prepared = training._prepared
    moments, train = prepared.moments, lifted.subset(set_numbers(400, NETWORK, NO_SIZES)["train"])
    np.testing.assert_allclose(moments.variance, train.observables.var(axis=0), rtol=1e-6)
    assert np.all(np.isfinite(prepared.standardised(1.0).scaling.output_scale))


def test_a_limit_of_memory_is_refused_where_samples_are_in_memory():
    with pytest.raises(ValueError, match="memory is for data sets that are read in parts"):
        train(smooth_samples(60), memory="1GB")


def test_sets_are_disjoint_and_what_was_asked_for():
    sets = set_numbers(1000, NETWORK, dict(train=300, validation=100, calibration=50, test=20))
    assert {name: len(found) for name, found in sets.items()} == dict(
        train=300, validation=100, calibration=50, test=20
    )
    assert len(np.unique(np.concatenate(list(sets.values())))) == 470
    rest = set_numbers(1000, NETWORK, {**NO_SIZES, "train": 700})
    assert [len(found) for found in rest.values()] == [700, 250, 0, 50]
    many = set_numbers(90_000, NETWORK, NO_SIZES)
    assert [len(found) for found in many.values()] == [50_000, 20_000, 0, 20_000]
    default = set_numbers(1000, BATCHES, NO_SIZES)
    assert len(default["train"]) + len(default["validation"]) == 1000
    with pytest.raises(ValueError, match="expected at most the 1000 samples"):
        set_numbers(1000, NETWORK, dict(train=900, validation=200, calibration=None, test=None))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (dict(polynomial="on"), "polynomials and the paper's network are for samples in the memory"),
        (dict(network="paper"), "polynomials and the paper's network are for samples in the memory"),
        (dict(solver="lm", memory="1GB"), "Levenberg-Marquardt takes all samples in memory"),
        (dict(contender="kernel"), "the contender kernel takes all samples in the memory"),
    ],
)
def test_what_takes_all_samples_at_once_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        LargeTraining(source(), TrainSettings(**settings), NO_SIZES, ALONE)


def test_more_processes_than_samples_are_refused():
    few = SamplesInMemory(smooth_samples(12))

    def refused(coupling):
        with pytest.raises(ValueError, match="expected at least a sample for each of 3 processes"):
            LargeTraining(few, NETWORK, dict(train=2, validation=5, calibration=None, test=None), coupling)
        return True

    assert all(in_threads(3, refused))
