"""Samples of a data set that are read some at a time."""

import numpy as np
import pytest
import xarray as xr

import gnvpro
from gnvpro.pde_data.generation.run import generate
from gnvpro.pde_data.storage.dataset import read_samples
from gnvpro.pde_data.storage.rows import DataSetRows
from gnvpro.surrogate.spaces import Space


class Failing:
    """A problem whose every seventh sample fails, or so."""

    name = "failing"
    parameters = Space.vector(["a", "b"], lower=(0.0, 0.0), upper=(1.0, 1.0), law="uniform")
    observables = Space.vector(["u", "v", "w"], axis="observable")
    block_size = 8

    @property
    def definition(self):
        return {"name": self.name}

    def evaluate(self, y):
        c = np.stack([y[:, 0], y[:, 1] ** 2, y.sum(axis=1)], axis=1)
        c[y[:, 0] > 0.86] = np.nan
        return c


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    place = tmp_path_factory.mktemp("rows") / "set.zarr"
    generate(Failing(), place, n_samples=100, seed=1)
    return place


@pytest.mark.parametrize(
    "numbers", [np.arange(70), np.arange(3, 60, 7), np.array([0, 1, 5]), np.array([69]), np.arange(0)]
)
def test_rows_are_those_of_the_whole(path, numbers):
    rows, whole = DataSetRows(path), read_samples(path)
    assert len(rows) == len(whole) < 100
    assert rows.bytes_per_sample == 8 * 5
    if not len(numbers):
        return
    found, expected = rows.read(numbers), whole.subset(numbers)
    np.testing.assert_array_equal(found.parameters, expected.parameters)
    np.testing.assert_array_equal(found.observables, expected.observables)
    assert found.parameter_space == expected.parameter_space
    assert found.provenance["definition_hash"] == expected.provenance["definition_hash"]


def test_files_of_others_are_read_too(path, tmp_path):
    y = np.random.default_rng(0).uniform(size=(30, 2))
    foreign = xr.Dataset({"parameters": (("sample", "p"), y), "observables": (("sample", "o"), y @ np.ones((2, 4)))})
    foreign.to_netcdf(tmp_path / "foreign.nc", engine="h5netcdf")
    found = DataSetRows(tmp_path / "foreign.nc").read(np.array([2, 20]))
    np.testing.assert_array_equal(found.parameters, y[[2, 20]])


def test_a_limit_of_memory_that_a_data_set_keeps_to_changes_nothing(path):
    fields = dict(seed=0, quick=True, threads=1)
    limited, plain = gnvpro.train(path, memory="2GiB", **fields), gnvpro.train(path, **fields)
    assert limited.errors == plain.errors


def test_what_is_not_finished_is_refused(tmp_path):
    class Stopped(Failing):
        def evaluate(self, y):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        generate(Stopped(), tmp_path / "set.zarr", n_samples=10, seed=1)
    with pytest.raises(ValueError, match="10 of 10 samples are still pending"):
        DataSetRows(tmp_path / "set.zarr")


def test_variables_of_somebody_else_are_read_in_parts(tmp_path):
    values = np.arange(1.0, 9.0)
    data = xr.Dataset({name: ("run", values * i) for i, name in enumerate("kqu", 1)})
    data.to_zarr(tmp_path / "d.zarr")
    rows = DataSetRows(tmp_path / "d.zarr", ["k", "q"])
    np.testing.assert_array_equal(rows.read(np.arange(2)).parameters, [[1, 2], [2, 4]])
