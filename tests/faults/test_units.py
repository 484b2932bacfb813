"""Training does not see units: inputs, outputs and cubes times powers of ten give the same results."""

import numpy as np
import pytest

from gnvpro.apps.segmentation.segment import segment
from gnvpro.surrogate.samples import Samples
from gnvpro.surrogate.spaces import Space
from gnvpro.training.estimators import GNvproClassifier, GNvproRegressor
from gnvpro.training.train import TrainSettings, train

# Powers of ten round, powers of two do not: the one shows that nothing but rounding changes, the other that nothing does.
TENS = [10.0**k for k in range(-13, 14)]
SAME = 1e-6


def smooth(n=120):
    rng = np.random.default_rng(0)
    y = rng.uniform(1, 2, (n, 3))
    y[:, 2] = 7.0  # a parameter that does not vary
    c = np.stack([y[:, 0] * y[:, 1], np.sin(3 * y[:, 0]) + y[:, 1] / 10, y[:, 0] ** 2 - y[:, 1] / 20 + 3], 1)
    return y, c


def samples(y, c, background=None):
    return Samples(y, c, Space.vector(["a", "b", "fixed"]), Space.vector(["p", "q", "r"]), background=background)


# Few work units: training amplifies rounding, thousandfold in a hundred of them.
WAYS = {
    "race": dict(budget=100.0, polynomial="off"),
    "widths": dict(widths=(8,), gain=0.3, budget=40.0, polynomial="off"),
    "relative": dict(widths=(8,), gain=0.3, budget=40.0, polynomial="off", goal="relative"),
    "krylov": dict(widths=(8,), gain=0.3, solver="krylov", budget=40.0, polynomial="off"),
    "lm": dict(widths=(6,), gain=0.3, solver="lm", budget=30.0, polynomial="off"),
    "residual": dict(network="residual", width=4, steps=2, levels=1, budget=20.0),
    "mean": dict(widths=(6,), members=2, budget=20.0, polynomial="off"),
}


def units_of(rng, factors):
    """Three units of inputs and three of outputs, a factor each."""
    return rng.choice(factors, 3), rng.choice(factors, 3)


def trained(way, input_units, output_units, background=False):
    y, c = smooth()
    reference = c[0] / 2 * output_units if background else None
    split = samples(y * input_units, c * output_units, reference).split(0)
    training = train(split, TrainSettings(**way))
    return training, training.surrogate.evaluate(y * input_units) / output_units


@pytest.mark.parametrize("background", [False, True])
@pytest.mark.parametrize("name", WAYS)
def test_train_by_powers_of_two_is_exact(name, background, repeats, fault_rng, fault_figures):
    expected, n = trained(WAYS[name], np.ones(3), 1.0, background), repeats(1, 20)
    differ = 0
    for _ in range(n):
        training, predicted = trained(WAYS[name], *units_of(fault_rng, 2.0 ** np.arange(-43, 44)), background)
        differ += training.errors != expected[0].errors or not np.array_equal(predicted, expected[1])
    fault_figures("units", what=f"train, {name}, background {background}, powers of two", tried=n, differ=int(differ))
    assert differ == 0


@pytest.mark.parametrize("name", WAYS)
def test_train_by_powers_of_ten(name, repeats, fault_rng, fault_figures):
    expected, n = trained(WAYS[name], np.ones(3), 1.0), repeats(2, 40)
    each = [(np.full(3, u), 1.0) for u in TENS] + [(np.ones(3), u) for u in TENS]
    chosen = [each[i] for i in fault_rng.permutation(len(each))[:n]] + [units_of(fault_rng, TENS) for _ in range(n)]
    differences = [
        max(
            np.abs(predicted - expected[1]).max() / np.abs(expected[1]).max(),
            abs(training.errors["validation"] - expected[0].errors["validation"]),
        )
        for training, predicted in (trained(WAYS[name], *units) for units in chosen)
    ]
    differ = sum(bool(difference > SAME) for difference in differences)
    fault_figures("units", what=f"train, {name}", tried=len(chosen), differ=differ, largest=float(max(differences)))
    assert differ == 0


def test_polynomials_by_powers_of_ten(repeats, fault_rng, fault_figures):
    y, c = smooth()
    y = y[:, :2]

    def predicted(units, output_units):
        given = Samples(y * units, c * output_units, Space.vector(["a", "b"]), Space.vector(["p", "q", "r"]))
        surrogate = train(given, TrainSettings(budget=30.0, widths=(6,), polynomial="on")).surrogate
        return surrogate.evaluate(y * units) / output_units, surrogate.polynomials

    expected, basis = predicted(np.ones(2), np.ones(3))
    assert basis is not None
    n = repeats(2, 40)
    differ = 0
    for _ in range(n):
        found, chosen = predicted(fault_rng.choice(TENS, 2), fault_rng.choice(TENS, 3))
        differ += np.abs(found - expected).max() > SAME * np.abs(expected).max() or chosen.degree != basis.degree
    fault_figures("units", what="train, polynomials", tried=n, differ=int(differ))
    assert differ == 0


def test_estimators_by_powers_of_ten(repeats, fault_rng, fault_figures):
    x, y = smooth()
    labels = np.where(y[:, 1] > 0, "high", "low")
    settings = dict(hidden_widths=(8,), budget=40, random_state=0)
    regressor, sorter = GNvproRegressor(**settings).fit(x, y), GNvproClassifier(**settings).fit(x, labels)
    n = repeats(2, 60)
    differ = 0
    for _ in range(n):
        units, of_outputs = fault_rng.choice(TENS, 3), fault_rng.choice(TENS, 3)
        scaled = GNvproRegressor(**settings).fit(x * units, y * of_outputs)
        differ += np.abs(scaled.predict(x * units) / of_outputs - regressor.predict(x)).max() > SAME
        differ += abs(scaled.score(x * units, y * of_outputs) - regressor.score(x, y)) > SAME
        sorted_again = GNvproClassifier(**settings).fit(x * units, labels)
        differ += np.abs(sorted_again.predict_proba(x * units) - sorter.predict_proba(x)).max() > SAME
    fault_figures("units", what="estimators", tried=3 * n, differ=int(differ))
    assert differ == 0


@pytest.mark.parametrize("noise", [0.0, 0.3])
def test_competing_models_by_powers_of_ten(noise, repeats, fault_rng, fault_figures):
    x, y = smooth()
    y[:, 0] = np.abs(x[:, 0] - 1.5) + np.sin(9 * x[:, 1])  # for kernels; the others are for polynomials
    y = y + noise * np.random.default_rng(1).standard_normal(y.shape)
    expected, n = GNvproRegressor(random_state=0).fit(x, y).predict(x), repeats(2, 40)
    differ = 0
    for _ in range(n):
        units, of_outputs = fault_rng.choice(TENS, 3), fault_rng.choice(TENS, 3)
        scaled = GNvproRegressor(random_state=0).fit(x * units, y * of_outputs)
        differ += np.abs(scaled.predict(x * units) / of_outputs - expected).max() > SAME
    fault_figures("units", what=f"estimator, competing models, noise {noise}", tried=n, differ=int(differ))
    assert differ == 0


def scene(rng):
    """Whole numbers as a sensor gives them, one band of them dead and one pixel saturated."""
    labels = np.repeat(np.arange(1, 4), 120).reshape(18, 20)
    shapes = rng.uniform(200, 3000, (3, 9))
    bright = rng.uniform(0.5, 1.5, (18, 20, 1))
    cube = np.round(shapes[labels - 1] * bright + rng.normal(0, 250, (18, 20, 9)))
    cube[:, :, 4] = 17.0
    cube[5, 5] = 4095.0
    return np.maximum(cube, 1.0), labels


@pytest.mark.parametrize("features", ["scaled", "paper", "per-band,brightness"])
def test_segment_by_powers_of_ten(features, repeats, fault_rng, fault_figures):
    cube, labels = scene(np.random.default_rng(0))
    settings = dict(split="class-capped", budget=60, widths=(8,), features=features)
    expected, n = segment(cube, labels, **settings), repeats(2, len(TENS))
    chosen = fault_rng.permutation(TENS)[:n]
    differ = 0
    for unit in chosen:
        found = segment(cube * unit, labels, **settings)
        same = np.allclose(found.probabilities, expected.probabilities, rtol=0, atol=SAME)
        differ += not same or found.numbers()["accuracy"] != expected.numbers()["accuracy"]
    fault_figures("units", what=f"segment, {features}", tried=n, differ=int(differ))
    assert differ == 0
