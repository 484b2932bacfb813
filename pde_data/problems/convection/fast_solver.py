"""The fast solver of convection: blocks of samples through the solver, with a status for every sample."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from gnvpro.pde_data.problems.contract import SolveStatus, checked_directions
from gnvpro.pde_data.problems.convection.coefficients import ConvectionModel
from gnvpro.pde_data.problems.convection.settings import FEW, ImexSettings, ReducedSettings
from gnvpro.pde_data.problems.fenicsx import fenicsx
from gnvpro.pde_data.sampling import draw
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.spaces import Array

if TYPE_CHECKING:
    from gnvpro.pde_data.problems.convection.imex.solver import ImexSolver

# Data sets hold the samples 0, 1, 2, … of their seed and comparisons those from 2⁶² on: modes are made of none of them.
_FOR_MODES = 2**61


@dataclass(frozen=True)
class FastSolver(ConvectionModel):
    """Observables and derivatives by the implicit–explicit solver, in full or reduced to a few modes.

    Constructing it is cheap; FEniCSx is imported and the solver built at the first solve.

    Attributes
    ----------
    tier
        `full`, or `reduced`: a model of the full route's equations on a few modes (imex/reduced.py), faster, and
        measured against the full route in every data set.
    reduction
        Settings of the reduced model.

    Raises UsageError: the number of steps does not meet the observation times, the table reaches a pole of the rates,
    or there are more modes than nodes.
    """

    settings: ImexSettings = field(default_factory=ImexSettings)
    tier: Literal["full", "reduced"] = "full"
    reduction: ReducedSettings = field(default_factory=ReducedSettings)

    def __post_init__(self) -> None:
        self.coefficients.observation_steps(self.settings.steps)
        self.settings.table(self.coefficients.reactions)
        if self.tier not in ("full", "reduced"):
            raise UsageError(f"expected tier 'full' or 'reduced', got {self.tier!r}")
        nodes = (self.settings.cells * self.settings.degree + 1) ** 2
        if self.tier == "reduced" and self.reduction.modes > nodes:
            raise UsageError(f"expected at most {nodes} modes, one for each node, got {self.reduction.modes}")

    @cached_property
    def _solver(self) -> ImexSolver:
        """Of the tier; a reduced one is made of solutions by the full one, always the same."""
        fenicsx()  # first: where the extra is not installed, it says so
        try:
            from gnvpro.pde_data.problems.convection.imex.solver import ImexSolver
        except ModuleNotFoundError as missing:
            if missing.name != "numba":
                raise
            raise ImportError("the fast solver needs numba: pip install numba (conda install numba)") from missing

        full = ImexSolver.of(self.coefficients, self.settings)
        if self.tier == "full":
            return full
        from gnvpro.pde_data.problems.convection.imex.reduced import reduced_solver

        y = draw(self.parameters, 0, _FOR_MODES + np.arange(self.reduction.samples, dtype=np.int64))
        return reduced_solver(full, y, self.reduction.modes)

    def solve(self, y: Array) -> tuple[Array, NDArray[np.int8]]:
        """Observables (n, n_out) and a status per sample (n,); NaN where the status is not 0.

        Samples are solved `settings.width` at a time, short blocks padded, so that a sample's bits do not
        depend on how many others come along.
        """
        return self._solve(self.parameters.rows(y), self.settings.width)

    def evaluate(self, y: Array) -> Array:
        """Observables (n, n_out), NaN in the rows that failed.

        The numbers of `solve`, up to rounding: a few samples are not padded to the full width.
        """
        y = self.parameters.rows(y)
        return self._solve(y, len(y) if 0 < len(y) <= FEW else self.settings.width)[0]

    def _solve(
        self, y: Array, width: int, directions: NDArray[np.floating] | None = None, derivatives: Array | None = None
    ) -> tuple[Array, NDArray[np.int8]]:
        """Observables and status; with directions, their `derivatives` are written."""
        observables = np.full((len(y), self.observables.size), np.nan)
        admissible = self.parameters.contains(y)
        status = np.where(admissible, SolveStatus.OK, SolveStatus.OUTSIDE_PARAMETER_SPACE).astype(np.int8)
        # Inadmissible samples keep their place in the block, with the centre of the simplex instead.
        stand_in = np.where(admissible[:, None], y, 1.0 / y.shape[1])
        for start in range(0, len(y), width):
            block = slice(start, min(start + width, len(y)))
            n = block.stop - start
            along = None if directions is None else directions[block]
            values, outcome, tangents = self._solver.with_tangents(_padded(stand_in[block], width), along, width)
            status[block] = np.where(admissible[block], outcome[:n], status[block])
            solved = status[block] == SolveStatus.OK
            observables[block] = np.where(solved[:, None], values[:n], np.nan)
            if derivatives is not None:
                derivatives[block] = np.where(solved[:, None, None], tangents, np.nan)
        return observables, status

    def tangents(self, y: Array, directions: Array) -> tuple[Array, Array]:
        """Observables (n, n_out) and derivatives (n, r, n_out) along `directions` (n, r, n_in), from one solve.

        The observables are those of `solve`, to the bit. The derivatives are those of `jvp` in single precision, which
        halves their cost: 1e-5 of them is rounding. Both are NaN in rows that failed.
        """
        y = self.parameters.rows(y)
        along = checked_directions(directions, *y.shape).astype(np.float32)
        derivatives = np.full((*along.shape[:2], self.observables.size), np.nan)
        observables, _ = self._solve(y, self.settings.width, along, derivatives)
        return observables, derivatives

    def jvp(self, y: Array, dy: Array) -> Array:
        """Tangent of the discrete equations, row by row: (n, n_in), (n, n_in) -> (n, n_out)."""
        y, dy = self.parameters.require(y), self.parameters.rows(dy)
        if len(y) != len(dy):
            raise UsageError(f"expected one direction per sample, got {len(dy)} directions for {len(y)} samples")
        return self._tangent(y, dy[:, None, :])[:, 0]

    def jacobian(self, y: Array) -> Array:
        """Derivative of every observable by every parameter: (n, n_in) -> (n, n_out, n_in).

        In ambient coordinates; on the simplex only its action on directions that sum to zero has a meaning.
        """
        y = self.parameters.require(y)
        units = np.broadcast_to(np.eye(y.shape[1]), (len(y), y.shape[1], y.shape[1]))
        return self._tangent(y, units).swapaxes(1, 2)

    def vjp(self, y: Array, dc: Array) -> Array:
        """Gradient of <dc, observables>, row by row: (n, n_in), (n, n_out) -> (n, n_in).

        By the discrete adjoint: one sweep backwards in time, exact for the discrete equations like the tangent. NaN
        in rows that `evaluate` cannot solve.
        """
        y, dc = self.parameters.require(y), self.observables.rows(dc)
        if len(y) != len(dc):
            raise UsageError(f"expected one row of weights per sample, got {len(dc)} rows for {len(y)} samples")
        return self._solver.gradient(y, dc)

    def _tangent(self, y: Array, directions: Array) -> Array:
        out = np.empty((len(y), directions.shape[1], self.observables.size))
        together = max(1, self.settings.width // directions.shape[1])
        for start in range(0, len(y), together):
            block = slice(start, start + together)
            out[block] = self._solver.with_tangents(y[block], directions[block])[2]
        return out


def _padded(block: Array, width: int) -> Array:
    return np.concatenate([block, np.repeat(block[:1], width - len(block), axis=0)])
