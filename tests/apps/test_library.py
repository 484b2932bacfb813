"""The library without its command line: `import gnvpro`, every verb on small data, and what each returns."""

import json
import subprocess
import sys

import numpy as np
import pytest

import gnvpro
from gnvpro.surrogate.result import Result
from tests.apps.conftest import TOY
from tests.pde_data.toy import DecayProblem

VERBS = {
    *("generate", "read_samples", "train", "load", "compare", "predict"),
    *("calibrate", "invert", "sensitivity", "segment", "export", "serve"),
}
QUICK = dict(widths=(6,), budget=60, polynomial="off")


def test_importing_gnvpro_loads_nothing_heavy():
    code = "import sys, gnvpro; dir(gnvpro); print([m for m in ('torch', 'numpy', 'scipy', 'dolfinx') if m in sys.modules])"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


def test_every_public_name_is_there_and_shown():
    for name in gnvpro.__all__:
        assert getattr(gnvpro, name) is not None
        assert name in dir(gnvpro)
    assert set(gnvpro.__all__) >= VERBS
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        gnvpro.trian  # noqa: B018


def test_the_names_that_editors_see_are_those_that_are_loaded():
    """The imports for type checkers and the table of homes are two lists of the same names."""
    import ast
    from pathlib import Path

    tree = ast.parse(Path(gnvpro.__file__).read_text())
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    seen = {
        alias.asname or alias.name: (node.module, alias.name)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    homes = {
        name: (f"gnvpro.{home.partition(':')[0]}", home.partition(":")[2] or name)
        for name, home in gnvpro._HOMES.items()
    }
    assert seen == homes
    assert set(gnvpro.__all__) == set(homes)


def shown(result):
    """A result says what it is in all three ways."""
    assert isinstance(result, Result)
    assert repr(result).startswith(result.title)
    for what, value in result.rows():
        assert what in repr(result)
        assert value in repr(result)
    html = result._repr_html_()
    assert html.startswith("<table><caption>")
    assert html.count("<tr>") == len(result.rows())
    json.dumps(result.numbers())
    return result


@pytest.fixture(scope="module")
def samples(data):
    return gnvpro.read_samples(data)


@pytest.fixture(scope="module")
def surrogate(model):
    return gnvpro.load(model)


def test_generate(tmp_path):
    made = shown(gnvpro.generate(DecayProblem(), tmp_path / "d.zarr", n_samples=6, seed=1))
    assert made.numbers()["n_ok"] == 6
    again = gnvpro.generate(TOY, tmp_path / "d.zarr", n_samples=6, seed=1)
    assert again.numbers()["already_complete"]


def test_samples_come_from_files_datasets_and_arrays_alike(data, samples):
    import xarray as xr

    pair = samples.parameters, samples.observables
    with xr.open_zarr(data, consolidated=False, decode_times=False) as dataset:
        trained = [gnvpro.train(given, seed=5, **QUICK) for given in (data, str(data), samples, dataset)]
        at = gnvpro.predict(trained[0].surrogate, dataset).observables
    for training in trained:
        np.testing.assert_array_equal(training.surrogate.theta, trained[0].surrogate.theta)
    # Arrays have no units, so that their outputs are scaled apart.
    plain = gnvpro.train(pair, seed=5, **QUICK).surrogate
    assert np.abs(plain.evaluate(pair[0]) - pair[1]).max() < np.abs(pair[1]).max()
    split = gnvpro.train(samples.split(5, train=30, validation=10), seed=5, **QUICK)
    sizes = gnvpro.train(data, seed=5, train=30, validation=10, **QUICK)
    np.testing.assert_array_equal(split.surrogate.theta, sizes.surrogate.theta)
    assert trained[3].surrogate.parameters == samples.parameter_space
    np.testing.assert_array_equal(at, trained[0].surrogate.evaluate(samples.parameters))


def test_train_saves_only_when_it_is_told_to(samples, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    reports = []
    training = shown(
        gnvpro.train(samples, seed=5, **QUICK, train=30, test=10, progress=lambda *now: reports.append(now))
    )
    assert training.surrogate.training["samples"]["train"] == 30
    assert list(tmp_path.iterdir()) == []
    assert reports
    assert reports[-1][0] <= reports[-1][1]
    kept = gnvpro.train(samples, gnvpro.TrainSettings(seed=5, **QUICK), out="model", record={"by": "hand"})
    np.testing.assert_array_equal(gnvpro.load("model").theta, kept.surrogate.theta)
    assert json.loads((tmp_path / "model" / "settings.json").read_text()) == {"by": "hand"}
    with pytest.raises(FileExistsError, match="overwrite it"):
        gnvpro.train(samples, out="model", **QUICK)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (dict(data=3), "got a int"),
        (dict(data=([[1.0]],)), "a pair of arrays, parameters and observables, got 1"),
        (dict(data=([[1.0]], [["a"]])), "expected observables to be real numbers"),
        (dict(data=([1.0], [[1.0]])), r"parameters of shape \(n, m\)"),
        (dict(data=(np.eye(8), np.eye(8)), budgget=3), "unknown setting 'budgget'; .* budget"),
        (dict(data=(np.eye(8), np.eye(8)), settings=gnvpro.TrainSettings(), seed=1), "expected settings or seed by"),
    ],
)
def test_what_train_does_not_take_is_said(arguments, said):
    with pytest.raises(gnvpro.UsageError, match=said):
        gnvpro.train(**arguments)


def test_predict_takes_arrays_and_writes_when_asked(model, surrogate, samples, tmp_path):
    y = samples.parameters[:3]
    predictions = shown(gnvpro.predict(surrogate, y, level=0.8))
    np.testing.assert_array_equal(predictions.observables, surrogate.evaluate(y))
    assert predictions.reliability.level == 0.8
    of_file = gnvpro.predict(model, y.tolist(), out=tmp_path / "p.csv")
    np.testing.assert_array_equal(of_file.observables, predictions.observables)
    assert (tmp_path / "p.csv").read_text().count("\n") == 4
    np.testing.assert_array_equal(gnvpro.predict(model, samples).observables, surrogate.evaluate(samples.parameters))
    far = gnvpro.predict(surrogate, [[3.0, 0.5]], fallback="pde", problem=DecayProblem())
    np.testing.assert_array_equal(far.observables, DecayProblem().evaluate(np.array([[3.0, 0.5]])))
    assert "answered by the PDE" in repr(shown(far))
    for wrong, said in (
        ([[1.0]], r"expected \(n, 2\)"),
        ([[1.0, np.nan]], "row 0 is not finite"),
        ("x", "no parameters"),
    ):
        with pytest.raises((gnvpro.UsageError, FileNotFoundError), match=said):
            gnvpro.predict(surrogate, wrong)
    with pytest.raises(gnvpro.UsageError, match="belong to fallback='pde'"):
        gnvpro.predict(surrogate, y, tolerance=1.0)
    with pytest.raises(gnvpro.UsageError, match="expected a model or the folder of one"):
        gnvpro.predict(samples, y)


def test_calibrate(model, surrogate, data, samples, tmp_path):
    calibration = shown(gnvpro.calibrate(surrogate, samples))
    np.testing.assert_array_equal(calibration.surrogate.half_width(0.8), surrogate.half_width(0.8))
    gnvpro.calibrate(model, data, out=tmp_path / "calibrated")
    assert (tmp_path / "calibrated" / "history.json").exists()
    assert gnvpro.load(tmp_path / "calibrated").trust is not None


def test_compare(surrogate):
    comparison = shown(gnvpro.compare(surrogate, DecayProblem(), samples=4, repeats=1))
    assert comparison.numbers()["n_samples"] == 4
    with pytest.raises(gnvpro.UsageError, match="`cube` and `labels` are for a classifier"):
        gnvpro.compare(surrogate, DecayProblem(), cube="a.mat")


def test_export(surrogate, tmp_path):
    pytest.importorskip("onnxruntime")
    exported = shown(gnvpro.export(surrogate, tmp_path / "m.onnx", dtype="float32"))
    assert exported.numbers()["size_bytes"] == (tmp_path / "m.onnx").stat().st_size
    with pytest.raises(FileExistsError, match="overwrite=True"):
        gnvpro.export(surrogate, tmp_path / "m.onnx")


def test_serve_blocks_until_it_is_stopped_and_counts(surrogate, model, monkeypatch):
    """Stopped by a signal as a user would, once it listens; the log is where that is known first."""
    import os
    import signal

    from gnvpro.apps.serving.request_log import RequestLog

    def stopping(self, event, **fields):
        if event == "listening":
            os.kill(os.getpid(), signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    monkeypatch.setattr(RequestLog, "event", stopping)
    try:
        served = shown(gnvpro.serve({"a": surrogate, "b": model}, port=0, log="none"))
    finally:
        for number, handler in zip((signal.SIGTERM, signal.SIGINT), before, strict=True):
            signal.signal(number, handler)
    counts = dict.fromkeys(("answered", "errors", "outside", "unsolved"), 0)
    assert served.numbers() == {"models": ["a", "b"], **counts}


@pytest.mark.long
def test_invert(surrogate):
    truth = np.array([[1.4, 0.5]])
    observations = DecayProblem().evaluate(truth)[0]
    inversion = shown(
        gnvpro.invert(surrogate, observations, noise="2%", problem=DecayProblem(), draws=60, tune=60, chains=2)
    )
    np.testing.assert_allclose(inversion.map.parameters, truth[0], atol=0.1)


def test_segment():
    rng = np.random.default_rng(0)
    labels = np.repeat([[1, 2]], 12, axis=0).repeat(6, axis=1)
    cube = labels[..., None] * np.linspace(1, 2, 5) + 0.1 * rng.standard_normal((12, 12, 5))
    found = shown(gnvpro.segment(cube, labels, split="random", cap=20, widths=(4,), budget=40))
    assert found.numbers()["accuracy"]["validation"] > 0.9
