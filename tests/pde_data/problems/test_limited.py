"""A time limit for every sample, in a process that can be ended and that may die."""

import os
import pickle
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import psutil
import pytest

from gnvpro.pde_data.generation.run import generate
from gnvpro.pde_data.problems.accuracy import estimated_error
from gnvpro.pde_data.problems.contract import SolveStatus
from gnvpro.pde_data.problems.limited import LimitedProblem, solved_within
from gnvpro.pde_data.problems.loading import as_problem, load_problem
from gnvpro.pde_data.problems.solving import cpu_seconds, derivative_block, solve_block
from gnvpro.pde_data.storage import store
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.forward_model import offers
from tests.pde_data.problems.limited_toy import Perilous, Process, SetUpLate, WithChildren
from tests.pde_data.toy import DecayProblem, Unready, WithTangents

LIMIT = 0.5
GOOD, HANGS, DIES, EXITS, RAISES = [0.5, 0.3], [0.97, 0.5], [0.01, 0.5], [0.07, 0.5], [0.12, 0.5]


@pytest.mark.parametrize("block_size", [None, pytest.param(4, marks=pytest.mark.exhaustive)])
def test_every_sample_has_what_became_of_it_and_the_others_are_solved(block_size):
    y = np.array([GOOD, HANGS, DIES, GOOD, EXITS, RAISES, GOOD])
    with solved_within(as_problem(Perilous(block_size)), LIMIT) as problem:
        solved = solve_block(problem, y)
    ok, timed_out, signal, code, raised = (
        getattr(SolveStatus, name) for name in ("OK", "TIMED_OUT", "SIGNAL", "EXIT_CODE", "EXCEPTION")
    )
    assert solved.status.tolist() == [ok, timed_out, signal, ok, code, raised, ok]
    assert solved.messages == (
        "", "timed out: not solved within 0.5 s", "the process that solves it was ended by SIGSEGV", "",
        "the process that solves it ended with exit code 3", "RuntimeError: Newton diverged", "",
    )  # fmt: skip
    rows = solved.status == SolveStatus.OK
    np.testing.assert_array_equal(solved.observables[rows], Perilous().evaluate(y[rows]))
    assert np.isnan(solved.observables[~rows]).all()


def test_derivatives_have_the_same_limit():
    y, reasons = np.array([GOOD, [0.5, 0.97], GOOD]), []
    with solved_within(as_problem(Perilous()), LIMIT) as problem:
        solve_block(problem, y[:1])
        derived = derivative_block(problem.jvp, (y, y), 2, reasons.append)
    np.testing.assert_array_equal(derived[[0, 2]], Perilous().jvp(y[[0, 2]], y[[0, 2]]))
    assert np.isnan(derived[1]).all()
    assert reasons == ["timed out: not solved within 0.5 s"]


def test_the_process_keeps_its_solver_until_it_has_to_be_ended():
    y = np.array([GOOD, HANGS])
    with solved_within(as_problem(Process()), LIMIT) as problem:
        first, second = (solve_block(problem, y[:1]).observables[0] for _ in range(2))
        assert first[0] == second[0] != os.getpid()
        assert (first[1] % 1000, second[1] % 1000) == (1, 2)
        solve_block(problem, y[1:])
        assert not psutil.pid_exists(int(first[0]))
        third = solve_block(problem, y[:1]).observables[0]
    assert third[0] != first[0]
    assert not psutil.pid_exists(int(third[0]))  # not needed any more


def test_a_process_that_died_while_nothing_was_asked_costs_no_sample():
    with solved_within(as_problem(Process()), LIMIT) as problem:
        process = int(solve_block(problem, np.array([GOOD])).observables[0, 0])
        psutil.Process(process).kill()
        psutil.wait_procs([psutil.Process(process)] if psutil.pid_exists(process) else [], 5)
        time.sleep(0.1)
        assert solve_block(problem, np.array([GOOD])).status.tolist() == [SolveStatus.OK]


def test_what_the_process_has_started_ends_with_it(tmp_path):
    with solved_within(as_problem(WithChildren(str(tmp_path))), LIMIT) as problem:
        problem._set_up = 0.5
        assert solve_block(problem, np.array([GOOD])).status.tolist() == [SolveStatus.TIMED_OUT]
    program = int((tmp_path / "program").read_text())
    assert not psutil.pid_exists(program) or psutil.Process(program).status() == psutil.STATUS_ZOMBIE


def test_it_ends_with_its_driver_however_that_ends(tmp_path):
    script = (
        "import numpy as np, sys\n"
        "from gnvpro.pde_data.problems.limited import LimitedProblem\n"
        "from gnvpro.pde_data.problems.loading import as_problem\n"
        "from tests.pde_data.problems.limited_toy import Process\n"
        "problem = LimitedProblem(as_problem(Process()), 100)\n"
        "print(int(problem.evaluate(np.array([[.5, .5]]))[0, 0]), flush=True)\n"
        "problem.evaluate(np.array([[.97, .5]]))\n"
    )
    driver = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, cwd=Path.cwd())
    process = psutil.Process(int(driver.stdout.readline()))
    time.sleep(0.1)
    driver.kill()
    driver.wait()
    process.wait(20)


def test_threads_of_a_solve_are_set():
    for threads in (1, 2):
        with LimitedClosing(Process(), threads) as problem:
            assert problem.evaluate(np.array([GOOD]))[0, 1] // 1000 == threads


class LimitedClosing:
    def __init__(self, model, threads):
        self.problem = LimitedProblem(as_problem(model), None, 1, threads)

    def __enter__(self):
        return self.problem

    def __exit__(self, *_):
        self.problem.close()


def test_it_is_the_problem_in_all_else():
    problem, plain = LimitedProblem(as_problem(WithTangents()), 10.0), as_problem(WithTangents())
    assert (problem.name, problem.definition, problem.block_size) == (plain.name, plain.definition, plain.block_size)
    assert as_problem(problem) is problem
    assert offers(problem, "tangents")
    assert not offers(problem, "vjp")
    assert not hasattr(problem, "coarser")
    y, v = np.array([[1.2, 0.5], [1.3, 0.6]]), np.ones((2, 3, 2))
    for ours, its in zip(problem.tangents(y, v), plain.tangents(y, v), strict=True):
        np.testing.assert_array_equal(ours, its)
    copy = pickle.loads(pickle.dumps(problem))
    np.testing.assert_array_equal(copy.evaluate(y), plain.evaluate(y))
    for one in (problem, copy):
        one.close()
    limited = LimitedProblem(as_problem(DecayProblem()), 10.0)
    assert estimated_error(limited, y, plain.evaluate(y)) == estimated_error(DecayProblem(), y, plain.evaluate(y))
    limited.close()


def test_cpu_seconds_of_the_process_are_counted():
    class Busy(Perilous):
        def evaluate(self, y):
            began = time.process_time()
            while time.process_time() - began < 0.2:
                pass
            return y

    with solved_within(as_problem(Busy()), 60) as problem:
        began = cpu_seconds()
        solve_block(problem, np.array([GOOD]))
        assert cpu_seconds() - began >= 0.2


def test_what_no_sample_is_at_fault_for_is_raised():
    with solved_within(as_problem(Unready()), 10) as problem, pytest.raises(ImportError, match="'solvers'"):
        solve_block(problem, np.array([[1.5, 0.5]]))


def test_a_model_that_does_not_fit_into_a_pickle_is_refused_at_once():
    class Locked(Perilous):
        def __init__(self):
            super().__init__()
            self.solver = (n for n in range(3))

    with (
        pytest.raises(UsageError, match=r"cannot be sent to workers .* package\.module:factory"),
        solved_within(as_problem(Locked()), 1.0),
    ):
        pass
    with solved_within(load_problem("tests.pde_data.toy:Built"), 60) as problem:  # made where it is solved
        assert solve_block(problem, np.array([[1.5, 0.5]])).status.tolist() == [SolveStatus.OK]


@pytest.mark.parametrize("limit", [0, -1.0, float("nan")])
def test_what_is_no_limit_is_refused(limit):
    with (
        pytest.raises(UsageError, match="expected a time limit of more than 0 s"),
        solved_within(DecayProblem(), limit),
    ):
        pass


class Elsewhere(DecayProblem):
    """Keeps its limit itself."""

    limit = None

    def with_time_limit(self, seconds):
        limited = Elsewhere()
        limited.limit = seconds
        return limited


def test_a_problem_that_keeps_limits_itself_is_asked_to():
    with solved_within(as_problem(Elsewhere()), 3.0) as problem:
        assert problem.limit == 3.0
    with (
        pytest.raises(UsageError, match="is solved elsewhere: set its ranks and threads there"),
        solved_within(as_problem(Elsewhere()), 3.0, threads_per_solve=2),
    ):
        pass


def test_a_named_problem_that_keeps_limits_itself_is_the_same_problem():
    named = load_problem("tests.pde_data.problems.limited_toy:KeepsLimits")
    with solved_within(named, 3.0) as limited:
        assert limited.limit == 3.0
        assert (limited.name, limited.definition) == (named.name, named.definition)
        sent = pickle.loads(pickle.dumps(limited))
        assert (sent.limit, sent.definition) == (3.0, named.definition)


def test_a_sample_that_fails_first_does_not_take_the_time_for_the_set_up():
    with solved_within(as_problem(SetUpLate()), 0.5) as problem:
        solved = solve_block(problem, np.array([[0.1, 0.5], [0.5, 0.5], [0.1, 0.5], [0.6, 0.5]]))
    assert solved.status.tolist() == [SolveStatus.EXCEPTION, 0, SolveStatus.EXCEPTION, 0]


def test_a_limit_longer_than_a_system_call_can_wait():
    with solved_within(as_problem(Perilous()), 1e9) as problem:
        assert solve_block(problem, np.array([[0.5, 0.5]])).status.tolist() == [0]


def test_more_processes_and_threads_than_processors_are_warned_of(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    problem = as_problem(Perilous())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for fits in (
            dict(threads_per_solve=4),
            dict(threads_per_solve=2, workers=2),
            dict(time_limit=LIMIT, workers=9),
        ):
            with solved_within(problem, **fits):
                pass
    with (
        pytest.warns(UserWarning, match="3 workers of 1 ranks of 2 threads on 4 processors wait for each other"),
        solved_within(problem, threads_per_solve=2, workers=3),
    ):
        pass


@pytest.mark.long
@pytest.mark.parametrize("workers", [pytest.param(None, marks=pytest.mark.exhaustive), 2])
def test_a_data_set_of_a_perilous_model_is_whole(tmp_path, workers):
    """A worker of Dask may not start processes by `multiprocessing`; what it starts ends with it."""
    made = generate(Perilous(), tmp_path / "d.zarr", 40, seed=1, time_limit=LIMIT, workers=workers, block_size=8)
    parameters = store.read_rows(tmp_path / "d.zarr", "parameters", np.arange(40))
    a = parameters[:, 0]
    expected = np.select([a > 0.95, a < 0.05, a < 0.1, a < 0.15], [5, 7, 6, 3], 0)
    np.testing.assert_array_equal(store.read_status(tmp_path / "d.zarr"), expected)
    assert made.n_ok == (expected == 0).sum()
