"""Directions of models whose derivatives are known, Poincaré's bound, and what has no derivatives."""

import numpy as np
import pytest

import gnvpro
from gnvpro.apps.sensitivity.report import headlines, table_rows
from gnvpro.surrogate.laws import Choices, Dirichlet, Integers, JointNormal, Normal, Uniform
from gnvpro.surrogate.spaces import Space
from tests.apps.sensitivity.models import Differentiable, Model, box, found_of, linear

NORMAL = Space.of_laws({f"y{j}": Normal(0.0, 1.0 + j) for j in range(3)})


def test_of_a_linear_model_of_normal_parameters_eigenvalues_and_directions_are_exact():
    """C = D A' A D with the deviations D, constant, and its trace is the variance."""
    matrix = np.array([[1.0, 0.5, 0.0], [0.0, 1.0, 1.0]])
    found = gnvpro.sensitivity(linear(NORMAL, matrix), points=4096, force=True)
    scaled = matrix * np.array([1.0, 2.0, 3.0])
    values, vectors = np.linalg.eigh(scaled.T @ scaled)
    directions = found.directions
    variance = found.standard_deviation[0] ** 2
    scale = found.groups.scale[0] ** 2  # one unit, one scale
    np.testing.assert_allclose(directions.eigenvalues * variance * scale, values[::-1], atol=1e-9)
    np.testing.assert_allclose(np.abs((directions.vectors @ vectors[:, ::-1])[:2, :2]), np.eye(2), atol=1e-9)
    np.testing.assert_allclose(directions.lower, directions.eigenvalues, rtol=1e-6, atol=1e-12)
    np.testing.assert_allclose(directions.bounds, found.leading.estimate[0], atol=0.02)
    assert directions.remainders[2] == pytest.approx(0, abs=1e-9)
    assert "beyond it at most 0 %" in dict(found.rows())["direction 2"]


@pytest.mark.parametrize("way", ["forward", "backward"])
def test_derivatives_are_taken_forwards_and_backwards_alike(way):
    class Backward(Model):
        def vjp(self, y, dc):
            return np.stack([2 * dc[:, 0] * y[:, 0], dc[:, 0]], 1)

    kind = Differentiable if way == "forward" else Backward
    found = gnvpro.sensitivity(kind(box(2), Space.vector(["c"]), lambda y: y[:, 0] ** 2 + y[:, 1]), points=1024)
    # Uniform in [-1, 1] is 2 Phi(z) - 1, whose squared derivative has the mean 4 E[phi²] = 2 / (pi sqrt 3).
    mean = found.standard_deviation[0] ** 2
    expected = 2 / (np.pi * np.sqrt(3)) / mean
    bound = dict(zip(found.directions.names, found.directions.bounds, strict=True))["y1"]
    assert bound == pytest.approx(expected / found.groups.scale[0] ** 2, rel=0.02)


def test_poincares_bounds_are_above_total_indices_and_the_variance_outside_directions():
    def evaluate(y):
        return np.sin(2 * y[:, 0] + y[:, 1]) + 0.3 * y[:, 2] ** 3

    found = gnvpro.sensitivity(Differentiable(NORMAL, Space.vector(["c"]), evaluate), points=4096, force=True)
    assert (found.directions.bounds_upper >= found.shares["total"].estimate[0] - 0.01).all()
    assert (np.diff(found.directions.remainders) <= 0).all()
    assert (found.directions.eigenvalues >= found.directions.lower).all()
    assert (found.directions.eigenvalues <= found.directions.upper).all()


def test_parameters_with_single_values_have_no_directions_and_models_without_derivatives_none():
    space = Space.of_laws({"a": Normal(0.0, 1.0), "b": Choices((0.0, 1.0))})
    found = gnvpro.sensitivity(linear(space, np.array([[1.0, 1.0]])), points=256)
    assert found.directions.names == ("a",)
    plain = gnvpro.sensitivity(Model(box(2), Space.vector(["c"]), lambda y: y.sum(1)), points=256)
    assert plain.directions is None
    assert plain.numbers()["directions"] is None
    assert found_of(linear(space, np.ones((1, 2)))).names == ["a", "b"]


def test_what_is_beyond_directions_is_told_besides_what_has_single_values():
    """x + 3 k: what is no function of x is nearly all of the variance, and k's."""
    space = Space.of_laws({"x": Uniform(-1.0, 1.0), "k": Integers(0, 5)})
    found = gnvpro.sensitivity(linear(space, np.array([[1.0, 3.0]])), points=256)
    assert found.shares["total"].estimate[0, 1] > 0.98
    assert found.directions.single == ("k",)
    assert dict(found.rows())["direction 1"] == "1.00 x; beyond it and what k does at most 0 % of the variance"
    assert "beyond which and what k does" in dict(headlines(found))["0"]
    given = found.numbers()["directions"]
    assert given["variance_outside_these_and_single_valued_at_most"][1] == 0
    assert given["single_valued"] == ["k"]


def test_parameters_of_a_joint_law_have_no_bounds_of_their_own():
    """The model is b + x / 2; nearly all of b is the first variable behind (a, b), which is no parameter."""
    law = JointNormal((0.0, 0.0), ((1.0, 0.95), (0.95, 1.0)))
    space = Space.of_laws({("a", "b"): law, "x": Uniform(-1.0, 1.0)})
    found = gnvpro.sensitivity(linear(space, np.array([[0.0, 1.0, 0.5]])), points=1024)
    assert found.directions.names == ("normal variable 1 of (a, b)", "normal variable 2 of (a, b)", "x")
    bounds = found.numbers()["directions"]["total_index_at_most"]
    assert bounds["estimate"][:2] == bounds["lower"][:2] == bounds["upper"][:2] == [None, None]
    exact = (1 / 12) / (1 + 1 / 12)
    assert exact <= bounds["estimate"][2] < 1.2 * exact
    assert {row["name"]: row["bound"] for row in table_rows(found)}["b"] == "–"
    assert "0.30 normal variable 2 of (a, b)" in dict(found.rows())["direction 1"]
    shares = Space.of_laws({("a", "b"): Dirichlet((1.0, 3.0))})
    of_sum = gnvpro.sensitivity(linear(shares, np.array([[1.0, 0.0]])), points=256)
    assert of_sum.directions.names == ("part behind a", "part behind b")
    assert np.isnan(of_sum.directions.bounds).all()
    apart = Space.of_laws({("a", "b"): JointNormal((0.0, 0.0), ((1.0, 0.0), (0.0, 4.0)))})
    alone = gnvpro.sensitivity(linear(apart, np.ones((1, 2))), points=1024)
    assert alone.directions.names == ("a", "b")
    assert np.isfinite(alone.directions.bounds).all()
