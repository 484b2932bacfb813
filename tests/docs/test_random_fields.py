"""The page on random fields: its problem has at most sixty lines, right derivatives, and is generated, trained, inverted."""

import os
import subprocess
import sys

import numpy as np
import pytest

from gnvpro.pde_data.problems.loading import load_problem
from tests import PROJECT
from tests.calculus import assert_adjoint, assert_taylor
from tests.docs.pages import programs

MODULE, POSTERIOR, SMALLER = programs("random-fields")


@pytest.fixture(scope="module")
def folder(fenicsx, tmp_path_factory):
    folder = tmp_path_factory.mktemp("darcy")
    (folder / "darcy.py").write_text(MODULE)
    return folder


@pytest.fixture(scope="module")
def darcy(folder):
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        yield load_problem("darcy:Darcy", {"cells": 12})


def test_the_user_writes_at_most_sixty_lines():
    assert len(MODULE.splitlines()) <= 60
    assert max(map(len, MODULE.splitlines())) <= 120


def test_its_parameters_are_thirty_normal_coefficients(darcy):
    assert darcy.parameters.size == 30
    assert darcy.parameters.names[:2] == ("k_1", "k_2")
    assert {law.kind for law in darcy.parameters.laws} == {"normal"}
    assert darcy.observables.names[0] == "s1"


def test_tangents_and_adjoints(darcy):
    rng = np.random.default_rng(0)
    y, dy, dc = rng.normal(size=(2, 30)), rng.normal(size=(2, 30)), rng.normal(size=(2, 25))
    assert_taylor(darcy.evaluate, darcy.jvp(y, dy), y, dy)
    assert_adjoint(lambda d: darcy.jvp(y, d), lambda w: darcy.vjp(y, w), dy, dc)


def test_a_constant_permeability_gives_the_known_pressure(darcy):
    """.0737 in the middle of the unit square; half of that with twice the permeability."""
    middle = darcy.observables.names.index("s13")
    assert darcy.evaluate(np.zeros((1, 30)))[0, middle] == pytest.approx(0.0737, rel=0.02)


def test_a_smaller_problem_shares_the_parameters(darcy, folder):
    names = {"Darcy": type(darcy.model)}
    exec(compile(SMALLER, "random-fields.md", "exec"), names)
    coarse, fine = names["coarse"], names["fine"]
    y = np.random.default_rng(0).normal(size=(3, 30))
    difference = coarse.evaluate(y) - fine.evaluate(y)
    assert np.linalg.norm(difference) < 0.05 * np.linalg.norm(fine.evaluate(y))


@pytest.mark.long
def test_it_is_generated_trained_and_inverted_with_a_picture(folder):
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}

    def run(*arguments):
        done = subprocess.run([sys.executable, *arguments], cwd=folder, capture_output=True, text=True, env=environment)
        assert done.returncode == 0, done.stderr

    command = ("-c", "from gnvpro.apps.cli import main; main()")
    run(*command, "generate", "darcy:Darcy", "--samples", "150", "--seed", "1", "--out", "runs/darcy.zarr")
    run(*command, "train", "runs/darcy.zarr", "--out", "runs/darcy", "--contender", "kernel")
    short = "truth=truth, force=True, draws=50, tune=30, pde_draws=10, pde_tune=5, chains=2, starts=2)"
    assert "truth=truth)" in POSTERIOR
    (folder / "posterior.py").write_text(POSTERIOR.replace("truth=truth)", short))
    run("posterior.py")
    assert (folder / "field.png").stat().st_size > 10_000
    assert (folder / "field.npz").exists()
