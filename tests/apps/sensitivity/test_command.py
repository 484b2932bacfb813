"""`gnvpro sensitivity`: what it prints, writes and refuses."""

import json

import pytest

import gnvpro as library
from tests.apps.conftest import TOY


@pytest.mark.long
def test_a_saved_surrogate(gnvpro, model, tmp_path):
    ran = gnvpro("sensitivity", model, "--points", 512, "--out", tmp_path / "out", "--json")
    assert ran.exit_code == 0, ran.stderr
    numbers = ran.numbers
    assert numbers["parameters"] == ["amplitude", "rate"]
    assert set(numbers["by_axis"]) == {"time", "sensor"}
    assert json.loads((tmp_path / "out" / "sensitivity.json").read_text())["all"] == numbers["all"]
    assert "--points 512" in (tmp_path / "out" / "report.html").read_text()
    found = library.sensitivity(model, points=512)
    assert found.numbers()["all"] == numbers["all"]
    again = gnvpro("sensitivity", model, "--out", tmp_path / "out")
    assert again.exit_code == 2
    assert "exists already" in again.stderr


@pytest.mark.long
def test_a_problem_is_solved_itself_and_a_surrogate_corrected_by_it(gnvpro, model):
    solved = gnvpro("sensitivity", TOY, "--points", 64, "--json").numbers
    assert solved["evaluations"] == 64 * 4 + 16
    corrected = gnvpro("sensitivity", model, "--points", 512, "--solves", 20, "--problem", TOY, "--json")
    assert corrected.exit_code == 0, corrected.stderr
    assert "20 fresh solves" in corrected.numbers["intervals"]


def test_a_problem_of_an_installed_package_is_found_by_its_name(monkeypatch):
    monkeypatch.setattr("gnvpro.pde_data.problems.loading._installed", lambda: {"decay": TOY})
    found = library.sensitivity("decay", points=16)
    assert found.names == ("amplitude", "rate")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("missing",), "not a saved model"),
        ((TOY, "--points", 20000), "would be solved 73,744 times, for 20000 points of 2"),
        ((TOY, "--points", 20000), "or --force for more than 5,000"),
        ((TOY, "--solves", 20), "leave them out"),
        (("missing",), "unknown problem 'missing'"),
        ((TOY, "--prior", "rate=[0.5,-1]"), "positive standard deviation"),
    ],
)
def test_refusals(gnvpro, arguments, expected):
    ran = gnvpro("sensitivity", *arguments)
    assert ran.exit_code == 2
    assert expected in " ".join(ran.stderr.split())
