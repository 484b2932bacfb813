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


@pytest.fixture
def program(tmp_path):
    """The file of a program of two levels."""
    levels = "levels = [{cells = 8}, {cells = 4}]\n"
    path = tmp_path / "echo.toml"
    path.write_text(
        f'command = "echo {{a}} {{cells}}"\n{levels}parameters = {{a = [0, 1]}}\nobservables = {{count = 2}}\n'
    )
    return path


def test_a_program_comes_back_by_its_file_and_at_its_level(program):
    fine = load_problem(str(program), {"time_limit": 5.0})
    assert problem_of(surrogate(fine), str(program)) == load_problem(str(program))
    assert problem_of(surrogate(fine.coarser()), program).settings.level == 1
    with pytest.raises(ValueError, match=r"trained on 'echo.toml': give it with problem=.*its file \(.toml\)"):
        problem_of(surrogate(fine))
    program.write_text(program.read_text().replace("{a} ", "1 "))
    with pytest.raises(ValueError, match="compare with the problem as it was"):
        problem_of(surrogate(fine), program)


def test_options_out_of_a_model_say_neither_what_is_run_nor_where(program):
    definition = load_problem(str(program)).definition
    for options in ({"command": "touch x"}, {"keep_in": "/"}, {"environment": {"A": "1"}}):
        with pytest.raises(ValueError, match="cannot be made again.*is no option"):
            problem_of(surrogate(load_problem(str(program)), {**definition, "options": options}), program)


def test_a_server_out_of_a_model_is_not_the_one_that_is_asked():
    options = {"model": "m", "lower": [0.0], "upper": [1.0], "outputs": ["c"]}
    mine = load_problem("http://mine:1/m", {**options, "url": "http://theirs:1"})
    assert mine.url == "http://mine:1"
    assert load_problem("http://mine:1/m", {**options, "model": "other"}).model == "m"
