"""What is wrong with a scene of the user is one warning, and costs nothing else."""

import warnings
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from gnvpro.pde_data.problems.scene import Shape, View, views_by, views_of

Y = np.array([3.0])
POINTS = np.array([[0.0, 0.0], [1.0, 1.0]])


def view(*shapes, ends=((0, 1), (0, 2)), axes=("x", "y")):
    return View("plate", axes, ends, shapes)


def test_a_problem_shows_what_its_scene_returns_or_nothing():
    assert views_of(SimpleNamespace(name="p"), Y) == ()
    assert views_of(None, Y) == ()
    seen = SimpleNamespace(
        scene=lambda y: [view(Shape("points", np.array([[y[0], 1]]), "p"))], observables=SimpleNamespace(size=2)
    )
    (shown,) = views_of(seen, Y)
    assert shown.ends == ((0.0, 1.0), (0.0, 2.0))
    np.testing.assert_array_equal(shown.shapes[0].points, [[3.0, 1.0]])


@pytest.mark.parametrize(
    ("returned", "said"),
    [
        (None, "TypeError"),
        ([("plate", 3)], "expected views"),
        ([view(ends=((0, 1), (2, 2)))], "expected as ends two pairs"),
        ([view(ends=((0, np.inf), (0, 2)))], "expected as ends two pairs"),
        ([view(axes=("x",))], "expected the names of two axes"),
        ([view("a body")], "expected shapes"),
        ([view(Shape(cast(Any, "circle"), POINTS))], "expected a kind of area"),
        ([view(Shape("line", np.arange(3.0)))], "expected points"),
        ([view(Shape("sensors", POINTS, "s", np.array([0, 1])))], "expected observables as integers"),
        ([view(Shape("sensors", POINTS, "s", np.array([[0], [4]])))], "below 4, got 0 to 4"),
        ([view(Shape("sensors", POINTS, "s", np.array([[0], [3]]), ("a", "b")))], "expected 1 labels or none, got 2"),
    ],
)
def test_a_wrong_scene_is_a_warning_that_is_told_once(returned, said):
    def scene(y):
        return returned

    with pytest.warns(UserWarning, match=f"the domain is not shown, .*{said}"):
        assert views_by(scene, Y, 4) == ()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert views_by(scene, Y, 4) == ()


def test_a_scene_that_raises_is_told_once_for_all_objects_of_its_class():
    class Plate:
        def scene(self, y):
            raise RuntimeError("my scene is broken")

    with pytest.warns(UserWarning, match="RuntimeError: my scene is broken"):
        assert views_of(Plate(), Y) == ()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert views_of(Plate(), Y) == ()
