"""The page's example, run as a reader would run it."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from gnvpro.pde_data.generation.run import generate
from gnvpro.pde_data.problems.loading import load_problem
from gnvpro.pde_data.storage.dataset import read_samples
from gnvpro.surrogate.forward_model import ForwardModel
from tests import PROJECT
from tests.calculus import assert_adjoint, assert_taylor
from tests.docs.pages import programs


def write_module(folder):
    (program,) = programs("your-own-pde")
    (folder / "my_pde.py").write_text(program)


@pytest.fixture(scope="module")
def plate(fenicsx, tmp_path_factory):
    folder = tmp_path_factory.mktemp("reader")
    write_module(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        yield load_problem("my_pde:problem")


@pytest.fixture
def points(plate):
    rng = np.random.default_rng(0)
    lower, upper = np.array(plate.parameters.lower), np.array(plate.parameters.upper)
    return lower + (upper - lower) * rng.uniform(0.3, 0.7, (2, 3))


def test_it_keeps_the_contract(plate, points):
    assert isinstance(plate.model, ForwardModel)
    assert plate.name == "my_pde:problem"
    assert plate.evaluate(points).shape == (2, plate.observables.size)


def test_equal_materials_scale_like_heating_over_conductivity(plate):
    # A maximum principle and a number: the unit square with k = q = 1 is .0737 warm in the middle.
    one, twice = plate.evaluate(np.array([[1.0, 1.0, 1.0], [2.0, 2.0, 4.0]]))
    np.testing.assert_allclose(twice, 2 * one, rtol=1e-12)
    assert np.all((one > 0) & (one < 0.0737))
    np.testing.assert_allclose(one[0], one[1], rtol=1e-3)


def test_options_are_arguments_of_the_factory(plate):
    fine = load_problem("my_pde:problem", {"n": 32})
    assert fine.model.n == 32
    assert fine.definition["options"] == {"n": 32}


def test_derivatives(plate, points):
    rng = np.random.default_rng(1)
    dy, dc = rng.normal(size=(2, 3)) * 0.2, rng.normal(size=(2, 3))
    assert_taylor(plate.evaluate, plate.jvp(points, dy), points, dy)
    assert_adjoint(lambda d: plate.jvp(points, d), lambda w: plate.vjp(points, w), dy, dc)


def test_data_are_generated_and_read(plate, tmp_path):
    summary = generate(plate, tmp_path / "plate.zarr", 6, seed=1)
    samples = read_samples(tmp_path / "plate.zarr")
    assert summary.n_ok == len(samples) == 6
    error = summary.estimated_error
    assert (error["against"], error["n_samples"]) == ("half the mesh width", 6)
    assert 0 < error["relative_l2"] < 1e-3
    np.testing.assert_allclose(samples.observables, plate.evaluate(samples.parameters), rtol=1e-12)
    assert samples.parameter_space == plate.parameters


@pytest.mark.exhaustive
def test_it_is_inverted_in_fresh_processes(fenicsx, tmp_path):
    """By its commands; and in a program that imports the problem, and with it FEniCSx and its HDF5 library, first."""
    write_module(tmp_path)

    def command(*arguments, codes=(0,)):
        code = "from gnvpro.apps.cli import main; main()"
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments], cwd=tmp_path, capture_output=True, text=True, env=environment
        )
        assert done.returncode in codes, done.stderr
        assert "Traceback" not in done.stderr
        return done.stdout

    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    command("generate", "my_pde:problem", "--samples", "40", "--seed", "1", "--out", "plate.zarr")
    command("train", "plate.zarr", "--out", "plate", "--seed", "1", "--widths", "6", "--budget", "20")
    (tmp_path / "observed.csv").write_text("value\n0.12\n0.121\n0.18\n")
    short = ["--chains", "2", "--draws", "30", "--tune", "20", "--pde-draws", "12", "--pde-tune", "5", "--starts", "2"]
    ask = ["invert", "plate", "-d", "observed.csv", "--noise", "5%", "--problem", "my_pde:problem", "--force", *short]
    # Whether so few draws agree is another question.
    numbers = json.loads(command(*ask, "--out", "out", "--json", codes=(0, 1)))
    assert numbers["corrected_by_pde"]
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"report.html", "inversion.json", "posterior-surrogate.nc", "posterior-delayed.nc"} <= names
    assert not (tmp_path / "out-unfinished").exists()
    program = (
        "import my_pde\n"  # FEniCSx before every other library
        "import torch, gnvpro, arviz\n"
        "found = gnvpro.invert('plate', 'observed.csv', '5%', problem=my_pde.problem(), routes=('surrogate', 'pde'),\n"
        "    force=True, chains=2, draws=20, tune=20, pde_draws=10, pde_tune=10, starts=2, keep_draws='kept')\n"
        "found.write('again')\n"
        "for folder in ('kept', 'again', 'out'):\n"
        "    assert arviz.from_netcdf(f'{folder}/posterior-surrogate.nc')['posterior']['y'].shape[2] == 3\n"
    )
    (tmp_path / "program.py").write_text(program)
    done = subprocess.run([sys.executable, "program.py"], cwd=tmp_path, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
