import json
import pickle
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pytest

from gnvpro.pde_data.problems.contract import PickledWithoutCaches
from gnvpro.pde_data.problems.convection.coefficients import ConvectionCoefficients
from gnvpro.pde_data.problems.convection.problem import ConvectionDiffusionReaction
from gnvpro.pde_data.problems.convection.reactions import Reactions
from gnvpro.pde_data.problems.convection.settings import ImexSettings
from gnvpro.pde_data.problems.loading import load_problem, registered_problem
from gnvpro.pde_data.problems.options import make, options_of
from gnvpro.pde_data.storage.provenance import definition_hash
from gnvpro.surrogate.errors import UsageError
from tests.pde_data.toy import Decay


def test_options_reach_the_problem_at_any_depth():
    problem = registered_problem("cdr", {"settings": {"steps": 160}, "coefficients": {"reactions": {"count": 10}}})
    assert problem == ConvectionDiffusionReaction(
        ConvectionCoefficients(reactions=Reactions(count=10)), ImexSettings(steps=160)
    )
    assert registered_problem("cdr", {}) == registered_problem("cdr") == ConvectionDiffusionReaction()


def test_a_definition_makes_the_same_problem_again():
    source = {"x": 0.5, "y": 0.25, "width": 0.1, "weight": 2}
    problem = registered_problem("cdr", {"coefficients": {"sources": [source]}, "settings": {"element": "triangle"}})
    saved = json.loads(json.dumps(problem.definition))
    again = registered_problem(saved["problem"], saved["options"])
    assert again == problem
    assert definition_hash(again.definition) == definition_hash(problem.definition)
    assert problem.coefficients.sources[0].weight == 2.0


def test_every_field_is_in_the_definition():
    changed = registered_problem("cdr", {"coefficients": {"diffusion": 0.06}})
    assert definition_hash(changed.definition) != definition_hash(registered_problem("cdr").definition)
    assert options_of(changed)["coefficients"]["diffusion"] == 0.06
    assert "name" not in options_of(changed)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"setings": {}}, r"unknown option 'setings'; did you mean settings\? the known ones are .*coefficients, .*"),
        ({"name": "other"}, "unknown option 'name'"),
        ({"settings": {"stepz": 3}}, r"unknown option 'settings.stepz'; did you mean settings.steps\?"),
        ({"coefficients": {"sources": [{"z": 1}]}}, "unknown option 'coefficients.sources.0.z'"),
        ({"settings": {"steps": "many"}}, "option settings.steps: expected a valid integer.*; got 'many'"),
        ({"settings": {"steps": 80.5}}, "option settings.steps: expected a valid integer"),
        ({"settings": {"cells": 0}}, "option settings: expected cells >= 1, got 0"),
        ({"settings": 3}, "option settings: expected"),
        ({"settings": {"steps": 50}}, "^50 steps .* use steps = 60"),
    ],
)
def test_wrong_options_are_said(options, message):
    with pytest.raises(ValueError, match=message):
        registered_problem("cdr", options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"background_layer": {"thickness": 3}},
            "^option background_layer.conductivity: expected a value, there is none$",
        ),
        (
            {"background_layer": {"thickness": "a", "conductivity": 1}},
            "^option background_layer.thickness: .*; got 'a'",
        ),
        (
            {"background_layer": {"thickness": -1, "conductivity": 1}},
            "^option background_layer: expected a positive thick",
        ),
        ({"survey": {"electrodes": [[0, 0]]}}, "^option survey.measurements: expected a value, there is none$"),
        ({"survey": {"sources": [{"leaves": [0, 1]}]}}, "^option survey.sources.0.enters: expected a value"),
    ],
)
def test_options_of_one_of_several_classes_are_said_with_their_whole_path(options, message):
    with pytest.raises(UsageError, match=message):
        registered_problem("dcr", options)


class Scaled(Decay):
    def __init__(self, factor=1.0):
        self.factor = factor

    def evaluate(self, y):
        return self.factor * super().evaluate(y)


def test_arguments_of_a_factory_are_options_too():
    problem = load_problem(f"{__name__}:Scaled", {"factor": 2.0})
    y = np.array([[1.5, 0.5]])
    np.testing.assert_array_equal(problem.evaluate(y), 2 * Decay().evaluate(y))
    assert problem.definition["options"] == {"factor": 2.0}
    assert "options" not in load_problem(f"{__name__}:Scaled").definition
    with pytest.raises(ValueError, match=r"unknown option 'facto'; did you mean factor\?"):
        load_problem(f"{__name__}:Scaled", {"facto": 2.0})
    with pytest.raises(ValueError, match="Decay has no options"):
        load_problem("tests.pde_data.toy:Decay", {"factor": 2.0})


@dataclass(frozen=True)
class Built(PickledWithoutCaches):
    size: int = 3
    made: list = field(default_factory=list, init=False)

    @cached_property
    def solver(self):
        self.made.append(self.size)
        return lambda: self.size  # cannot be pickled


def test_a_pickle_leaves_the_solver_behind_and_makes_it_again():
    problem = make(Built, {"size": 5})
    assert problem.solver() == 5
    copy = pickle.loads(pickle.dumps(problem))
    assert "solver" not in vars(copy)
    assert copy == problem
    assert copy.solver() == 5
    assert copy.made == [5, 5]
    assert problem.solver() == 5
    assert problem.made == [5]


class Unpicklable(Scaled):
    def __init__(self, factor=1.0):
        super().__init__(factor)
        self.solver = lambda: None


def test_what_a_factory_made_is_pickled_as_the_factory():
    problem = load_problem(f"{__name__}:Unpicklable", {"factor": 3.0})
    copy = pickle.loads(pickle.dumps(problem))
    y = np.array([[1.5, 0.5]])
    np.testing.assert_array_equal(copy.evaluate(y), problem.evaluate(y))
    assert copy.definition == problem.definition


@pytest.mark.usefixtures("fenicsx")
def test_a_solved_problem_is_pickled_and_solves_the_same_bits():
    problem = registered_problem("cdr", {"settings": {"width": 4}})
    y = np.random.default_rng(0).dirichlet(np.full(55, 5.0), 4)
    solved = problem.solve(y)[0]
    copy = pickle.loads(pickle.dumps(problem))
    assert "_solver" not in vars(copy)
    np.testing.assert_array_equal(copy.solve(y)[0], solved)


@dataclass(frozen=True)
class _Named:
    names: tuple[str, ...] = ()


def test_a_list_is_asked_for_as_json():
    assert make(_Named, {"names": ["a", "b"]}).names == ("a", "b")
    with pytest.raises(ValueError, match=r"names: expected a list, in JSON such as .*; got 'a,b'"):
        make(_Named, {"names": "a,b"})


@dataclass(frozen=True)
class Stretched:
    factor: float
    shift: float = 0.0


@pytest.mark.parametrize(
    ("factory", "options", "missing"),
    [(json.loads, {}, "s"), (Stretched, {}, "factor"), (Stretched, {"shift": 1.0}, "factor")],
)
def test_options_that_are_missing_are_named(factory, options, missing):
    with pytest.raises(UsageError, match=rf"cannot be called without more options: missing .* argument: '{missing}'"):
        make(factory, options)
    assert make(Stretched, {"factor": 2}) == Stretched(2.0)
