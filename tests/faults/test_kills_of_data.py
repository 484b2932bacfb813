"""Runs that are killed at random moments, again and again, and resumed: the bits of an undisturbed one, nothing lost."""

import fcntl
import multiprocessing
import os
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
import scipy.stats.qmc  # noqa: F401  takes a second in every process that does not inherit it
import xarray as xr

from gnvpro.pde_data.generation.journal import journaled_samples
from gnvpro.pde_data.generation.run import generate
from gnvpro.pde_data.problems.contract import SolveStatus
from gnvpro.pde_data.problems.solving import solve_block
from gnvpro.pde_data.storage import store
from gnvpro.pde_data.storage.append import append
from gnvpro.pde_data.storage.dataset import describe, read_samples
from tests.pde_data.generation.test_run import assert_same_bits
from tests.pde_data.storage.test_append import names_of, without_locks
from tests.pde_data.toy import Decay, Fragile

N = 42
GIVEN = np.random.default_rng(0).uniform([1.0, 0.1], [2.0, 0.9], (3000, 2))


class Slow(Decay):
    """Takes two milliseconds a sample, which it is given one at a time; fails above an amplitude."""

    def __init__(self, fails_above=1.9):
        self.fails_above = fails_above

    @property
    def definition(self):
        return {"equation": "slow decay"}

    def evaluate(self, y):
        time.sleep(0.002 * len(y))
        if (y[:, 0] > self.fails_above).any():
            raise FloatingPointError(f"amplitude {y[0, 0]:.3f}: diverged")
        return super().evaluate(y)


class SlowBlocks(Slow):
    """The same, given blocks of four."""

    block_size = 4


def processes():
    """Forked from one that has imported what they need, and used nothing of it."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.faults.test_kills_of_data"])
    return context


def running(begun, target, arguments):
    begun.set()
    target(*arguments)


def killed(rng, longest, target, *arguments):
    """Run it and kill it after a random time; whether it had ended before."""
    context = processes()
    begun = context.Event()
    process = context.Process(target=running, args=(begun, target, arguments))
    process.start()
    begun.wait()
    process.join(rng.uniform(0, longest))
    process.kill()
    process.join()
    assert process.exitcode in (0, -9)
    return process.exitcode == 0


def seconds_of(target, *arguments):
    """What it takes undisturbed, in a process like those that are killed."""
    first = processes().Process(target=time.sleep, args=(0,))  # starts the one they are forked from
    first.start()
    first.join()
    process = processes().Process(target=target, args=arguments)
    began = time.monotonic()
    process.start()
    process.join()
    assert process.exitcode == 0
    return time.monotonic() - began


def solved_in(out):
    """Samples that are solved, committed or in the journal."""
    return (store.read_status(out) != SolveStatus.PENDING).sum() + journaled_samples(out) if out.exists() else 0


def kill_until_done(rng, longest, out, target, *arguments):
    """How many kills it took; nothing that was solved is lost by one, and there is no damage."""
    kills, solved = 0, solved_in(out)
    while not killed(rng, longest * (1 + kills / 10), target, *arguments):
        kills += 1
        now = solved_in(out)
        assert now >= solved
        solved = now
        assert not out.exists() or describe(out)["damaged"] == []
    return kills


def left_beside(out):
    """Names in the folder of a data set. A run killed when all was solved leaves the file of its lock, which is free."""
    return [left.name for left in out.parent.iterdir() if left.name != f".{out.name}.lock"]


def begin_to_end(problem, out, more=None):
    generate(problem, out, N, 5, **(more or {}))


@pytest.mark.parametrize("problem", [Slow(), SlowBlocks()], ids=["rows", "blocks"])
@pytest.mark.parametrize("begun_with", [0, 21])
def test_generate_and_extend(problem, begun_with, repeats, fault_rng, fault_figures, tmp_path):
    undisturbed, kills = tmp_path / "undisturbed.zarr", 0
    longest = seconds_of(begin_to_end, problem, undisturbed)
    for i in range(10**6):
        out = tmp_path / str(i) / "d.zarr"
        out.parent.mkdir()
        if begun_with:
            generate(problem, out, begun_with, 5)
        kills += kill_until_done(fault_rng, longest, out, begin_to_end, problem, out)
        assert_same_bits(out, undisturbed)
        assert not list(out.rglob("*.partial"))
        assert left_beside(out) == ["d.zarr"]
        if kills >= repeats(2, 25):
            break
    name = "extend" if begun_with else "generate"
    fault_figures(f"kills of {name}, {type(problem).__name__}", kills=kills, finished=i + 1, same_bits=i + 1, lost=0)


@pytest.mark.parametrize("problem", [Slow(1.4), SlowBlocks(1.4)], ids=["rows", "blocks"])
def test_retry(problem, repeats, fault_rng, fault_figures, tmp_path):
    failed, undisturbed, kills = tmp_path / "failed.zarr", tmp_path / "undisturbed.zarr", 0
    better = type(problem)()
    begin_to_end(problem, failed)
    begin_to_end(better, undisturbed)
    retry = {"retry_failed": True}
    longest = seconds_of(begin_to_end, better, shutil.copytree(failed, tmp_path / "timed.zarr"), retry)
    for i in range(10**6):
        out = shutil.copytree(failed, tmp_path / str(i) / "d.zarr")
        kills += kill_until_done(fault_rng, longest, out, begin_to_end, better, out, retry)
        assert_same_bits(out, undisturbed)
        if kills >= repeats(1, 20):
            break
    fault_figures(f"kills of retry, {type(problem).__name__}", kills=kills, finished=i + 1, same_bits=i + 1, lost=0)


def test_repair(repeats, fault_rng, fault_figures, tmp_path):
    undisturbed, problem, kills = tmp_path / "undisturbed.zarr", SlowBlocks(), 0
    longest = seconds_of(begin_to_end, problem, undisturbed)
    for i in range(10**6):
        out = shutil.copytree(undisturbed, tmp_path / str(i) / "d.zarr")
        chunks = sorted(file for file in out.rglob("c/**/*") if file.is_file())
        for file in fault_rng.choice(chunks, 5, replace=False):
            Path(file).unlink() if fault_rng.random() < 0.5 else Path(file).write_bytes(b"rubbish")
        while not killed(fault_rng, longest, begin_to_end, problem, out, {"repair": True}):
            kills += 1
        assert_same_bits(out, undisturbed)
        assert describe(out)["damaged"] == []
        if kills >= repeats(1, 30):
            break
    fault_figures("kills of repair", kills=kills, finished=i + 1, same_bits=i + 1, lost=0)


def appending(out, names, seed, reported):
    """Append one to forty samples at a time, those that come next; report the size after each."""
    rng = np.random.default_rng(seed)
    while True:
        first = store.recipe_in(out).n_samples if out.exists() else 0
        y = GIVEN[first : first + rng.integers(1, 41)]
        total = append(Fragile(), rng.choice(names), y, solve_block(Fragile(), y), 0.1)
        reported.send(total)


def test_append(repeats, fault_rng, fault_figures, tmp_path):
    context, out, n_kills, most = processes(), tmp_path / "d.zarr", repeats(2, 30), 0
    names = names_of(out)
    for seed in range(n_kills):
        received, reported = context.Pipe(duplex=False)
        process = context.Process(target=appending, args=(out, names, seed, reported))
        process.start()
        reported.close()
        assert received.poll(60)
        time.sleep(fault_rng.uniform(0, 0.3))
        process.kill()
        process.join()
        try:
            while True:
                most = max(most, received.recv())
        except EOFError:
            pass
        stored = xr.open_zarr(out)
        n = stored.sizes["sample"]
        assert n >= most, "an append that was reported is gone"
        assert describe(out)["damaged"] == []
        np.testing.assert_array_equal(stored.parameters.values, GIVEN[:n])
    append(Fragile(), tmp_path / "undisturbed.zarr", GIVEN[:n], solve_block(Fragile(), GIVEN[:n]), 0.1)
    assert_same_bits(out, tmp_path / "undisturbed.zarr")
    fault_figures("kills of append", kills=n_kills, samples=n, same_bits=1, lost=0)


def appended_by(name, number, each, reported):
    for i in range(each):
        y = GIVEN[number * each + i][None]
        append(Fragile(), name, y, solve_block(Fragile(), y), 0.1)
        reported.put(number * each + i)


def test_ten_processes_append_by_several_names(repeats, fault_figures, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    out, each = tmp_path / "d.zarr", repeats(1, 20)
    names, context = [*names_of(out), Path("d.zarr"), Path("parent/link.zarr")], processes()
    reported, n = context.Queue(), 10
    arguments = [(names[i % len(names)], i, each, reported) for i in range(n)]
    workers = [context.Process(target=in_folder, args=(tmp_path, appended_by, *args)) for args in arguments]
    for worker in workers:
        worker.start()
    rows = [reported.get(timeout=120) for _ in range(n * each)]
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    stored = xr.open_zarr(out).parameters.values
    assert sorted(map(tuple, stored)) == sorted(map(tuple, GIVEN[rows])) == sorted(map(tuple, GIVEN[: n * each]))
    assert describe(out)["damaged"] == []
    fault_figures("10 processes that append", reported=len(rows), there=len(stored), lost=len(rows) - len(stored))


def generating_without_locks(problem, out):
    fcntl.flock = without_locks
    generate(problem, out, N, 5)


@pytest.mark.parametrize("problem", [Slow(), SlowBlocks()], ids=["rows", "blocks"])
def test_three_runs_at_once_without_locks(problem, repeats, fault_figures, tmp_path):
    generate(problem, tmp_path / "undisturbed.zarr", N, 5)
    for i in range(repeats(1, 20)):
        out = tmp_path / str(i) / "d.zarr"
        out.parent.mkdir()
        runs = [processes().Process(target=generating_without_locks, args=(problem, out)) for _ in range(3)]
        for run in runs:
            run.start()
        for run in runs:
            run.join()
            assert run.exitcode == 0
        assert_same_bits(out, tmp_path / "undisturbed.zarr")
        assert left_beside(out) == ["d.zarr"]
    fault_figures(f"3 runs at once without locks, {type(problem).__name__}", tried=i + 1, same_bits=i + 1)


def in_folder(folder, target, *arguments):
    os.chdir(folder)
    target(*arguments)


@pytest.mark.long
@pytest.mark.usefixtures("fenicsx")
def test_convection(repeats, fault_rng, fault_figures, tmp_path):
    undisturbed, out, kills = tmp_path / "undisturbed.zarr", tmp_path / "d.zarr", 0
    longest = seconds_of(convection, undisturbed)
    while kills < repeats(1, 5):
        shutil.rmtree(out, ignore_errors=True)
        kills += kill_until_done(fault_rng, longest, out, convection, out)
        assert_same_bits(out, undisturbed)
    assert len(read_samples(out)) == 12
    fault_figures("kills of generate, cdr", kills=kills, same_bits=1, lost=0)


def convection(out):
    generate("cdr", out, 12, 5, block_size=2)
