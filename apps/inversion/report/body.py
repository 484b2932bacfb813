"""The buried body of the resistivity problem as an inversion sees it: from above, and in a vertical section."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from gnvpro.apps.inversion.report.figures import ROUTE_COLOURS
from gnvpro.apps.inversion.result import InversionResult
from gnvpro.apps.reports.figure_style import GREY, RED, styled
from gnvpro.pde_data.problems.resistivity.scene import in_section, longest_axis, outline_from_above, outline_in_section
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.spaces import Array

if TYPE_CHECKING:
    from gnvpro.pde_data.problems.resistivity.problem import Resistivity

# Outlines of the posterior, and of the prior beside them.
_POSTERIOR_OUTLINES, _PRIOR_OUTLINES, _SEED = 60, 25, 0
_RECEIVERS: dict[str, Any] = dict(marker=".", color=GREY, linestyle="none")
_SOURCES: dict[str, Any] = dict(marker="v", color="black", markersize=6, linestyle="none")


def body_problem(inversion: InversionResult) -> Resistivity | None:
    """The resistivity problem behind an inversion, or None where it is of something else."""
    if inversion.problem is None or inversion.problem.name != "dcr":
        return None
    from gnvpro.pde_data.problems.resistivity.problem import Resistivity

    return inversion.problem if isinstance(inversion.problem, Resistivity) else None


@styled
def body(inversion: InversionResult) -> Figure:
    """The body with the survey from above, and in the vertical section along the axis it is longest in.

    Raises
    ------
    UsageError
        The inversion is not of the resistivity problem.
    """
    problem = body_problem(inversion)
    if problem is None:
        raise UsageError("expected an inversion of the resistivity problem: only that has a body to draw")
    direction = longest_axis(problem, inversion.map.parameters)
    receivers, sources = problem.survey.potential_electrodes, problem.survey.current_electrodes
    centre = problem.placed(inversion.map.parameters).centre
    half = 5 / 3 * problem.size(problem.volume[1]) * max(problem.semi_axis_ratio)  # beyond the largest body
    figure = Figure(figsize=(9.2, 5.2), layout="constrained")
    # Beneath each other where the survey is a line.
    long = np.ptp(receivers[:, 0]) > 3 * max(np.ptp(receivers[:, 1]), half)
    above, section = figure.subplots(2, 1) if long else figure.subplots(1, 2, width_ratios=(1, 1.05))
    above.plot(*receivers.T, **_RECEIVERS, markersize=2, label="potential electrodes")
    above.plot(*sources.T, **_SOURCES, label="current electrodes")
    survey = above.get_legend_handles_labels()[0]
    bodies = _draw_outlines(above, inversion, lambda y: outline_from_above(problem, y))
    _draw_outlines(section, inversion, lambda y: outline_in_section(problem, y, direction, centre))
    along = np.array([np.cos(direction), np.sin(direction)])
    above.plot(*(np.outer(along, (-1, 1)) * half + np.array(centre)[:, None]), ":", color="black", linewidth=0.9)
    above.set(xlabel="x1 (m)", ylabel="x2 (m)")
    above.set_title("from above", fontsize=9)
    # The ground's surface with the electrodes that stand near the plane, as far as the bodies go.
    reach, bottom = 1.25 * max(np.abs(section.get_xlim())), section.get_ylim()[0]
    ends = section.get_xlim() if problem.moving else (-reach, reach)
    for positions, style in ((receivers, {**_RECEIVERS, "markersize": 3}), (sources, _SOURCES)):
        section.plot(*in_section(positions, np.array(centre), direction, ends, reach).T, **style)
    section.axhline(0, color="black", linewidth=1)
    section.set(xlim=ends, ylim=(bottom, 0.12 * -bottom))
    section.set(xlabel="distance along the dotted line (m)", ylabel="x3 (m)")
    section.set_title(f"vertical section, {np.degrees(direction):.3g}° from x1", fontsize=9)
    for axes in (above, section):
        axes.set_aspect("equal")
    figure.legend(handles=[*bodies, *survey], loc="outside lower center", ncols=3, fontsize=8)
    return figure


def _draw_outlines(axes: Axes, inversion: InversionResult, outline: Callable[[Array], Array]) -> list[Line2D]:
    """Prior and posterior draws, the most probable body, the true one; what the legend says of them."""
    rng, handles = np.random.default_rng(_SEED), []

    def draw(parameters: Array, label: str, **style: Any) -> None:
        for y in parameters:
            axes.plot(*outline(y).T, **style)
        # Many lines are thin and pale; that in the legend is not.
        legend = {**style, "linewidth": max(style["linewidth"], 0.8), "alpha": 1.0}
        handles.append(Line2D([], [], label=label, **legend))

    many: dict[str, Any] = dict(linewidth=0.5, alpha=0.35)
    draw(inversion.density.prior.draw(rng, _PRIOR_OUTLINES), "draws of the prior", color=GREY, **many)
    for route, chains in list(inversion.chains.items())[:1]:
        chosen = chains.pooled[rng.integers(len(chains.pooled), size=_POSTERIOR_OUTLINES)]
        draw(chosen, f"draws of the posterior, {chains.route}", color=ROUTE_COLOURS[route], **many)
    draw(inversion.map.parameters[None], "most probable body", color="black", linewidth=1.2)
    if inversion.truth is not None:
        draw(inversion.truth[None], "true body", color=RED, linestyle="--", linewidth=1.2)
    return handles
