"""What commands listen on: nothing, Dask's workers and the server at loopback; whatever imports FEniCSx, MPI with it."""

import contextlib
import ipaddress
import json
import os
import subprocess
import sys
import time

import numpy as np
import psutil
import pytest

from gnvpro.pde_data.problems.fenicsx import keep_mpi_to_itself
from tests import PROJECT
from tests.pde_data.toy import DecayProblem

# As the docs write a problem of one's own: the file imports FEniCSx before anything of ours can.
OWN = """
import dolfinx_solver
from mpi4py import MPI
from tests.pde_data.toy import DecayProblem

class Problem(DecayProblem):
    communicator = MPI.COMM_WORLD
"""


def listening(process):
    """(address, port) of every TCP socket that listens, and every UDP socket, of the process and its children."""
    found = set()
    with contextlib.suppress(psutil.NoSuchProcess):
        for each in (process, *process.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):
                sockets = each.net_connections("inet")
                found |= {s.laddr for s in sockets if s.laddr and s.status in (psutil.CONN_LISTEN, psutil.CONN_NONE)}
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("own")
    (folder / "own.py").write_text(OWN)
    np.save(folder / "seen.npy", DecayProblem().evaluate(np.array([[1.5, 0.5]]))[0])
    return folder


@pytest.fixture(scope="module")
def run(folder, fenicsx):
    """Run a command to its end, or while `meanwhile` of it, and see what it and its children listened on."""

    def run(*words, meanwhile=None):
        code = "from gnvpro.apps.cli import main; main()"
        environment = {name: value for name, value in os.environ.items() if name != "UCX_TLS"}
        environment |= {"PYTHONPATH": str(PROJECT), "OMP_NUM_THREADS": "1"}
        with (folder / "log").open("w+b") as log:
            command = [sys.executable, "-c", code, *map(str, words)]
            process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
            seen, tree = set(), psutil.Process(process.pid)
            try:
                while process.poll() is None:
                    seen |= listening(tree)
                    if meanwhile is not None and meanwhile((folder / "log").read_text()):
                        seen |= listening(tree)
                        process.terminate()
                        process.wait(60)
                    time.sleep(0.1)
            finally:
                process.kill()
                process.wait()
        text = (folder / "log").read_text()
        assert process.returncode == 0, text
        return seen, text

    return run


@pytest.fixture(scope="module")
def model(run):
    """Data set and model; what was listened on while they were made."""
    generated, _ = run("generate", "own:Problem", "--samples", 40, "--out", "d.zarr")
    network = ("--widths", 4, "--gain", 1, "--polynomial", "off", "--budget", 40)
    trained, _ = run("train", "d.zarr", "--out", "m", *network)
    return generated, trained


@pytest.mark.long
def test_generate_and_train_listen_on_nothing(model):
    assert model == (set(), set())


@pytest.mark.long
def test_workers_are_at_loopback(run):
    seen, text = run("generate", "own:Problem", "--samples", 40, "--workers", 2, "--out", "w.zarr")
    assert seen
    assert all(ipaddress.ip_address(address).is_loopback for address, _ in seen)
    assert "Perhaps you already have a cluster running" not in text
    assert 8787 not in {port for _, port in seen}


@pytest.mark.long
def test_compare_and_invert_listen_on_nothing(run, model):
    own = ("--problem", "own:Problem")
    assert run("compare", "m", *own, "--samples", 4, "--out", "c")[0] == set()
    short = ("--draws", 100, "--tune", 20, "--pde-draws", 200, "--pde-tune", 5, "--chains", 2)
    seen, _ = run("invert", "m", *own, "--observations", "seen.npy", "--noise", "2%", *short, "--out", "i", "--force")
    assert seen == set()


@pytest.mark.long
@pytest.mark.parametrize("pde", [False, True])
def test_serve_listens_where_it_says_and_nowhere_else(run, model, pde):
    import requests

    said = []

    def answered(log):
        for line in log.splitlines():
            if line.startswith("{") and (event := json.loads(line))["event"] == "listening":
                name = "m-pde" if pde else "m"
                asked = {"name": name, "input": [[1.5, 0.5]]}
                assert requests.post(f"{event['url']}/Evaluate", json=asked).status_code == 200
                said.append(event["url"])
                return True
        return False

    options = ("--with-pde", "--problem", "own:Problem") if pde else ()
    seen, _ = run("serve", "m", "--port", 0, *options, meanwhile=answered)
    assert [f"http://{address}:{port}" for address, port in seen] == said


@pytest.mark.long
def test_a_registered_problem_listens_on_nothing(run):
    seen, _ = run("generate", "cdr", "--samples", 2, "--set", "tier=reduced", "--out", "cdr.zarr")
    assert seen == set()


def test_a_launcher_and_the_user_have_the_last_word(monkeypatch):
    for name in list(os.environ):
        if name.startswith(("PMI", "OMPI", "SLURM", "UCX", "MPI")):
            monkeypatch.delenv(name)
    with monkeypatch.context() as launched:
        launched.setenv("OMPI_COMM_WORLD_SIZE", "4")
        keep_mpi_to_itself()
        assert "UCX_TLS" not in os.environ
    with monkeypatch.context() as chosen:
        chosen.setenv("UCX_TLS", "tcp")
        keep_mpi_to_itself()
        assert os.environ["UCX_TLS"] == "tcp"
    monkeypatch.setenv("UCX_TLS", "")  # so that it is put back
    monkeypatch.delenv("UCX_TLS")
    keep_mpi_to_itself()
    assert os.environ["UCX_TLS"] == "self,sm"
