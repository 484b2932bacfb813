"""Data sets made by other processes, and by processes that die: the bits of a serial run."""

import contextlib
import os
import pickle
import signal
import socket
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
import zarr

from gnvpro.pde_data.generation.blocks import BlockTask
from gnvpro.pde_data.generation.engines import local_workers, running_scheduler
from gnvpro.pde_data.generation.run import generate
from gnvpro.pde_data.problems.contract import SolveStatus
from gnvpro.pde_data.problems.convection.problem import ConvectionDiffusionReaction
from gnvpro.pde_data.problems.loading import load_problem
from gnvpro.pde_data.problems.pickled import PickledProblem
from gnvpro.pde_data.storage import store
from gnvpro.pde_data.storage.dataset import describe
from tests import PROJECT
from tests.pde_data.generation.test_run import assert_same_bits
from tests.pde_data.toy import (
    Built,
    Deadly,
    DeadlyOnce,
    Decay,
    DecayProblem,
    Flaky,
    Fragile,
    finished_blocks,
    held_at,
)

distributed = pytest.importorskip("distributed")
psutil = pytest.importorskip("psutil")
MANY = 80


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    path = tmp_path_factory.mktemp("undisturbed") / "fragile.zarr"
    generate(Fragile(), path, MANY, 5)
    return path


@pytest.fixture(scope="module")
def scheduler():
    """The address of a running scheduler with two workers; a block that kills two of them is given up."""
    import dask

    settings = {"distributed.scheduler.allowed-failures": 1, "distributed.scheduler.worker-saturation": 1.0}
    with (
        dask.config.set(settings),
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0", silence_logs=50
        ) as cluster,
    ):
        yield cluster.scheduler_address


def start(out, blocks):
    """`gnvpro generate --workers 2` in a process group of its own, once both workers stand still after so many blocks."""
    held_at(out).write_text(str(blocks))
    code = "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # as from a terminal
    code += "if __name__ == '__main__':\n    from gnvpro.apps.cli import main; main()"
    words = ["generate", "tests.pde_data.toy:Held", "-n", MANY, "-s", 5, "-o", out, "--workers", 2]
    process = subprocess.Popen(
        [sys.executable, "-c", code, *map(str, words)],
        cwd=PROJECT,
        env={**os.environ, "HELD_DATA_SET": str(out)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    wait_for(lambda: (finished_blocks(out) >= blocks and len(workers_of(process)) == 2) or process.poll() is not None)
    assert process.poll() is None, process.stderr.read()
    return process


def wait_for(condition):
    """Or fail after two minutes: what is waited for takes seconds where it works."""
    end = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < end, "it did not come to pass"
        time.sleep(0.02)


def workers_of(process):
    """The processes that solve: spawned ones, less multiprocessing's own helper and those that have ended."""
    found = set()
    for child in psutil.Process(process.pid).children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if "spawn_main" in " ".join(child.cmdline()):
                found.add(child)
    return found


@pytest.mark.long
def test_death_of_a_worker_ctrl_c_and_death_of_the_driver_leave_the_bits_of_a_serial_run(undisturbed, tmp_path):
    out = tmp_path / "d.zarr"
    process = start(out, 4)
    first, second = workers_of(process)
    first.kill()
    wait_for(lambda: len(workers_of(process) - {first}) == 2)
    held_at(out).write_text("8")
    wait_for(lambda: finished_blocks(out) >= 8)
    workers = {second, *workers_of(process)}
    os.killpg(process.pid, signal.SIGINT)
    _, told = process.communicate(timeout=120)
    assert process.returncode == 130
    assert told.count("\n") == 1
    assert f"samples are in {out}; generating it again resumes there" in told
    wait_for(lambda: not any(worker.is_running() for worker in workers))
    kept = finished_blocks(out)
    assert 8 <= kept <= 9, "of 20: what a worker had in hand may be finished"

    process = start(out, kept + 3)
    killed, orphan = workers_of(process)
    process.kill()
    killed.kill()
    held_at(out).unlink()  # the orphan ends with its block
    process.communicate()
    wait_for(lambda: not orphan.is_running())
    pending = (store.read_status(out) == SolveStatus.PENDING).sum()
    assert pending > 0
    assert generate(Fragile(), out, MANY, 5).n_solved_now == pending
    assert_same_bits(out, undisturbed)


def test_the_port_of_a_dashboard_may_be_taken(tmp_path):
    """Dask's default, which it warns of; and what listens in its place tells nothing."""
    with contextlib.ExitStack() as held, warnings.catch_warnings():
        with contextlib.suppress(OSError):  # where something holds it, that will do
            held.enter_context(socket.create_server(("127.0.0.1", 8787)))
        warnings.simplefilter("error")
        assert generate(DecayProblem(), tmp_path / "d.zarr", 8, 5, workers=1).n_ok == 8


def test_a_scheduler_whose_worker_is_in_this_process(tmp_path):
    """The shortest way to a scheduler."""
    settings = dict(n_workers=1, threads_per_worker=1, processes=False, protocol="tcp", silence_logs=50)
    with distributed.LocalCluster(**settings, dashboard_address="127.0.0.1:0") as cluster:
        generate(Fragile(), tmp_path / "d.zarr", 10, 5, scheduler=cluster.scheduler_address)
    generate(Fragile(), tmp_path / "serial.zarr", 10, 5)
    assert_same_bits(tmp_path / "d.zarr", tmp_path / "serial.zarr")


@pytest.mark.long
def test_a_running_scheduler_is_used_and_left_running(scheduler, undisturbed, tmp_path):
    calls = []
    summary = generate(
        Fragile(),
        tmp_path / "d.zarr",
        MANY,
        5,
        scheduler=scheduler,
        progress=lambda *now: calls.append(now),
    )
    assert_same_bits(tmp_path / "d.zarr", undisturbed)
    assert (summary.n_solved_now, calls[-1]) == (MANY, (MANY, MANY, f"{MANY}/{MANY}, {summary.n_failed} failed"))
    assert len(calls) == 1 + MANY // 4
    grown = generate(Fragile(), tmp_path / "d.zarr", MANY + 6, 5, scheduler=scheduler)
    assert grown.n_solved_now == 6
    generate(Fragile(), tmp_path / "at_once.zarr", MANY + 6, 5)
    assert_same_bits(tmp_path / "d.zarr", tmp_path / "at_once.zarr")


@pytest.mark.long
def test_a_worker_that_dies_costs_nothing(scheduler, undisturbed, tmp_path):
    problem = DeadlyOnce(tmp_path / "died")
    generate(problem, tmp_path / "d.zarr", MANY, 5, scheduler=scheduler)
    assert (tmp_path / "died").exists()
    assert_same_bits(tmp_path / "d.zarr", undisturbed)


@pytest.mark.long
def test_convection_by_two_workers_has_the_bits_of_a_serial_run(fenicsx, scheduler, tmp_path):
    settings = dict(n_samples=10, seed=3, block_size=4)
    generate(ConvectionDiffusionReaction(), tmp_path / "serial.zarr", **settings)
    made = generate(ConvectionDiffusionReaction(), tmp_path / "d.zarr", **settings, scheduler=scheduler)
    assert made.n_ok == 10
    assert_same_bits(tmp_path / "d.zarr", tmp_path / "serial.zarr")


@pytest.mark.long
def test_workers_build_what_cannot_be_sent(scheduler, tmp_path):
    """`Built` holds a lock and refuses to work in a process it was not built in: its factory is called there."""
    problem = load_problem("tests.pde_data.toy:Built")
    summary = generate(problem, tmp_path / "d.zarr", 70, 5, scheduler=scheduler)
    assert summary.counts == {"ok": 70}
    data = zarr.open_group(tmp_path / "d.zarr", mode="r")
    np.testing.assert_array_equal(data["observables"][:].reshape(70, 6), Decay().evaluate(data["parameters"][:]))


@pytest.mark.long
def test_failed_samples_are_retried_by_workers(scheduler, tmp_path):
    trouble = tmp_path / "trouble"
    trouble.touch()
    generate(Flaky(trouble), tmp_path / "d.zarr", 42, 5, scheduler=scheduler)
    assert describe(tmp_path / "d.zarr")["failures"][0]["message"] == "FloatingPointError: no licence"
    trouble.unlink()
    generate(Flaky(trouble), tmp_path / "d.zarr", 42, 5, scheduler=scheduler, retry_failed=True)
    generate(DecayProblem(), tmp_path / "undisturbed.zarr", 42, 5)
    assert_same_bits(tmp_path / "d.zarr", tmp_path / "undisturbed.zarr")


@pytest.mark.long
def test_an_error_of_a_worker_that_is_no_sample_s_fault_ends_the_run(scheduler, tmp_path):
    """Here the data set is moved away under the workers; what a full disk does is the same."""

    def move_away(done, total, note):
        if done == 0:
            (tmp_path / "d.zarr").rename(tmp_path / "elsewhere.zarr")

    with pytest.raises(FileNotFoundError, match=r"d\.zarr"):
        generate(DecayProblem(), tmp_path / "d.zarr", 42, 5, scheduler=scheduler, progress=move_away)


@pytest.mark.long
def test_a_block_that_kills_its_workers_is_recorded_and_the_sweep_goes_on(scheduler, tmp_path):
    out = tmp_path / "d.zarr"
    summary = generate(Deadly(), out, 20, 5, scheduler=scheduler)
    data = zarr.open_group(out, mode="r")
    deadly = (data["parameters"][:, 1] > 0.89).reshape(5, 4).any(axis=1).repeat(4)
    assert 0 < deadly.sum() < 20
    np.testing.assert_array_equal(data["status"][:], np.where(deadly, SolveStatus.EXCEPTION, SolveStatus.OK))
    assert summary.n_failed == deadly.sum()
    told = {failure["message"] for failure in describe(out)["failures"]}
    assert told == {"the worker process died of this block, every time it was tried"}


@pytest.mark.long
def test_the_script_for_slurm_runs_with_jobs_of_this_machine(tmp_path):
    pytest.importorskip("dask_jobqueue")
    script = PROJECT / "docs" / "slurm_generate.py"
    words = ["tests.pde_data.toy:Fragile", "--samples", 22, "--seed", 5, "--out", tmp_path / "d.zarr", "--jobs", 2]
    ran = subprocess.run(
        [sys.executable, script, *map(str, words), "--here"], cwd=PROJECT, capture_output=True, text=True, timeout=300
    )
    assert ran.returncode == 0, ran.stderr
    assert "22/22, " in ran.stdout
    generate(Fragile(), tmp_path / "undisturbed.zarr", 22, 5)
    assert_same_bits(tmp_path / "d.zarr", tmp_path / "undisturbed.zarr")


def test_no_scheduler_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr("gnvpro.pde_data.generation.engines.CONNECT_SECONDS", 0.5)
    with pytest.raises(OSError, match=r"no Dask scheduler answers at 'tcp://127.0.0.1:9' .* give the address"):
        generate(DecayProblem(), tmp_path / "d.zarr", 4, 1, scheduler="tcp://127.0.0.1:9")


def test_without_dask_the_remedy_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    for engine in (lambda: local_workers(2), lambda: running_scheduler("tcp://127.0.0.1:9")):
        with pytest.raises(ImportError, match=r'workers need Dask: pip install "gnvpro\[parallel\]"'):
            engine()


def test_a_worker_with_other_code_refuses():
    sent = PickledProblem(
        pickle.dumps(load_problem("tests.pde_data.toy:DecayProblem")), os.getcwd(), {"equation": "growth"}
    )
    with pytest.raises(ValueError, match="install the same code for both"):
        sent.unpack()


def test_what_can_neither_be_sent_nor_built_is_said():
    class Nameless(DecayProblem):
        lock = property(lambda self: self)

        def __getstate__(self):
            raise TypeError("cannot pickle 'Solver' object")

    with pytest.raises(ValueError, match="problem 'decay' cannot be sent to workers .*__getstate__"):
        PickledProblem.of(Nameless())


def test_a_task_is_small_and_its_problem_is_built_where_it_arrives():
    problem = load_problem("tests.pde_data.toy:Built")
    task = BlockTask(problem, None, Path("d.zarr"))
    sent = pickle.dumps(task)
    assert len(sent) < 1000
    one, other = pickle.loads(sent), pickle.loads(sent)
    assert one.problem.unpack() is other.problem.unpack()
    assert isinstance(one.problem.unpack().model, Built)
    assert pickle.dumps(one) == pickle.dumps(other)  # and sent on it is the same
