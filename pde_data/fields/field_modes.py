"""A field by its modes, without FEniCSx: values, moments, pictures, a file."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gnvpro.pde_data.files import load_arrays
from gnvpro.surrogate.checks import numbers, path_of
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.spaces import Array
from gnvpro.surrogate.writing import whole_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass(frozen=True, eq=False)
class FieldModes:
    """The field mean + matrix ξ with independent standard normal coefficients ξ, on the cells of a mesh.

    Attributes
    ----------
    matrix : (n_dofs, n_modes)
        Modes times the standard deviations of their coefficients.
    mean : (n_dofs,)
        Of the field.
    eigenvalues : (n_modes,)
        Of the covariance operator; they sum to `captured` times the variance of the field times the volume.
    captured
        Share of the variance, averaged over the domain, that the modes hold.
    nodes : (n_nodes, dimension)
        Of the mesh.
    cells : (n_cells, n_corners)
        Nodes of every cell, as dolfinx orders them. The field has a value at every node, or in every cell.
    """

    matrix: Array
    mean: Array
    eigenvalues: Array
    captured: float
    nodes: Array
    cells: Any

    @property
    def n_modes(self) -> int:
        """Number of coefficients."""
        return self.matrix.shape[1]

    def names(self, name: str) -> list[str]:
        """What the coefficients of a field of this name are called: k_1, k_2, …"""
        return [f"{name}_{j + 1}" for j in range(self.n_modes)]

    @cached_property
    def deviation(self) -> Array:
        """Standard deviation (n_dofs,) of the field by these modes; less than that of the law near boundaries and corners."""
        return np.sqrt((self.matrix**2).sum(1))

    def values(self, coefficients: Array) -> Array:
        """The field (..., n_dofs) of coefficients (..., n_modes)."""
        return self.mean + self._coefficients(coefficients) @ self.matrix.T

    def moments(self, draws: Array) -> tuple[Array, Array]:
        """Mean and standard deviation (n_dofs,) of the field over draws (..., n_modes) of the coefficients."""
        draws = self._coefficients(draws).reshape(-1, self.n_modes)
        # The covariance of the field is that of the coefficients between the modes.
        centred = np.linalg.qr(draws - draws.mean(0), mode="r") / np.sqrt(max(len(draws) - 1, 1))
        return self.values(draws.mean(0)), np.sqrt(((self.matrix @ centred.T) ** 2).sum(1))

    def save(self, file: str | Path) -> None:
        """Write everything into an .npz file, which `read` reads."""
        with whole_file(path_of(file)) as part, part.open("wb") as stream:
            np.savez_compressed(stream, **asdict(self))

    @classmethod
    def read(cls, file: str | Path) -> FieldModes:
        """What `save` wrote.

        Raises
        ------
        UsageError
            Another file.
        OSError
            None.
        """
        arrays = load_arrays(path_of(file))
        if missing := sorted(set(cls.__dataclass_fields__) - set(arrays)):
            raise UsageError(
                f"{file}: expected the modes of a field, as `save` writes them, got no {', '.join(missing)}"
            )
        found = cls(**{name: arrays[name] for name in cls.__dataclass_fields__ if name != "captured"},
                   captured=float(arrays["captured"]))  # fmt: skip
        found._require_sound(file)
        return found

    def _require_sound(self, file: object) -> None:
        """UsageError where the arrays of a file do not fit each other, or hold what is no number."""
        n_dofs, n_modes = self.matrix.shape if self.matrix.ndim == 2 else (0, 0)
        fit = self.mean.shape == (n_dofs,) and self.eigenvalues.shape == (n_modes,) and self.nodes.ndim == 2
        fit = (
            fit
            and self.cells.ndim == 2
            and self.cells.dtype.kind in "iu"
            and n_dofs in map(len, (self.nodes, self.cells))
        )
        fit = fit and (not self.cells.size or (self.cells.min() >= 0 and self.cells.max() < len(self.nodes)))
        parts = (self.matrix, self.mean, self.eigenvalues, self.nodes)
        if not fit or not all(np.isfinite(part).all() for part in parts):
            raise UsageError(f"{file} is damaged: its arrays do not fit each other; save the modes again")

    def picture(self, draws: Array, truth: Array | None = None) -> Figure:
        """Posterior mean and standard deviation of the field, over draws (..., n_modes); the true field beside, if known.

        Parameters
        ----------
        truth : (n_modes,)
            Coefficients of the field that made the observations.
        """
        from matplotlib.figure import Figure

        mean, deviation = self.moments(draws)
        panels = {"mean": mean, "standard deviation": deviation}
        if truth is not None:
            panels = {"truth": self.values(truth)} | panels
        figure = Figure(figsize=(4 * len(panels), 3.4), layout="constrained")
        same = np.concatenate([values for name, values in panels.items() if name != "standard deviation"])
        for axes, (name, values) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True):
            limits = {} if name == "standard deviation" else dict(vmin=same.min(), vmax=same.max())
            self.draw(axes, values, **limits)
            axes.set_title(name)
        return figure

    def draw(self, axes: Axes, values: Array, **limits: Any) -> None:
        """Draw one field (n_dofs,): as a curve over an interval, in colours in the plane.

        Raises UsageError: a mesh in space.
        """
        from matplotlib.tri import Triangulation

        dimension, by_cell = self.nodes.shape[1], len(values) != len(self.nodes)
        if dimension == 1:
            where = self.nodes[self.cells].mean(1)[:, 0] if by_cell else self.nodes[:, 0]
            order = np.argsort(where)
            axes.plot(where[order], values[order])
            return
        if dimension == 3:
            raise UsageError("a field in space has no picture; write `values` to a file that ParaView reads")
        corners = self.cells[:, [0, 1, 2]]
        if self.cells.shape[1] == 4:  # quadrilaterals
            corners, values = np.vstack([corners, self.cells[:, [1, 3, 2]]]), np.tile(values, 2) if by_cell else values
        drawn = axes.tripcolor(
            Triangulation(self.nodes[:, 0], self.nodes[:, 1], corners),
            values,
            shading="flat" if by_cell else "gouraud",
            rasterized=True,
            **limits,
        )
        axes.set_aspect("equal")
        axes.figure.colorbar(drawn, ax=axes)

    def _coefficients(self, given: Array) -> Array:
        coefficients = numbers(given, "coefficients of the field")
        if not coefficients.ndim or coefficients.shape[-1] != self.n_modes:
            raise UsageError(f"expected {self.n_modes} coefficients of the field, got shape {coefficients.shape}")
        return coefficients
