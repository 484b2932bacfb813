import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import zarr

from gnvpro.pde_data.generation.run import generate
from gnvpro.pde_data.problems.contract import SolveStatus
from gnvpro.pde_data.sampling import place
from gnvpro.pde_data.storage.dataset import describe, read_samples
from gnvpro.pde_data.storage.lock import sole_writer
from gnvpro.pde_data.storage.store import read_status
from tests import PROJECT
from tests.pde_data.toy import Decay, DecayProblem, Fragile, finished_blocks, held_at

SETTINGS = dict(n_samples=42, seed=5, block_size=4)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    path = tmp_path_factory.mktemp("undisturbed") / "fragile.zarr"
    generate(Fragile(), path, **SETTINGS)
    return path


def assert_same_bits(one, other):
    for name in ("parameters", "observables", "status", "failure"):
        first, second = (zarr.open_group(path, mode="r")[name][:] for path in (one, other))
        assert first.dtype == second.dtype
        if first.dtype.kind == "f":
            first, second = first.view(np.int64), second.view(np.int64)
        np.testing.assert_array_equal(first, second, err_msg=name)


def stop_after(blocks):
    """An engine that is interrupted, as by Ctrl-C, when it has finished so many blocks."""

    def run(task, pending):
        for finished, block in enumerate(pending):
            if finished == blocks:
                raise KeyboardInterrupt
            yield task(block)

    return run


def backwards(task, pending):
    return map(task, reversed(list(pending)))


def test_every_sample_is_what_the_law_and_the_problem_give_alone(undisturbed):
    dataset = xr.open_zarr(undisturbed)
    placed = place(Decay.parameters, "sobol-arcsine", 5, np.arange(42))
    ok = dataset.status.values == SolveStatus.OK
    np.testing.assert_array_equal(dataset.parameters.values, placed)
    alone = np.array([Decay().evaluate(row[None])[0] for row in dataset.parameters.values[ok]])
    np.testing.assert_allclose(dataset.observables.values[ok].reshape(-1, 6), alone, rtol=1e-12)


def test_failures_are_recorded_and_cost_one_sample_each(undisturbed):
    dataset = xr.open_zarr(undisturbed)
    amplitude = dataset.parameters.values[:, 0]
    expected = np.select(
        [amplitude > 1.9, amplitude > 1.8, (amplitude > 1.5) & (amplitude < 1.6)],
        [SolveStatus.EXCEPTION, SolveStatus.NOT_FINITE, SolveStatus.RANGE_EXCEEDED],
        SolveStatus.OK,
    )
    np.testing.assert_array_equal(dataset.status.values, expected)
    assert set(expected) == {0, 1, 2, 3}  # the seed brings every kind
    np.testing.assert_array_equal(np.isnan(dataset.observables.values).all(axis=(1, 2)), expected != SolveStatus.OK)
    told = dataset.failure.values[expected == SolveStatus.EXCEPTION]
    assert all(
        re.fullmatch(r"FloatingPointError: amplitude (1\.9..|2\.000): Newton diverged", message) for message in told
    )


def test_an_interrupted_run_says_how_to_resume_and_ends_with_the_same_bits(undisturbed, tmp_path):
    out = tmp_path / "cut.zarr"
    with pytest.raises(
        KeyboardInterrupt, match=r"12 of 42 samples are in .*cut\.zarr; generating it again resumes there"
    ):
        generate(Fragile(), out, **SETTINGS, engine=stop_after(3))
    assert (read_status(out) == SolveStatus.PENDING).sum() == 30
    summary = generate(Fragile(), out, 42, 5, engine=backwards)  # the block size is that of the data set in place
    assert summary.n_solved_now == 30
    assert_same_bits(out, undisturbed)


@pytest.mark.parametrize("blow", [signal.SIGKILL, pytest.param(signal.SIGINT, marks=pytest.mark.long)])
def test_a_killed_run_ends_with_the_same_bits(undisturbed, tmp_path, blow):
    out = tmp_path / "killed.zarr"
    held_at(out).write_text("2")
    # As from a terminal: what runs in the background may have been told to ignore it.
    listens = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    imports = "from gnvpro.pde_data.generation.run import generate; from tests.pde_data.toy import Held; "
    run = f"{listens}{imports} generate(Held({str(out)!r}), {str(out)!r}, 42, 5)"
    process = subprocess.Popen([sys.executable, "-c", run], cwd=PROJECT)
    while process.poll() is None and finished_blocks(out) < 2:
        time.sleep(0.01)
    process.send_signal(blow)
    assert process.wait(timeout=60) == -blow
    assert (read_status(out) == SolveStatus.PENDING).sum() == 42 - 2 * 4
    assert generate(Fragile(), out, 42, 5).n_solved_now == 42 - 2 * 4
    assert_same_bits(out, undisturbed)


def test_a_kill_while_the_data_set_is_being_made_leaves_nothing_in_the_way(undisturbed, tmp_path):
    (tmp_path / ".cut.zarr.unfinished" / "status").mkdir(parents=True)
    (tmp_path / ".cut.zarr.lock").write_text("process 1 on elsewhere")
    generate(Fragile(), tmp_path / "cut.zarr", **SETTINGS)
    assert_same_bits(tmp_path / "cut.zarr", undisturbed)
    assert [path.name for path in tmp_path.iterdir()] == ["cut.zarr"]


def test_parameters_written_without_their_status_are_solved_again(undisturbed, tmp_path):
    out = tmp_path / "torn.zarr"
    generate(Fragile(), out, **SETTINGS)
    (out / "status" / "c" / "3").unlink()
    zarr.open_group(out, mode="r+")["observables"][12:16] = 1.0
    assert generate(Fragile(), out, **SETTINGS).n_solved_now == 4
    assert_same_bits(out, undisturbed)


def test_a_complete_data_set_is_left_as_it_is(tmp_path):
    out = tmp_path / "decay.zarr"
    first = generate(DecayProblem(), out, 10, 1)
    assert (first.n_solved_now, first.already_complete, first.n_failed) == (10, False, 0)
    before = {file: file.stat().st_mtime_ns for file in out.rglob("*")}
    again = generate(DecayProblem(), out, 10, 1, engine=lambda task, blocks: pytest.fail("solved again"))
    assert again.already_complete
    assert again.counts == {"ok": 10}
    assert {file: file.stat().st_mtime_ns for file in out.rglob("*")} == before


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        (dict(seed=4), "seed 3 there, 4 asked"),
        (dict(n_samples=9), "has 10 samples there, 9 asked; none are thrown away"),
        (dict(design="random"), "design sobol-arcsine there, random asked"),
        (dict(block_size=5), "block_size 4 there, 5 asked"),
        (dict(problem=DecayProblem(1.5)), "definition.coefficients.factor 1.0 there, 1.5 asked"),
        (dict(problem=Decay()), "problem decay there, tests.pde_data.toy:Decay asked"),
    ],
)
def test_other_settings_in_the_same_place_are_refused_by_name(tmp_path, change, difference):
    settings = dict(problem=DecayProblem(), path=tmp_path / "decay.zarr", n_samples=10, seed=3)
    generate(**settings)
    with pytest.raises(ValueError, match=difference):
        generate(**{**settings, **change})


def test_another_law_is_refused_by_name(tmp_path):
    class Simplex(DecayProblem):
        parameters = Decay.parameters.vector(["amplitude", "rate"], law="normalised_uniform")

    class Uniform(DecayProblem):
        parameters = Decay.parameters.vector(["amplitude", "rate"], lower=(0, 0), upper=(1, 1), law="uniform")

    generate(Simplex(), tmp_path / "decay.zarr", 4, 3)
    with pytest.raises(ValueError, match="law normalised_uniform there, uniform asked"):
        generate(Uniform(), tmp_path / "decay.zarr", 4, 3)


def test_places_that_cannot_be_used_are_refused(tmp_path):
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "todo.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    zarr.open_group(tmp_path / "other.zarr", mode="w")
    for name in ("notes", "file", "other.zarr"):
        with pytest.raises(ValueError, match=r"choose another place"):
            generate(DecayProblem(), tmp_path / name, 4, 1)
    assert (tmp_path / "notes" / "todo.txt").read_text() == "mine"
    with pytest.raises(FileNotFoundError, match=r"folder .*/no does not exist; create it"):
        generate(DecayProblem(), tmp_path / "no" / "such" / "decay.zarr", 4, 1)


def test_an_empty_folder_and_a_missing_last_folder_will_do(tmp_path):
    (tmp_path / "empty").mkdir()
    generate(DecayProblem(), tmp_path / "empty", 4, 1)
    generate(DecayProblem(), tmp_path / "runs" / "decay.zarr", 4, 1)
    assert_same_bits(tmp_path / "empty", tmp_path / "runs" / "decay.zarr")


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a folder nobody can write in: /proc")
def test_a_read_only_place_is_said():
    with pytest.raises(OSError, match=r"cannot write /proc/decay\.zarr .*choose a folder you may write in"):
        generate(DecayProblem(), "/proc/decay.zarr", 4, 1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (dict(n_samples=0), "at least 1 samples, got 0"),
        (dict(n_samples=-3), "at least 1 samples, got -3"),
        (dict(block_size=0), "at least 1 samples per block, got 0"),
        (dict(seed=-1), "expected a seed"),
    ],
)
def test_bad_sizes_are_refused_before_anything_is_written(tmp_path, settings, message):
    with pytest.raises(ValueError, match=message):
        generate(DecayProblem(), tmp_path / "decay.zarr", **{**dict(n_samples=4, seed=1), **settings})
    assert not any(tmp_path.iterdir())


def test_two_runs_on_one_data_set_are_refused(tmp_path):
    out = tmp_path / "decay.zarr"
    with sole_writer(out), pytest.raises(ValueError, match=f"being written by process {os.getpid()} on "):
        generate(DecayProblem(), out, 4, 1)
    generate(DecayProblem(), out, 4, 1)


def test_progress_counts_what_was_there_before(tmp_path):
    out, calls = tmp_path / "fragile.zarr", []
    with pytest.raises(KeyboardInterrupt):
        generate(Fragile(), out, 10, 5, engine=stop_after(1))
    generate(Fragile(), out, 10, 5, progress=lambda *now: calls.append(now))
    failed = [(read_status(out)[:n] > 0).sum() for n in (4, 8, 10)]
    assert calls == [(n, 10, f"{n}/10, {k} failed") for n, k in zip((4, 8, 10), failed, strict=True)]


def test_the_solver_s_own_error_is_recorded_with_the_samples_it_was_taken_from(tmp_path):
    error = generate(DecayProblem(), tmp_path / "a", 20, 1).estimated_error
    assert error["relative_l2"] == pytest.approx(8e-4)
    assert (error["against"], error["n_samples"]) == ("eight parts in ten thousand less", 8)
    assert generate(DecayProblem(), tmp_path / "b", 3, 1).estimated_error["n_samples"] == 3
    assert generate(Decay(), tmp_path / "c", 3, 1).estimated_error is None


def test_an_estimate_that_fails_does_not_lose_the_data(tmp_path):
    class NoEstimate(DecayProblem):
        def references(self):
            raise ArithmeticError("the refined solve diverged")

    summary = generate(NoEstimate(), tmp_path / "a", 3, 1)
    assert (summary.n_ok, summary.estimated_error) == (3, None)
    assert describe(tmp_path / "a")["estimated_error_failure"] == "ArithmeticError: the refined solve diverged"


def test_a_definition_json_cannot_hold_is_said(tmp_path):
    with pytest.raises(ValueError, match=r"definition of problem 'decay': .*float32"):
        generate(DecayProblem(np.float32(1.0)), tmp_path / "a", 3, 1)


def test_spaces_that_share_a_name_are_said(tmp_path):
    class Twice(DecayProblem):
        observables = Decay.parameters

    with pytest.raises(ValueError, match="axis or coordinate 'parameter' of the observables"):
        generate(Twice(), tmp_path / "a", 3, 1)


def test_a_problem_by_name_with_its_options(tmp_path):
    with pytest.raises(ValueError, match="unknown option 'facto'"):
        generate("tests.pde_data.toy:DecayProblem", tmp_path / "a", 3, options={"facto": 2.0})
    generation = generate("tests.pde_data.toy:DecayProblem", tmp_path / "a", 3, options={"factor": 2.0})
    samples = read_samples(generation.path)
    np.testing.assert_allclose(samples.observables, 2 * DecayProblem().evaluate(samples.parameters))
    with pytest.raises(ValueError, match="options are those of a problem that is named"):
        generate(DecayProblem(), tmp_path / "b", 3, options={"factor": 2.0})
    with pytest.raises(ValueError, match="either workers .* or a scheduler"):
        generate(DecayProblem(), tmp_path / "b", 3, workers=2, scheduler="tcp://127.0.0.1:9")


def test_what_it_returns_is_told_in_numbers_and_words(tmp_path):
    generation = generate(Fragile(), tmp_path / "d.zarr", 42, 5)
    numbers = generation.numbers()
    assert json.loads(json.dumps(numbers)) == numbers
    assert (numbers["n_samples"], numbers["n_solved_now"], numbers["repaired"]) == (42, 42, [])
    assert numbers["n_ok"] + numbers["n_failed"] == sum(numbers["counts"].values()) == 42
    assert f"{numbers['n_ok']} of 42, {numbers['n_failed']} failed" in repr(generation)
    assert "damaged chunks" not in repr(generation)
    assert f"<caption>Data set {tmp_path / 'd.zarr'}</caption>" in generation._repr_html_()
    again = generate(Fragile(), tmp_path / "d.zarr", 42, 5, repair=True)
    assert dict(again.rows()).items() >= {("solved now", "none, it was complete"), ("damaged chunks", "none")}
