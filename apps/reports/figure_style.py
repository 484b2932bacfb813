"""What all figures share: colours, style, and how they leave for a page or a file."""

from __future__ import annotations

import base64
import functools
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from gnvpro.surrogate.formatting import in_unit
from gnvpro.surrogate.spaces import Axis, Space

# Distinct also for colour-blind readers (Okabe and Ito).
BLUE, ORANGE, GREEN, RED, GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#8a8a8a"
# Of ticks at relative errors.
PERCENT = FuncFormatter(lambda value, _: f"{100 * value:.3g} %")
COLOURS = (BLUE, ORANGE, GREEN, RED, "#CC79A7", "#56B4E9")
STYLE: dict[Any, Any] = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "svg.fonttype": "path",
    "svg.hashsalt": "gnvpro",
}


def styled[**P](draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """The function that draws a figure, drawing in our style."""

    @functools.wraps(draw)
    def drawn(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with rc_context(STYLE):
            return draw(*args, **kwargs)

    return drawn


def as_data_uri(figure: Figure) -> str:
    """The figure inside an address, so that a page that shows it needs no other file."""
    stream = io.BytesIO()
    with rc_context(STYLE):  # two of its entries are read on saving
        figure.savefig(stream, format="svg", dpi=200, metadata={"Date": None})
    return "data:image/svg+xml;base64," + base64.b64encode(stream.getvalue()).decode()


def save_png(figure: Figure, path: Path) -> None:
    """The figure as a picture of its own."""
    figure.savefig(path, dpi=110)


def labelled(axis: Axis) -> str:
    """Name of an axis with its unit."""
    return in_unit(axis.name, axis.unit)


def in_units(space: Space) -> str:
    """The unit shared by all components, in brackets for the end of a label; nothing where there is none to show."""
    units = set(space.units)
    return in_unit("", units.pop()) if len(units) == 1 else ""
