"""A FEniCSx problem that several MPI ranks solve together, while the driver stays one process."""

import numpy as np
import psutil
import pytest

from gnvpro.pde_data.generation.run import generate
from gnvpro.pde_data.problems import processes
from gnvpro.pde_data.problems.contract import SolveStatus
from gnvpro.pde_data.problems.limited import solved_within
from gnvpro.pde_data.problems.loading import as_problem, load_problem
from gnvpro.pde_data.problems.solving import solve_block
from gnvpro.pde_data.storage.dataset import read_samples
from gnvpro.surrogate.errors import UsageError
from tests.pde_data.toy import Decay

NAME = "tests.pde_data.problems.poisson_on_ranks"


def of_this_process():
    return {
        child.pid for child in psutil.Process().children(recursive=True) if "answer_calls" in " ".join(child.cmdline())
    }


@pytest.mark.long
@pytest.mark.usefixtures("fenicsx")
def test_two_ranks_solve_as_one_does_and_a_failure_of_one_rank_is_that_of_the_sample():
    problem, before = load_problem(f"{NAME}:problem"), of_this_process()
    y = np.array([[0.3, 1.2], [0.3, 1.85], [0.5, 1.1], [0.3, 1.95], [0.6, 1.3], [0.3, 1.65], [0.7, 1.4]])
    with solved_within(problem, 3.0, ranks=2) as on_ranks:
        solved = solve_block(on_ranks, y)
        assert len(of_this_process() - before) >= 2
    raised, killed, late = SolveStatus.EXCEPTION, SolveStatus.SIGNAL, SolveStatus.TIMED_OUT
    assert solved.status.tolist() == [0, raised, 0, killed, 0, late, 0]
    assert solved.messages[1] == "RuntimeError: no memory on this rank"
    assert "was ended by SIGKILL" in solved.messages[3]
    rows = solved.status == SolveStatus.OK
    np.testing.assert_allclose(solved.observables[rows], problem.evaluate(y[rows]), rtol=1e-10)
    assert of_this_process() == before


@pytest.mark.long
@pytest.mark.usefixtures("fenicsx")
def test_a_data_set_says_nothing_of_ranks_and_its_options_reach_all(tmp_path):
    options = {"cells": 4}
    made = generate(f"{NAME}:problem", tmp_path / "d.zarr", 4, seed=3, ranks=2, options=options, time_limit=60)
    samples = read_samples(tmp_path / "d.zarr")
    assert len(samples) == made.n_ok
    alone = load_problem(f"{NAME}:problem", options)
    np.testing.assert_allclose(samples.observables, alone.evaluate(samples.parameters), rtol=1e-10)
    assert samples.provenance["definition"] == alone.definition


@pytest.mark.parametrize("problem", [f"{NAME}:alone", "tests.pde_data.toy:Decay", "cdr", Decay()])
def test_a_problem_that_takes_no_communicator_is_told_so(problem):
    problem = load_problem(problem) if isinstance(problem, str) else as_problem(problem)
    with (
        pytest.raises(UsageError, match=r"cannot be solved on several ranks: .* `comm`"),
        solved_within(problem, ranks=2),
    ):
        pass


def test_without_mpiexec_it_is_said(monkeypatch):
    monkeypatch.setattr(processes.shutil, "which", lambda *_, **__: None)
    with pytest.raises(UsageError, match="2 ranks need mpiexec, which comes with MPI, and none was found"):
        processes._launcher(2)
