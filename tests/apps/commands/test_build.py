"""`gnvpro build` at the command line."""

import json

import numpy as np
import pytest

BUMPS = "tests.apps.build.problems:Bumps"


@pytest.fixture(scope="module")
def built(gnvpro, tmp_path_factory):
    """A build, its folder and what was printed."""
    out = tmp_path_factory.mktemp("built") / "model"
    ran = gnvpro("build", BUMPS, "--error", "1%", "--out", out, "--json")
    assert ran.exit_code == 0, ran.stderr
    return out, ran


def test_numbers_for_programs_and_a_line_a_round_for_people(built):
    out, ran = built
    numbers = ran.numbers
    assert numbers["confirmed"]
    assert numbers["error"]["upper"] < 0.01
    assert numbers["solves"] == numbers["cost"]
    assert ran.stderr.count("round ") == len(numbers["journal"]["rounds"])
    assert (out / "model.json").exists()
    report = (out.with_name("model-data") / "report.html").read_text()
    assert "<pre>gnvpro build " in report
    assert "--error 0.01" in report


def test_it_is_told_again_without_a_solve(gnvpro, built):
    out, _ = built
    again = gnvpro("build", BUMPS, "--error", "0.01", "--out", out)
    assert again.exit_code == 0
    assert "confirmed at 95 %" in again.stdout
    assert "round" not in again.stderr


def test_the_model_can_be_described_predicted_with_and_calibrated(gnvpro, built, tmp_path):
    out, _ = built
    assert "several" in gnvpro("info", out).stdout
    np.savez(tmp_path / "y.npz", parameters=np.full((3, 4), 0.5))
    assert gnvpro("predict", out, "-p", tmp_path / "y.npz", "-o", tmp_path / "p.npz").exit_code == 0
    assert gnvpro("compare", out, "--problem", BUMPS, "--samples", 8).exit_code == 0


def test_an_error_that_is_not_confirmed_is_a_failure_and_the_model_is_there(gnvpro, tmp_path):
    ran = gnvpro("build", BUMPS, "--error", "1e-7", "--max-solves", 20, "--out", tmp_path / "model")
    assert ran.exit_code == 1
    assert "failed: the error asked for is not confirmed: the budget, 20 solves, is spent" in ran.stderr
    assert "not confirmed" in ran.stdout
    assert (tmp_path / "model" / "model.json").exists()


def test_settings_in_a_file_may_be_per_cent(gnvpro, tmp_path):
    file = tmp_path / "build.toml"
    file.write_text(f'problem = "{BUMPS}"\nerror = "5%"\nout = "{tmp_path / "model"}"\n')
    ran = gnvpro("build", "--config", file, "--json")
    assert ran.exit_code == 0, ran.stderr
    assert json.loads((tmp_path / "model-data" / "build.json").read_text())["settings"]["error"] == 0.05


@pytest.mark.parametrize("error", ["banana", "-1", "0%", "nan"])
def test_errors_that_are_none_are_refused(gnvpro, tmp_path, error):
    ran = gnvpro("build", BUMPS, f"--error={error}", "--out", tmp_path / "model")
    assert ran.exit_code == 2
    assert "error" in ran.stderr
    assert not list(tmp_path.iterdir())
