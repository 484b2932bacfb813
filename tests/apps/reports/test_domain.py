"""The picture of a problem's domain shows its shapes where they are, and its sensors by their values."""

from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib.collections import PathCollection

from gnvpro.apps.reports.domain import domain, views_at
from gnvpro.apps.reports.narrow import narrowed
from gnvpro.surrogate.spaces import Axis, Space

SPACE = Space((Axis("time", (1.0, 2.0)), Axis("sensor", ("a", "b", "c"))), units=("mg/m3",))
VALUES = np.array([1.0, 1.0, 1.5, 0.0, 4.0, 8.0])
PLACES = np.array([[0.1, 0.2], [0.5, 0.6], [0.9, 0.4]])


def shape(kind, points, label, observables=None, labels=()):
    return SimpleNamespace(
        kind=kind, points=np.asarray(points, float), label=label, observables=observables, labels=labels
    )


@pytest.fixture
def views():
    """A square with sensors, and a section that is wider than high."""
    square = shape("line", [[0, 0], [1, 0], [1, 1], [0, 1], [0, 0]], "the domain")
    sensors = shape("sensors", PLACES, "sensors", np.arange(6).reshape(2, 3).T, ("time 1", "time 2"))
    body = shape("area", [[1, -1], [2, -1], [2, -2]], "the body")
    electrodes = shape("markers", [[0, 0], [4, 0]], "electrodes")
    above = SimpleNamespace(title="above", axes=("x (m)", "y (m)"), ends=((0, 1), (0, 1)), shapes=(square, sensors))
    below = SimpleNamespace(title="below", axes=("x (m)", "z (m)"), ends=((0, 4), (-2, 0)), shapes=(body, electrodes))
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


def test_a_problem_without_a_scene_has_no_views():
    assert views_at(SimpleNamespace(name="p"), np.zeros(2)) == ()
    assert views_at(None, np.zeros(2)) == ()
    seen = SimpleNamespace(scene=lambda y: [("view", y[0])])
    assert views_at(seen, np.array([3.0])) == (("view", 3.0),)
