"""Where the command runs: another encoding of the output, and ~ in paths that no shell has seen."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import gnvpro
from gnvpro.apps.info import info
from gnvpro.surrogate.checks import path_of

COMMAND = [str(Path(sys.executable).with_name("gnvpro"))]
Y = np.random.default_rng(0).uniform(1, 2, size=(40, 2))


SURROUNDINGS = [
    {"PYTHONIOENCODING": "latin-1"},
    {"PYTHONIOENCODING": "ascii"},
    {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
]
COMMANDS = [["info"], ["predict", "-p", "p.csv", "-o", "o.csv"], ["info", "--json"]]


@pytest.mark.parametrize(
    ("arguments", "surroundings"),
    [
        pytest.param(COMMANDS[i], SURROUNDINGS[j], marks=[pytest.mark.exhaustive] * (i != j))
        for i in range(3)
        for j in range(3)
    ],
)
def test_output_in_another_encoding_is_no_traceback(model, tmp_path, surroundings, arguments):
    (tmp_path / "p.csv").write_text("1.5,0.5\n")
    command = [*COMMAND, arguments[0], str(model), *arguments[1:]]
    ran = subprocess.run(command, cwd=tmp_path, env={**os.environ, **surroundings}, capture_output=True)
    assert (ran.returncode, ran.stderr) == (0, b"")
    assert ran.stdout


def test_a_settings_file_is_utf_8_wherever_it_is_read(model, tmp_path):
    (tmp_path / "größe.csv").write_text("1.5,0.5\n")
    (tmp_path / "s.toml").write_text(
        f"\ufeffmodel = '{model}'\nparameters = 'größe.csv'\nout = 'ü.csv'\n", encoding="utf-8"
    )
    surroundings = {**os.environ, "PYTHONIOENCODING": "latin-1", "LC_ALL": "C.UTF-8"}
    command = [*COMMAND, "predict", "--config", "s.toml"]
    ran = subprocess.run(command, cwd=tmp_path, env=surroundings, capture_output=True)
    assert (ran.returncode, ran.stderr) == (0, b"")
    assert (tmp_path / "ü.csv").exists()


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


def test_a_tilde_is_the_home_folder(home):
    assert path_of("~/x") == home / "x"
    assert path_of("a~/~") == Path("a~/~")
    assert path_of("~nobody-of-this-name/x") == Path("~nobody-of-this-name/x")


def test_every_path_of_the_library_may_begin_with_a_tilde(home):
    (home / "t.csv").write_text("\n".join(["a,b,u", *(f"{a},{b},{a * b}" for a, b in Y.tolist())]))
    surrogate = gnvpro.train(
        "~/t.csv", parameters=["a", "b"], out="~/m", widths=(4,), budget=10, polynomial="on"
    ).surrogate
    (home / "p.csv").write_text("b,a\n1.2,1.4\n")
    (home / "d.csv").write_text("value\n1.68\n")
    gnvpro.predict("~/m", "~/p.csv", out="~/o.npz")
    gnvpro.calibrate("~/m", "~/t.csv", out="~/calibrated")
    gnvpro.invert("~/m", "~/d.csv", noise=0.01, draws=0).write("~/inversion")
    gnvpro.generate("tests.pde_data.toy:DecayProblem", "~/d.zarr", 8)
    assert gnvpro.read_samples("~/d.zarr")
    assert gnvpro.load("~/m").evaluate(Y[:1]) == surrogate.evaluate(Y[:1])
    surrogate.save("~/again")
    info("~/again")
    info("~/d.zarr")
    assert not Path("~").exists()
    written = {path.name for path in home.iterdir()}
    assert {"m", "o.npz", "calibrated", "inversion", "d.zarr", "again"} <= written


def test_options_and_settings_files_may_begin_with_a_tilde(gnvpro, model, home):
    np.savez(home / "p.npz", parameters=[[1.5, 0.5]])
    assert gnvpro("predict", model, "--parameters=~/p.npz", "--out=~/o.csv").exit_code == 0
    (home / "s.toml").write_text(f"model = '{model}'\nparameters = '~/p.npz'\nout = '~/of-a-file.csv'\n")
    assert gnvpro("predict", "--config", "~/s.toml").exit_code == 0
    assert (home / "o.csv").read_bytes() == (home / "of-a-file.csv").read_bytes()
    assert not Path("~").exists()
