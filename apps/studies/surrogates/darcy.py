"""A field by twelve normal parameters: the pressure of Darcy flow in the unit square with a lognormal permeability.

-div(a grad u) = 1 with u = 0 on the boundary, by finite volumes on 50 x 50 cells (two-point fluxes, harmonic means of a);
the observables are u at the centres of the cells. log a is Gaussian with standard deviation 1 and covariance
exp(-|x - x'|² / (2 l²)), l = 0.2, cut off after its twelve largest modes (Karhunen-Loève, weighted midpoint rule).
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
from scipy.interpolate import RegularGridInterpolator
from scipy.sparse import coo_array
from scipy.sparse.linalg import splu

from gnvpro.surrogate.progress import Report, silent
from gnvpro.surrogate.spaces import Array, Axis, Space
from gnvpro.surrogate.writing import whole_file

CELLS, MODES, LENGTH = 50, 12, 0.2
# The last ones only measure.
SEED, SOLVES, TEST = 17, 1400, 400


def spaces() -> tuple[Space, Space]:
    """Of the parameters, which are standard normal, and of the field."""
    centres = tuple(((np.arange(CELLS) + 0.5) / CELLS).tolist())
    return Space.vector([f"mode {k}" for k in range(1, MODES + 1)]), Space((Axis("x", centres), Axis("y", centres)))


def parameters(n: int) -> Array:
    """The first n of a fixed sequence (n, 12)."""
    return np.random.default_rng(SEED).standard_normal((SOLVES, MODES))[:n]


@cache
def modes() -> Array:
    """Of log a at the centres (12, 2500), times the roots of their variances."""
    x = (np.arange(CELLS) + 0.5) / CELLS
    # The covariance is a product over x and y, and so are its modes.
    values, vectors = np.linalg.eigh(np.exp(-((x[:, None] - x) ** 2) / (2 * LENGTH**2)) / CELLS)
    products = np.outer(values, values).ravel()
    largest = np.argsort(-products)[:MODES]
    i, j = np.unravel_index(largest, (CELLS, CELLS))
    fields = np.einsum("xk,yk->kxy", vectors[:, i], vectors[:, j]).reshape(MODES, -1) * CELLS
    return np.sqrt(products[largest])[:, None] * fields


def pressure(y: Array) -> Array:
    """Observables (2500,) of one sample (12,)."""
    return _pressure((y @ modes()).reshape(CELLS, CELLS))


def coarse_pressure(y: Array, cells: int = 10) -> Array:
    """The same observables by fewer cells, whose log a is the mean over theirs; linear between their centres."""
    size = CELLS // cells
    logarithm = (y @ modes()).reshape(cells, size, cells, size).mean(axis=(1, 3))
    inner = _pressure(logarithm).reshape(cells, cells)
    centres = np.concatenate([[0.0], (np.arange(cells) + 0.5) / cells, [1.0]])  # u = 0 on the boundary
    at = (np.arange(CELLS) + 0.5) / CELLS
    interpolate = RegularGridInterpolator((centres, centres), np.pad(inner, 1))
    return interpolate(np.stack(np.meshgrid(at, at, indexing="ij"), -1)).ravel()


def _pressure(logarithm: Array) -> Array:
    """At the centres (cells²,), of log a there (cells, cells)."""
    a, cells = np.exp(logarithm), len(logarithm)
    index = np.arange(cells**2).reshape(cells, cells)
    diagonal = np.zeros((cells, cells))
    rows, columns, entries = [], [], []
    for axis in (0, 1):
        inner = np.moveaxis(a, axis, 0)
        flux = 2 / (1 / inner[1:] + 1 / inner[:-1])
        number, own = np.moveaxis(index, axis, 0), np.moveaxis(diagonal, axis, 0)
        own[1:] += flux
        own[:-1] += flux
        own[0] += 2 * inner[0]
        own[-1] += 2 * inner[-1]
        for here, there in ((number[1:], number[:-1]), (number[:-1], number[1:])):
            rows.append(here.ravel())
            columns.append(there.ravel())
            entries.append(-flux.ravel())
    rows.append(index.ravel())
    columns.append(index.ravel())
    entries.append(diagonal.ravel())
    placed = (np.concatenate(entries), (np.concatenate(rows), np.concatenate(columns)))
    return splu(coo_array(placed, shape=(cells**2, cells**2)).tocsc()).solve(np.full(cells**2, 1 / cells**2))


def solved(folder: Path, report: Report = silent) -> tuple[Array, Array]:
    """All parameters (1400, 12) with their fields (1400, 2500): from a file of the folder, which is made if missing."""
    y, file = parameters(SOLVES), folder / "darcy.npy"
    if not file.exists():
        fields = np.empty((SOLVES, CELLS**2))
        for i, row in enumerate(y):
            report(i, SOLVES, f"solving darcy: {i}/{SOLVES}")
            fields[i] = pressure(row)
        folder.mkdir(parents=True, exist_ok=True)
        with whole_file(file) as part:
            np.save(part, fields)
    return y, np.load(file)
