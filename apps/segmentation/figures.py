"""Figures of a segmentation: maps side by side, and confusion matrices by method."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib.colors import ListedColormap, to_hex
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

from gnvpro.apps.reports.figure_style import styled
from gnvpro.apps.segmentation.class_metrics import ClassMetrics
from gnvpro.surrogate.errors import UsageError

UNLABELLED = "#bdbdbd"
AGREES, DIFFERS = "#dfe8df", "#111111"
# Twenty colours of large contrast, without greys (after Trubetskoy 2017).
_COLOURS = (
    "#e6194b", "#3cb44b", "#ffe119", "#4363d8", "#f58231", "#911eb4", "#42d4f4", "#f032e6", "#bfef45", "#fabed4",
    "#469990", "#dcbeff", "#9a6324", "#fffac8", "#800000", "#aaffc3", "#808000", "#ffd8b1", "#000075", "#000000",
)  # fmt: skip
_NUMBERED = 20  # classes up to which the cells of a confusion matrix carry numbers


def class_colours(n_classes: int) -> list[str]:
    """A colour for every class: of large contrast up to 20, beyond that around the circle of hues."""
    if n_classes <= len(_COLOURS):
        return list(_COLOURS[:n_classes])
    hues = matplotlib.colormaps["nipy_spectral"](np.linspace(0.04, 0.96, n_classes))
    return [to_hex(hue) for hue in hues]


@styled
def maps(
    truth: NDArray[np.intp], predicted: NDArray[np.intp], class_names: Sequence[str], title: str = "predicted"
) -> Figure:
    """Ground truth, predicted classes and where they differ; both images (height, width) with 0 for no class."""
    colours = class_colours(len(class_names))
    height, width = truth.shape
    labelled = truth > 0
    judged = labelled & (predicted > 0)
    n_wrong = int((judged & (truth != predicted)).sum())
    # Where they differ stands the class that was predicted; where they agree, nothing that draws the eye.
    difference = np.where(judged, np.where(truth == predicted, 1, 2), 0)
    share = f" ({100 * n_wrong / judged.sum():.1f} %)" if judged.any() else ""
    panels = (
        ("ground truth", truth, [UNLABELLED, *colours]),
        (title, predicted, [UNLABELLED, *colours]),
        (f"different: {n_wrong:,} of {int(judged.sum()):,} labelled{share}", difference, [UNLABELLED, AGREES, DIFFERS]),
    )
    columns = min(4, len(class_names) + 3)
    n_rows = -(-(len(class_names) + 3) // columns)
    picture = min(max(4.2 * height / width, 1.5), 9.0)
    figure = Figure(figsize=(13, picture + 0.22 * n_rows + 0.6), layout="compressed")
    axes = figure.subplots(1, 3)
    for axis, (name, values, palette) in zip(axes, panels, strict=True):
        shown = ListedColormap(palette)
        axis.imshow(values, cmap=shown, vmin=-0.5, vmax=len(palette) - 0.5, interpolation="nearest")
        axis.set_title(name)
        axis.set_xticks([])
        axis.set_yticks([])
        axis.grid(False)
        for side in axis.spines.values():
            side.set_visible(False)
    entries = [
        *(
            (colour, f"{number} {name}")
            for number, (colour, name) in enumerate(zip(colours, class_names, strict=True), 1)
        ),
        (UNLABELLED, "unlabelled or not usable"),
        (AGREES, "the same"),
        (DIFFERS, "different"),
    ]
    figure.legend(
        handles=[Patch(facecolor=colour, edgecolor="#666666", linewidth=0.4, label=name) for colour, name in entries],
        ncols=columns,
        loc="outside lower center",
        fontsize=9,
    )
    return figure


@styled
def confusions(by_method: Mapping[str, ClassMetrics], class_names: Sequence[str]) -> Figure:
    """Confusion matrices, every row the percentages in which a true class was given to each class."""
    if not by_method:
        raise UsageError("no confusion matrix to draw; give at least one method")
    n, m = len(class_names), len(by_method)
    size = float(np.clip(0.36 * n, 3.2, 12))
    margin = 0.075 * max(map(len, class_names)) + 0.6
    figure = Figure(figsize=(m * (size + 0.2) + margin + 1.2, size + margin + 0.6), layout="compressed")
    axes = figure.subplots(1, m, squeeze=False, sharey=True)[0]
    for axis, (method, metrics) in zip(axes, by_method.items(), strict=True):
        shares = 100 * metrics.normalised
        axis.imshow(shares, cmap="Blues", vmin=0, vmax=100)
        axis.set_title(
            f"{method}\noverall {100 * metrics.overall_accuracy:.1f} %, average {100 * metrics.average_accuracy:.1f} %, "
            f"kappa {metrics.kappa:.3f}"
        )
        axis.set_xticks(range(n), class_names, rotation=90)
        axis.set_yticks(range(n), class_names)
        axis.set_xlabel("predicted")
        axis.grid(False)
        for side in axis.spines.values():
            side.set_visible(False)
        if n <= _NUMBERED:
            _write_shares(axis, shares)
    axes[0].set_ylabel("true")
    figure.colorbar(axes[0].images[0], ax=axes, label="% of the true class", aspect=40, pad=0.01)
    return figure


def _write_shares(axis, shares) -> None:
    for (i, j), share in np.ndenumerate(shares):
        if not np.isfinite(share):
            if j == 0:
                axis.text(0, i, "no pixels", ha="left", va="center", fontsize=7, color="#8a8a8a")
        elif share >= 0.5:
            axis.text(
                j, i, f"{share:.0f}", ha="center", va="center", fontsize=7, color="white" if share > 55 else "black"
            )
