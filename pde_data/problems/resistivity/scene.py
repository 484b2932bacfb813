"""The buried body with its survey: outlines from above and in a vertical section, and both as views."""

from __future__ import annotations

import numpy as np

from gnvpro.pde_data.problems.resistivity.buried_body import BuriedBody
from gnvpro.pde_data.problems.scene import Kind, Shape, View
from gnvpro.surrogate.spaces import Array

_ANGLES = np.linspace(0, 2 * np.pi, 121)
_CIRCLE = np.stack([np.cos(_ANGLES), np.sin(_ANGLES)], axis=1)
# Beyond the largest body, in its semi-axes.
_MARGIN = 1.3
# Electrodes this near the plane of the section, in units of its half width, count as standing in it.
_NEAR = 0.08


def outline_from_above(problem: BuriedBody, parameters: Array) -> Array:
    """The body of these parameters seen from above: positions (n, 2) in m."""
    body = problem.placed(parameters)
    a, b, _ = body.size * np.array(problem.semi_axis_ratio)
    cosine, sine = np.cos(body.azimuth), np.sin(body.azimuth)
    return (_CIRCLE * (a, b)) @ np.array([[cosine, -sine], [sine, cosine]]).T + body.centre


def outline_in_section(
    problem: BuriedBody, parameters: Array, direction: float, origin: tuple[float, float] = (0.0, 0.0)
) -> Array:
    """The body where the vertical plane through its centre at an angle (rad) from x1 cuts it: (n, 2) in m.

    First the distance from `origin` along the plane, then x3.
    """
    body = problem.placed(parameters)
    a, b, c = body.size * np.array(problem.semi_axis_ratio)
    half = 1 / np.hypot(np.cos(direction - body.azimuth) / a, np.sin(direction - body.azimuth) / b)
    along = np.array([np.cos(direction), np.sin(direction)]) @ np.subtract(body.centre, origin)
    return _CIRCLE * (half, c) + (along, -body.depth)


def longest_axis(problem: BuriedBody, parameters: Array) -> float:
    """The direction of the longer horizontal axis, an angle in rad from x1."""
    return problem.placed(parameters).azimuth + (
        0.0 if problem.semi_axis_ratio[0] >= problem.semi_axis_ratio[1] else np.pi / 2
    )


def in_section(positions: Array, origin: Array, direction: float, ends: tuple[float, float], half: float) -> Array:
    """Electrodes (n, 2) that stand near the vertical plane through `origin` at an angle (rad) from x1, between its ends.

    Positions (k, 2) in it, on the surface; near are those whose distance is small beside `half`, its half width.
    """
    along = np.array([np.cos(direction), np.sin(direction)])
    place, off = (positions - origin) @ along, (positions - origin) @ (-along[1], along[0])
    kept = place[(np.abs(off) < _NEAR * half) & (place >= ends[0]) & (place <= ends[1])]
    return np.stack([kept, np.zeros(len(kept))], axis=1)


def views_of(problem: BuriedBody, parameters: Array) -> tuple[View, View]:
    """From above, and in the vertical section through the centre along the axis that the body is longest in."""
    receivers, sources = problem.survey.potential_electrodes, problem.survey.current_electrodes
    body, direction = problem.placed(parameters), longest_axis(problem, parameters)
    along = np.array([np.cos(direction), np.sin(direction)])
    largest = problem.size(problem.volume[1])
    half, low = _MARGIN * largest * max(problem.semi_axis_ratio), problem.depth[1]
    bottom = low + _MARGIN * largest * problem.semi_axis_ratio[2]
    places = [place if isinstance(place, tuple) else (place, place) for place in problem.centre]
    reach = np.array(places, dtype=float) + np.array([-half, half])
    standing = np.concatenate([receivers, sources])
    ends = np.stack([np.minimum(reach[:, 0], standing.min(axis=0)), np.maximum(reach[:, 1], standing.max(axis=0))])
    ends += 0.04 * np.array([[-1.0], [1.0]]) * np.ptp(ends, axis=0).max()
    centre = np.array(body.centre)
    above = View(
        "from above",
        ("x1 (m)", "x2 (m)"),
        ((float(ends[0, 0]), float(ends[1, 0])), (float(ends[0, 1]), float(ends[1, 1]))),
        (
            Shape("points", receivers, "potential electrodes"),
            Shape("markers", sources, "current electrodes"),
            Shape("line", np.outer((-half, half), along) + centre, "the section"),
            Shape("area", outline_from_above(problem, parameters), "the body"),
        ),
    )
    near = []
    electrodes: tuple[tuple[Kind, Array, str], ...] = (
        ("points", receivers, "potential electrodes"),
        ("markers", sources, "current electrodes"),
    )
    for kind, positions, label in electrodes:
        near.append(Shape(kind, in_section(positions, centre, direction, (-half, half), half), label))
    layer = problem.background_layer
    ground = [Shape("line", np.array([[-half, 0.0], [half, 0.0]]), "the surface")]
    if layer is not None and layer.thickness < bottom:
        ground.append(
            Shape("line", np.array([[-half, -layer.thickness], [half, -layer.thickness]]), "the layer's bottom")
        )
    outline = outline_in_section(problem, parameters, direction, body.centre)
    section = View(
        f"vertical section, {np.degrees(direction):.0f}° from x1",
        ("along the section (m)", "x3 (m)"),
        ((-half, half), (-bottom, 0.1 * bottom)),
        (*ground, *near, Shape("area", outline, "the body")),
    )
    return above, section
