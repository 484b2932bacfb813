"""The anomalous potential of an ellipsoidal body at the receivers of a survey, with its derivatives.

With m0 around the body E and m1 in it, delta = m1 - m0, G the Green's function of the background and u_p the primary
potential (the source's, without the body), the secondary potential u_s satisfies

    a(u_s, v) = -delta ∫_E grad u_p · grad v = -delta ∮ v du_p/dn            since u_p is harmonic in E,
    u_s(r)    = -delta ∫_E grad(u_p + u_s) · grad G(r) = -delta ∮ (u_p + u_s) dG(r)/dn     likewise.

So sources enter and receivers read through the same integrals over the body's surface: data are reciprocal (to 1e-8,
the error of the surface quadrature), the singularity of the source is never discretised, receivers need no nodes, and
the error of u_s(r) is the product of two errors of the finite elements, of fourth order for quadratic ones.

All is computed in the frame of the body: its azimuth turns the electrodes instead, its centre shifts them.
"""

from __future__ import annotations

import numpy as np

from gnvpro.pde_data.problems.fenicsx import fenicsx
from gnvpro.pde_data.problems.linear_systems import LinearSolver
from gnvpro.pde_data.problems.resistivity.buried_body import PlacedBody
from gnvpro.pde_data.problems.resistivity.ground.layered import Ground
from gnvpro.pde_data.problems.resistivity.meshes.mesh import ReferenceMesh
from gnvpro.pde_data.problems.resistivity.surface import BodySurface, fold, unfold
from gnvpro.pde_data.problems.resistivity.surveys.four_electrode_survey import FourElectrodeSurvey
from gnvpro.pde_data.problems.resistivity.surveys.survey import Survey
from gnvpro.pde_data.problems.resistivity.system import QuarterSystem
from gnvpro.surrogate.spaces import Array

# Four points more than six change the observables by a hundredth of their error.
_SURFACE_QUADRATURE = 4
# A parity below this, relative to the source, is rounding: a dipole about the body's axis has two of the four.
_NO_PART = 1e-12


class ResistivitySolver:
    """Solves for one body after the other; what does not depend on the body is prepared here.

    Parameters
    ----------
    shape : (3,)
        Semi-axes of a body of size 1 m.
    length
        Of a unit of the reference mesh, in m.
    """

    def __init__(
        self,
        survey: Survey | FourElectrodeSurvey,
        background: Ground,
        body_conductivity: float,
        shape: Array,
        mesh: ReferenceMesh,
        length: float,
        linear_solver: LinearSolver = "auto",
    ) -> None:
        self._survey, self._background = survey, background
        self._contrast = body_conductivity - background.conductivity
        self._stretch = np.asarray(shape) / mesh.body_radius
        self.system = QuarterSystem(
            mesh, length, shape, background.around(mesh.below), body_conductivity, linear_solver
        )
        basix = fenicsx().basix
        self._surface = BodySurface(mesh, basix.make_quadrature(basix.CellType.triangle, _SURFACE_QUADRATURE))
        self._on_surface = self.system.dof[self._surface.nodes]
        # Currents are combined before the solve where that leaves fewer right-hand sides, after it otherwise.
        sources, electrodes = survey.currents.shape
        self._before, self._after = (
            (survey.currents, None) if sources <= electrodes else (np.eye(electrodes), survey.currents)
        )

    def anomalous(self, body: PlacedBody) -> Array:
        """Secondary potentials (n_sources, n_potential_electrodes) in V per A.

        Raises SolverFailure: a linear system was not solved.
        """
        fields = _Fields(self, body)
        return self._sources(self._background.collect(fields.receivers, *fields.surface, fields.layer(fields.states())))

    def with_derivatives(self, body: PlacedBody, moving: tuple[int, ...] = ()) -> tuple[Array, Array]:
        """`anomalous`, and its derivatives by depth, size, azimuth and the coordinates `moving` of the centre.

        (n_sources, n_potential_electrodes) and (n_sources, n_potential_electrodes, 3 + n_moving). Those of the discrete
        equations, with the factors of the solve itself.
        """
        fields = _Fields(self, body, moving)
        states = fields.states()
        layers = np.concatenate([fields.layer(states), *fields.layer_changes(states)], axis=1)
        n = len(self._before)
        values, gradient = self._background.collect_with_gradient(fields.receivers, *fields.surface, layers, n)
        potentials = self._sources(values[:, :n])
        derivatives = [
            self._sources(np.einsum("rj,rjk->rk", motion, gradient) + values[:, (1 + i) * n : (2 + i) * n])
            for i, motion in enumerate(fields.motions(fields.receivers))
        ]
        return potentials, np.stack(derivatives, axis=2)

    def _sources(self, columns: Array) -> Array:
        return columns.T if self._after is None else self._after @ columns.T


class _Fields:
    """Fields on the surface of one body. Columns are the right-hand sides; `parts` are the four parities."""

    def __init__(self, solver: ResistivitySolver, body: PlacedBody, moving: tuple[int, ...] = ()) -> None:
        self._solver, self._depth, self._size, self._moving = solver, body.depth, body.size, moving
        solver.system.set_body(body.depth, body.size)
        survey, self._turn = solver._survey, _rotation(-body.azimuth)
        centre = np.array(body.centre)
        self.receivers = (survey.potential_electrodes - centre) @ self._turn.T
        self._electrodes = (survey.current_electrodes - centre) @ self._turn.T
        points, normals = solver._surface.at(body.depth, body.size * solver._stretch)
        self.surface = points.reshape(-1, 3), normals.reshape(-1, 3)
        self._potential = self._columns(solver._background.potential(self._electrodes, self.surface[0]))
        self._flux = self._columns(solver._background.flux(self._electrodes, *self.surface))

    def _columns(self, by_electrode: Array) -> Array:
        """(n_electrodes, 4 n) -> (4 images, n, columns)."""
        combined = self._solver._before @ by_electrode
        return np.moveaxis(combined.reshape(len(combined), 4, -1), 0, 2)

    def motions(self, positions: Array) -> list[Array]:
        """Velocities of electrodes that do to the surface integrals what depth, size, azimuth and centre do.

        In the columns of the background's derivatives: (n, 3), or (n, 4) where it has a thickness.
        """
        zeros, depths = np.zeros(len(positions)), np.full(len(positions), self._depth)
        x1, x2 = positions.T
        # Moving the body is moving the electrodes the other way.
        away = np.concatenate([-self._turn.T, np.zeros((2, 1))], axis=1)
        motion = self._solver._background.motion
        return [
            motion(np.stack([zeros, zeros, np.ones(len(positions))], axis=1), 0.0),
            motion(np.stack([x1, x2, depths], axis=1) / -self._size, -1 / self._size),
            motion(np.stack([x2, -x1, zeros], axis=1), 0.0),
            *(motion(np.tile(away[j], (len(positions), 1)), 0.0) for j in self._moving),
        ]

    def states(self) -> Array:
        """w = -u_s / delta in all unknowns, by parity: (4, size, columns)."""
        return self._solved(self._loads(self._flux))

    def layer(self, states: Array) -> Array:
        """-delta (u_p + u_s) at the points of the whole surface (4 n, columns)."""
        return self._density(self._potential, states)

    def layer_changes(self, states: Array) -> list[Array]:
        """Derivatives of `layer`, at points that move with the body, by depth, size, azimuth and centre."""
        solver, gradients = self._solver, self._solver._background.derivatives(self._electrodes, *self.surface)
        potentials, fluxes = [], []
        for motion in self.motions(self._electrodes):
            by_potential, by_flux = (self._columns(np.einsum("eqj,ej->eq", by, motion)) for by in gradients)
            potentials.append(by_potential)
            fluxes.append(by_flux)
        potentials[1] -= self._potential / self._size  # G is homogeneous of degree -1 in length
        loads = self._loads(np.concatenate(fluxes, axis=2))
        n = states.shape[2]
        for parity in np.flatnonzero(np.any(states != 0, axis=(1, 2))):
            for i, direction in enumerate(((1.0, 0.0), (0.0, 1.0))):
                loads[parity, :, i * n : (i + 1) * n] -= solver.system.change(states[parity], *direction)
        solved = np.split(self._solved(loads), len(fluxes), axis=2)
        return [self._density(potential, change) for potential, change in zip(potentials, solved, strict=True)]

    def _loads(self, flux: Array) -> Array:
        """∮ v (flux) for every unknown, by parity; parts that are rounding are exactly zero."""
        solver = self._solver
        parts, scale = fold(flux), np.abs(self._flux).max()
        loads = np.zeros((4, solver.system.size, flux.shape[2]))
        for load, part in zip(loads, parts, strict=True):
            if np.abs(part).max() > _NO_PART * scale:
                load[solver._on_surface] = solver._surface.interpolation.T @ part
        return loads

    def _solved(self, loads: Array) -> Array:
        solved = np.zeros_like(loads)
        for parity in np.flatnonzero(np.any(loads != 0, axis=(1, 2))):
            solved[parity] = self._solver.system.solve(int(parity), loads[parity])
        return solved

    def _density(self, potential: Array, states: Array) -> Array:
        solver = self._solver
        parts = np.stack([solver._surface.interpolation @ state[solver._on_surface] for state in states])
        density = -solver._contrast * (potential - solver._contrast * unfold(parts))
        return density.reshape(-1, density.shape[2])


def _rotation(angle: float) -> Array:
    cosine, sine = np.cos(angle), np.sin(angle)
    return np.array([[cosine, -sine], [sine, cosine]])
