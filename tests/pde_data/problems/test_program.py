"""A program as a problem, with a C and a shell program that crash and hang on purpose: every sample is accounted for."""

import os
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from gnvpro.pde_data.generation.run import generate
from gnvpro.pde_data.problems.contract import NoSampleAtFault, SolveStatus, coarser_version
from gnvpro.pde_data.problems.loading import load_problem
from gnvpro.pde_data.problems.solving import cpu_seconds, solve_block
from gnvpro.pde_data.storage.dataset import read_samples
from gnvpro.pde_data.storage.provenance import definition_hash
from gnvpro.surrogate.errors import UsageError

C = r"""
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int main(int argc, char **argv) {
    double a = atof(argv[1]), b = atof(argv[2]);
    if (a > 0.9) { fprintf(stderr, "step 12: diverged at a = %g\n", a); return 7; }
    if (b > 0.9) *(volatile int *)0 = 1;
    if (a < 0.1) { if (fork() == 0) for (;;) pause(); for (;;) pause(); }
    if (b < 0.1 && fork() == 0) for (;;) pause();  /* a grandchild that keeps standard output open */
    printf("%.17g\n%.17g\n", a + b, a * b);
    return 0;
}
"""
TOML = """
command = "solver {a} {b}"
time_limit = 0.5
parameters = {a = [0, 1], b = [0, 1]}
observables = {names = ["sum", "product"]}
"""
SAMPLES = np.array([[0.5, 0.25], [0.95, 0.5], [0.5, 0.95], [0.05, 0.5], [0.5, 0.05], [1.5, 0.5]])


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    folder = tmp_path_factory.mktemp("c")
    (folder / "solver.c").write_text(C)
    subprocess.run(["gcc", "-O1", "-o", folder / "solver", folder / "solver.c"], check=True)
    return (folder / "solver").read_bytes()


@pytest.fixture
def folder(tmp_path, compiled):
    place(tmp_path / "solver", compiled)
    (tmp_path / "program.toml").write_text(TOML)
    return tmp_path


def place(path, content):
    path.write_bytes(content)
    path.chmod(0o755)


def of_shell(folder, script, toml="", **more):
    """A program of a shell script that is given a."""
    place(folder / "run.sh", f"#!/bin/sh\n{textwrap.dedent(script)}".encode())
    text = 'command = "run.sh {a}"\nparameters = {a = [0, 4]}\n' + textwrap.dedent(toml)
    (folder / "shell.toml").write_text(text if "observables" in toml else f"{text}\nobservables = {{count = 1}}\n")
    return load_problem(str(folder / "shell.toml"), more)


def processes_of(folder):
    """Those that run in a folder below it, or a program of it."""
    found = []
    for process in Path("/proc").iterdir():
        try:
            if process.name.isdigit() and str(folder) in (process / "cmdline").read_text():
                found.append(int(process.name))
        except OSError:
            continue
    return [p for p in found if p != os.getpid()]


def wait_until(condition, seconds=60.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.parametrize("at_once", [1, 3])
def test_each_sample_has_its_status_and_nothing_is_left_over(folder, at_once):
    problem = load_problem(str(folder / "program.toml"), {"at_once": at_once})
    solved = solve_block(problem, SAMPLES)
    s = SolveStatus
    assert solved.status.tolist() == [s.OK, s.EXIT_CODE, s.SIGNAL, s.TIMED_OUT, s.OK, s.OUTSIDE_PARAMETER_SPACE]
    a, b = SAMPLES[[0, 4]].T
    np.testing.assert_array_equal(solved.observables[[0, 4]], np.stack([a + b, a * b], axis=1))
    assert solved.messages[1] == "exit code 7: step 12: diverged at a = 0.95"
    assert solved.messages[2] == "signal 11 (SIGSEGV)"
    assert solved.messages[3] == "no end within 0.5 s"
    wait_until(lambda: not processes_of(folder))  # grandchildren of the samples that hang and of those that do not


def test_data_of_a_program_by_workers_are_those_of_one_process(folder):
    one = generate(str(folder / "program.toml"), folder / "one.zarr", 12, design="random")
    two = generate(str(folder / "program.toml"), folder / "two.zarr", 12, design="random", workers=2)
    assert one.numbers()["n_samples"] == two.numbers()["n_samples"] == 12
    first, second = (read_samples(folder / f"{name}.zarr") for name in ("one", "two"))
    np.testing.assert_array_equal(first.parameters, second.parameters)
    np.testing.assert_array_equal(first.observables, second.observables)


def test_a_process_that_ignores_the_request_to_end_is_killed(tmp_path):
    problem = of_shell(tmp_path, "trap '' TERM; sleep 100; sleep 100", time_limit=0.2)
    began = time.monotonic()
    assert solve_block(problem, np.ones((1, 1))).status.tolist() == [SolveStatus.TIMED_OUT]
    assert time.monotonic() - began < 20
    wait_until(lambda: not processes_of(tmp_path))


@pytest.mark.parametrize("at_once", [1, 2])
def test_an_interrupt_ends_what_runs_and_leaves_no_folder(tmp_path, monkeypatch, at_once):
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    problem = of_shell(tmp_path, "sleep 100 & sleep 100", at_once=at_once)

    def interrupt():
        wait_until(lambda: processes_of(tmp_path))
        os.kill(os.getpid(), signal.SIGINT)

    # A library that another test imports (dask_jobqueue) makes an exit of Ctrl-C.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    thread = threading.Thread(target=interrupt)
    thread.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            problem.solve(np.ones((3, 1)))
    finally:
        signal.signal(signal.SIGINT, before)
    thread.join()
    wait_until(lambda: not processes_of(tmp_path))
    assert not list((tmp_path / "temporary").iterdir())


def test_what_runs_ends_with_a_process_that_is_killed(tmp_path):
    (tmp_path / "temporary").mkdir()
    of_shell(tmp_path, "touch begun; sleep 100 & sleep 100")
    solve = (
        "import numpy as np; from gnvpro.pde_data.problems.loading import load_problem; "
        f"load_problem({str(tmp_path / 'shell.toml')!r}).solve(np.ones((1, 1)))"
    )
    environment = os.environ | {"TMPDIR": str(tmp_path / "temporary")}
    driver = subprocess.Popen([sys.executable, "-c", solve], env=environment)
    wait_until(lambda: any((tmp_path / "temporary").glob("gnvpro-*/begun")))
    assert set(processes_of(tmp_path)) - {driver.pid}
    driver.kill()
    driver.wait()
    wait_until(lambda: not processes_of(tmp_path) and not list((tmp_path / "temporary").iterdir()))


def test_failures_are_tried_again_as_often_and_as_those_that_are_named(tmp_path):
    counted = f"echo x >> {tmp_path}/tries; [ $(wc -l < {tmp_path}/tries) -ge 3 ] || exit 5; echo 1"
    solved = solve_block(of_shell(tmp_path, counted, retries=2), np.ones((1, 1)))
    assert solved.status.tolist() == [SolveStatus.OK]
    (tmp_path / "tries").unlink()
    solved = solve_block(of_shell(tmp_path, counted, retries=1), np.ones((1, 1)))
    assert (solved.status[0], solved.messages[0]) == (SolveStatus.EXIT_CODE, "exit code 5 (attempt 2)")
    (tmp_path / "tries").unlink()
    other = of_shell(tmp_path, counted, 'retry_on = ["signal", "timed out"]', retries=5)
    assert solve_block(other, np.ones((1, 1))).messages == ("exit code 5",)


def test_working_directories_of_failed_samples_are_kept_where_asked(tmp_path):
    problem = of_shell(tmp_path, '[ "$1" = 1.0 ] && echo 2 || { echo said $1; exit 4; }', keep="failed")
    solve_block(problem, np.array([[1.0], [2.0]]))
    solve_block(problem, np.array([[2.0]]))  # again: in the place of the first
    (kept,) = (tmp_path / "kept").iterdir()
    assert kept.name.startswith("exit-code-")
    assert (kept / "standard-output.txt").read_text() == "said 2.0\n"
    assert '"a": 2.0' in (kept / "placeholders.json").read_text()
    with pytest.raises(UsageError, match="'keep_in' is no option; what may be set beside the file is level"):
        of_shell(tmp_path, "", keep_in="elsewhere")


def test_levels_stand_in_the_command_and_the_cheapest_is_last(tmp_path):
    toml = 'command = "run.sh {a} {cells}"\nparameters = {a = [0, 1]}\nobservables = {count = 2}\n'
    place(tmp_path / "run.sh", b"#!/bin/sh\necho $1 $2\n")
    (tmp_path / "l.toml").write_text(toml + "levels = [{cells = 64}, {cells = 16}, {cells = 4}]")
    fine = load_problem(str(tmp_path / "l.toml"))
    for times, cells in enumerate((64, 16, 4)):
        version = coarser_version(fine, times)
        assert version.evaluate(np.array([[0.1]])).tolist() == [[0.1, cells]]
        assert load_problem(str(tmp_path / "l.toml"), version.definition["options"]) == version
    assert version.coarser() is None
    with pytest.raises(UsageError, match="expected a level below 3, got 3"):
        load_problem(str(tmp_path / "l.toml"), {"level": 3})


def test_the_definition_is_what_the_numbers_come_from(folder):
    path = folder / "program.toml"
    before = definition_hash(load_problem(str(path)).definition)
    same = load_problem(str(path), {"time_limit": 9, "at_once": 2, "retries": 1, "keep": "all"})
    assert definition_hash(same.with_time_limit(3.0).definition) == before
    assert same.with_time_limit(3.0).settings.time_limit == 3.0
    path.write_text("# a comment\n" + TOML)
    assert definition_hash(load_problem(str(path)).definition) == before
    path.write_text(TOML.replace("{b}", "0"))
    assert definition_hash(load_problem(str(path)).definition) != before
    path.write_text(TOML)
    with (folder / "solver").open("ab") as program:
        program.write(b"\0")
    changed = load_problem(str(path)).definition
    assert definition_hash(changed) != before
    assert list(changed["files"]) == ["solver"]
    assert "hashed" in changed["route"]
    path.write_text(TOML.replace("solver", "/bin/echo"))
    assert load_problem(str(path)).definition["route"].endswith("(on the PATH, not hashed)")


def test_threads_and_variables_of_the_program_are_those_of_its_file(tmp_path, monkeypatch):
    monkeypatch.setenv("UCX_TLS", "self,sm")  # this process says so to its own MPI
    toml = """
        threads = 3
        environment = {CASE = "at {a}"}
        observables = {format = "json", key = "v", count = 2}
    """
    problem = of_shell(tmp_path, '[ "$CASE" = "at 1.0" ] && echo "{\\"v\\": [$OMP_NUM_THREADS, ${UCX_TLS:-0}]}"', toml)
    assert problem.evaluate(np.ones((1, 1))).tolist() == [[3.0, 0.0]]


def test_nothing_is_written_through_links_into_folders_of_the_user(tmp_path):
    (tmp_path / "case").mkdir()
    (tmp_path / "input.template").write_text("a = {{ a }}")
    for name in ("case/input.nml", "case"):
        toml = f'link = ["case"]\ntemplates = {{"{name}" = "input.template"}}\n'
        with pytest.raises(UsageError, match="would be written into case, which is linked and so your own: copy that"):
            of_shell(tmp_path, "cat case/input.nml", toml).parameters  # noqa: B018
    assert not list((tmp_path / "case").iterdir())
    (tmp_path / "p.txt").write_text("1")
    (tmp_path / "case" / "p.txt").write_text("2")
    with pytest.raises(UsageError, match="several files would be called 'p.txt'"):
        of_shell(tmp_path, "cat p.txt", 'copy = ["p.txt", "case/p.txt"]\n').parameters  # noqa: B018


def test_what_a_program_spends_counts(tmp_path):
    problem = of_shell(tmp_path, "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; echo $1")
    before, own = cpu_seconds(), time.process_time()
    assert problem.solve(np.array([[1.0]]))[0] == 1.0
    assert cpu_seconds() - before > 2 * (time.process_time() - own)


def test_a_program_that_removes_everything_has_its_exit_code(tmp_path):
    solved = solve_block(of_shell(tmp_path, "rm -f *; exit 3"), np.array([[1.0]]))
    assert (solved.status.tolist(), solved.messages) == ([SolveStatus.EXIT_CODE], ("exit code 3",))


def test_a_folder_that_cannot_be_made_is_no_fault_of_a_sample(tmp_path, monkeypatch):
    problem = of_shell(tmp_path, "echo $1")
    monkeypatch.setattr(tempfile, "mkdtemp", lambda **_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(NoSampleAtFault, match="no working directory can be made: .*No space left"):
        solve_block(problem, np.array([[1.0], [2.0]]))
