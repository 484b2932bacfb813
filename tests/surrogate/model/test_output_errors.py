"""The error of every output: computed on validation data, and said where some are much worse than the error stated."""

import dataclasses

import numpy as np
import pytest

from gnvpro.surrogate.errors import SavedModelError
from gnvpro.surrogate.model.output_errors import errors_by_output, output_error_rows
from gnvpro.surrogate.model.surrogate import Surrogate
from gnvpro.surrogate.samples import Samples
from gnvpro.surrogate.spaces import Space
from gnvpro.training.train import TrainSettings, train

# Of one unit: they share a scale.
SPACE = Space.vector(["head", "flux", "nothing"], units=("m",))
SHORT = TrainSettings(widths=(8,), gain=0.3, budget=60)


def samples(units, background=None, n=120):
    rng = np.random.default_rng(0)
    y = rng.uniform(1, 2, (n, 2))
    c = np.stack([y.prod(1), np.sin(3 * y[:, 0]), 0 * y[:, 0]], 1) * units
    return Samples(y, c, Space.vector(["a", "b"]), SPACE, background=background)


def test_errors_are_relative_to_each_output():
    observables = np.array([[3.0, 1e-3, 0.0], [4.0, 1e-3, 0.0]])
    record = errors_by_output(observables * [1.01, 1.5, 1] + [0, 0, 1e-9], observables, SPACE, None)
    assert record["errors"] == [pytest.approx(0.01), pytest.approx(0.5), None]
    assert record["stated"] == pytest.approx(0.01, rel=1e-3)
    assert record["worse"] == {"flux": pytest.approx(0.5)}
    less = errors_by_output(observables * 1.01, observables, SPACE, np.array([3.0, 0, 0]))
    assert less["errors"][0] == pytest.approx(0.05)
    assert not less["worse"]


def test_train_says_which_outputs_are_much_worse_and_the_saved_model_too(tmp_path):
    split = samples([1e6, 1.0, 1.0]).split(0)
    training = train(split, dataclasses.replace(SHORT, polynomial="off"))
    record = training.numbers()["errors_by_output"]
    assert record["stated"] == pytest.approx(training.errors["validation"], rel=1e-9)
    assert len(record["errors"]) == 3
    assert record["errors"][2] is None
    misfit = training.surrogate.evaluate(split.validation.parameters) - split.validation.observables
    expected = np.linalg.norm(misfit[:, 1]) / np.linalg.norm(split.validation.observables[:, 1])
    assert record["errors"][1] == pytest.approx(expected)
    assert list(record["worse"]) == ["flux"]
    rows = dict(training.rows())
    assert rows["error by output"].startswith("flux ")
    assert "more than 10 times" in rows["error by output"]
    training.save(tmp_path / "model")
    model = Surrogate.load(tmp_path / "model")
    assert dict(model.rows())["error by output"] == rows["error by output"]
    assert model.numbers()["training"]["errors_by_output"] == record


def test_outputs_of_one_size_need_no_words_with_polynomials_too():
    """Whose last layer is at last fitted to the validation samples too: the errors are those before."""
    training = train(samples([1.0, 1.0, 1.0]), dataclasses.replace(SHORT, polynomial="on"))
    stated = training.numbers()["errors_by_output"]["stated"]
    assert stated == pytest.approx(training.errors["validation"], rel=1e-9)
    assert training.numbers()["errors_by_output"]["worse"] == {}
    assert "error by output" not in dict(training.rows())


def test_outputs_of_different_units_need_no_words():
    apart = samples([1e6, 1.0, 1.0])
    apart = dataclasses.replace(apart, observable_space=Space.vector(SPACE.names))
    training = train(apart, dataclasses.replace(SHORT, polynomial="off"))
    assert training.numbers()["errors_by_output"]["worse"] == {}
    assert training.numbers()["errors_by_output"]["stated"] == pytest.approx(training.errors["validation"], rel=1e-9)


def test_the_worst_are_named_and_the_others_counted():
    worse = {f"y{j}": 0.5 for j in range(5)}
    ((_, words),) = output_error_rows({"errors_by_output": {"stated": 1e-5, "errors": [0.5] * 6, "worse": worse}})
    assert words.startswith("y0 50 %, y1 50 %, y2 50 % and 2 more: more than 10 times the 0.001 % of all 6 outputs")


def test_a_damaged_record_is_refused(tmp_path):
    model = train(samples([1e6, 1.0, 1.0]), SHORT).surrogate
    for damage in ({"worse": ["flux"]}, {"worse": {"flux": "much"}, "stated": 1, "errors": []}, 3):
        damaged = dataclasses.replace(model, training={**model.training, "errors_by_output": damage})
        damaged.save(tmp_path / "model", overwrite=True)
        with pytest.raises(SavedModelError, match="not complete|not consistent"):
            Surrogate.load(tmp_path / "model")
