"""Arguments of another kind than expected: one sentence from the library, before any work is done."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import gnvpro
from gnvpro.apps.console import as_typed
from gnvpro.surrogate.networks.none import NoFeatures

X = np.random.default_rng(0).random((60, 2))
Y = np.c_[X.sum(1), np.sin(X[:, 0])]


@pytest.fixture(scope="module")
def trained():
    return gnvpro.train((X, Y), widths=[8, 8], budget=10, polynomial="off")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (dict(quick="yes"), "expected quick True or False, got 'yes'"),
        (dict(budget="20"), "expected budget a number > 0, got '20'"),
        (dict(seed="a"), "expected seed an integer >= 0, got 'a'"),
        (dict(seed=1.5), "expected seed an integer >= 0, got 1.5"),
        (dict(seed=True), "expected seed an integer >= 0, got True"),
        (dict(threads="2"), "expected threads an integer >= 1, got '2'"),
        (dict(widths=8), "expected widths integers such as"),
        (dict(widths="8,8"), "expected widths integers such as"),
        (dict(train=0.5), "expected train a number of samples"),
        (dict(settings="a"), "expected settings a TrainSettings"),
        (dict(out=3), "as text or Path, got 3"),
    ],
)
def test_training_refuses_settings_of_another_type(options, expected):
    with pytest.raises(gnvpro.UsageError, match=expected):
        gnvpro.train((X, Y), **options)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ((X, Y + 1j), "expected observables to be real numbers, got complex128"),
        ((X, np.ma.masked_less(Y, 0.1)), "without masked entries"),
        ((X, Y[:, 0]), r"got \(60,\); use \[:, None\]"),
        ((X[:1], Y[:1]), "expected at least 3 samples, got 1"),
        ((X[:2], Y[:2]), "expected at least 3 samples, got 2"),
    ],
)
def test_training_refuses_such_arrays(data, expected):
    with pytest.raises(gnvpro.UsageError, match=expected):
        gnvpro.train(data)


def test_a_list_of_widths_is_taken_and_the_method_is_the_one_that_was_used(trained):
    assert trained.surrogate.training["settings"]["widths"] == (8, 8)
    assert trained.surrogate.training["method"] == "varpro-kf-lbfgs"


def test_a_polynomial_alone_is_called_least_squares(trained):
    alone = replace(trained.surrogate, network=NoFeatures(2))
    rows = dict(alone.rows())
    assert rows["network"] == "none"
    assert rows["trained by"].startswith("linear least squares (polynomial only)")


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (lambda model, folder: gnvpro.generate(None, folder, 4), "expected a problem .*, got None"),
        (lambda model, folder: gnvpro.generate(gnvpro.ForwardModel, folder, 4), r"create it: ForwardModel\(\)"),
        (lambda model, folder: gnvpro.generate("cdr", folder, "4"), "expected n_samples an integer"),
        (lambda model, folder: gnvpro.generate("cdr", folder, 4, workers="x"), "expected workers an integer"),
        (lambda model, folder: gnvpro.generate("cdr", 3, 4), "as text or Path, got 3"),
        (lambda model, folder: gnvpro.invert(model, Y[0], draws=1.5), "expected draws an integer, got 1.5"),
        (lambda model, folder: gnvpro.invert(model, Y[0], prior="abc"), "expected prior a mean"),
        (lambda model, folder: gnvpro.serve({}), "expected at least one model"),
        (lambda model, folder: gnvpro.serve(model, port="x"), "expected port an integer"),
        (lambda model, folder: gnvpro.segment(budgets=3), "unknown setting 'budgets'"),
        (lambda model, folder: gnvpro.load(3), "as text or Path, got 3"),
        (lambda model, folder: gnvpro.predict(model, X, out=3), "as text or Path, got 3"),
        (lambda model, folder: gnvpro.export(model, None), "as text or Path, got None"),
        (lambda model, folder: gnvpro.compare(model), "trained on arrays"),
        (lambda model, folder: gnvpro.predict(model, X, level="90%"), "expected level a number"),
        (lambda model, folder: model.evaluate("abc"), "expected parameter to be real numbers"),
        (lambda model, folder: gnvpro.Space.vector(("a",), lower=("x",)), "expected lower bounds to be real numbers"),
        (lambda model, folder: gnvpro.GNvproRegressor(hidden_widths="8").fit(X, Y), "expected hidden_widths"),
        (lambda model, folder: gnvpro.varpro_loss(X, Y, alpha_w=1e-3), "expected features a torch tensor"),
        (
            lambda model, folder: gnvpro.varpro_loss(*map(torch.tensor, (X, Y)), alpha_w="a"),
            "expected alpha_w a number",
        ),
    ],
)
def test_every_verb_says_what_it_expected(trained, tmp_path, call, expected):
    with pytest.raises(gnvpro.UsageError, match=expected):
        call(trained.surrogate, tmp_path / "new")


def test_a_saved_model_is_no_data(trained, tmp_path):
    trained.save(tmp_path / "model")
    for path in (tmp_path / "model", tmp_path / "model" / "model.json"):
        with pytest.raises(gnvpro.UsageError, match="this is a saved model, not data"):
            gnvpro.train(path)


def test_the_command_line_names_its_options():
    assert as_typed("for example train=4, n=4", ("train",)) == "for example --train 4, n=4"
