"""The domain of a problem as it shows itself: the views of its `scene`, its sensors in the colours of their values."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from gnvpro.apps.reports.figure_style import BLUE, GREY, RED, in_units, styled
from gnvpro.pde_data.problems.scene import Shape, View
from gnvpro.surrogate.spaces import Array, Space

# Inches: the longer side of a view, and the least of the shorter one.
_LONGER, _SHORTER = 4.2, 1.4


@styled
def domain(views: Sequence[View], observables: Space, values: Array) -> Figure:
    """Views beside one another, each with equal scales; sensors in the colours of their values (n_out,).

    Of sensors that measure several times, the time is shown at which their values differ most.
    """
    sizes = [_size(view) for view in views]
    figure = Figure(
        figsize=(sum(w for w, _ in sizes) + 0.9 * len(views), max(h for _, h in sizes) + 0.9), layout="constrained"
    )
    row = figure.subplots(1, len(views), squeeze=False, width_ratios=[w for w, _ in sizes])[0]
    for axes, view in zip(row, views, strict=True):
        axes.set(title=view.title, xlabel=view.axes[0], ylabel=view.axes[1], xlim=view.ends[0], ylim=view.ends[1])
        axes.set_aspect("equal")
        axes.grid(visible=False)
        styles = dict(
            zip(dict.fromkeys(s.label for s in view.shapes if s.kind == "line"), cycle(("-", "--", ":")), strict=False)
        )
        for shape in view.shapes:
            if (drawn := _draw(axes, shape, values, styles.get(shape.label, "-"))) is not None:
                figure.colorbar(drawn, ax=axes, shrink=0.8, label=f"{_when(shape, values)}{in_units(observables)}")
        axes.title.set_fontsize(9)
    named = {label: handle for axes in row for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    figure.legend(list(named.values()), list(named), loc="outside lower center", ncols=2)
    return figure


def _size(view: View) -> tuple[float, float]:
    """Width and height in inches."""
    width, height = (float(high - low) for low, high in view.ends)
    return max(_SHORTER, _LONGER * min(1, width / height)), max(_SHORTER, _LONGER * min(1, height / width))


def _draw(axes: Axes, shape: Shape, values: Array, style: str) -> PathCollection | None:
    """One shape; of sensors with values what their colours are the scale of."""
    x, y = shape.points.T
    label = shape.label or None
    if shape.kind == "area":
        axes.fill(x, y, facecolor=RED, edgecolor=RED, alpha=0.35, label=label)
    elif shape.kind == "line":
        axes.plot(x, y, style, color=GREY, linewidth=1, label=label)
    elif shape.kind == "sensors" and shape.observables is not None:
        shown = values[shape.observables]
        norm = Normalize(float(shown.min()), float(shown.max()))
        column = shown[:, _widest(shown)]
        return axes.scatter(x, y, c=column, norm=norm, s=45, edgecolors="black", linewidths=0.6, zorder=3, label=label)
    elif shape.kind == "markers":
        axes.plot(x, y, "v", color="black", markersize=6, label=label)
    else:
        axes.plot(x, y, "." if shape.kind == "points" else "o", color=BLUE, markersize=4, label=label)
    return None


def _widest(values: Array) -> int:
    """Of values (n, k) the column whose values differ most."""
    return int(np.ptp(values, axis=0).argmax())


def _when(shape: Shape, values: Array) -> str:
    """Of a shape with observables."""
    if not shape.labels:
        return "observable"
    return f"observable, {shape.labels[_widest(values[shape.observables])]}"
