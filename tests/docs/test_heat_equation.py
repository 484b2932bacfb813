"""The page from the heat equation to a posterior: its problem, against physics; its commands, shortened."""

import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest

from gnvpro.pde_data.problems.loading import load_problem
from tests import PROJECT
from tests.docs.pages import programs

TRUTH = np.array([[0.1, 0.2, 0.4, 12.0, 0.35, 0.6]])


@pytest.fixture(scope="module")
def folder(fenicsx, tmp_path_factory):
    folder = tmp_path_factory.mktemp("heat")
    for name, program in zip(("heat.py", "observe.py"), programs("heat-equation"), strict=True):
        (folder / name).write_text(program)
    return folder


@pytest.fixture(scope="module")
def plate(folder):
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        yield load_problem("heat:Plate")


def test_its_observables_are_times_by_sensors(plate):
    assert [(axis.name, len(axis.labels)) for axis in plate.observables.axes] == [("time", 20), ("sensor", 12)]
    assert plate.observables.units == ("K",)
    assert plate.parameters.laws[0].kind == "lognormal"


def test_it_is_the_heat_equation(plate):
    """Linear in the power; warmer with time under a steady lamp; hottest near it; and of first order in time."""
    base = plate.evaluate(TRUTH)[0]
    np.testing.assert_allclose(plate.evaluate(TRUTH * [1, 1, 1, 2, 1, 1])[0], 2 * base, rtol=1e-10)
    series = base.reshape(20, 12)
    assert (np.diff(series, axis=0) > 0).all()
    assert plate.observables.names[base.argmax()].endswith("s5")  # at (0.4, 0.5), next to the lamp
    coarse, fine, finest = (
        load_problem("heat:Plate", {"cells": 8, "steps": n}).evaluate(TRUTH)[0] for n in (20, 40, 80)
    )
    ratio = np.linalg.norm(coarse - fine) / np.linalg.norm(fine - finest)
    assert 1.7 < ratio < 2.3


@pytest.mark.long
def test_the_commands_lead_to_a_posterior(folder):
    commands = re.findall(r"^    ((?:gnvpro|python) .*)$", (PROJECT / "docs" / "heat-equation.md").read_text(), re.M)
    assert [command.split()[1] for command in commands] == [
        "generate", "info", "generate", "train", "observe.py", "invert",
    ]  # fmt: skip
    shorter = {"--samples 600": "--samples 60", "--noise 0.02": "--noise 0.02 --force --draws 60 --tune 30 --pde-draws 10 "
               "--pde-tune 5 --chains 2 --starts 4"}  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    for command in commands:
        for long, short in shorter.items():
            command = command.replace(long, short)
        program, *arguments = command.split()
        start = [] if program == "python" else ["-c", "from gnvpro.apps.cli import main; main()"]
        done = subprocess.run(
            [sys.executable, *start, *arguments], cwd=folder, capture_output=True, text=True, env=environment
        )
        # Whether so few draws agree is another question.
        assert done.returncode in ((0, 1) if "invert" in command else (0,)), f"{command}: {done.stderr}"
        assert "Traceback" not in done.stderr
    found = json.loads((folder / "runs/inversion/inversion.json").read_text())
    assert found["map"]["parameters"]["lamp_x"] == pytest.approx(0.35, abs=0.02)
