"""The scale of pictures, and how much parameters matter."""

import numpy as np
import pytest

from gnvpro.apps.serving.page.page import page_routes
from gnvpro.apps.serving.page.scale import Range, Scale
from gnvpro.surrogate.admissible import admissible_points
from tests.apps.serving.page.page_models import BOX, CURVES, MIXTURE, Smooth, models, serving
from tests.apps.serving.page.test_page import Held, ask


def test_scales_keep_signs_and_tell_decades():
    assert Scale.of(np.linspace(1, 5, 9)) == Scale("linear", 1.0, 5.0)
    assert Scale.of(np.linspace(-5, 5, 9)).kind == "linear"
    decades = np.geomspace(1e-4, 1, 9)
    assert Scale.of(decades) == Scale("log", pytest.approx(1e-4), 1.0)
    assert Scale.of(np.concatenate([decades, -decades / 2])) == Scale("symlog", -0.5, 1.0)
    assert Scale.of(np.concatenate([decades, [-1e-9]])).kind == "log"  # rounding is no sign
    assert Scale.of(np.array([np.nan, 2.0, 3.0])) == Scale("linear", 2.0, 3.0)
    assert Scale.of(np.full(3, np.nan)) == Scale("linear", 0.0, 1.0)
    assert Scale.of(np.zeros(3)) == Scale("linear", 0.0, 0.0)


def test_the_scale_is_of_the_anomaly_where_there_is_a_background():
    model = models()["images"]
    y = admissible_points(model.parameters, 48, 0)
    anomaly = model.evaluate(y) - model.background
    found = Range(model).scale
    assert (found.low, found.high) == (pytest.approx(anomaly.min()), pytest.approx(anomaly.max()))
    with serving(page_routes(models(), {})) as address:
        _, answered = ask(address, "/page/scale", {"model": "images"})
    assert answered["scale"] == {"kind": found.kind, "low": found.low, "high": found.high}


def central(model, y, j, spread, h=1e-5):
    """Of the observables when the slider of parameter j moves by its spread: the others of a simplex make room."""
    ends = []
    for sign in (1, -1):
        moved = y.copy()
        moved[j] += sign * h
        if model.parameters.simplexes:
            others = np.arange(len(y)) != j
            moved[others] *= (1 - moved[j]) / (1 - y[j])
        ends.append(model.evaluate(moved[None])[0])
    return np.sqrt(np.mean((spread * (ends[0] - ends[1]) / (2 * h)) ** 2))


@pytest.mark.parametrize("space", [BOX, MIXTURE], ids=["box", "simplex"])
@pytest.mark.parametrize("lacking", [(), ("jvp",), ("vjp",), ("jvp", "vjp")], ids=str)
def test_what_matters_is_how_far_the_observables_go_whatever_derivatives_there_are(space, lacking):
    class Some(Smooth):
        pass

    for name in lacking:
        setattr(Some, name, None)
    model, y = Some(space, CURVES, 0.7), admissible_points(space, 3, 1)[2]
    spread = admissible_points(space, 512, 0).std(axis=0)
    expected = [central(model, y, j, spread[j]) for j in range(space.size)]
    np.testing.assert_allclose(Range(model).matters(y), expected, rtol=1e-5)


def test_a_pde_is_not_asked_for_either():
    held = Held()
    with serving(page_routes({"line": held}, {"line": held})) as address:
        assert ask(address, "/page/scale", {"model": "line"}) == (200, {"scale": None})
        assert ask(address, "/page/matters", {"model": "line", "parameters": [0.5, 1.5]}) == (200, {"matters": None})
    assert held.threads == set()
