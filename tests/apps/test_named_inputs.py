"""Tables with names as arguments of the library and the command line: found by name in any order, or refused."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import gnvpro
from gnvpro.apps import arguments
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.spaces import Space

QUICK = dict(widths=(4,), polynomial="on", budget=20)
Y = np.random.default_rng(0).uniform(1, 2, size=(40, 2))
C = np.column_stack([Y[:, 0] * Y[:, 1], Y[:, 0] + 3 * Y[:, 1], Y[:, 0] ** 2])
TABLE = pd.DataFrame({"u": C[:, 0], "b": Y[:, 1], "v": C[:, 1], "a": Y[:, 0], "w": C[:, 2]})


@pytest.fixture
def command(request):
    """`gnvpro` is the library here."""
    return request.getfixturevalue("gnvpro")


@pytest.fixture(scope="module")
def surrogate():
    return gnvpro.train((TABLE[["a", "b"]], TABLE[["u", "v", "w"]]), **QUICK).surrogate


def test_names_of_data_frames_are_those_of_the_model(surrogate):
    assert (surrogate.parameters.names, surrogate.observables.names) == (("a", "b"), ("u", "v", "w"))


@pytest.mark.parametrize(
    "swap",
    [
        lambda y: pd.DataFrame({"b": y[:, 1], "a": y[:, 0]}),
        lambda y: pd.DataFrame({"B [m]": y[:, 1], " A": y[:, 0]}),
        lambda y: pd.DataFrame(y),  # columns 0, 1: no names
        lambda y: xr.DataArray(y[:, ::-1], coords={"p": ["b", "a"]}, dims=("n", "p")),
        lambda y: xr.DataArray(y, dims=("n", "p")),
    ],
)
def test_columns_are_found_by_name(surrogate, swap):
    expected = surrogate.evaluate(Y[:3])
    np.testing.assert_array_equal(gnvpro.predict(surrogate, swap(Y[:3])).observables, expected)
    np.testing.assert_array_equal(surrogate.evaluate(swap(Y[:3])), expected)


def test_columns_of_other_names_are_refused(surrogate):
    with pytest.raises(UsageError, match="expected columns a, b, got x, a"):
        gnvpro.predict(surrogate, pd.DataFrame({"x": [1.5], "a": [1.5]}))


@pytest.mark.parametrize("order", [["w", "u", "v"], ["v", "w", "u"]])
def test_observations_are_found_by_name(surrogate, order):
    observed = pd.Series(C[5], index=["u", "v", "w"])[order]
    for observations in (observed, observed.to_dict(), observed.rename({"u": "U [mV]"})):
        inversion = gnvpro.invert(surrogate, observations, noise=0.01, draws=0)
        np.testing.assert_allclose(inversion.minima[0].parameters, Y[5], atol=0.05)


def test_observations_under_a_name_that_is_not_known_are_refused(surrogate, tmp_path):
    (tmp_path / "d.csv").write_text("sensor,value\nw,1\nu,2\nv,3\n")
    with pytest.raises(UsageError, match="expected columns observable, value, standard_deviation, got sensor, value"):
        gnvpro.invert(surrogate, tmp_path / "d.csv", noise=0.01, draws=0)
    np.savez(tmp_path / "d.npz", observations=C[5], observable=np.array(["w", "u", "x"]))
    with pytest.raises(UsageError, match="the model has no observable 'x'; it has u, v, w"):
        gnvpro.invert(surrogate, tmp_path / "d.npz", noise=0.01, draws=0)


def test_observations_of_an_npz_are_found_by_name(surrogate, tmp_path):
    np.savez(tmp_path / "d.npz", observations=C[5][[2, 0, 1]], observable=np.array(["w", "u", "v"]))
    inversion = gnvpro.invert(surrogate, tmp_path / "d.npz", noise=0.01, draws=0)
    np.testing.assert_allclose(inversion.minima[0].parameters, Y[5], atol=0.05)


def test_a_prior_and_true_parameters_are_found_by_name(surrogate):
    inversion = gnvpro.invert(
        surrogate, C[5], noise=0.01, draws=0, prior={"B [m]": (1.5, 0.3)}, truth={"B": 1.2, "A": 1.4}
    )
    np.testing.assert_array_equal(inversion.truth, [1.4, 1.2])


def test_a_csv_is_trained_on_and_calibrates(tmp_path):
    TABLE.to_csv(tmp_path / "t.csv", index=False)
    trained = gnvpro.train(tmp_path / "t.csv", parameters=["a", "b"], **QUICK)
    arrays = gnvpro.train((Y, C), **QUICK)
    np.testing.assert_array_equal(trained.surrogate.evaluate(Y), arrays.surrogate.evaluate(Y))
    assert trained.surrogate.observables.names == ("u", "v", "w")
    TABLE[["w", "v", "u", "b", "a"]].to_csv(tmp_path / "turned.csv", index=False)
    calibrated = gnvpro.calibrate(trained.surrogate, tmp_path / "turned.csv").surrogate
    assert calibrated.trust.bands.half_width(0.5).max() < 1e-6  # columns taken by position are wrong by one
    with pytest.raises(UsageError, match="`parameters` names the columns of a .csv"):
        gnvpro.train((Y, C), parameters=["a"], **QUICK)


def test_the_command_trains_on_a_csv(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    TABLE.to_csv("t.csv", index=False)
    options = ["--widths", 4, "--budget", 20, "--polynomial", "on", "--json"]
    assert command("train", "t.csv", "--parameters", "a,b", "--out", "m", *options).numbers["error"]["test"] < 1e-6
    (tmp_path / "p.csv").write_text("B,A [m]\n1.2,1.4\n")
    assert command("predict", "m", "--parameters", "p.csv", "--out", "o.csv").exit_code == 0
    assert pd.read_csv("o.csv")[["u", "v", "w"]].to_numpy()[0] == pytest.approx([1.4 * 1.2, 1.4 + 3.6, 1.96], rel=1e-6)


def test_rows_with_labels_stay_rows():
    square = xr.DataArray(np.arange(9.0).reshape(3, 3), coords={"case": ["u", "v", "w"]}, dims=("case", "p"))
    np.testing.assert_array_equal(arguments.samples_of((square, C[:3])).parameters, square.values)
    turned = arguments.parameters_of(square, Space.observed(np.eye(3), "parameter", ["u", "v", "w"]))
    np.testing.assert_array_equal(turned, square.values.T)
