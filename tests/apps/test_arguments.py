"""The PDE behind a surrogate: made again with its options, from old definitions too, and never by a path in a file."""

import json
from types import SimpleNamespace

import pytest

from gnvpro.apps.arguments import problem_of
from gnvpro.pde_data.problems import loading as problems
from gnvpro.pde_data.problems.convection.problem import ConvectionDiffusionReaction
from gnvpro.pde_data.problems.convection.settings import ImexSettings
from gnvpro.pde_data.problems.loading import load_problem, registered_problem
from gnvpro.pde_data.storage.provenance import definition_hash
from tests.pde_data.toy import Decay


def surrogate(problem, definition=None):
    """What a saved surrogate of `problem` says, through JSON as it does."""
    definition = problem.definition if definition is None else definition
    said = {"problem": problem.name, "definition": definition, "definition_hash": definition_hash(definition)}
    return SimpleNamespace(
        provenance=json.loads(json.dumps(said)), parameters=problem.parameters, observables=problem.observables
    )


def earlier(problem):
    """The definition as it was before options had a place of their own."""
    definition = problem.definition
    return {"problem": definition["problem"], "route": definition["route"], **definition["options"]}


@pytest.mark.parametrize(
    "options",
    [{}, {"settings": {"steps": 160}, "coefficients": {"diffusion": 0.06}}, {"tier": "reduced"}],
    ids=["default", "nested", "reduced"],
)
def test_a_registered_problem_comes_back_with_its_options(options):
    problem = registered_problem("cdr", options)
    assert problem_of(surrogate(problem)) == problem


@pytest.mark.parametrize("steps", [80, 160])
def test_earlier_definitions_are_understood(steps):
    problem = ConvectionDiffusionReaction(settings=ImexSettings(steps=steps))
    assert problem_of(surrogate(problem, earlier(problem))) == problem


def test_a_definition_that_today_does_not_give_is_refused():
    problem = registered_problem("cdr")
    for definition in (problem.definition, earlier(problem)):
        changed = {**definition, "route": "another"}
        with pytest.raises(ValueError, match="'cdr' with definition .* has .*; compare with the problem as it was"):
            problem_of(surrogate(problem, changed))
    lost = {**problem.definition, "options": {"settings": {"stages": 3}}}
    with pytest.raises(
        ValueError, match=r"'cdr' cannot be made again, with .* \(settings\): unknown option 'settings.st"
    ):
        problem_of(surrogate(problem, lost))
    with pytest.raises(ValueError, match="expected options by name in the definition of the data, got a str"):
        problem_of(surrogate(problem, {**problem.definition, "options": "all"}))


def test_nothing_that_a_file_names_is_imported(monkeypatch):
    toy = load_problem("tests.pde_data.toy:Decay")
    monkeypatch.setattr(problems.importlib, "import_module", lambda name: pytest.fail(f"imported {name}"))
    with pytest.raises(ValueError, match="give it with problem="):
        problem_of(surrogate(toy))


class Scaled(Decay):
    def __init__(self, factor=1.0):
        self.factor = factor


def test_a_problem_of_one_s_own_comes_back_with_its_options():
    name = f"{__name__}:Scaled"
    scaled = load_problem(name, {"factor": 2.0})
    assert problem_of(surrogate(scaled), name).factor == 2.0
    assert problem_of(surrogate(load_problem(name)), name).factor == 1.0
