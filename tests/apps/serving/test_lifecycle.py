"""Start, stop and accidents of `gnvpro serve` as a process."""

import contextlib
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import psutil
import pytest
import requests

from gnvpro.apps.serving.serve import named_models
from gnvpro.apps.serving.served import ModelFailed
from gnvpro.apps.serving.solver_process import SolverProcess
from gnvpro.pde_data.problems.loading import load_problem
from gnvpro.surrogate.model.surrogate import Surrogate
from tests.apps.serving.conftest import serving
from tests.pde_data.toy import DecayProblem, Fussy

GATED = ("--with-pde", "--problem", "tests.pde_data.toy:Gated")
ASKED = {"name": "decay-pde", "input": [[1.5, 0.5]]}


@pytest.fixture
def gate(tmp_path, monkeypatch):
    """A file; while it is there, the PDE is at work."""
    monkeypatch.setenv("GATE", str(tmp_path / "gate"))
    return tmp_path / "gate"


@pytest.fixture
def gated(model, gate, tmp_path):
    """A surrogate and its PDE, which takes as long as the test likes."""
    with serving(tmp_path / "log", model, *GATED) as running:
        assert requests.post(f"{running.url}/Evaluate", json=ASKED).status_code == 200
        yield running


def worker(server):
    """The process that solves."""
    children = psutil.Process(server.process.pid).children(recursive=True)
    return next(child for child in children if "answer_calls" in " ".join(child.cmdline()))


def wait_until(condition):
    """Or fail after two minutes: what is waited for takes seconds where it works."""
    end = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def in_work(server):
    return requests.get(f"{server.url}/health").json()["requests_in_work"]


@pytest.mark.long
def test_surrogates_answer_while_the_pde_is_solved_and_a_stop_answers_what_was_asked(gated, gate, model):
    expected = Surrogate.load(model).evaluate(np.array([[1.5, 0.5]])).tolist()
    gate.touch()
    with ThreadPoolExecutor(5) as pool:
        solving = [pool.submit(requests.post, f"{gated.url}/Evaluate", json=ASKED) for _ in range(4)]
        wait_until(lambda: in_work(gated) == 4)
        for _ in range(10):
            answer = requests.post(f"{gated.url}/Evaluate", json={**ASKED, "name": "decay"})
            assert answer.json() == {"output": expected}
        stopping = pool.submit(gated.stop)
        wait_until(lambda: gated.log[-1]["event"] == "stopping")
        assert not any(future.done() for future in solving)
        gate.unlink()
        code, said = stopping.result()
        assert [future.result().status_code for future in solving] == [200] * 4
    assert code == 0
    assert (said["models"], said["errors"]) == (["decay", "decay-pde"], 0)
    assert [line["event"] for line in gated.log if line["event"] != "request"] == ["listening", "stopping", "stopped"]
    with pytest.raises(requests.ConnectionError):
        requests.get(f"{gated.url}/health")


@pytest.mark.long
def test_a_solver_that_dies_costs_its_requests_only_and_does_not_outlive_a_server_that_was_killed(gated, gate):
    gate.touch()
    with ThreadPoolExecutor(1) as pool:
        solving = pool.submit(requests.post, f"{gated.url}/Evaluate", json=ASKED)
        wait_until(lambda: in_work(gated) == 1)
        worker(gated).kill()
        answer = solving.result()
    assert (answer.status_code, answer.json()["error"]["type"]) == (500, "InvalidOutput")
    assert "the process that solves it was ended by SIGKILL" in answer.json()["error"]["message"]
    gate.unlink()
    assert requests.post(f"{gated.url}/Evaluate", json=ASKED).status_code == 200
    process = worker(gated)
    gated.process.kill()
    process.wait(120)


@pytest.fixture(scope="module")
def solver():
    solver = SolverProcess(Fussy())
    yield solver
    solver.close()


def test_one_bad_row_is_nan_and_the_others_are_computed(solver):
    y, dc = np.array([[1.5, 0.5], [1.9, 0.5], [1.2, 0.3]]), np.ones((3, 6))
    solved, gradient = solver.evaluate(y), solver.vjp(y, dc)
    np.testing.assert_array_equal(solved[[0, 2]], DecayProblem().evaluate(y[[0, 2]]))
    np.testing.assert_array_equal(gradient[[0, 2]], 2 * y[[0, 2]])
    assert np.isnan(solved[1]).all()
    assert np.isnan(gradient[1]).all()
    assert not hasattr(solver, "jvp")


def test_why_a_row_could_not_be_computed_is_said(solver):
    good, bad = solver.operations["Evaluate"](np.array([[1.5, 0.5], [1.9, 0.5]]))
    np.testing.assert_array_equal(good, DecayProblem().evaluate(np.array([[1.5, 0.5]]))[0])
    assert "not solved at this point (FloatingPointError: diverged)" in str(bad)
    with pytest.raises(ModelFailed, match="FloatingPointError: diverged"):
        solver.evaluate(np.array([[1.9, 0.5]]))
    with pytest.raises(ModelFailed, match=r"no derivative at this point \(FloatingPointError: diverged\)"):
        solver.vjp(np.array([[1.9, 0.5]]), np.ones((1, 6)))


def test_objects_of_a_problem_are_called_by_the_thread_that_made_them():
    """In a process of its own, where FEniCSx has no other thread."""
    solver = SolverProcess(load_problem("tests.pde_data.toy:OfOneThread"))
    y = np.array([[1.5, 0.5]])
    with ThreadPoolExecutor(1) as pool:
        for _ in range(2):
            np.testing.assert_array_equal(pool.submit(solver.evaluate, y).result(), DecayProblem().evaluate(y))
    solver.close()


@pytest.mark.long
def test_a_pde_that_cannot_be_made_ready_is_told_in_the_log_and_to_the_client(model, tmp_path):
    problem = ("--with-pde", "--problem", "tests.pde_data.toy:Unready")
    with serving(tmp_path / "log", model, *problem) as running:
        answer = requests.post(f"{running.url}/Evaluate", json=ASKED)
        wait_until(lambda: any(line["event"] == "warning" for line in running.log))
        warning = next(line for line in running.log if line["event"] == "warning")
    assert warning["model"] == "decay-pde"
    assert "No module named 'solvers'" in warning["message"]
    assert answer.status_code == 500
    assert "No module named 'solvers'" in answer.json()["error"]["message"]


def test_what_is_missing_is_said(solver):
    with pytest.raises(ModelFailed, match="No module named 'solvers'"):
        solver.evaluate(np.array([[1.05, 0.5]]))


@pytest.mark.long
def test_a_closed_solver_starts_no_process():
    """Requests that wait when the server stops would each start one, and be waited for."""
    solver = SolverProcess(DecayProblem())
    solver.warm_up()
    solver.close()
    with pytest.raises(ModelFailed, match="the server stops"):
        solver.evaluate(np.array([[1.5, 0.5]]))
    solver.close()


def test_a_stranger_on_the_line_changes_nothing(server):
    """Not HTTP, half a request, and hanging up in the middle."""
    port = int(server.url.rpartition(":")[2])
    for sent in (
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"GET",
        b"POST /Evaluate HTTP/1.1\r\nHost: a\r\nContent-Length: 50\r\n\r\n{",
        b"POST /Evaluate HTTP/1.1\r\nHost: a\r\nContent-Encoding: gzip\r\nContent-Length: 5\r\n\r\nabcde",
        b"POST /Evaluate HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"A" * 100_000,
    ):
        with socket.create_connection(("127.0.0.1", port)) as line:
            line.sendall(sent)
            line.settimeout(0.3)
            with contextlib.suppress(TimeoutError, ConnectionError):
                line.recv(1000)
    assert requests.post(f"{server.url}/Evaluate", json={**ASKED, "name": "second"}).status_code == 200


def test_the_log_has_a_line_for_every_request(server):
    requests.get(f"{server.url}/Info")
    wait_until(lambda: server.log[-1].get("path") == "/Info")
    before = len(server.log)
    requests.post(f"{server.url}/Evaluate", json={"name": "smooth", "input": [[0.1, 0.2, 0.3]]})
    requests.post(f"{server.url}/Gradient", json={"name": 'no "such\nmodel'})
    requests.get(f"{server.url}/health")
    wait_until(lambda: len(server.log) >= before + 3)
    good, bad, health = server.log[before:]
    assert (good["method"], good["path"], good["model"], good["status"]) == ("POST", "/Evaluate", "smooth", 200)
    assert good["ms"] > 0
    assert "error" not in good
    assert (bad["model"], bad["status"]) == ('no "such\nmodel', 400)
    assert bad["error"].startswith("ModelNotFound: ")
    assert (health["path"], health["status"]) == ("/health", 200)


@pytest.mark.long
def test_the_log_can_be_left_out(smooth, tmp_path):
    with serving(tmp_path / "log", smooth, "--log", "none") as running:
        requests.post(f"{running.url}/Evaluate", data=b"?")
        code, said = running.stop(signal.SIGINT)
    assert (code, said["errors"]) == (0, 1)
    assert {line["event"] for line in running.log} == {"listening", "stopping", "stopped"}


def test_an_address_that_is_taken_is_bad_usage(gnvpro, smooth):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ran = gnvpro("serve", smooth, "--port", taken.getsockname()[1])
    assert ran.exit_code == 2
    assert "address already in use" in ran.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "models is missing"),
        (("nowhere",), "nowhere is not a saved model"),
        (("a={smooth}", "a={model}"), "'a' names two models"),
        (("{smooth}", "--with-pde"), "which name no PDE"),
        (("{smooth}", "{model}", "--with-pde", "--problem", "x:y"), "--problem names the PDE of one model"),
        (("{model}", "--with-pde"), "unknown problem 'decay'"),
        (("a={model}", "a-pde={smooth}", "--with-pde"), "a-pde would be the PDE of 'a'"),
        (("={smooth}",), "NAME=FOLDER with both, got '={smooth}'"),
        (("a=",), "NAME=FOLDER with both, got 'a='"),
        (("{smooth}", "--port", "70000"), "port: expected"),
        (("{smooth}", "--log", "loud"), "loud"),
    ],
)
def test_bad_usage_is_told(gnvpro, smooth, model, words, said):
    ran = gnvpro("serve", *(word.format(smooth=smooth, model=model) for word in words))
    assert ran.exit_code == 2
    assert said.format(smooth=smooth) in ran.stderr


def test_names_in_the_server(tmp_path):
    given = ("runs/model", "other/model", "forward=runs/model", "model-3=x", "third/model")
    named = named_models(given)
    assert {name: str(folder) for name, folder in named.items()} == {
        "forward": "runs/model",
        "model-3": "x",
        "model": "runs/model",
        "model-2": "other/model",
        "model-4": "third/model",
    }
    odd = tmp_path / "a=b"
    odd.mkdir()
    assert named_models((str(odd),)) == {"a=b": str(odd)}
