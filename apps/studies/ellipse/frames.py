"""The pictures of the ellipse study: a strip of frames, and the same as an animation."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from matplotlib import rc_context
from matplotlib.animation import FuncAnimation, PillowWriter
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

from gnvpro.apps.reports.figure_style import BLUE, RED, STYLE, styled
from gnvpro.apps.studies.ellipse.points import outline
from gnvpro.surrogate.networks.dense import DenseNetwork
from gnvpro.surrogate.spaces import Array
from gnvpro.training.fitting.validation import predicted_logits

_TITLES = {"gradient steps": "W by gradient steps", "eliminated": "W eliminated"}
_COLUMNS = 6


class Frame(NamedTuple):
    """A training at one moment."""

    network: DenseNetwork
    work_units: float
    loss: float
    train_accuracy: float
    held_out_accuracy: float
    theta: Tensor
    weights: Tensor  # W (3, 2), bias last

    @property
    def line(self) -> Array:
        """(3,): a x + b y + c = 0 separates the features."""
        return (self.weights[:, 1] - self.weights[:, 0]).numpy()

    def features(self, points: Tensor) -> Array:
        """Of points (n, 2), (n, 2)."""
        with torch.no_grad():
            return self.network.bind(self.theta)(points).numpy()

    def margin(self, points: Tensor) -> Array:
        """At points (n, 2), (n,): positive where the inside of the ellipse is predicted."""
        logits = predicted_logits(self.network, self.theta, self.weights, points)
        return (logits[:, 1] - logits[:, 0]).numpy()


class Drawing(NamedTuple):
    """What is drawn: frames by method, and the points (n, 2) with their labels (n,)."""

    runs: dict[str, list[Frame]]
    points: Tensor
    labels: Tensor


@styled
def strip(drawing: Drawing) -> Figure:
    """Rows: feature plane and plane of the points of each method; columns: moments."""
    runs = drawing.runs
    count = len(next(iter(runs.values())))
    picked = np.unique(np.linspace(0, count - 1, min(_COLUMNS, count)).round().astype(int))
    figure = Figure(figsize=(1.75 * len(picked) + 0.5, 8.2), layout="constrained")
    axes = figure.subplots(2 * len(runs), len(picked), squeeze=False)
    for row, (method, frames) in enumerate(runs.items()):
        for column, at in enumerate(picked):
            frame = frames[at]
            above, below = axes[2 * row, column], axes[2 * row + 1, column]
            draw_features(above, frame, drawing)
            draw_points(below, frame, drawing)
            units = f"{frame.work_units:g} work units\n" if row == 0 else ""
            above.set_title(f"{units}loss {frame.loss:.3f}", fontsize=8)
            below.set_title(f"{frame.held_out_accuracy:.1%} right", fontsize=8)
        axes[2 * row, 0].set_ylabel(f"{_TITLES[method]}\nfeatures")
        axes[2 * row + 1, 0].set_ylabel(f"{_TITLES[method]}\npoints")
    return figure


def animation(drawing: Drawing, path: Path, size: int) -> None:
    """Feature planes above, points below, losses on the right, as a GIF `size` pixels across."""
    runs = drawing.runs
    with rc_context(STYLE):
        figure = Figure(figsize=(8, 5), layout="constrained", dpi=size / 8)
        FigureCanvasAgg(figure)
        axes = figure.subplots(2, len(runs) + 1, squeeze=False)
        count = len(next(iter(runs.values())))

        def draw(at: int) -> list[Any]:
            for column, (method, frames) in enumerate(runs.items()):
                for row in (0, 1):
                    axes[row, column].clear()
                draw_features(axes[0, column], frames[at], drawing)
                draw_points(axes[1, column], frames[at], drawing)
                axes[0, column].set_title(f"{_TITLES[method]}: features", fontsize=9)
                axes[1, column].set_title(f"held-out accuracy {frames[at].held_out_accuracy:.1%}", fontsize=9)
            _draw_curves(axes[:, -1], runs, at)
            return []

        # Laid out once: axes that move between frames distract, and the layout costs more than the drawing.
        draw(count - 1)
        figure.draw_without_rendering()
        figure.set_layout_engine("none")
        # The last frame stands still for a while.
        order = [*range(count), *[count - 1] * max(1, count // 4)]
        FuncAnimation(figure, draw, frames=order, init_func=lambda: [], blit=False, cache_frame_data=False).save(
            path, writer=PillowWriter(fps=6)
        )


def draw_features(axes: Axes, frame: Frame, drawing: Drawing) -> None:
    """The two features of every point, and the line that W draws between them."""
    a, b, c = frame.line
    side = np.array([-1.15, 1.15])
    x, y = np.meshgrid(side, side)
    axes.contourf(x, y, a * x + b * y + c, levels=[-1e9, 0, 1e9], colors=[RED, BLUE], alpha=0.12)
    # Of a x + b y + c = 0 the part in the window, along the axis it is less steep to.
    if abs(b) >= abs(a):
        axes.plot(side, -(a * side + c) / b, color="black", linewidth=1.6)
    else:
        axes.plot(-(b * side + c) / a, side, color="black", linewidth=1.6)
    _scatter(axes, frame.features(drawing.points), drawing.labels)
    axes.set_xlim(-1.15, 1.15)
    axes.set_ylim(-1.15, 1.15)


def draw_points(axes: Axes, frame: Frame, drawing: Drawing) -> None:
    """The points, the ellipse (dashed), and what the network takes for its inside (line)."""
    side = torch.linspace(-1, 1, 81, dtype=torch.float64)
    margin = frame.margin(torch.cartesian_prod(side, side)).reshape(len(side), -1).T  # rows are y
    axes.contourf(side, side, margin, levels=[-1e9, 0, 1e9], colors=[RED, BLUE], alpha=0.12)
    if margin.min() < 0 < margin.max():
        axes.contour(side, side, margin, levels=[0], colors="black", linewidths=1.6)
    _scatter(axes, drawing.points.numpy(), drawing.labels)
    axes.plot(*outline().numpy().T, "--", color="black", linewidth=0.8)
    axes.set_xlim(-1, 1)
    axes.set_ylim(-1, 1)


def _scatter(axes: Axes, places: Array, labels: Tensor) -> None:
    for label, colour in ((0, RED), (1, BLUE)):
        axes.scatter(*places[labels.numpy() == label].T, s=4, color=colour, linewidths=0, alpha=0.8, zorder=3)
    axes.set_aspect("equal")
    axes.grid(visible=False)
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(True)
        spine.set_color("#bbbbbb")


def _draw_curves(axes: np.ndarray, runs: dict[str, list[Frame]], at: int) -> None:
    for panel, name, label in ((axes[0], "loss", "loss"), (axes[1], "held_out_accuracy", "held-out accuracy")):
        panel.clear()
        everything = [getattr(frame, name) for frames in runs.values() for frame in frames]
        for (method, frames), style in zip(runs.items(), ("--", "-"), strict=False):
            x = [frame.work_units for frame in frames[: at + 1]]
            y = [getattr(frame, name) for frame in frames[: at + 1]]
            panel.plot(x, y, style, color="black", linewidth=1.4, label=_TITLES[method])
            panel.plot(x[-1:], y[-1:], "o", color="black", markersize=4)
        panel.set_xscale("log")
        units = [frame.work_units for frame in next(iter(runs.values()))]
        panel.set_xlim(0.9 * units[0], 1.1 * units[-1])
        margin = 0.05 * (max(everything) - min(everything)) + 1e-9
        panel.set_ylim(min(everything) - margin, max(everything) + margin)
        panel.set_ylabel(label)
    axes[1].set_xlabel("work units")
    axes[0].legend(fontsize=7, loc="lower left")
