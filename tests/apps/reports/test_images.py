"""Figures of observables that are images, and of sweeps: what is drawn is what was computed."""

from typing import ClassVar

import numpy as np
import pytest

from gnvpro.apps.comparison.comparison import Comparison, Interpolation
from gnvpro.apps.comparison.costs import Costs
from gnvpro.apps.comparison.sweeps import sweeps
from gnvpro.apps.reports import images
from gnvpro.surrogate.spaces import Axis, Space

GRID = Space(
    (Axis("difference", ("x1", "x2")), Axis("x1", (0.0, 0.1, 0.2, 0.3), "m"), Axis("x2", (0.0, 0.5, 1.0), "m")),
    units=("V/A",),
)
BACKGROUND = np.linspace(1.0, 2.0, GRID.size)


class Bumps:
    """Two parameters, two images; linear in the first."""

    training: ClassVar = {}
    parameters = Space.vector(["height", "where"], units=("m", "1"), lower=(0.5, -1.0), upper=(2.0, 1.0), law="uniform")
    observables = GRID

    def __init__(self, off=0.0):
        self.off = off

    def evaluate(self, y):
        height, where = y.T
        return BACKGROUND + (1 + self.off) * height[:, None] * np.exp(
            -((where[:, None] - np.linspace(-1, 1, GRID.size)) ** 2)
        )

    def solve(self, y):
        return self.evaluate(y), np.zeros(len(y), dtype=np.int8)


@pytest.fixture(scope="module")
def comparison():
    y = np.random.default_rng(0).uniform((0.5, -1.0), (2.0, 1.0), (9, 2))
    exact, wrong = Bumps(), Bumps(off=1e-3)
    return Comparison(
        problem="bumps",
        parameter_space=Bumps.parameters,
        observables=GRID,
        parameters=y,
        expected=exact.evaluate(y),
        predicted=wrong.evaluate(y),
        n_failed=0,
        estimated_error=None,
        costs=Costs(None, 1.0, 1.0, 1, 1e-3, 1e-3),
        n_generated=10,
        training_seconds=1.0,
        background=BACKGROUND,
        sweeps=tuple(sweeps(wrong, exact, BACKGROUND)),
        interpolation=Interpolation((3, 3), exact.evaluate(y) + 0.01 * (exact.evaluate(y) - BACKGROUND)),
    )


def test_errors_of_the_anomaly_are_not_hidden_by_the_background(comparison):
    numbers = comparison.numbers()
    assert numbers["surrogate_error_anomalous"]["mean"] == pytest.approx(1e-3)
    assert numbers["surrogate_error"]["mean"] < 7e-4
    assert numbers["interpolation"]["error_anomalous"]["max"] == pytest.approx(1e-2)
    assert numbers["interpolation"]["n_solves"] == 9


def test_images_show_solved_predicted_and_what_is_left(comparison):
    figure = images.images(comparison, 2)
    pictures = [axes for axes in figure.axes if axes.get_xlabel() or axes.get_title() or axes.get_ylabel()]
    titles = [axes.get_title() for axes in figure.axes if axes.get_title()]
    assert titles == ["observables, PDE", "anomaly, PDE", "anomaly, surrogate", "surrogate − PDE"]
    assert any("difference x2" in axes.get_ylabel() for axes in pictures)
    drawn = [axes.collections[0].get_array() for axes in figure.axes if axes.collections][:8]
    anomaly = (comparison.expected - BACKGROUND)[2].reshape(2, 4, 3)
    np.testing.assert_allclose(drawn[1], np.log10(np.abs(anomaly[0])).T)
    np.testing.assert_allclose(drawn[7], np.log10(1e-3 * np.abs(anomaly[1])).T, atol=1e-9)


def test_error_images_are_relative_to_the_anomaly(comparison):
    figure = images.error_images(comparison)
    drawn = np.concatenate([axes.collections[0].get_array().T.ravel() for axes in figure.axes[:2]])
    anomaly = comparison.anomalous
    expected = 1e-3 * np.sqrt((anomaly**2).mean(axis=0)) / np.sqrt((anomaly**2).mean())
    np.testing.assert_allclose(drawn, np.log10(expected), atol=1e-9)


def test_sweeps_go_through_the_middle(comparison):
    height, where = comparison.sweeps
    assert (height.name, height.unit) == ("height", "m")
    np.testing.assert_allclose(height.expected, Bumps().evaluate(np.stack([height.solved_at, np.zeros(9)], axis=1)))
    assert where.error == pytest.approx(1e-3)
    figure = images.sweep_curves(comparison)
    assert [axes.get_xlabel() for axes in figure.axes] == ["height (m)", "where"]


def test_many_parameters_or_a_simplex_are_not_swept():
    wide = Bumps()
    wide.parameters = Space.vector([f"p{j}" for j in range(6)], lower=(0.0,) * 6, upper=(1.0,) * 6, law="uniform")
    assert sweeps(wide, wide, None) == []
    wide.parameters = Space.vector(["a", "b"], lower=(0.0,) * 2, upper=(1.0,) * 2, constraint="simplex")
    assert sweeps(wide, wide, None) == []


@pytest.mark.parametrize(
    ("space", "expected"),
    [
        (GRID, True),
        (Space((Axis("time", (0.0, 1.0)), Axis("sensor", (1.0, 2.0)))), False),
        (Space((Axis("source", ("a",)), Axis("receiver", ("b",)), Axis("time", (0.0, 1.0)))), False),
    ],
)
def test_which_observables_are_images(space, expected):
    assert images.are_images(space) is expected
