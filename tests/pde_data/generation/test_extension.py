"""A data set that grows equals the one that was made at once."""

import shutil

import numpy as np
import pytest
import xarray as xr

from gnvpro.pde_data.generation.run import generate
from gnvpro.pde_data.problems.contract import SolveStatus
from gnvpro.pde_data.storage import metadata, store
from gnvpro.pde_data.storage.dataset import describe, read_samples
from tests import DATA_SETS
from tests.pde_data.generation.test_run import assert_same_bits, stop_after
from tests.pde_data.toy import Decay, Fragile

SCHEMA_1 = DATA_SETS / "schema-1.zarr"


@pytest.fixture(scope="module")
def at_once(tmp_path_factory):
    path = tmp_path_factory.mktemp("at_once") / "fragile.zarr"
    generate(Fragile(), path, 42, 5)
    return path


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    path = tmp_path_factory.mktemp("begun") / "fragile.zarr"
    generate(Fragile(), path, 10, 5)
    return path


@pytest.mark.parametrize("sizes", [(8,), (10,), (1, 2, 41), (3, 40)], ids=str)
def test_an_extended_data_set_equals_the_one_made_at_once(at_once, tmp_path, sizes):
    """From a whole block, out of the midst of one, and by single samples."""
    out = tmp_path / "grown.zarr"
    for n in sizes:
        generate(Fragile(), out, n, 5)
    summary = generate(Fragile(), out, 42, 5)
    assert summary.n_solved_now == 42 - sizes[-1] // 4 * 4
    assert_same_bits(out, at_once)
    assert xr.open_zarr(out).sizes["sample"] == 42
    assert describe(out)["n_samples"] == read_samples(out).provenance["n_samples"] == 42
    assert summary.estimated_error == describe(at_once)["estimated_error"]
    assert generate(Fragile(), out, 42, 5).already_complete


def test_an_unfinished_data_set_is_extended_too(at_once, tmp_path):
    out = tmp_path / "grown.zarr"
    with pytest.raises(KeyboardInterrupt):
        generate(Fragile(), out, 10, 5, engine=stop_after(1))
    assert generate(Fragile(), out, 42, 5).n_solved_now == 38
    assert_same_bits(out, at_once)


def test_a_data_set_is_never_made_smaller(tmp_path):
    out = tmp_path / "d.zarr"
    generate(Fragile(), out, 10, 5)
    with pytest.raises(ValueError, match=r"has 10 samples there, 9 asked; none are thrown away: ask for 10 or more"):
        generate(Fragile(), out, 9, 5)
    assert describe(out)["n_samples"] == 10


class Killed(BaseException):
    """What no handler expects, as a kill."""


def kill_at(monkeypatch, step):
    """Kill a growth before its step number `step`: the resizing of each of five variables, the commit, the estimate."""
    steps = 0

    def counted(function):
        def call(*arguments, **keywords):
            nonlocal steps
            steps += 1
            if steps > step:
                raise Killed
            return function(*arguments, **keywords)

        return call

    monkeypatch.setattr(metadata, "replace_file", counted(metadata.replace_file))


@pytest.mark.parametrize("step", [0, 1, *(pytest.param(n, marks=pytest.mark.long) for n in (2, 3, 4)), 5, 6])
def test_a_kill_in_the_midst_of_growing_is_made_good(at_once, begun, tmp_path, monkeypatch, step):
    out, back = shutil.copytree(begun, tmp_path / "grown.zarr"), tmp_path / "back.zarr"
    with monkeypatch.context() as patched:
        kill_at(patched, step)
        with pytest.raises(Killed):
            generate(Fragile(), out, 42, 5)
    assert (store.read_status(out)[:10] != SolveStatus.PENDING).all()
    if step <= 5:  # until the growth is committed the data set is what it was
        np.testing.assert_array_equal(read_samples(out).observables, read_samples(begun).observables)
        assert xr.open_zarr(out).sizes["sample"] == describe(out)["n_samples"] == 10
    shutil.copytree(out, back)
    generate(Fragile(), out, 42, 5)
    assert_same_bits(out, at_once)
    assert xr.open_zarr(out).sizes["sample"] == 42
    if step <= 5:
        generate(Fragile(), back, 10, 5)  # somebody thought better of it
        assert xr.open_zarr(back).sizes["sample"] == 10
        assert len(read_samples(back)) + read_samples(back).n_failed == 10


def test_a_worker_that_outlived_its_run_cannot_cut_a_grown_block(tmp_path):
    out, tasks = tmp_path / "d.zarr", []

    def remember(task, blocks):
        tasks.append(task)
        return map(task, blocks)

    generate(Fragile(), out, 10, 5, engine=remember)
    generate(Fragile(), out, 12, 5)
    with pytest.raises(ValueError, match="has 12 samples by now and not 10; this run has been overtaken"):
        tasks[0](2)
    assert (store.read_status(out) != SolveStatus.PENDING).all()


def test_a_data_set_of_schema_1_is_extended_as_it_was_begun(tmp_path):
    """Random draws, no checksums: it is the data set that was asked for then."""
    out = tmp_path / "old.zarr"
    shutil.copytree(SCHEMA_1, out)
    about, before = describe(out), read_samples(out)
    assert (about["design"], about["schema_version"]) == ("random", 1)
    n = about["n_samples"]
    generate(Fragile(), out, n + 7, about["seed"])
    after = xr.open_zarr(out).load()
    solved_before = after.status.values[:n] == SolveStatus.OK
    np.testing.assert_array_equal(after.parameters.values[:n][solved_before], before.parameters)
    generate(Fragile(), tmp_path / "new.zarr", n + 7, about["seed"], design="random")
    assert_same_bits(out, tmp_path / "new.zarr")
    with pytest.raises(ValueError, match="design random there, sobol-arcsine asked"):
        generate(Fragile(), out, n + 7, about["seed"], design="sobol-arcsine")
    assert Decay.parameters.contains(after.parameters.values).all()
