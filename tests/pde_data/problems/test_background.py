"""Problems with a background: what the parameters do is measured from it, in the data set too."""

import numpy as np
import pytest
import xarray as xr

from gnvpro.pde_data.generation.run import generate
from gnvpro.pde_data.storage.dataset import open_dataset, read_samples
from tests.pde_data.toy import Fragile, OnBackground


def test_anomalous_observables_stand_beside_the_whole_ones(tmp_path):
    path = tmp_path / "d.zarr"
    generate(OnBackground(), path, 42, 5)
    data = xr.open_zarr(path).load()
    assert data.background.dims == ("time", "sensor")
    assert data.anomalous.dims == data.observables.dims == ("sample", "time", "sensor")
    assert data.anomalous.units == data.background.units == data.observables.units
    np.testing.assert_array_equal(data.background.values.reshape(-1), OnBackground.background)
    np.testing.assert_array_equal(data.anomalous.values, (data.observables - data.background).values)
    np.testing.assert_array_equal(np.isnan(data.anomalous.values[:, 0, 0]), data.status.values != 0)
    alone = Fragile().evaluate(data.parameters.values)
    solved = data.status.values == 0
    np.testing.assert_allclose(data.anomalous.values.reshape(-1, 6)[solved], alone[solved], atol=1e-14)


def test_samples_know_their_background(tmp_path):
    generate(OnBackground(), tmp_path / "d.zarr", 10, 5)
    open_dataset(tmp_path / "d.zarr").load().to_netcdf(tmp_path / "d.nc", engine="h5netcdf")
    for name in ("d.zarr", "d.nc"):
        samples = read_samples(tmp_path / name)
        np.testing.assert_array_equal(samples.background, OnBackground.background)
        np.testing.assert_array_equal(samples.anomalous, samples.observables - OnBackground.background)
    generate(Fragile(), tmp_path / "without.zarr", 10, 5)
    assert read_samples(tmp_path / "without.zarr").background is None
    assert "anomalous" not in xr.open_zarr(tmp_path / "without.zarr")


def test_a_background_survives_growth(tmp_path):
    generate(OnBackground(), tmp_path / "grown.zarr", 10, 5)
    generate(OnBackground(), tmp_path / "grown.zarr", 42, 5)
    generate(OnBackground(), tmp_path / "at_once.zarr", 42, 5)
    grown, at_once = (xr.open_zarr(tmp_path / name).load() for name in ("grown.zarr", "at_once.zarr"))
    xr.testing.assert_equal(grown.drop_vars("wall_time"), at_once.drop_vars("wall_time"))


@pytest.mark.parametrize(
    ("background", "message"),
    [
        (np.ones(5), r"expected \(6,\) finite numbers, got shape \(5,\)"),
        (np.full(6, np.nan), "numbers that are not finite"),
    ],
)
def test_a_background_that_does_not_fit_is_said(tmp_path, background, message):
    problem = OnBackground()
    problem.background = background
    with pytest.raises(ValueError, match=message):
        generate(problem, tmp_path / "d.zarr", 4, 1)
    assert not any(tmp_path.iterdir())
