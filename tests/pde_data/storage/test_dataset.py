import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import zarr
from scipy.io import savemat

from gnvpro.pde_data.generation.run import generate
from gnvpro.pde_data.problems.contract import SolveStatus
from gnvpro.pde_data.storage.dataset import describe, open_dataset, read_samples
from gnvpro.pde_data.storage.provenance import definition_hash
from tests import DATA_SETS, PROJECT
from tests.pde_data.toy import Decay, DecayProblem, Fragile, decay_tangent

N = 42


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    path = tmp_path_factory.mktemp("stored") / "fragile.zarr"
    generate(Fragile(), path, N, seed=5)
    return path


@pytest.fixture(scope="module")
def matrices():
    rng = np.random.default_rng(0)
    return rng.uniform(size=(20, 3)), rng.normal(size=(20, 5))


def test_xarray_shows_names_units_and_meanings(stored, recwarn):
    dataset = xr.open_zarr(stored).load()
    assert not recwarn.list
    assert dataset.parameters.dims == ("sample", "parameter")
    assert dataset.observables.dims == ("sample", "time", "sensor")
    assert dataset.observables.shape == (N, 3, 2)
    assert dataset.observables.units == "K"
    assert dataset.time.values.tolist() == [0.5, 1.0, 1.5]
    assert dataset.time.units == "s"
    assert dataset.sensor.values.tolist() == ["left", "right"]
    assert dataset.parameter.values.tolist() == ["amplitude", "rate"]
    assert dataset.coords["sensor_x"].values.tolist() == [0.25, 0.75]
    assert dataset.coords["sensor_x"].units == "m"
    assert dataset.coords["parameter_units"].values.tolist() == ["K", "1/s"]
    assert dataset.status.dtype == np.int8
    meanings = dict(zip(dataset.status.flag_values, dataset.status.flag_meanings.split(), strict=True))
    assert meanings == {int(s): s.name.lower() for s in SolveStatus}
    assert dataset.wall_time.units == "s"
    assert (dataset.wall_time > 0).all()
    selected = dataset.observables.sel(time=1.0, sensor="right", sample=0).item()
    assert selected == dataset.observables.values[0, 1, 1]


def test_one_block_is_one_chunk(stored):
    group = zarr.open_group(stored, mode="r")
    for name in ("parameters", "observables", "status", "failure", "wall_time"):
        assert group[name].chunks == (4, *group[name].shape[1:])


def test_provenance_says_where_the_numbers_come_from(stored):
    attributes = dict(xr.open_zarr(stored).attrs)
    definition = json.loads(attributes["definition"])
    assert definition == Fragile().definition
    assert attributes["definition_hash"] == definition_hash(definition)
    expected = dict(
        schema_version=3, problem="decay", seed=5, law="uniform", n_samples=N, block_size=4, design="sobol-arcsine"
    )
    assert {name: attributes[name] for name in expected} == expected
    versions = json.loads(attributes["versions"])
    assert {"python", "numpy", "scipy", "zarr", "xarray"} <= set(versions)
    assert versions["numpy"] == np.__version__
    git = json.loads(attributes["git"])
    assert git is None or (len(git["revision"]) == 40 and isinstance(git["modified"], bool))


def test_samples_are_those_that_were_solved(stored):
    samples = read_samples(stored)
    ok = xr.open_zarr(stored).status.values == SolveStatus.OK
    assert 0 < samples.n_failed == N - ok.sum()
    assert samples.parameter_space == Decay.parameters
    assert samples.observable_space == Decay.observables
    np.testing.assert_array_equal(samples.observables, Decay().evaluate(samples.parameters))
    assert samples.provenance["definition"] == Fragile().definition
    assert samples.provenance["file"] == "fragile.zarr"
    json.dumps(samples.provenance)


def test_a_data_set_of_schema_1_is_read():
    """Written by the first version; every later one has to read it."""
    samples = read_samples(DATA_SETS / "schema-1.zarr")
    assert len(samples) == 4
    assert samples.n_failed == 2
    np.testing.assert_allclose(samples.observables, Fragile().evaluate(samples.parameters), rtol=1e-12)


@pytest.mark.parametrize("schema", [2, 3])
def test_a_data_set_with_designs_checksums_and_backgrounds_is_read(schema):
    """Written by the versions that brought these, and a checksum of the metadata."""
    path = DATA_SETS / f"schema-{schema}.zarr"
    samples = read_samples(path)
    assert (len(samples), samples.n_failed) == (4, 2)
    assert samples.provenance["design"] == "sobol-arcsine"
    np.testing.assert_allclose(samples.anomalous, Fragile().evaluate(samples.parameters), atol=1e-13)
    assert describe(path)["damaged"] == []
    assert describe(path)["schema_version"] == schema


def test_a_data_set_of_schema_4_is_read():
    """The first with derivatives."""
    path = DATA_SETS / "schema-4.zarr"
    samples, about = read_samples(path), describe(path)
    assert samples.directions.any(axis=2).all()
    for k in range(samples.n_directions):
        exact = decay_tangent(samples.parameters, samples.directions[:, k])
        np.testing.assert_allclose(samples.derivatives[:, k], exact, rtol=1e-12)
    assert (about["schema_version"], about["n_directions"], about["derivative_method"]) == (4, 2, "jvp")
    assert about["damaged"] == []


def test_netcdf_holds_the_same(stored, tmp_path):
    open_dataset(stored).load().to_netcdf(tmp_path / "copy.nc", engine="h5netcdf")
    one, other = read_samples(stored), read_samples(tmp_path / "copy.nc")
    np.testing.assert_array_equal(one.parameters, other.parameters)
    np.testing.assert_array_equal(one.observables, other.observables)
    assert (one.parameter_space, one.observable_space) == (other.parameter_space, other.observable_space)
    assert one.n_failed == other.n_failed
    assert {**one.provenance, "file": ""} == {**other.provenance, "file": ""}
    failures = describe(stored)["failures"]
    assert failures == describe(tmp_path / "copy.nc")["failures"]


@pytest.mark.long
def test_netcdf_is_read_beside_fenicsx(fenicsx, tmp_path):
    """Both bring an HDF5 library, and h5py failed where FEniCSx was first."""
    code = (
        "from gnvpro.pde_data.problems.fenicsx import fenicsx; fenicsx()\n"
        "import numpy as np, xarray as xr\n"
        f"file = {str(tmp_path / 'one.nc')!r}\n"
        "xr.Dataset({'a': ('x', np.arange(3.0))}).to_netcdf(file, engine='h5netcdf')\n"
        "assert xr.open_dataset(file, engine='h5netcdf').a.sum() == 3\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=PROJECT)


def test_somebody_else_s_netcdf_needs_only_the_two_variables(matrices, tmp_path):
    y, c = matrices
    given = xr.Dataset({"parameters": (("y", "sample"), y.T), "observables": (("sample", "c"), c)})
    given.to_netcdf(tmp_path / "bare.nc", engine="h5netcdf")
    samples = read_samples(tmp_path / "bare.nc")
    np.testing.assert_array_equal(samples.parameters, y)
    np.testing.assert_array_equal(samples.observables, c)
    assert samples.parameter_space.law == "unknown"
    assert samples.parameter_space.upper == tuple(y.max(0))


def test_a_dataset_in_memory_is_read_like_its_file(stored):
    one, other = read_samples(stored), read_samples(xr.open_zarr(stored).load())
    np.testing.assert_array_equal(one.parameters, other.parameters)
    np.testing.assert_array_equal(one.observables, other.observables)
    assert (one.parameter_space, one.observable_space, one.n_failed) == (
        other.parameter_space,
        other.observable_space,
        other.n_failed,
    )
    assert {name: value for name, value in one.provenance.items() if name != "file"} == other.provenance


def test_coordinates_name_the_components(matrices, tmp_path):
    y, c = matrices
    given = xr.Dataset(
        {
            "parameters": (("sample", "parameter"), y, {"units": "m"}),
            "observables": (("time", "sensor", "sample"), c[:, :4].T.reshape(2, 2, 20)),
        },
        coords={"parameter": ["a", "b", "c"], "time": ("time", [0.5, 1.0], {"units": "s"})},
    )
    given.to_netcdf(tmp_path / "named.nc", engine="h5netcdf")
    for samples in (read_samples(given), read_samples(tmp_path / "named.nc")):
        np.testing.assert_array_equal(samples.parameters, y)
        np.testing.assert_array_equal(samples.observables, c[:, :4])
        assert samples.parameter_space.names == ("a", "b", "c")
        assert samples.parameter_space.units == ("m",)
        assert samples.observable_space.names[1] == "time 0.5, sensor 1"
        assert samples.observable_space.axes[0].unit == "s"
        assert samples.observable_space.lower == tuple(c[:, :4].min(0))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (xr.Dataset({"y": ("sample", [1.0])}), "the Dataset: expected variables parameters and observables, got y"),
        (
            xr.Dataset({name: (("sample", name[0]), np.ones((3, 2)) * 1j) for name in ("parameters", "observables")}),
            "complex",
        ),
        (
            xr.Dataset({name: (("sample", name[0]), np.ones((0, 2))) for name in ("parameters", "observables")}),
            "solved",
        ),
        (
            xr.Dataset({"parameters": (("n", "p"), np.ones((3, 2))), "observables": (("m", "o"), np.ones((4, 2)))}),
            "disagree on samples: 3 and 4",
        ),
        (np.ones((3, 2)), "expected a path or an xarray Dataset, got a ndarray"),
    ],
)
def test_datasets_that_cannot_be_used_are_said(given, message):
    with pytest.raises(ValueError, match=message):
        read_samples(given)


def test_mat_files_have_samples_as_columns(matrices, tmp_path):
    y, c = matrices
    savemat(tmp_path / "columns.mat", {"Y": y.T, "C": c.T})
    savemat(tmp_path / "rows.mat", {"Y": y, "C": c})
    for samples in (read_samples(tmp_path / "columns.mat"), read_samples(tmp_path / "rows.mat", transpose=True)):
        np.testing.assert_array_equal(samples.parameters, y)
        np.testing.assert_array_equal(samples.observables, c)


@pytest.mark.parametrize("names", [("parameters", "observables"), ("Y", "C")])
def test_npz_files_have_samples_as_rows(matrices, tmp_path, names):
    np.savez(tmp_path / "rows.npz", **dict(zip(names, matrices, strict=True)))
    samples = read_samples(tmp_path / "rows.npz")
    np.testing.assert_array_equal(samples.parameters, matrices[0])
    np.testing.assert_array_equal(samples.observables, matrices[1])


def test_transposed_files_name_the_option(matrices, tmp_path):
    y, c = matrices
    savemat(tmp_path / "rows.mat", {"Y": y, "C": c})
    np.savez(tmp_path / "rows.npz", Y=y, C=c)
    with pytest.raises(ValueError, match=r"\(20, 3\) and \(20, 5\); add transpose=True"):
        read_samples(tmp_path / "rows.mat")
    with pytest.raises(ValueError, match="leave out transpose=True"):
        read_samples(tmp_path / "rows.npz", transpose=True)


def test_a_data_set_that_names_its_dimensions_is_not_transposed(stored):
    with pytest.raises(ValueError, match="leave out transpose=True"):
        read_samples(stored, transpose=True)


def savez_bytes(**arrays):
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("new.mat", b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM" + b"\x89HDF\r\n\x1a\n", "-v7"),
        ("torn.mat", b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM" + b"\x0e\x00", "cannot be read as a MATLAB"),
        ("text.mat", b"not a matrix", "cannot be read as a MATLAB"),
        ("torn.npz", savez_bytes(Y=np.ones((3, 2)))[:60], "cannot be read as arrays of numbers"),
        (
            "pickle.npz",
            savez_bytes(Y=np.array([{}], dtype=object), C=np.ones(1)),
            "cannot be read as arrays of numbers",
        ),
        (
            "other.npz",
            savez_bytes(A=np.ones((3, 2)), B=np.ones((3, 2))),
            "parameters and observables or Y and C, got A, B",
        ),
        ("flat.npz", savez_bytes(Y=np.ones((3, 2)), C=np.ones(3)), r"C to be a matrix of real numbers, .* \(3,\)"),
        ("complex.npz", savez_bytes(Y=np.ones((3, 2)), C=np.ones((3, 2)) * 1j), "real numbers, got complex128"),
        ("short.npz", savez_bytes(Y=np.ones((3, 2)), C=np.ones((4, 5))), r"\(3, 2\) and \(4, 5\); check the file"),
        ("empty.npz", savez_bytes(Y=np.ones((0, 2)), C=np.ones((0, 5))), "holds no samples"),
        ("nan.npz", savez_bytes(Y=np.ones((3, 2)), C=np.array([[1.0], [np.nan], [2.0]])), "observables of sample 1"),
        ("torn.nc", b"\x89HDF\r\n\x1a\n torn", "cannot be opened"),
        ("data.csv", b"1,2,3", "expected names of the columns that are parameters .*got columns none"),
        ("data.txt", b"1,2,3", "neither a zarr folder nor a .nc file"),
        ("cdf5.nc", b"CDF\x05" + bytes(40), "NetCDF-3 with 64-bit data"),
    ],
)
def test_files_that_cannot_be_used_are_said(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_samples(tmp_path / name)


def test_folders_that_are_no_data_set_are_said(tmp_path):
    with pytest.raises(FileNotFoundError, match="no data set at"):
        read_samples(tmp_path / "nothing.zarr")
    with pytest.raises(ValueError, match="cannot be opened as a data set"):
        read_samples(tmp_path)
    xr.Dataset({"temperature": ("x", np.ones(3))}).to_zarr(tmp_path / "other.zarr", consolidated=False)
    with pytest.raises(ValueError, match="expected variables parameters and observables, got temperature"):
        read_samples(tmp_path / "other.zarr")


def test_a_half_written_data_set_is_read_only_when_asked(tmp_path):
    path = tmp_path / "half.zarr"
    with pytest.raises(KeyboardInterrupt):
        generate(DecayProblem(), path, 10, 1, engine=interrupted_after_one)
    with pytest.raises(ValueError, match="6 of 10 samples are still pending; finish it"):
        read_samples(path)
    samples = read_samples(path, allow_partial=True)
    assert (len(samples), samples.n_failed) == (4, 0)
    assert describe(path)["counts"] == {"pending": 6, "ok": 4}


def interrupted_after_one(task, blocks):
    yield task(blocks[0])
    raise KeyboardInterrupt


def test_a_data_set_without_a_solved_sample_is_said(tmp_path):
    class Hopeless(DecayProblem):
        def solve(self, y):
            raise ArithmeticError("diverged")

    generate(Hopeless(), tmp_path / "failed.zarr", 3, 1)
    with pytest.raises(ValueError, match="none of its 3 samples is solved"):
        read_samples(tmp_path / "failed.zarr")


def test_a_newer_schema_is_refused(tmp_path):
    path = tmp_path / "newer.zarr"
    generate(DecayProblem(), path, 3, 1)
    zarr.open_group(path, mode="r+").attrs["schema_version"] = 6
    for use in (read_samples, describe, lambda path: generate(DecayProblem(), path, 3, 1)):
        with pytest.raises(ValueError, match="expected schema_version 5 or older, got 6; update gnvpro"):
            use(path)


def test_damaged_attributes_are_said(tmp_path):
    path = tmp_path / "damaged.zarr"
    generate(DecayProblem(), path, 3, 1)
    zarr.open_group(path, mode="r+").attrs["parameter_space"] = "{"
    with pytest.raises(ValueError, match="attributes are damaged"):
        read_samples(path)


def test_describe_tells_failures_with_their_reasons(stored):
    about = describe(stored)
    assert about["n_samples"] == N == sum(about["counts"].values())
    assert len(about["failures"]) == N - about["counts"]["ok"]
    by_reason = {failure["reason"]: failure for failure in about["failures"]}
    assert by_reason["exception"]["message"].startswith("FloatingPointError: amplitude 1.9")
    assert by_reason["range_exceeded"]["message"] == ""
    assert about["estimated_error"]["relative_l2"] == pytest.approx(8e-4)
    assert about["estimated_error"]["n_samples"] == 8
    assert about["size_bytes"] > 1000
    json.dumps(about)


def test_describe_bare_arrays(matrices, tmp_path):
    np.savez(tmp_path / "rows.npz", Y=matrices[0], C=matrices[1])
    about = describe(tmp_path / "rows.npz")
    assert about["counts"] == {"ok": 20}
    assert about["size_bytes"] == (tmp_path / "rows.npz").stat().st_size
    json.dumps(about)


@pytest.mark.long
def test_reading_needs_neither_fenicsx_nor_torch(stored, matrices, tmp_path):
    np.savez(tmp_path / "rows.npz", Y=matrices[0], C=matrices[1])
    blocked = "import sys\nfor name in {names}: sys.modules[name] = None\n"
    read = "from gnvpro.pde_data.storage.dataset import read_samples, describe\nread_samples({path!r}), describe({path!r})\n"
    fenicsx_torch = ["torch", "dolfinx", "dolfinx_solver", "petsc4py", "mpi4py", "numba", "threadpoolctl"]
    for path, names in ((stored, fenicsx_torch), (tmp_path / "rows.npz", [*fenicsx_torch, "xarray", "zarr"])):
        script = blocked.format(names=names) + read.format(path=str(path))
        subprocess.run([sys.executable, "-c", script], cwd=PROJECT, check=True)


def test_without_xarray_the_remedy_is_named(stored, monkeypatch):
    monkeypatch.setitem(sys.modules, "xarray", None)
    with pytest.raises(ImportError, match=r'pip install "gnvpro\[data\]"'):
        read_samples(stored)


def paper_data():
    folder = Path(os.environ.get("GNVPRO_PAPER_DATA", PROJECT.parent / "shared" / "data"))
    return folder / "CDR_Data.mat"


@pytest.mark.skipif(not paper_data().exists(), reason="the paper's CDR_Data.mat is not here; set GNVPRO_PAPER_DATA")
def test_the_paper_s_file_reads():
    samples = read_samples(paper_data())
    assert samples.parameters.shape == (800, 55)
    assert samples.observables.shape == (800, 72)
    assert samples.parameter_space.constraint == "simplex"


def test_samples_that_were_chosen_in_xarray_are_samples(tmp_path):
    class Named(Fragile):
        background = np.arange(6.0)

    generate(Named(), tmp_path / "d.zarr", 20, 0)
    samples, data = read_samples(tmp_path / "d.zarr"), open_dataset(tmp_path / "d.zarr")
    assert samples.n_failed
    solved = data.status.values == SolveStatus.OK
    for chosen in (data.where(data.status == 0, drop=True), data.where(data.status == 0), data.isel(sample=solved)):
        read = read_samples(chosen)
        np.testing.assert_array_equal(read.parameters, samples.parameters)
        np.testing.assert_array_equal(read.observables, samples.observables)
        np.testing.assert_array_equal(read.background, samples.background)
        assert (read.parameter_space, read.n_failed) == (samples.parameter_space, 0)


@pytest.mark.parametrize("kind", ["NETCDF3_CLASSIC", "NETCDF3_64BIT", "NETCDF4"])
@pytest.mark.parametrize("sample", ["sample", "n"])
def test_every_netcdf_is_read_along_the_dimension_that_is_shared(tmp_path, matrices, kind, sample):
    y, c = matrices
    data = xr.Dataset({"parameters": (("p", sample), y.T), "observables": ((sample, "q"), c)})
    data.to_netcdf(tmp_path / "d.nc", format=kind, engine="h5netcdf" if kind == "NETCDF4" else "scipy")
    read = read_samples(tmp_path / "d.nc")
    np.testing.assert_array_equal(read.parameters, y)
    np.testing.assert_array_equal(read.observables, c)


@pytest.mark.parametrize("status", [0.5, 9, 256])
def test_a_status_that_is_none_is_refused(matrices, status):
    y, c = matrices
    data = xr.Dataset({"parameters": (("sample", "p"), y), "observables": (("sample", "q"), c)})
    data["status"] = ("sample", np.full(len(y), status))
    with pytest.raises(ValueError, match=f"expected a status .*got {status}"):
        read_samples(data)


def test_columns_of_a_table_are_samples(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("\ufeffu;Width [m];depth\n1,5;2;3\n4;5,25;6\n", encoding="utf-8")
    samples = read_samples(path, parameters=["depth", "width"])
    np.testing.assert_array_equal(samples.parameters, [[3, 2], [6, 5.25]])
    np.testing.assert_array_equal(samples.observables, [[1.5], [4]])
    assert (samples.parameter_space.names, samples.observable_space.names) == (("depth", "Width [m]"), ("u",))
    assert samples.provenance.keys() == {"file", "sha256"}


@pytest.mark.parametrize(
    ("text", "parameters", "message"),
    [
        ("a,u\n1,2\n", None, "expected names of the columns that are parameters .*got columns a, u"),
        ("1,2\n3,4\n", ["a"], "expected a header that names every column"),
        (",a,u\n0,1,2\n", ["a"], "expected a header that names every column"),  # the index that pandas writes
        ("a,u\n1,2\n", ["b"], "expected columns b, got a, u"),
        ("a,u\n1,2\n", ["a", "u"], "expected columns observables beside them"),
        ("a,u,u\n1,2,3\n", ["a"], "u may be u, u"),
        ("a,u\n1,\n", ["a"], "no finite row"),
        ("a,u\n1,nan\n", ["a"], "no finite row"),
    ],
)
def test_tables_that_are_no_samples_are_said(tmp_path, text, parameters, message):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_samples(tmp_path / "t.csv", parameters=parameters)
