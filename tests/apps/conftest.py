"""A command line in this process, and a data set with its surrogate that cost nothing."""

import json
from dataclasses import dataclass
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gnvpro.apps.cli import app
from gnvpro.training.train import TrainSettings, train
from tests.training.problems import smooth_samples

TOY = "tests.pde_data.toy:DecayProblem"


@dataclass(frozen=True)
class Ran:
    """What a command left behind."""

    exit_code: int
    stdout: str
    stderr: str

    @property
    def numbers(self):
        """The one JSON object of `--json`."""
        return json.loads(self.stdout)


@pytest.fixture(scope="session")
def gnvpro():
    def run(*arguments):
        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Ran(result.exit_code, result.stdout, result.stderr)

    return run


@pytest.fixture(scope="session")
def data(gnvpro, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("data") / "decay.zarr"
    assert gnvpro("generate", TOY, "--samples", 80, "--seed", 3, "--out", path).exit_code == 0
    return path


@pytest.fixture(scope="session")
def model(gnvpro, data, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("model") / "decay"
    network = ("--widths", "6,8", "--gain", 1, "--polynomial", "off")
    ran = gnvpro("train", data, "--out", path, *network, "--budget", 200, "--seed", 5)
    assert ran.exit_code == 0, ran.stderr
    return path


@pytest.fixture(scope="session")
def smooth(tmp_path_factory) -> Path:
    """Three parameters to seven observables, in a folder of another name than `model`'s."""
    path = tmp_path_factory.mktemp("smooth") / "smooth"
    train(smooth_samples().split(0), TrainSettings(widths=(5,), gain=1.0, budget=40)).save(path)
    return path


@pytest.fixture(scope="session")
def server(smooth, model, tmp_path_factory):
    """Two surrogates in a process, and the PDE of none."""
    from tests.apps.serving.conftest import serving

    with serving(tmp_path_factory.mktemp("log") / "log", smooth, f"second={model}") as running:
        yield running
