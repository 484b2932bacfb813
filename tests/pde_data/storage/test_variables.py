"""Datasets of somebody else in memory and in files: which variables are parameters is said by their names."""

import numpy as np
import pytest
import xarray as xr

import gnvpro
from gnvpro.pde_data.generation.run import generate
from gnvpro.pde_data.storage.dataset import open_dataset, read_samples
from gnvpro.surrogate.errors import UsageError
from tests.pde_data.toy import DecayProblem


@pytest.fixture(scope="module")
def survey():
    """Depth and volume of a body, potentials at sensors and times, a total; the samples are called `run`."""
    rng = np.random.default_rng(0)
    depth, volume = rng.uniform(0.4, 0.8, 60), rng.uniform(0.03, 0.2, 60)
    potential = (volume / depth)[:, None, None] * np.arange(1.0, 7.0).reshape(2, 3)
    return xr.Dataset(
        {
            "volume": ("run", volume, {"units": "m3"}),
            "potential": (("time", "run", "sensor"), potential.transpose(1, 0, 2), {"units": "mV"}),
            "total": ("run", volume * depth, {"units": "m4"}),
            "positions": (("sensor", "xyz"), np.zeros((3, 3))),
        },
        coords={"depth": ("run", depth, {"units": "m"}), "time": [0.5, 1.0], "sensor": ["a", "b", "c"]},
    )


def test_the_others_are_observables(survey):
    samples = read_samples(survey, parameters=["depth", "volume"])
    np.testing.assert_array_equal(samples.parameters, np.stack([survey.depth, survey.volume], axis=1))
    assert samples.parameter_space.names == ("depth", "volume")
    assert samples.parameter_space.units == ("m", "m3")
    expected = np.column_stack([survey.potential.transpose("run", ...).values.reshape(60, 6), survey.total])
    np.testing.assert_array_equal(samples.observables, expected)
    names = samples.observable_space.names
    assert names[0] == "potential, time 0.5, sensor a"
    assert names[-1] == "total"
    assert samples.observable_space.units == ("mV",) * 6 + ("m4",)


def test_one_variable_keeps_its_axes(survey):
    samples = read_samples(survey[["volume", "potential"]], parameters=["Depth [m]", "volume"])
    assert [axis.name for axis in samples.observable_space.axes] == ["time", "sensor"]
    assert samples.observable_space.units == ("mV",)
    assert samples.observables.shape == (60, 6)


@pytest.mark.parametrize("sample", ["run", "sample"])
def test_parameters_in_one_variable_keep_theirs(survey, sample):
    theta = xr.DataArray(np.random.default_rng(1).normal(size=(2, 60)), dims=("which", "run"))
    data = xr.Dataset({"theta": theta, "u": survey.total}).assign_coords(which=["a", "b"]).rename(run=sample)
    samples = read_samples(data, parameters=["theta"])
    assert samples.parameter_space.names == ("a", "b")
    np.testing.assert_array_equal(samples.parameters, theta.values.T)


@pytest.mark.parametrize("name", ["d.nc", "d.zarr"])
def test_files_have_the_same_rule(survey, tmp_path, name):
    if name.endswith("nc"):
        survey.to_netcdf(tmp_path / name, engine="h5netcdf")
    else:
        survey.to_zarr(tmp_path / name, zarr_format=2)
    one, other = (read_samples(data, parameters=["depth", "volume"]) for data in (survey, tmp_path / name))
    np.testing.assert_array_equal(one.observables, other.observables)
    assert (one.parameter_space, one.observable_space) == (other.parameter_space, other.observable_space)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        (None, r"expected variables parameters and observables, got .*; name those that are parameters \(parameters="),
        (["depth", "width"], "the Dataset: expected the parameters depth, width, got the variables .*volume"),
        (["depth", "positions"], "expected one dimension that depth, positions share, .* got none"),
        (["potential"], "expected one dimension that potential share, .* got run, sensor; name it sample"),
        (["depth", "volume", "total", "potential"], "expected observables along run beside .*, got none"),
    ],
)
def test_what_does_not_fit_is_said(survey, parameters, message):
    with pytest.raises(UsageError, match=message):
        read_samples(survey, parameters=parameters)


def test_a_masked_own_data_set_is_what_it_was(tmp_path):
    generate(DecayProblem(), tmp_path / "d.zarr", 12)
    data = open_dataset(tmp_path / "d.zarr")
    one, other = read_samples(data), read_samples(tmp_path / "d.zarr")
    assert (one.parameter_space, one.observable_space) == (other.parameter_space, other.observable_space)


@pytest.fixture(scope="module")
def trained(survey):
    training = gnvpro.train(survey[["volume", "total"]], parameters=["depth", "volume"], seed=0, calibration=10)
    return training.surrogate


def test_the_functions_take_datasets_in_memory(survey, trained):
    """The same numbers as of arrays, in whichever order the variables are."""
    rows = np.stack([survey.depth, survey.volume], axis=1)
    pair = gnvpro.train((rows, survey.total.values[:, None]), seed=0, calibration=10).surrogate
    expected = gnvpro.predict(trained, rows).observables
    np.testing.assert_array_equal(gnvpro.predict(pair, rows).observables, expected)
    table = xr.DataArray(rows, dims=("run", "parameter"), coords={"parameter": ["depth", "volume"]})
    for parameters in (
        survey,
        survey[["volume", "depth"]],
        table,
        table[:, ::-1],
        table.T,
        table.rename(run="sample").T.drop_vars("parameter"),
        xr.Dataset({"parameters": table}),
        table.T.to_dataset(name="parameters"),
    ):
        np.testing.assert_array_equal(gnvpro.predict(trained, parameters).observables, expected)
    calibrated = gnvpro.calibrate(trained, survey[["volume", "total"]]).surrogate
    np.testing.assert_array_equal(gnvpro.predict(calibrated, rows).observables, expected)


def test_a_pair_of_tables_is_a_data_set(survey, trained):
    y = xr.DataArray(
        np.stack([survey.volume, survey.depth]), dims=("parameter", "run"), coords={"parameter": ["volume", "depth"]}
    )
    c = xr.DataArray(survey.total.values[:, None], dims=("run", "observable"), coords={"observable": ["total"]})
    surrogate = gnvpro.train((y, c), seed=0).surrogate
    assert surrogate.parameters.names == ("volume", "depth")
    assert surrogate.observables.names == ("total",)


def test_a_dataset_without_the_parameters_of_a_model_is_refused(survey, trained):
    with pytest.raises(UsageError, match="the Dataset: expected the parameters depth, volume, got the variables"):
        gnvpro.predict(trained, survey.drop_vars("depth"))


def test_names_are_for_data_that_have_them():
    y = np.ones((20, 2))
    with pytest.raises(UsageError, match="`parameters` names the columns of a .csv, or the variables of a Dataset"):
        gnvpro.train((y, y), parameters=["a"])


def test_names_of_parameters_that_a_data_set_has_not_are_refused(tmp_path):
    generate(DecayProblem(), tmp_path / "d.zarr", 4, 0)
    samples = read_samples(tmp_path / "d.zarr")
    read_samples(tmp_path / "d.zarr", parameters=samples.parameter_space.names)
    with pytest.raises(
        UsageError, match="has parameters and observables already, and no parameters .*; leave `parameters` out"
    ):
        read_samples(tmp_path / "d.zarr", parameters=["bogus"])
