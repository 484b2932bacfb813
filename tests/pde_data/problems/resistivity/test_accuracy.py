"""Both routes against the boundary elements."""

import numpy as np
import pytest

from gnvpro.pde_data.problems.accuracy import estimated_error
from gnvpro.pde_data.problems.resistivity.boundary_elements import reference
from gnvpro.pde_data.problems.resistivity.boundary_elements.reference import BoundaryElements
from gnvpro.pde_data.problems.resistivity.buried_body import BuriedBody
from gnvpro.pde_data.problems.resistivity.problem import Resistivity
from gnvpro.pde_data.problems.resistivity.reference_solver import PlainResistivity
from gnvpro.pde_data.problems.resistivity.surveys.survey import ReceiverPairs, Source, Survey
from gnvpro.pde_data.sampling import draw

pytestmark = pytest.mark.usefixtures("fenicsx")

# A body at either end of the range, the shallow and large one last: there the mesh is worst.
ENDS = np.array([[0.75, 0.0283, 1.2], [0.45, 0.226, 0.3]])


def anomalous_error(problem, y):
    return estimated_error(problem, y, problem.evaluate(y))["anomalous"]


@pytest.mark.parametrize(
    ("mesh", "mean", "worst"), [("coarse", 1.1e-3, 2.5e-3), pytest.param("fine", 3e-4, 7e-4, marks=pytest.mark.long)]
)
def test_error_of_the_meshes(mesh, mean, worst):
    problem = Resistivity(mesh=mesh)
    y = np.concatenate([draw(problem.parameters, 2, np.arange(4)), ENDS])
    error = anomalous_error(problem, y)
    assert error["mean"] < mean
    assert error["max"] < worst


@pytest.mark.parametrize(
    "options",
    [
        {"body_conductivity": 0.1},
        {"background_conductivity": 0.02, "body_conductivity": 1.0},
        pytest.param({"semi_axis_ratio": (1.0, 1.0, 1.0), "volume": (0.03, 0.12)}, marks=pytest.mark.long),
        {"semi_axis_ratio": (1.6, 1.2, 0.7), "volume": (0.03, 0.12)},
        pytest.param({"depth": (4.5, 7.5), "volume": (28.3, 90.0)}, marks=pytest.mark.long),
    ],
    ids=["resistive body", "conductive body", "sphere", "three axes", "ten times as large"],
)
def test_error_of_other_bodies(options):
    problem = Resistivity(**options)
    assert anomalous_error(problem, draw(problem.parameters, 2, np.arange(3)))["max"] < 5e-3


@pytest.mark.exhaustive
def test_error_of_another_survey():
    survey = Survey(
        (Source((-1.0, 0.6), (1.0, -0.2)), Source((0.3, 0.2))),
        ReceiverPairs((((0.0, 0.0), (0.0, 0.5)), ((0.7, 0.1), (0.2, -0.6)), ((-0.4, 0.8), (0.9, 0.9)))),
    )
    problem = Resistivity(survey)
    assert anomalous_error(problem, draw(problem.parameters, 2, np.arange(3)))["max"] < 5e-3


@pytest.mark.long
def test_refinement_quarters_the_error_at_least():
    """From 6,140 to 16,084 nodes: a factor of 1.38 in the mesh width, 3.6 for a method of fourth order."""
    y = draw(Resistivity().parameters, 3, np.arange(4))
    coarse, fine = (anomalous_error(Resistivity(mesh=mesh), y)["mean"] for mesh in ("coarse", "fine"))
    assert coarse > 3.6 * fine


def test_derivatives_are_those_of_the_equation():
    """Against differences of the boundary elements, which are exact enough for a small step."""
    problem = Resistivity(azimuth=(0.0, 1.5), mesh="fine")
    y, steps = np.array([[0.6, 0.09, 0.5]]), np.diag([1e-3, 2e-4, 1e-3])
    (reference,) = problem.references().values()
    for j, step in enumerate(steps):
        difference = (reference(y + step) - reference(y - step)) / (2 * step[j])
        error = np.linalg.norm(problem.jacobian(y)[..., j] - difference) / np.linalg.norm(difference)
        assert error < 1e-3


class TestPlainRoute:
    @pytest.mark.long
    def test_error_falls_with_the_cells(self):
        y = np.array([[0.65, 0.15, 0.0]])
        coarse, fine = (anomalous_error(PlainResistivity(h=h), y)["mean"] for h in (0.25, 0.1))
        assert fine < 0.5
        assert fine < 0.8 * coarse

    def test_no_contrast_no_anomaly(self):
        plain = PlainResistivity(BuriedBody(body_conductivity=1.0), 0.25)
        found = plain.evaluate(ENDS[:1])
        np.testing.assert_allclose(found[0], plain.background, atol=1e-12)

    def test_outside_the_space_is_not_solved(self):
        assert np.isnan(PlainResistivity(h=0.25).evaluate(np.array([[0.1, 0.1, 0.1]]))).all()

    def test_is_what_the_problem_offers(self):
        plain = Resistivity(body_conductivity=0.1).plain_route()
        assert isinstance(plain, PlainResistivity)
        assert plain.body.body_conductivity == 0.1


@pytest.mark.exhaustive
def test_boundary_elements_of_the_degree_that_is_needed(monkeypatch):
    assert BoundaryElements(BuriedBody()).oracle.degree == 13
    right_above = BuriedBody(Survey((Source((0.5, 0.0)),)))
    assert BoundaryElements(right_above).oracle.degree > 13, "current enters right above the body"
    monkeypatch.setattr(reference, "_ERROR", 1e-13)
    monkeypatch.setattr(reference, "_DEGREES", (4, 6))
    with pytest.raises(ArithmeticError, match="too long, or too near an electrode"):
        estimated_error(Resistivity(), ENDS, np.ones((2, 882)))
