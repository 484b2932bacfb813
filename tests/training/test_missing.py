"""Training on samples some of whose observables are missing, from samples to bands."""

from dataclasses import replace

import numpy as np
import pytest

from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.model.load import load_model
from gnvpro.surrogate.samples import Samples, Split
from gnvpro.surrogate.spaces import Axis, Space
from gnvpro.training.fitting.outcome import mean_relative_error
from gnvpro.training.train import train

SENSORS = 5
BOX = Space.vector(["a", "b"], lower=(0.0, 0.0), upper=(1.0, 1.0), law="uniform")
SIGNALS = Space((Axis("time", (0.0, 0.5, 1.0)), Axis("sensor", tuple("pqrst"))), units=("mV",))


def drawn(n, seed):
    """Damped waves at five sensors and three times, which depend on both parameters."""
    y = np.random.default_rng(seed).uniform(size=(n, 2))
    t, x = np.array([0.0, 0.5, 1.0])[:, None], np.linspace(0, 1, SENSORS)
    a, b = y[:, 0, None, None], y[:, 1, None, None]
    c = (1 + a) * np.exp(-(1 + b) * t) * np.cos(3 * (x - a * t)) + 0.5 * np.sin(4 * a * b + x)
    return Samples(y, c.reshape(n, -1), BOX, SIGNALS)


def with_gaps(samples, kind):
    c, rng = samples.observables.copy(), np.random.default_rng(7)
    if kind == "dead sensor":
        c[np.ix_(rng.permutation(len(c))[: len(c) // 5], np.arange(2, c.shape[1], SENSORS))] = np.nan
    elif kind == "scattered":
        c[rng.random(c.shape) < 0.2] = np.nan
    return replace(samples, observables=c)


TRAIN, TEST = drawn(100, 0), drawn(200, 1)


def test_gaps_cost_little_and_less_than_the_samples_that_have_them():
    def error(samples):
        return mean_relative_error(train(samples, seed=0, contender="kernel", quick=True).surrogate, TEST)

    whole, dead, scattered = (error(with_gaps(TRAIN, kind)) for kind in ("none", "dead sensor", "scattered"))
    assert dead < error(with_gaps(TRAIN, "dead sensor").complete)
    # These are far below what noise of the filled values would leave.
    assert max(dead, scattered) < 5 * whole < 2e-4
    # A tenth of the samples is complete.
    assert len(with_gaps(TRAIN, "scattered").complete) < 15
    assert scattered < 0.2 * error(with_gaps(TRAIN, "scattered").complete)


@pytest.mark.parametrize(
    "settings",
    [
        dict(contender="polynomial"),
        dict(contender="network", budget=60.0),
        dict(network="residual", levels=1, width=6, steps=2, budget=20.0, train=70, validation=30),
        dict(widths=(6, 6), members=2, budget=60.0, train=60, validation=20, calibration=20),
        dict(widths=(5,), solver="lm", budget=60.0, train=70, validation=30),
        dict(widths=(6, 6), polynomial="on", budget=60.0, train=70, validation=30),
    ],
    ids=["polynomial", "network", "in time", "ensemble", "dense curvature", "beside polynomials"],
)
def test_every_way_to_train_takes_gaps(settings, tmp_path):
    training = train(with_gaps(TRAIN, "scattered"), seed=0, **settings)
    surrogate = training.surrogate
    assert all(np.isfinite(error) for error in training.errors.values())
    # The mean alone has an error of one half.
    assert mean_relative_error(surrogate, TEST) < 0.2
    assert surrogate.trust is not None
    assert np.isfinite(surrogate.trust.bands.half_width(0.5)).all()
    assert "lack values of 15 of 15 observables" in dict(training.rows())["missing"]
    assert training.numbers()["missing"]["of_observables"] == 15
    training.save(tmp_path / "model")
    loaded = load_model(tmp_path / "model")
    np.testing.assert_array_equal(loaded.evaluate(TEST.parameters), surrogate.evaluate(TEST.parameters))
    assert "missing" in dict(loaded.rows())


def test_a_checkpoint_goes_on_with_the_same_bits(tmp_path):
    def trained(budget, **where):
        settings = dict(widths=(5,), gain=1.0, train=70, validation=30, patience=1e9)
        return train(with_gaps(TRAIN, "dead sensor"), seed=0, budget=budget, **settings, **where).surrogate

    trained(40.0, checkpoint=tmp_path / "c", every=5.0)
    again, alone = trained(40.0, checkpoint=tmp_path / "c"), trained(40.0)
    assert again.weights.equal(alone.weights)


def test_validation_samples_with_gaps_choose_the_iterate():
    split = Split.of(TRAIN.subset(np.arange(60)), with_gaps(TRAIN, "scattered").subset(np.arange(60, 100)))
    training = train(split, seed=0, widths=(6,), budget=60.0, polynomial="off")
    exact = mean_relative_error(training.surrogate, TRAIN.subset(np.arange(60, 100)))
    assert training.errors["validation"] == pytest.approx(exact, rel=0.25)


def test_an_observable_that_hardly_any_sample_has_is_named():
    c = TRAIN.observables.copy()
    c[4:, 3] = np.nan
    with pytest.raises(UsageError, match=r"every observable in 10 samples at least, got .* in 4 of 100"):
        train(replace(TRAIN, observables=c), quick=True)


def test_what_takes_whole_samples_says_so():
    gaps = with_gaps(TRAIN, "dead sensor")
    with pytest.raises(UsageError, match="training on coarse samples needs all .*samples.complete has 80"):
        train(TRAIN, coarse=gaps)
    with pytest.raises(UsageError, match="beside coarse samples needs all"):
        train(gaps, coarse=TRAIN)
    slopes = dict(directions=np.ones((100, 1, 2)), derivatives=np.ones((100, 1, 15)))
    with pytest.raises(UsageError, match=r'derivatives="off".* needs all observables'):
        train(replace(gaps, **slopes))
