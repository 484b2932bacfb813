"""Servers of small models: in this event loop, and as processes of their own."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

import numpy as np
import pytest

from gnvpro.surrogate.model.surrogate import Surrogate
from tests import PROJECT
from tests.apps.conftest import TOY

ROOT = PROJECT


class Server:
    """A running `gnvpro serve`; its log is in a file, so that it never waits for a reader."""

    def __init__(self, log: Path, *words: object):
        code = "from gnvpro.apps.cli import main; main()"
        self.log_file = log
        with log.open("wb") as stderr, log.with_suffix(".out").open("wb") as stdout:
            self.process = subprocess.Popen(
                [sys.executable, "-c", code, "serve", "--port", "0", "--json", *map(str, words)],
                stdout=stdout,
                stderr=stderr,
                cwd=ROOT,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
            )

    @property
    def log(self):
        """Its lines; the last may be half written."""
        lines = self.log_file.read_text().splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.startswith("{") and line.endswith("\n")]

    @cached_property
    def url(self):
        while self.process.poll() is None:
            for said in self.log:
                if said["event"] == "listening":
                    return said["url"]
            time.sleep(0.05)
        raise AssertionError(self.log_file.read_text())

    def stop(self, by=signal.SIGTERM):
        """Exit code and the JSON object on stdout."""
        self.process.send_signal(by)
        code = self.process.wait(60)
        return code, json.loads(self.log_file.with_suffix(".out").read_text())


@contextmanager
def serving(log, *words):
    server = Server(log, *words)
    try:
        yield server
    finally:
        if server.process.poll() is None:
            server.process.terminate()
            server.process.wait(60)


@pytest.fixture(scope="session")
def surrogate(smooth):
    return Surrogate.load(smooth)


@pytest.fixture(scope="session")
def with_pde(model, tmp_path_factory):
    """The toy problem, which has no derivatives, and its surrogate."""
    with serving(tmp_path_factory.mktemp("log") / "log", model, "--with-pde", "--problem", TOY) as running:
        yield running


def points(n, seed=0):
    """In the middle of the parameter space of `smooth`."""
    return np.random.default_rng(seed).uniform(-0.8, 0.8, (n, 3))
