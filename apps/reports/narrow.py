"""Figures for narrow screens: panels that stand in a row are put below one another, instead of being shrunk."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec

# Inches: the figure, and the least and the greatest height of a panel in it.
_WIDTH, _LOWEST, _HIGHEST = 4.2, 2.2, 4.2
# Points, of the title of a panel.
_TITLE = 8
# Panels below one another, and the share of the width that each must keep beside its labels.
_MOST_PANELS, _LEAST_SHARE = 5, 0.45


def narrowed(figure: Figure) -> bool:
    """Make a figure of one row of panels narrow; whether it is one."""
    panels = [axes for axes in figure.axes if axes.get_subplotspec() is not None]
    grids = {
        (spec.get_gridspec().nrows, spec.get_gridspec().ncols) for axes in panels if (spec := axes.get_subplotspec())
    }
    if len(grids) != 1 or len(panels) > _MOST_PANELS:
        return False
    rows, columns = grids.pop()
    if rows != 1 or columns != len(panels):
        return False
    width, height = figure.get_size_inches()
    of_panel = height if columns == 1 else float(np.clip(height * _WIDTH * columns / width, _LOWEST, _HIGHEST))
    figure.set_size_inches(_WIDTH, columns * of_panel + 0.5 * len(figure.legends))
    grid = GridSpec(columns, 1, figure=figure)
    for i, axes in enumerate(panels):
        axes.set_subplotspec(grid[i])
        _label_like(axes, panels[0])
    _legends_below(figure)
    return True


def has_room(figure: Figure) -> bool:
    """Whether the labels of a figure that was drawn leave its panels room."""
    panels = [axes for axes in figure.axes if axes.get_subplotspec() is not None]
    # Where there is no room at all, nothing is laid out, and labels are outside of the figure.
    inside = all(box.x0 >= 0 for axes in panels if (box := axes.get_tightbbox()) is not None)
    return inside and all(axes.get_position().width >= _LEAST_SHARE for axes in panels)


def _label_like(axes: Axes, first: Axes) -> None:
    """A panel that left its ordinate to the first of its row gets labels of its own."""
    axes.title.set_fontsize(min(axes.title.get_fontsize(), _TITLE))
    if axes is not first and axes.get_shared_y_axes().joined(axes, first):
        axes.tick_params(labelleft=True)
        if not axes.get_ylabel():
            axes.set_ylabel(first.get_ylabel())


def _legends_below(figure: Figure) -> None:
    """Legends beside panels take the width that these need."""
    for legend in list(figure.legends):
        handles, labels = legend.legend_handles, [text.get_text() for text in legend.get_texts()]
        legend.remove()
        longest = max((len(label) for label in labels), default=0)
        figure.legend(
            [handle for handle in handles if handle is not None],
            labels,
            loc="outside lower center",
            ncols=1 if longest > 24 else 2,
            frameon=False,
        )
