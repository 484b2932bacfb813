"""The reference solver: what one would write in FEniCSx and trust. Independent of the fast solver but for the coefficients.

Lagrange triangles with full quadrature of the reaction, Crank–Nicolson, Newton with a direct solver; one sample at
a time. It checks the fast solver, and is the honest "before" of any speed-up.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from gnvpro.pde_data.problems.convection.coefficients import ConvectionCoefficients, ConvectionModel
from gnvpro.pde_data.problems.convection.fast_solver import FastSolver
from gnvpro.pde_data.problems.convection.forms import function_space, point_values, source, transport_form
from gnvpro.pde_data.problems.convection.settings import ImexSettings
from gnvpro.pde_data.problems.fenicsx import fenicsx
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.spaces import Array


@dataclass(frozen=True)
class PlainConvectionDiffusionReaction(ConvectionModel):
    """Crank–Nicolson and Newton on triangles; second order in time.

    Attributes
    ----------
    cells, degree
        2 · `cells`² triangles with Lagrange elements of this degree.
    steps
        Time steps in the coefficients' `final_time`; must meet the observation times.
    """

    cells: int = 32
    degree: int = 2
    steps: int = 80

    def __post_init__(self) -> None:
        for name in ("cells", "degree"):
            if getattr(self, name) < 1:
                raise UsageError(f"expected {name} >= 1, got {getattr(self, name)}")
        self.coefficients.observation_steps(self.steps)

    @classmethod
    def certified(cls, coefficients: ConvectionCoefficients | None = None) -> PlainConvectionDiffusionReaction:
        """The settings whose observables are within 2e-5 (relative L2) of the converged solution, at the defaults.

        Nearly all of that is the error in time, four times larger for half the steps; extrapolating it away leaves
        less than 2e-6 to the refined fast solver.
        """
        return cls(coefficients or ConvectionCoefficients(), cells=16, degree=4, steps=320)

    def references(self) -> dict[str, Callable[[Array], Array]]:
        """What its own error is measured against: the refined fast solver, which shares no solver with it."""
        refined = FastSolver(self.coefficients, ImexSettings().refined())
        return {"refined production route": refined.evaluate}

    @cached_property
    def _newton(self) -> _CrankNicolson:
        return _CrankNicolson(self)

    def evaluate(self, y: Array) -> Array:
        """Observables (n, n_out); NaN where the parameters are not admissible or Newton fails."""
        y = self.parameters.rows(y)
        out = np.full((len(y), self.observables.size), np.nan)
        for i in np.flatnonzero(self.parameters.contains(y)):
            out[i] = self._newton.solve(y[i])
        return out


class _CrankNicolson:
    """The weak form of one time step, compiled once, and its Newton solver."""

    def __init__(self, model: PlainConvectionDiffusionReaction) -> None:
        fx, coefficients = fenicsx(), model.coefficients
        ufl, reactions = fx.ufl, coefficients.reactions
        space = function_space(model.cells, model.degree, "triangle")
        self._observed = {step: i for i, step in enumerate(coefficients.observation_steps(model.steps))}
        self._sensors = point_values(space, np.array(coefficients.sensors)).toarray()
        self._n_sensors = len(coefficients.sensors)
        self._u, self._old = fx.fem.Function(space), fx.fem.Function(space)
        self._y = fx.fem.Constant(space.mesh, np.zeros(reactions.count))
        u, old, w, x = self._u, self._old, ufl.TestFunction(space), ufl.SpatialCoordinate(space.mesh)

        def softplus(z):
            # exp overflows far above the threshold, where softplus is z to rounding.
            return ufl.conditional(ufl.gt(z, 35.0), z, ufl.ln(1 + ufl.exp(ufl.min_value(z, 35.0))))

        def reaction(u):
            return sum(self._y[j] * reactions.rate(j, u, softplus) for j in range(reactions.count))

        tau, mean = coefficients.final_time / model.steps, (u + old) / 2
        step = (u - old) / tau * w + transport_form(coefficients, x, mean, w)
        step -= (source(coefficients, x) + (reaction(u) + reaction(old)) / 2) * w
        # Twice the degree integrates products of basis functions; one more for the velocity and the rates.
        dx = ufl.dx(metadata=dict(quadrature_degree=2 * model.degree + 1))
        self._problem = fx.fem_petsc.NonlinearProblem(
            step * dx,
            self._u,
            petsc_options_prefix=f"cdr_newton_{id(self)}_",
            petsc_options=dict(
                snes_type="newtonls",
                snes_linesearch_type="basic",
                snes_rtol=1e-8,
                snes_atol=1e-9,
                ksp_type="preonly",
                pc_type="lu",
                pc_factor_mat_solver_type="mumps",
            ),
        )

    def solve(self, y: Array) -> Array:
        """Observables (n_out,) at parameters (n_in,), NaN where a Newton iteration did not converge."""
        self._y.value[:] = y
        self._u.x.array[:] = 0.0
        self._old.x.array[:] = 0.0
        observables = np.empty((len(self._observed), self._n_sensors))
        for step in range(1, max(self._observed) + 1):
            self._problem.solve()
            if self._problem.solver.getConvergedReason() <= 0 or not np.isfinite(self._u.x.array).all():
                return np.full(observables.size, np.nan)
            self._old.x.array[:] = self._u.x.array
            if step in self._observed:
                observables[self._observed[step]] = self._sensors @ self._u.x.array
        return observables.ravel()
