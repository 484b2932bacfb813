"""Fields in data sets: the mesh beside the samples, chunks that fit into memory, and reading by blocks."""

import shutil

import numpy as np
import pytest
import xarray as xr
import zarr

from gnvpro.pde_data.generation.request import _block_size
from gnvpro.pde_data.generation.run import generate
from gnvpro.pde_data.problems.loading import as_problem
from gnvpro.pde_data.problems.solving import solve_block
from gnvpro.pde_data.storage.append import append
from gnvpro.pde_data.storage.dataset import describe, read_samples
from gnvpro.surrogate.errors import UsageError
from tests.surrogate.fields import Bump

PROBLEM = Bump(7, times=(0.5, 1.0))


@pytest.fixture(scope="module")
def data_set(tmp_path_factory):
    path = tmp_path_factory.mktemp("fields") / "data.zarr"
    generate(PROBLEM, path, 40)
    return path


def test_the_mesh_is_read_back(data_set):
    samples = read_samples(data_set)
    assert samples.observable_space == PROBLEM.observables
    np.testing.assert_array_equal(samples.observable_space.mesh.points, PROBLEM.mesh.points)
    np.testing.assert_array_equal(samples.observables, PROBLEM.evaluate(samples.parameters))
    assert (data_set / "zarr.json").stat().st_size < 15_000
    with xr.open_zarr(data_set) as dataset:
        assert dataset["observables"].dims == ("sample", "time", "node")
        assert dataset["node_cells"].attrs["cell_type"] == "triangle"
    assert describe(data_set)["schema_version"] == 5


def test_values_on_cells_are_kept_too(tmp_path):
    from gnvpro.surrogate.mesh import Mesh
    from gnvpro.surrogate.spaces import Axis, Space

    problem = Bump(4)
    mesh = Mesh.of(problem.mesh.points, problem.mesh.cells, at="cells")
    problem.observables = Space((Axis.of_mesh("cell", mesh),), ("K",))
    problem.evaluate = lambda y: np.repeat(y[:, :1], mesh.n_cells, axis=1)
    generate(problem, tmp_path / "data.zarr", 3)
    samples = read_samples(tmp_path / "data.zarr")
    assert samples.observable_space == problem.observables
    assert samples.observables.shape == (3, 18)


@pytest.mark.parametrize("as_netcdf", [False, True])
def test_reading_by_blocks_gives_the_same_fields(data_set, tmp_path, as_netcdf):
    source = data_set
    if as_netcdf:
        source = tmp_path / "data.nc"
        with xr.open_zarr(data_set, chunks=None) as dataset:
            dataset.to_netcdf(source, engine="h5netcdf")
    samples, whole = read_samples(source, field_error=1e-6), read_samples(source)
    assert samples.modes.space == PROBLEM.observables
    assert samples.observables.shape[1] < 40
    restored = samples.observables @ samples.modes.values
    assert np.linalg.norm(restored - whole.observables) <= 3e-6 * np.linalg.norm(whole.observables)
    assert samples.provenance == whole.provenance


def test_failed_samples_are_left_out_by_blocks_too(tmp_path):
    class Fragile(Bump):
        def evaluate(self, y):
            observables = super().evaluate(y)
            observables[y[:, 0] > 0.6] = np.nan
            return observables

    generate(Fragile(7), tmp_path / "data.zarr", 40)
    samples, whole = (read_samples(tmp_path / "data.zarr", field_error=error) for error in (1e-6, None))
    assert len(samples) == len(whole) < 40
    assert samples.n_failed == whole.n_failed > 0
    np.testing.assert_allclose(samples.observables @ samples.modes.values, whole.observables, atol=1e-5)


def test_damage_is_named_when_reading_by_blocks(data_set, tmp_path):
    for what, harm in (("observables", "is gone"), ("observables", "fails its checksum"), ("node_points", "")):
        path = tmp_path / "data.zarr"
        shutil.rmtree(path, ignore_errors=True)
        shutil.copytree(data_set, path)
        chunk = next(file for file in sorted((path / what).rglob("*")) if file.is_file() and file.name != "zarr.json")
        if harm == "is gone":
            chunk.unlink()
        else:
            content = bytearray(chunk.read_bytes())
            content[len(content) // 2] ^= 1
            chunk.write_bytes(content)
        with pytest.raises(UsageError, match=f"{what}.*{harm}"):
            read_samples(path, field_error=1e-6)
        assert generate(PROBLEM, path, 40, repair=True).repaired
        read_samples(path, field_error=1e-6)


def test_another_mesh_is_another_problem(data_set):
    other = Bump(7, times=(0.5, 1.0))
    other.observables = Bump(8, times=(0.5, 1.0)).observables
    with pytest.raises(UsageError, match="observable_space.*asked"):
        generate(other, data_set, 50)


def test_a_chunk_is_no_more_than_memory_bears(data_set):
    class Large:
        def __init__(self, size):
            self.observables = type("Space", (), {"size": size})

    sizes = [
        _block_size(Large(size), r) for size, r in ((100, 0), (262_144, 0), (1_000_000, 0), (10**8, 0), (10**6, 4))
    ]
    assert sizes == [32, 32, 8, 1, 2]
    assert zarr.open_group(data_set, mode="r")["observables"].chunks == (32, 2, 49)


def test_solves_that_are_appended_keep_the_mesh(tmp_path):
    problem, y = as_problem(PROBLEM), np.array([[0.3, 1.2], [0.5, 1.5]])
    for _ in range(2):
        append(problem, tmp_path / "data.zarr", y, solve_block(problem, y), 0.1)
    samples = read_samples(tmp_path / "data.zarr")
    assert len(samples) == 4
    assert samples.observable_space == PROBLEM.observables


def test_an_axis_may_not_take_the_name_of_a_mesh_variable(tmp_path):
    problem = Bump(4)
    problem.parameters = type(problem.parameters).vector(["a", "b"], axis="node_cells", lower=(0, 1), upper=(1, 2))
    with pytest.raises(UsageError, match="'node_cells'.*taken"):
        generate(problem, tmp_path / "data.zarr", 3, design="random")
