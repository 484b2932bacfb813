"""The buried body of the resistivity problem as an inversion sees it: from above, and in a vertical section."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from gnvpro.apps.inversion.report.figures import route_colour
from gnvpro.apps.inversion.result import Inversion
from gnvpro.apps.reports.figure_style import GREY, RED, styled
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.spaces import Array

if TYPE_CHECKING:
    from gnvpro.pde_data.problems.resistivity.problem import Resistivity

# Outlines of the posterior, and of the prior beside them.
_POSTERIOR_OUTLINES, _PRIOR_OUTLINES, _SEED = 60, 25, 0


def body_problem(inversion: Inversion) -> Resistivity | None:
    """The resistivity problem behind an inversion, or None where it is of something else."""
    if inversion.problem is None or inversion.problem.name != "dcr":
        return None
    from gnvpro.pde_data.problems.resistivity.problem import Resistivity

    return inversion.problem if isinstance(inversion.problem, Resistivity) else None


def outline_from_above(problem: Resistivity, parameters: Array) -> Array:
    """The body (depth, volume, azimuth) seen from above: positions (n, 2) in m."""
    _, volume, azimuth = parameters
    a, b, _ = problem.size(volume) * np.array(problem.semi_axis_ratio)
    turn = np.array([[np.cos(azimuth), -np.sin(azimuth)], [np.sin(azimuth), np.cos(azimuth)]])
    return (_circle() * (a, b)) @ turn.T


def outline_in_section(problem: Resistivity, parameters: Array, direction: float) -> Array:
    """The body where the vertical plane through its centre at an angle (rad) from x1 cuts it: (n, 2) in m.

    First the distance from the centre along the plane, then x3.
    """
    depth, volume, azimuth = parameters
    a, b, c = problem.size(volume) * np.array(problem.semi_axis_ratio)
    half = 1 / np.hypot(np.cos(direction - azimuth) / a, np.sin(direction - azimuth) / b)
    return _circle() * (half, c) - (0, depth)


def _circle() -> Array:
    angle = np.linspace(0, 2 * np.pi, 121)
    return np.stack([np.cos(angle), np.sin(angle)], axis=1)


@styled
def body(inversion: Inversion) -> Figure:
    """The body with the survey from above, and in the vertical section along the axis it is longest in.

    Raises
    ------
    ValueError
        The inversion is not of the resistivity problem.
    """
    problem = body_problem(inversion)
    if problem is None:
        raise UsageError("expected an inversion of the resistivity problem: only that has a body to draw")
    best = inversion.best.parameters
    # Of the best point's horizontal axes the longer one.
    direction = float(best[2]) + (0 if problem.semi_axis_ratio[0] >= problem.semi_axis_ratio[1] else np.pi / 2)
    figure = Figure(figsize=(9.2, 5.2), layout="constrained")
    above, section = figure.subplots(1, 2, width_ratios=(1, 1.05))
    _draw_survey(above, problem)
    survey = [*above.get_legend_handles_labels()[0]]
    bodies = _draw_outlines(above, inversion, lambda y: outline_from_above(problem, y))
    _draw_outlines(section, inversion, lambda y: outline_in_section(problem, y, direction))
    for axes in (above, section):
        axes.set_aspect("equal")
    _dress_section(section, problem, direction)
    above.plot(
        [-np.cos(direction), np.cos(direction)],
        [-np.sin(direction), np.sin(direction)],
        ":",
        color="black",
        linewidth=0.9,
    )
    above.set_xlabel("x1 (m)")
    above.set_ylabel("x2 (m)")
    above.set_title("from above", fontsize=9)
    figure.legend(handles=[*bodies, *survey], loc="outside lower center", ncols=3, fontsize=8)
    return figure


def _draw_outlines(axes: Axes, inversion: Inversion, outline: Callable[[Array], Array]) -> list[Line2D]:
    """Prior and posterior draws, the most probable body, the true one; what the legend says of them."""
    rng = np.random.default_rng(_SEED)
    prior_style: dict[str, Any] = dict(color=GREY, linewidth=0.5, alpha=0.35)
    for y in inversion.posterior.prior.draw(rng, _PRIOR_OUTLINES):
        axes.plot(*outline(y).T, **prior_style)
    handles = [Line2D([], [], color=GREY, linewidth=0.8, label="draws of the prior")]
    if inversion.answer is not None:
        route, draws = next(iter(inversion.chains)), inversion.answer.pooled
        for y in draws[rng.integers(len(draws), size=_POSTERIOR_OUTLINES)]:
            axes.plot(*outline(y).T, color=route_colour(route), linewidth=0.5, alpha=0.35)
        label = f"draws of the posterior, {inversion.answer.route}"
        handles.append(Line2D([], [], color=route_colour(route), linewidth=0.8, label=label))
    axes.plot(*outline(inversion.best.parameters).T, color="black", linewidth=1.2)
    handles.append(Line2D([], [], color="black", linewidth=1.2, label="most probable body"))
    if inversion.truth is not None:
        axes.plot(*outline(inversion.truth).T, "--", color=RED, linewidth=1.2)
        handles.append(Line2D([], [], color=RED, linestyle="--", linewidth=1.2, label="true body"))
    return handles


def _draw_survey(axes: Axes, problem: Resistivity) -> None:
    survey = problem.survey
    receivers = survey.receivers.electrodes
    axes.plot(*receivers.T, ".", color=GREY, markersize=2, label="potential electrodes")
    axes.plot(*survey.electrodes.T, "v", color="black", markersize=6, label="current electrodes")


def _dress_section(axes: Axes, problem: Resistivity, direction: float) -> None:
    """The ground's surface with the electrodes, as far as the bodies go."""
    along = np.array([np.cos(direction), np.sin(direction)])
    reach, bottom = 1.25 * max(np.abs(axes.get_xlim())), axes.get_ylim()[0]
    survey = problem.survey
    styles: tuple[tuple[Array, dict[str, Any]], ...] = (
        (survey.receivers.electrodes, dict(marker=".", color=GREY, markersize=3)),
        (survey.electrodes, dict(marker="v", color="black", markersize=6)),
    )
    for positions, style in styles:
        # Electrodes off the plane are not in the section.
        place, off = positions @ along, positions @ (-along[1], along[0])
        near = (np.abs(off) < _NEAR * reach) & (np.abs(place) <= reach)
        axes.plot(place[near], np.zeros(near.sum()), linestyle="none", **style)
    axes.axhline(0, color="black", linewidth=1)
    axes.set_xlim(-reach, reach)
    axes.set_ylim(bottom, 0.12 * -bottom)
    axes.set_xlabel("distance along the dotted line (m)")
    axes.set_ylabel("x3 (m)")
    axes.set_title(f"vertical section, {np.degrees(direction):.3g}° from x1", fontsize=9)


# Electrodes this near the plane of the section, in units of its half width, count as standing in it.
_NEAR = 0.08
