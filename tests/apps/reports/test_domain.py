"""The picture of a problem's domain shows its shapes where they are, and its sensors by their values."""

import numpy as np
import pytest
from matplotlib.collections import PathCollection

from gnvpro.apps.reports.domain import domain
from gnvpro.apps.reports.narrow import narrowed
from gnvpro.pde_data.problems.scene import Shape, View
from gnvpro.surrogate.spaces import Axis, Space

SPACE = Space((Axis("time", (1.0, 2.0)), Axis("sensor", ("a", "b", "c"))), units=("mg/m3",))
VALUES = np.array([1.0, 1.0, 1.5, 0.0, 4.0, 8.0])
PLACES = np.array([[0.1, 0.2], [0.5, 0.6], [0.9, 0.4]])


def shape(kind, points, label, observables=None, labels=()):
    return Shape(kind, np.asarray(points, float), label, observables, labels)


@pytest.fixture
def views():
    """A square with sensors, and a section that is wider than high."""
    square = shape("line", [[0, 0], [1, 0], [1, 1], [0, 1], [0, 0]], "the domain")
    sensors = shape("sensors", PLACES, "sensors", np.arange(6).reshape(2, 3).T, ("time 1", "time 2"))
    body = shape("area", [[1, -1], [2, -1], [2, -2]], "the body")
    electrodes = shape("markers", [[0, 0], [4, 0]], "electrodes")
    above = View("above", ("x (m)", "y (m)"), ((0, 1), (0, 1)), (square, sensors))
    below = View("below", ("x (m)", "z (m)"), ((0, 4), (-2, 0)), (body, electrodes))
    return above, below


def test_sensors_stand_at_their_places_in_colours_of_the_time_that_differs_most(views):
    figure = domain(views, SPACE, VALUES)
    (dots,) = [one for one in figure.axes[0].collections if isinstance(one, PathCollection)]
    np.testing.assert_array_equal(dots.get_offsets(), PLACES)
    np.testing.assert_array_equal(dots.get_array(), VALUES[3:])
    assert dots.get_clim() == (0.0, 8.0)
    labels = [axes.get_ylabel() for axes in figure.axes]
    assert "observable, time 2 (mg/m³)" in labels


def test_views_have_their_ends_equal_scales_and_a_legend_of_everything(views):
    figure = domain(views, SPACE, VALUES)
    for axes, view in zip(figure.axes, views, strict=False):
        assert (axes.get_xlim(), axes.get_ylim()) == view.ends
        assert axes.get_aspect() == 1
        assert (axes.get_xlabel(), axes.get_ylabel()) == view.axes
    named = [text.get_text() for text in figure.legends[0].get_texts()]
    assert sorted(named) == ["electrodes", "sensors", "the body", "the domain"]


def test_on_a_phone_views_are_below_one_another(views):
    figure = domain(views, SPACE, VALUES)
    assert narrowed(figure)
    figure.draw_without_rendering()
    above, below = (axes.get_position() for axes in figure.axes[:2])
    assert below.y1 < above.y0
    assert figure.get_figwidth() < 5
