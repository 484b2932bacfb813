"""Which directions of the parameters the observations inform: the likelihood-informed subspace.

In units of the prior, parameters being prior mean plus root x with root root^T the prior's covariance, the eigenvalue of
the Gauss-Newton Hessian of the misfit along a direction is how much more the observations know of it than the prior; the
posterior variance is 1 / (1 + eigenvalue) of the prior's, were model and prior normal. The Hessian is averaged over draws
from the posterior (Cui, Martin, Marzouk, Solonen and Spantini 2014). Not the normal variables that samplers see: on the
simplex these have one more direction, which moves nothing but is another one at every point.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from scipy.linalg import subspace_angles

from gnvpro.apps.inversion.posterior.posterior import Posterior
from gnvpro.apps.inversion.sampling.chains import Chains
from gnvpro.apps.reports.figure_style import BLUE, COLOURS, GREY, ORANGE, styled
from gnvpro.surrogate.spaces import Array, Space

# Directions that are drawn.
_LEADING = 4


@dataclass(frozen=True, eq=False)
class Informed:
    """Directions in units of the prior, from the best informed; on a simplex k = n_in - 1 of them, else n_in.

    Attributes
    ----------
    eigenvalues, directions : (k,), (k, k)
        Of the mean Gauss-Newton Hessian of the misfit, falling, and its eigenvectors as columns.
    parameters, response : (n_in, k), (n_data, k)
        What a unit step along every direction does to the parameters, and on average to the observables in units of the
        noise; a column each.
    coordinates : (k, n_in)
        Takes differences of parameters to steps along the directions.
    """

    eigenvalues: Array
    directions: Array
    parameters: Array
    response: Array
    coordinates: Array

    @property
    def count(self) -> int:
        """Directions that the observations know more of than the prior."""
        return int((self.eigenvalues > 1).sum())

    @property
    def nats(self) -> float:
        """Information that the observations bring, of a linear model with these eigenvalues."""
        return float(0.5 * np.log1p(self.eigenvalues).sum())

    def variance_ratios(self, chains: Chains) -> Array:
        """Posterior variance (k,) of draws along every direction; the prior's is one."""
        return (chains.pooled @ self.coordinates.T).var(axis=0, ddof=1)


def informed(posterior: Posterior, y: Array) -> Informed:
    """From parameters (n, n_in), such as draws from the posterior; ArithmeticError if none of them could be solved."""
    observables, jacobians = posterior.solves.linearize(y)
    ok = np.isfinite(observables).all(axis=1) & np.isfinite(jacobians).all(axis=(1, 2))
    if not ok.any():
        raise ArithmeticError(f"the forward model could be solved at none of {len(y)} draws from the posterior")
    variances, axes = np.linalg.eigh(posterior.prior.moments[1])
    kept = variances > 1e-10 * variances.max()  # not across a simplex
    root, inverse = axes[:, kept] * np.sqrt(variances[kept]), (axes[:, kept] / np.sqrt(variances[kept])).T
    derivatives = [posterior.sensitivity(j) @ root for j in jacobians[ok]]
    values, vectors = np.linalg.eigh(np.mean([d.T @ d for d in derivatives], axis=0))
    values, vectors = np.maximum(values[::-1], 0.0), vectors[:, ::-1]
    # The sign of an eigenvector is arbitrary: that in which most observables rise.
    response = np.mean(derivatives, axis=0) @ vectors
    sign = np.where(response.sum(axis=0) < 0, -1.0, 1.0)
    vectors = vectors * sign
    return Informed(values, vectors, root @ vectors, response * sign, vectors.T @ inverse)


def agreement(first: Informed, second: Informed) -> dict[str, Any]:
    """JSON-able: how the informed directions by two models differ.

    `eigenvalues_max`: largest relative difference of an eigenvalue above 1 by the second; `angle`: largest angle (degrees)
    between the subspaces of as many directions as it has of these.
    """
    n = second.count
    if n == 0:
        return {"eigenvalues_max": 0.0, "angle": 0.0}
    apart = np.abs(first.eigenvalues[:n] / second.eigenvalues[:n] - 1)
    angles = subspace_angles(first.directions[:, :n], second.directions[:, :n])
    return {"eigenvalues_max": float(apart.max()), "angle": float(np.degrees(angles.max()))}


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
            number, law = np.arange(1, len(surrogate.eigenvalues) + 1), 1 / (1 + surrogate.eigenvalues)
            # What begins with _ is not in the legend.
            hidden = "_" * (i > 0)
            left.plot(number, pde.eigenvalues, color=ORANGE, linewidth=2.2, alpha=0.5, label=f"{hidden}PDE")
            left.plot(number, surrogate.eigenvalues, color=BLUE, linewidth=0.7, label=f"{hidden}surrogate")
            right.plot(number, law, color=GREY, linewidth=0.7, label=f"{hidden}1 / (1 + eigenvalue)")
            right.plot(number, variances, ".", color=BLUE, markersize=3, label=f"{hidden}draws")
        left.axhline(1, color="black", linewidth=0.8, linestyle=":")
        left.set_yscale("log")
        # Below are directions of no effect, and rounding.
        left.set_ylim(1e-6, None)
        right.set_yscale("log")
        left.set_ylabel(f"noise {noise}\neigenvalue")
        right.set_ylabel("variance, posterior / prior")
    for top, bottom in grid[[0, -1]].T:
        top.legend()
        bottom.set_xlabel("direction, from the best informed")
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
        place, style = at + 0.25 * (k - (len(by_noise) - 1) / 2), dict(fmt="o", markersize=3, linewidth=0.9)
        axes.errorbar(place, middle, spread, color=COLOURS[k], label=f"noise {noise}", **style)  # pyright: ignore[reportArgumentType]
    axes.axhline(1, color="black", linewidth=0.8, linestyle=":")
    axes.set_xticks(at, names, rotation=90, fontsize=6)
    axes.set(xlim=(-1, len(names)), ylim=(0, None), ylabel="standard deviation, posterior / prior")
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
            (axis, series), lines = observables.axes, response.reshape(observables.shape)
            for j, label in enumerate(series.labels):
                colour = COLOURS[j % len(COLOURS)]
                lower.plot(axis.labels, lines[:, j], color=colour, label=f"{series.name} {label}")
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
