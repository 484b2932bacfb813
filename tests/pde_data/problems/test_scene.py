"""What problems show of their domains: the body where its parameters put it, and the sensors with what they measure."""

import numpy as np
import pytest

from gnvpro.pde_data.problems.convection.problem import ConvectionDiffusionReaction
from gnvpro.pde_data.problems.resistivity.ground.layered import Layer
from gnvpro.pde_data.problems.resistivity.problem import Resistivity
from gnvpro.pde_data.problems.resistivity.scene import in_section
from gnvpro.surrogate.draws import draw

PROBLEMS = {
    "default": Resistivity(),
    "wide": Resistivity(semi_axis_ratio=(1.0, 2.0, 1.0)),
    "moving": Resistivity(centre=((-0.5, 0.5), 0.2), volume=(0.01, 0.02), background_layer=Layer(0.2, 0.5)),
}


def shapes(view, kind, label=""):
    return [shape for shape in view.shapes if shape.kind == kind and shape.label.startswith(label)]


@pytest.mark.parametrize("name", PROBLEMS)
def test_both_outlines_are_on_the_ellipsoid(name):
    problem = PROBLEMS[name]
    for y in draw(problem.parameters, 0, range(4)):
        above, section = problem.scene(y)
        body = problem.placed(y)
        a, b, c = body.size * np.array(problem.semi_axis_ratio)
        x1, x2 = np.array([(np.cos(body.azimuth), np.sin(body.azimuth)), (-np.sin(body.azimuth), np.cos(body.azimuth))])
        (outline,) = shapes(above, "area")
        off = outline.points - body.centre
        np.testing.assert_allclose((off @ x1 / a) ** 2 + (off @ x2 / b) ** 2, 1, rtol=1e-12)
        (cut,) = shapes(section, "area")
        # Along its longest axis.
        np.testing.assert_allclose((cut.points[:, 0] / max(a, b)) ** 2 + ((cut.points[:, 1] + body.depth) / c) ** 2, 1)
        (line,) = shapes(above, "line")
        np.testing.assert_allclose(line.points.mean(axis=0), body.centre, atol=1e-12)
        for view in (above, section):  # nothing of the body is cut off
            (low, high), (bottom, top) = view.ends
            for points in (shapes(view, "area")[0].points, *(shape.points for shape in shapes(view, "markers"))):
                assert ((points >= (low, bottom)) & (points <= (high, top))).all()


def test_the_views_stay_where_they_are_while_the_body_moves():
    problem = PROBLEMS["moving"]
    one, other = (problem.scene(y) for y in draw(problem.parameters, 0, range(2)))
    assert [view.ends for view in one] == [view.ends for view in other]
    assert len(shapes(one[1], "line", "the layer's bottom")) == 1


def test_sensors_have_the_observables_that_they_measure():
    problem = ConvectionDiffusionReaction()
    (view,) = problem.scene(np.full(problem.parameters.size, 1 / problem.parameters.size))
    (sensors,) = shapes(view, "sensors")
    np.testing.assert_array_equal(sensors.points, problem.coefficients.sensors)
    for sensor, places in enumerate(sensors.observables):
        expected = [f"{label}, sensor {sensor}" for label in sensors.labels]
        assert [problem.observables.names[place] for place in places] == expected


def test_electrodes_near_the_section_stand_in_it():
    along, across = np.array([0.6, 0.8]), np.array([-0.8, 0.6])
    origin = np.array([1.0, 2.0])
    far = [(0.5, 0.05), (-0.9, -0.05), (0.5, 0.09), (1.1, 0.0), (1.0, 0.0)]  # along the plane and off it
    positions = np.array([origin + s * along + d * across for s, d in far])
    found = in_section(positions, origin, np.arctan2(0.8, 0.6), (-1.0, 1.05), 1.0)
    np.testing.assert_allclose(found, [(0.5, 0), (-0.9, 0), (1.0, 0)], atol=1e-12)
