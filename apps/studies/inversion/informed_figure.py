"""Figures of what observations inform: spectrum, parameters, leading directions."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from gnvpro.apps.reports.figure_style import BLUE, COLOURS, GREY, ORANGE, styled
from gnvpro.apps.studies.inversion.informed import Informed
from gnvpro.surrogate.spaces import Array, Space

_LEADING = 4


@styled
def spectrum(by_noise: dict[str, list[tuple[Informed, Informed, list[float]]]]) -> Figure:
    """Eigenvalues by surrogate and PDE, and posterior variances along the directions, beside those of a linear model.

    Parameters
    ----------
    by_noise
        By size of the noise, of every posterior: by the surrogate, by the PDE, and variances of draws along the
        directions of the first.
    """
    figure = Figure(figsize=(9.5, 3.4 * len(by_noise)), layout="constrained")
    grid = figure.subplots(len(by_noise), 2, squeeze=False, sharex=True, sharey="col")
    for (left, right), (noise, rows) in zip(grid, by_noise.items(), strict=True):
        for i, (surrogate, pde, variances) in enumerate(rows):
            number = np.arange(1, len(surrogate.eigenvalues) + 1)
            first = i == 0
            left.plot(number, pde.eigenvalues, color=ORANGE, linewidth=2.2, alpha=0.5, label="PDE" if first else None)
            left.plot(number, surrogate.eigenvalues, color=BLUE, linewidth=0.7, label="surrogate" if first else None)
            law = 1 / (1 + surrogate.eigenvalues)
            right.plot(number, law, color=GREY, linewidth=0.7, label="1 / (1 + eigenvalue)" if first else None)
            right.plot(number, variances, ".", color=BLUE, markersize=3, label="draws" if first else None)
        left.axhline(1, color="black", linewidth=0.8, linestyle=":")
        left.set_yscale("log")
        # Below are directions of no effect, and rounding.
        left.set_ylim(1e-6, None)
        right.set_yscale("log")
        left.set_ylabel(f"noise {noise}\neigenvalue")
        right.set_ylabel("variance, posterior / prior")
    for axes in grid[-1]:
        axes.set_xlabel("direction, from the best informed")
    grid[0, 0].legend()
    grid[0, 1].legend()
    return figure


@styled
def ratios(names: tuple[str, ...], by_noise: dict[str, Array]) -> Figure:
    """Standard deviations of the parameters, posterior over prior: median and range over posteriors (n, n_in)."""
    figure = Figure(figsize=(max(5.0, 0.19 * len(names) + 1.0), 4.4), layout="constrained")
    axes = figure.subplots()
    at = np.arange(len(names))
    for k, (noise, rows) in enumerate(by_noise.items()):
        middle = np.median(rows, axis=0)
        spread = np.stack([middle - rows.min(axis=0), rows.max(axis=0) - middle])
        place = at + 0.25 * (k - (len(by_noise) - 1) / 2)
        axes.errorbar(
            place, middle, spread, fmt="o", markersize=3, linewidth=0.9, color=COLOURS[k], label=f"noise {noise}"
        )
    axes.axhline(1, color="black", linewidth=0.8, linestyle=":")
    axes.set_xticks(at, names, rotation=90, fontsize=6)
    axes.set_xlim(-1, len(names))
    axes.set_ylim(0, None)
    axes.set_ylabel("standard deviation, posterior / prior")
    axes.legend(loc="lower right", ncols=len(by_noise))
    return figure


@styled
def directions(by: Informed, parameters: Space, observables: Space, spread: Array) -> Figure:
    """The leading directions: what they do to parameters, in prior standard deviations (n_in,), and to observables."""
    n = min(_LEADING, len(by.eigenvalues))
    rows, columns, place = _grid(parameters.names)
    figure = Figure(figsize=(3.0 * n + 1.0, 5.6), layout="constrained")
    grid = figure.subplots(2, n, squeeze=False, height_ratios=(1, 1.1))
    changes = by.parameters[:, :n] / spread[:, None]
    top = float(np.abs(changes).max())
    drawn = None
    for k in range(n):
        image = np.full((len(rows), len(columns)), np.nan)
        image[place] = changes[:, k]
        upper, lower = grid[:, k]
        drawn = upper.imshow(image, cmap="RdBu_r", vmin=-top, vmax=top, aspect="auto")
        upper.grid(visible=False)
        upper.set_xticks(range(len(columns)), columns, fontsize=6, rotation=90)
        upper.set_yticks(range(len(rows)), rows if k == 0 else [], fontsize=7)
        upper.set_title(f"direction {k + 1}, eigenvalue {by.eigenvalues[k]:.3g}", fontsize=8)
        response = by.response[:, k]
        if len(observables.shape) == 2:
            axis, lines = observables.axes[0], response.reshape(observables.shape)
            for j, label in enumerate(observables.axes[1].labels):
                lower.plot(
                    axis.labels,
                    lines[:, j],
                    color=COLOURS[j % len(COLOURS)],
                    label=f"{observables.axes[1].name} {label}",
                )
            lower.set_xlabel(axis.name)
        else:
            lower.plot(response, color=BLUE)
            lower.set_xlabel("observable")
        lower.axhline(0, color="black", linewidth=0.6)
    if drawn is not None:
        figure.colorbar(drawn, ax=grid[0].tolist(), label="change, in prior sd")
    grid[1, 0].set_ylabel("response, in sd of the noise")
    handles, labels = grid[1, 0].get_legend_handles_labels()
    if handles:
        figure.legend(handles, labels, loc="outside lower center", ncols=len(handles), fontsize=7)
    return figure


def _grid(names: tuple[str, ...]) -> tuple[list[str], list[str], tuple[np.ndarray, np.ndarray]]:
    """Names such as law_K5 as rows and columns of an image, and the place of every one; others in one row."""
    pairs = [tuple(name.rsplit("_", 1)) for name in names]
    if any(len(pair) < 2 for pair in pairs) or len(set(pairs)) < len(names):
        return [""], list(names), (np.zeros(len(names), int), np.arange(len(names)))
    rows, columns = list(dict.fromkeys(p[0] for p in pairs)), list(dict.fromkeys(p[-1] for p in pairs))
    return rows, columns, (np.array([rows.index(p[0]) for p in pairs]), np.array([columns.index(p[-1]) for p in pairs]))
