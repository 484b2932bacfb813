"""Samples that were given one by one: appended, killed in between, damaged, repaired; one writer by whichever name."""

import errno
import fcntl
import multiprocessing
import os
import shutil

import numpy as np
import pytest
import xarray as xr
import zarr

from gnvpro.pde_data.generation.run import generate
from gnvpro.pde_data.problems.contract import SolveStatus
from gnvpro.pde_data.problems.solving import solve_block
from gnvpro.pde_data.storage import lock, store
from gnvpro.pde_data.storage.append import append, require_appendable
from gnvpro.pde_data.storage.dataset import describe, read_samples
from gnvpro.pde_data.storage.lock import sole_writer
from gnvpro.pde_data.storage.provenance import with_history
from gnvpro.surrogate.errors import UsageError
from tests.pde_data.generation.test_run import assert_same_bits
from tests.pde_data.storage.test_integrity import flip_a_bit
from tests.pde_data.toy import DecayProblem, Fragile

Y = np.random.default_rng(0).uniform([1.0, 0.1], [2.0, 0.9], (150, 2))


def add(path, rows, problem=None):
    problem = problem or Fragile()
    return append(problem, path, Y[rows], solve_block(problem, Y[rows]), 1.0)


@pytest.fixture(scope="module")
def undamaged(tmp_path_factory):
    path = tmp_path_factory.mktemp("undamaged") / "d.zarr"
    add(path, slice(70))
    return path


@pytest.fixture
def path(undamaged, tmp_path):
    return shutil.copytree(undamaged, tmp_path / "d.zarr")


class Killed(BaseException):
    """What no handler expects, as a kill."""


def kill_after(monkeypatch, n):
    """Kill after so many writes of rows or metadata."""
    from gnvpro.pde_data.storage import metadata

    done = 0

    def counted(function):
        def call(*arguments):
            nonlocal done
            if done == n:
                raise Killed
            done += 1
            return function(*arguments)

        return call

    monkeypatch.setattr(zarr.Array, "__setitem__", counted(zarr.Array.__setitem__))
    monkeypatch.setattr(metadata, "replace_file", counted(metadata.replace_file))


@pytest.mark.parametrize("n", [0, 1, *(pytest.param(n, marks=pytest.mark.long) for n in range(2, 19)), 19, 20])
def test_an_append_that_is_killed_anywhere_leaves_what_was_there(path, undamaged, monkeypatch, n):
    with monkeypatch.context() as patched:
        kill_after(patched, n)
        with pytest.raises(Killed):
            add(path, slice(70, 150))
    samples, expected = read_samples(path), read_samples(undamaged)
    np.testing.assert_array_equal(samples.parameters, expected.parameters)
    np.testing.assert_array_equal(samples.observables, expected.observables)
    assert describe(path)["damaged"] == []
    assert xr.open_zarr(path).sizes["sample"] == 70
    assert add(path, slice(70, 75)) == 75
    assert add(path, slice(75, 150)) == 150
    assert describe(path)["damaged"] == []
    np.testing.assert_array_equal(xr.open_zarr(path).parameters.values, Y)


def test_a_first_append_that_is_killed_leaves_nothing(tmp_path, monkeypatch):
    with monkeypatch.context() as patched:
        kill_after(patched, 3)
        with pytest.raises(Killed):
            add(tmp_path / "d.zarr", slice(40))
    assert not (tmp_path / "d.zarr").exists()
    assert add(tmp_path / "d.zarr", slice(40)) == 40


@pytest.mark.parametrize("block", [0, 2])
@pytest.mark.parametrize("variable", ["status", "observables", "failure", "wall_time"])
@pytest.mark.parametrize("harm", ["flip", "lose"])
def test_what_was_damaged_is_solved_again_at_the_parameters_that_were_given(path, undamaged, block, variable, harm):
    file = path / variable / "c" / (f"{block}/0/0" if variable == "observables" else str(block))
    flip_a_bit(file) if harm == "flip" else file.unlink()
    damage = rf"is damaged: {variable} of samples {32 * block} to {min(32 * block + 31, 69)} \(block {block}\)"
    if block == 2:  # the block that is not full would be written again
        with pytest.raises(UsageError, match=damage):
            require_appendable(Fragile(), path)
        with pytest.raises(UsageError, match=damage):
            add(path, slice(70, 80))
    else:
        assert add(path, slice(70, 80)) == 80
    if variable in ("status", "observables"):
        with pytest.raises(UsageError, match=damage):
            read_samples(path)
    if variable == "status":
        n = read_n(path)
        with pytest.raises(UsageError, match=damage):
            generate(Fragile(), path, n)
    n = read_n(path)
    repaired = generate(Fragile(), path, n, repair=True)
    assert [chunk["variable"] for chunk in repaired.repaired] == [variable]
    assert describe(path)["damaged"] == []
    if n == 70:
        assert_same_bits(path, undamaged)
    assert add(path, slice(n, 150)) == 150
    np.testing.assert_array_equal(xr.open_zarr(path).parameters.values, Y)
    ok = xr.open_zarr(path).status.values == SolveStatus.OK
    np.testing.assert_array_equal(
        xr.open_zarr(path).observables.values[ok].reshape(-1, 6), DecayProblem().evaluate(Y[ok])
    )


def read_n(path):
    return store.recipe_in(path).n_samples


def test_samples_whose_parameters_are_lost_are_failed_ones_and_the_others_are_read(path):
    (path / "parameters" / "c" / "0" / "0").unlink()
    with pytest.raises(UsageError, match="parameters of samples 0 to 31"):
        read_samples(path)
    for again in ({"repair": True}, {"retry_failed": True}):
        assert generate(Fragile(), path, 70, **again).counts["exception"] >= 32
        samples = read_samples(path)
        ok = solve_block(Fragile(), Y[32:70]).status == SolveStatus.OK
        np.testing.assert_array_equal(samples.parameters, Y[32:70][ok])
        assert describe(path)["failures"][0]["message"].startswith("its parameters are lost")
    assert describe(path)["damaged"] == []
    assert add(path, slice(70, 80)) == 80


def test_no_design_adds_samples_to_those_that_were_given(path):
    with pytest.raises(UsageError, match=r"has 70 samples there whose parameters were given, 71 asked"):
        generate(Fragile(), path, 71)
    assert generate(Fragile(), path, 70).already_complete


def test_a_data_set_of_schema_2_is_appended_to_where_it_ends(path, undamaged):
    """Its `n_samples` was raised before samples were written; what is pending at its end is of a run that was killed."""
    from gnvpro.pde_data.storage import metadata

    def as_before(attributes):
        metadata.write(path, {**attributes, "schema_version": 2})

    attributes = metadata.read_attributes(path)
    as_before(attributes)
    assert add(path, slice(70, 71)) == 71
    variables = metadata.resize(path, 150)
    metadata.write(path, {**metadata.read_attributes(path), "n_samples": 150}, variables)
    assert add(path, slice(71, 80)) == 80
    (path / "status" / "c" / "0").unlink()
    assert add(path, slice(80, 90)) == 90, "a chunk that is lost is not the end"
    np.testing.assert_array_equal(xr.open_zarr(path).parameters.values, Y[:90])
    assert generate(Fragile(), path, 90, repair=True).repaired[0]["variable"] == "status"
    assert_same_rows(path, undamaged, 70)


def assert_same_rows(path, other, n):
    one, two = (xr.open_zarr(p).isel(sample=slice(n)) for p in (path, other))
    for name in ("parameters", "observables", "status"):
        np.testing.assert_array_equal(one[name].values, two[name].values)


def without_locks(*_):
    raise OSError(errno.ENOLCK, "No locks available")


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
def test_where_there_are_no_locks_nothing_is_appended(path, monkeypatch, code):
    monkeypatch.setattr(fcntl, "flock", lambda *_: (_ for _ in ()).throw(OSError(code, "none")))
    with pytest.raises(OSError, match=r"has no locks, so that two processes might overwrite .* choose a place"):
        add(path, slice(70, 80))
    assert [file.name for file in path.parent.iterdir()] == ["d.zarr"]


def test_two_fresh_runs_without_locks_make_one_data_set(tmp_path, monkeypatch):
    """Each prepares it in a folder of its own; the second finds that of the first."""
    from gnvpro.pde_data.storage import layout

    generate(Fragile(), tmp_path / "undisturbed", 10, 5)
    monkeypatch.setattr(fcntl, "flock", without_locks)
    write_empty, out = layout._write_empty, tmp_path / "d.zarr"

    def overtaken(place, *others):
        write_empty(place, *others)
        with monkeypatch.context() as patched:
            patched.setattr(layout, "_write_empty", write_empty)
            generate(Fragile(), out, n, 5)

    for n in (10, 6):
        shutil.rmtree(out, ignore_errors=True)
        with monkeypatch.context() as patched:
            patched.setattr(layout, "_write_empty", overtaken)
            if n == 10:
                generate(Fragile(), out, 10, 5)
                assert_same_bits(out, tmp_path / "undisturbed")
            else:
                with pytest.raises(UsageError, match="was made by another run meanwhile, with other settings"):
                    generate(Fragile(), out, 10, 5)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["d.zarr", "undisturbed"]


def names_of(path):
    """Other names of one place."""
    link, parent = path.parent / "link.zarr", path.parent / "parent"
    link.symlink_to(path)
    parent.symlink_to(path.parent)
    return [
        path,
        link,
        parent / path.name,
        parent / link.name,
        path.parent / "parent" / ".." / path.parent.name / path.name,
    ]


def test_a_data_set_is_locked_by_whichever_name(path):
    names = names_of(path)
    for held in names:
        for other in names:
            with sole_writer(held), pytest.raises(UsageError, match=f"written by process {os.getpid()} on"):
                sole_writer(other).__enter__()


def test_a_name_that_leads_to_where_nothing_is_yet(tmp_path):
    (tmp_path / "link.zarr").symlink_to(tmp_path / "d.zarr")
    assert add(tmp_path / "link.zarr", slice(3)) == 3
    assert add(tmp_path / "d.zarr", slice(3, 5)) == 5
    assert (tmp_path / "link.zarr").is_symlink()


def _append_some(place, rows, barrier):
    barrier.wait()
    for row in rows:
        add(place, slice(row, row + 1))


def test_processes_that_append_wait_for_each_other(path):
    spawn = multiprocessing.get_context("spawn")
    barrier = spawn.Barrier(3)
    names = names_of(path)
    processes = [
        spawn.Process(target=_append_some, args=(names[i], range(70 + i * 5, 75 + i * 5), barrier)) for i in range(3)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    stored = xr.open_zarr(path).parameters.values
    assert sorted(map(tuple, stored)) == sorted(map(tuple, Y[:85]))
    assert len(stored) == 85


def test_a_lock_that_is_held_too_long_is_said(path, monkeypatch):
    monkeypatch.setattr("gnvpro.pde_data.storage.append._WAIT_SECONDS", 0.05)
    with sole_writer(path), pytest.raises(UsageError, match="wait for it, or choose another place"):
        add(path, slice(70, 71))
    monkeypatch.setattr(lock, "fcntl", None)  # Windows
    with pytest.raises(OSError, match="has no locks"):
        add(path, slice(70, 71))


def test_appends_that_follow_each_other_are_one_event_from_the_first_number():
    attributes = {}
    for n in (1, 2, 3):
        attributes = with_history(attributes, f"samples appended, from {n} to {n + 1} samples", once="samples appended")
    assert "samples appended, from 1 to 4 samples" in attributes["history"]
    assert attributes["history"].count("appended") == 1
