"""Observables that are missing in files, in data sets, and in what a problem returns."""

import json

import numpy as np
import pytest
import xarray as xr

from gnvpro.apps.info import info
from gnvpro.pde_data.generation.run import generate
from gnvpro.pde_data.problems.contract import SolveStatus
from gnvpro.pde_data.problems.solving import solve_block
from gnvpro.pde_data.storage.dataset import describe, open_dataset, read_samples
from gnvpro.pde_data.storage.rows import DataSetRows
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.spaces import Space

BOX = Space.vector(["a", "b"], lower=(0.0, 0.0), upper=(1.0, 1.0), law="uniform")
WORDS = "2 of 5 samples lack values of 2 of 3 observables, 20 % of all"


def matrices():
    rng = np.random.default_rng(0)
    y, c = rng.uniform(size=(5, 2)), rng.normal(size=(5, 3))
    c[1, 0] = c[1, 2] = c[4, 2] = np.nan
    return y, c


def as_zarr(folder, y, c):
    path = folder / "d.zarr"
    xr.Dataset({"parameters": (("sample", "p"), y), "observables": (("sample", "q"), c)}).to_zarr(path)
    return path


def as_netcdf(folder, y, c):
    path, fill = folder / "d.nc", np.where(np.isnan(c), -999.0, c)
    data = xr.Dataset({"parameters": (("sample", "p"), y), "observables": (("sample", "q"), fill)})
    data["observables"].attrs["_FillValue"] = -999.0
    data.to_netcdf(path, engine="h5netcdf")
    return path


def as_npz(folder, y, c):
    np.savez(folder / "d.npz", parameters=y, observables=c)
    return folder / "d.npz"


@pytest.mark.parametrize("write", [as_zarr, as_netcdf, as_npz])
def test_a_file_with_gaps_is_read_and_described(tmp_path, write):
    y, c = matrices()
    path = write(tmp_path, y, c)
    samples = read_samples(path)
    np.testing.assert_array_equal(samples.observables, c)
    assert samples.lacking is not None
    assert samples.lacking.in_words == WORDS
    assert describe(path)["missing"] == {**samples.lacking._asdict(), "in_words": WORDS}
    assert ("missing", WORDS) in info(path).rows()
    json.dumps(info(path).numbers())


def test_no_row_need_be_complete(tmp_path):
    y, c = matrices()[0], np.random.default_rng(1).normal(size=(5, 3))
    c[np.arange(5), [0, 1, 2, 0, 1]] = np.nan
    samples = read_samples(as_npz(tmp_path, y, c))
    assert not len(samples.complete)
    np.testing.assert_array_equal(samples.observable_space.lower_bounds, np.nanmin(c, axis=0))
    c[:, 1] = np.nan
    with pytest.raises(UsageError, match="no finite number among 5 of observable observable_1; leave that column out"):
        read_samples(as_npz(tmp_path, y, c))


def test_a_file_without_gaps_says_nothing_of_them(tmp_path):
    y, c = matrices()
    assert "missing" not in describe(as_npz(tmp_path, y, np.nan_to_num(c)))


def test_empty_cells_of_a_table_are_missing_observables_and_never_parameters(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("a,u,v\n1,2,NA\n2,,3\n3,nan,4\n4,5,N/A\n5,6,7\n")
    samples = read_samples(path, parameters=["a"])
    expected = [[2, np.nan], [np.nan, 3], [np.nan, 4], [5, np.nan], [6, 7]]
    np.testing.assert_array_equal(samples.observables, expected)
    for row, message in (("x,2,3", "line 2: expected a number, got 'x'"), ("1,two,3", "line 2: expected a number")):
        path.write_text(f"a,u,v\n{row}\n")
        with pytest.raises(UsageError, match=message):
            read_samples(path, parameters=["a"])
    path.write_text("a,u,v\n,2,3\n1,2,3\n")
    with pytest.raises(UsageError, match="line 2: expected a number, got ''"):
        read_samples(path, parameters=["a"])


class DeadSensor:
    """The second observable is not there where a > 1/2, none where b > 0.9, and infinite is no gap."""

    name, definition = "dead-sensor", {"problem": "dead-sensor", "route": "closed form", "options": {}}
    parameters, observables, block_size = BOX, Space.vector(["u", "v", "w"], axis="sensor"), 8

    def solve(self, y):
        c = np.stack([y.sum(1), y[:, 0] ** 2, y[:, 1]], 1)
        c[y[:, 0] > 0.5, 1] = np.nan
        c[y[:, 1] > 0.9] = np.nan
        c[(y[:, 1] < 0.1) & (y[:, 0] > 0.5), 2] = np.inf
        return c, np.zeros(len(y), dtype=np.int8)

    def evaluate(self, y):
        return self.solve(y)[0]


def expected_status(y):
    status = np.where(y[:, 0] > 0.5, SolveStatus.PARTIAL, SolveStatus.OK)
    return np.where((y[:, 1] > 0.9) | ((y[:, 1] < 0.1) & (y[:, 0] > 0.5)), SolveStatus.NOT_FINITE, status)


def test_what_a_problem_gives_of_a_sample_is_kept_where_data_are_made(tmp_path):
    path = tmp_path / "d.zarr"
    made = generate(DeadSensor(), path, 60)
    with open_dataset(path) as data:
        y, c, status = data.parameters.values, data.observables.values, data.status.values
        assert data.status.attrs["flag_meanings"].split()[-1] == "partial"
    np.testing.assert_array_equal(status, expected_status(y))
    assert {*status} == {SolveStatus.OK, SolveStatus.PARTIAL, SolveStatus.NOT_FINITE}
    partial = status == SolveStatus.PARTIAL
    np.testing.assert_array_equal(c[partial][:, [0, 2]], np.stack([y.sum(1), y[:, 1]], 1)[partial])
    assert np.isnan(c[partial, 1]).all()
    assert np.isnan(c[status == SolveStatus.NOT_FINITE]).all()
    n, failed = int(partial.sum()), int((status == SolveStatus.NOT_FINITE).sum())
    assert (made.n_partial, made.n_failed, made.n_ok) == (n, failed, 60 - n - failed)
    assert dict(made.rows())["samples"] == f"{60 - n - failed} of 60, {n} more in part, {failed} failed"

    samples = read_samples(path)
    assert (len(samples), samples.n_failed) == (60 - failed, failed)
    np.testing.assert_array_equal(samples.missing, np.isnan(c[status != SolveStatus.NOT_FINITE]))
    about = describe(path)
    assert about["counts"]["partial"] == n
    assert about["missing"]["samples"] == n
    assert {failure["reason"] for failure in about["failures"]} == {"not_finite"}
    assert generate(DeadSensor(), path, 60).already_complete
    # What can be solved in the meantime is solved again where that is asked for.
    assert generate(DeadSensor(), path, 60, retry_failed=True).n_partial == n
    assert generate(DeadSensor(), path, 64).n_samples == 64


def test_whoever_wants_whole_samples_gets_a_failure():
    y = np.random.default_rng(0).uniform(size=(20, 2))
    block = solve_block(DeadSensor(), y)
    assert not (block.status == SolveStatus.PARTIAL).any()
    assert np.isnan(block.observables[block.status != SolveStatus.OK]).all()
    np.testing.assert_array_equal(solve_block(DeadSensor(), y, partial=True).status, expected_status(y))


def test_a_chunk_that_is_gone_is_damage_and_no_gap(tmp_path):
    path = tmp_path / "d.zarr"
    generate(DeadSensor(), path, 16)
    chunks = [file for file in (path / "observables").rglob("*") if file.is_file() and file.name != "zarr.json"]
    for chunk in chunks:
        chunk.unlink()
    with pytest.raises(UsageError, match="observables"):
        read_samples(path)


def test_samples_that_are_read_in_parts_have_no_gaps(tmp_path):
    y, c = matrices()
    with pytest.raises(UsageError, match="read in parts needs all observables .*leave these samples out"):
        DataSetRows(as_zarr(tmp_path, y, c)).read(np.arange(5))
