"""What a point outside gets: the nearest point at which a model answers, NaN, or an error."""

import numpy as np
import pytest
from scipy.optimize import LinearConstraint, minimize

from gnvpro.apps.serving.bounds import Bounds
from gnvpro.apps.serving.serve import serve_model
from gnvpro.apps.serving.served import Otherwise
from gnvpro.apps.serving.server import make_app
from gnvpro.surrogate.laws import Choices, Dirichlet, Integers, Lognormal, Uniform
from gnvpro.surrogate.spaces import Space
from tests.apps.serving.test_requests import FULL, Talk

RNG = np.random.default_rng(0)


class Nothing:
    """A model of which the server looks at the parameters alone."""

    def __init__(self, space):
        self.parameters = self.observables = space


def bounds_of(laws):
    return Bounds.of(Nothing(Space.of_laws(laws)))


def test_the_nearest_point_of_a_simplex_is_that_of_a_solver_of_quadratic_problems():
    bounds = bounds_of({("sand", "silt", "clay", "gravel"): Dirichlet((1.0, 2.0, 1.0, 1.0)), "depth": Uniform(0, 2)})
    for _ in range(5):
        point = np.append(RNG.normal(0.3, 0.5, 4), 3.0)
        found = bounds.nearest(point).point
        assert bounds.violations(found) == []
        solved = minimize(
            lambda y, point=point: ((y - point[:4]) ** 2).sum(),
            np.full(4, 0.25),
            jac=lambda y, point=point: 2 * (y - point[:4]),
            bounds=[(0, 1)] * 4,
            constraints=LinearConstraint(np.ones(4), 1, 1),
            options={"ftol": 1e-14},
        )
        np.testing.assert_allclose(found, [*solved.x, 2.0], atol=1e-5)


def test_single_values_and_open_bounds_have_nearest_points_too():
    bounds = bounds_of({"n": Integers(1, 5), "phase": Choices((0.5, 2.0, 7.0)), "k": Lognormal(0, 1)})
    nearest = bounds.nearest(np.array([9.0, 3.9, -1.0])).point
    np.testing.assert_array_equal(nearest[:2], [5.0, 2.0])
    assert 0 < nearest[2] < 1e-300
    assert bounds.violations(nearest) == []


def test_how_the_nearest_point_moves_is_its_derivative():
    bounds = bounds_of({("a", "b", "c"): Dirichlet((1.0, 1.0, 1.0)), "x": Uniform(0, 1), "y": Uniform(0, 1)})
    point, direction = np.array([0.9, 0.4, -0.7, 1.5, 0.5]), RNG.standard_normal(5)
    nearest, h = bounds.nearest(point), 1e-6
    moved = (bounds.nearest(point + h * direction).point - bounds.nearest(point - h * direction).point) / (2 * h)
    np.testing.assert_allclose(nearest.along(direction), moved, atol=1e-8)
    assert np.abs(moved).max() > 0.1


@pytest.fixture
def served(surrogate):
    talks = []

    def serve(policy):
        talks.append(Talk(make_app({"smooth": serve_model("smooth", surrogate, False, Otherwise(policy))})))
        return talks[-1]

    yield serve
    for talk in talks:
        talk.close()


OUTSIDE = FULL | {"input": [[0.2, 3.0, -0.4]], "sens": [1.0, -2, 3, 0, 0, 0, 1], "vec": [0.3, -0.5, 0.2]}
CLIPPED = OUTSIDE | {"input": [[0.2, 1.0, -0.4]]}


def test_clip_answers_as_the_model_after_the_map_to_the_nearest_point(served):
    talk = served("clip")
    status, answer = talk.post("/Evaluate", OUTSIDE)
    assert (status, answer["outside"]) == (200, "y1 = 3, expected -1 to 1")
    at_bound = {operation: talk.post(f"/{operation}", CLIPPED)[1]["output"] for operation in ("Evaluate", "Gradient")}
    assert answer["output"] == at_bound["Evaluate"]
    gradient = talk.post("/Gradient", OUTSIDE)[1]["output"]
    assert gradient == [at_bound["Gradient"][0], 0.0, at_bound["Gradient"][2]]
    change = talk.post("/ApplyJacobian", OUTSIDE)[1]["output"]
    assert np.dot(change, OUTSIDE["sens"]) == pytest.approx(np.dot(gradient, OUTSIDE["vec"]))
    hessian = talk.post("/ApplyHessian", OUTSIDE)[1]["output"]
    along = CLIPPED | {"vec": [0.3, 0.0, 0.2]}
    expected = talk.post("/ApplyHessian", along)[1]["output"]
    np.testing.assert_allclose(hessian, [expected[0], 0, expected[2]], rtol=1e-12)


def test_nan_answers_as_many_nans_as_there_are_results(served):
    talk = served("nan")
    for operation, size in (("Evaluate", 7), ("Gradient", 3), ("ApplyJacobian", 7), ("ApplyHessian", 3)):
        status, answer = talk.post(f"/{operation}", OUTSIDE)
        assert status == 200
        assert np.isnan(np.ravel(answer["output"])).sum() == size
    assert talk.request("GET", "/health")[1]["outside"] == 4
    assert "outside" not in talk.post("/Evaluate", FULL)[1]


def test_mistakes_of_another_kind_are_errors_whatever_the_policy(served):
    talk = served("nan")
    assert talk.post("/Evaluate", OUTSIDE | {"input": [[0.0, 3.0]]})[0] == 400
    assert talk.post("/Evaluate", OUTSIDE | {"config": {"trust": 7}})[0] == 400
