"""The reference solver: what a FEniCSx user would write first for a body in the ground. Shares only the survey with the rest.

A tensor grid of hexahedra that knows nothing of the body, Q1 elements, in every cell the conductivity averaged by
volume, the secondary potential zero on a box far away, conjugate gradients with algebraic multigrid. The body's edge
is a staircase: at h = 0.05 m the anomaly is wrong by a fifth. A cell that the bottom of a layer crosses has the mean too.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnvpro.pde_data.problems.contract import PickledWithoutCaches
from gnvpro.pde_data.problems.fenicsx import fenicsx, geometry_part
from gnvpro.pde_data.problems.resistivity.boundary_elements.reference import BoundaryElements
from gnvpro.pde_data.problems.resistivity.buried_body import BuriedBody, PlacedBody
from gnvpro.pde_data.problems.resistivity.ground.layered import LayeredGround
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.spaces import Array, Space

_GROWTH, _FAR = 1.4, 600.0  # cells grow by this, up to a box as many edges away
# About 40 times the default grid: what is larger is a survey too wide for cells that fit its body.
_MOST_CELLS = 10_000_000
# Points per direction that sample a cell's share of the body.
_SUBCELLS = 4
_TOLERANCE = 1e-8


@dataclass(frozen=True)
class PlainResistivity(PickledWithoutCaches):
    """The data of a buried body by trilinear elements on an unfitted grid.

    `h`: edge of a cell around body and receivers, in m; cells grow by 1.4 from there to a box 600 h away.
    """

    body: BuriedBody = field(default_factory=BuriedBody)
    h: float = 0.05

    def __post_init__(self) -> None:
        if not self.h > 0:
            raise UsageError(f"expected an edge h > 0, got {self.h}")

    @property
    def parameters(self) -> Space:
        """Those of the body."""
        return self.body.parameters

    @property
    def observables(self) -> Space:
        """Those of the body."""
        return self.body.observables

    @property
    def background(self) -> Array:
        """Observables without the body (n_out,)."""
        return self.body.background

    def references(self) -> dict[str, Callable[[Array], Array]]:
        """The boundary elements that judge the fast solver too."""
        return {"spectral boundary elements": self._boundary_elements.evaluate}

    @cached_property
    def _boundary_elements(self) -> BoundaryElements:
        return BoundaryElements(self.body)

    def evaluate(self, y: Array) -> Array:
        """Observables (n, n_out), NaN in rows outside the parameter space.

        Raises ArithmeticError: the iteration did not converge, or to something that does not satisfy the equation.
        """
        y = self.parameters.rows(y)
        observables = np.full((len(y), self.observables.size), np.nan)
        for i in np.flatnonzero(self.parameters.contains(y)):
            observables[i] = self.background + self.body.data(self._unfitted.solve(self.body.placed(y[i])))
        return observables

    @cached_property
    def _unfitted(self) -> _Unfitted:
        return _Unfitted(self.body, self.h)


class _Unfitted:
    """The grid, the forms and the solver."""

    def __init__(self, body: BuriedBody, h: float) -> None:
        self._body, fe = body, fenicsx()
        ufl, fem = fe.ufl, fe.fem
        domain = _graded_box(body, h)
        space, cellwise = (fem.functionspace(domain, element) for element in (("Lagrange", 1), ("DG", 0)))
        self._corners = domain.geometry.x[geometry_part(domain, "dofmap")]
        u, v, x = ufl.TrialFunction(space), ufl.TestFunction(space), ufl.SpatialCoordinate(domain)
        self._conductivity, self._source = fem.Function(cellwise), fem.Constant(domain, np.zeros(3))
        self._around = body.ground.conductivity
        self._stiffness = fem.form(self._conductivity * ufl.inner(ufl.grad(u), ufl.grad(v)) * ufl.dx)
        self._layered = _LayeredPart(body.ground, domain, cellwise) if isinstance(body.ground, LayeredGround) else None
        if self._layered is None:
            away = x - self._source
            primary = -away / (2 * np.pi * self._around * ufl.sqrt(ufl.inner(away, away)) ** 3)
            excess = self._conductivity - self._around
        else:
            primary, excess = self._layered.gradient, self._layered.excess
        self._load = fem.form(-excess * ufl.inner(primary, ufl.grad(v)) * ufl.dx(metadata={"quadrature_degree": 4}))
        lower, upper = domain.geometry.x.min(axis=0), domain.geometry.x.max(axis=0)

        def far(x: Array) -> NDArray[np.bool_]:
            sides = [np.isclose(x[j], side[j]) for j in range(2) for side in (lower, upper)]
            return np.any([*sides, np.isclose(x[2], lower[2])], axis=0)

        self._edge = fem.locate_dofs_geometrical(space, far)
        self._fixed = fem.dirichletbc(0.0, self._edge, space)
        receivers = body.survey.potential_electrodes - np.array(body.mean_centre)
        self._receivers = np.column_stack([receivers, np.zeros(len(receivers))])
        boxes = fe.geometry.bb_tree(domain, 3)
        hits = fe.geometry.compute_collisions_points(boxes, self._receivers)
        cells = fe.geometry.compute_colliding_cells(domain, hits, self._receivers)
        self._cells = [cells.links(i)[0] for i in range(len(receivers))]
        self._potential = fem.Function(space)

    def solve(self, placed: PlacedBody) -> Array:
        """Secondary potentials (n_sources, n_potential_electrodes)."""
        fe, body = fenicsx(), self._body
        share = _share_of_body(self._corners, body, placed)
        excess = share * (body.body_conductivity - self._around)
        self._conductivity.x.array[:] = self._around + excess
        if self._layered is not None:
            self._conductivity.x.array[:] += self._layered.set(excess)
        matrix = fe.fem_petsc.assemble_matrix(self._stiffness, bcs=[self._fixed])
        matrix.assemble()
        solver = _multigrid(matrix)
        by_electrode = np.array(
            [self._at_receivers(solver, matrix, e) for e in body.survey.current_electrodes - np.array(body.mean_centre)]
        )
        solver.destroy()
        matrix.destroy()
        return body.survey.currents @ by_electrode

    def _at_receivers(self, solver: Any, matrix: Any, electrode: Array) -> Array:
        self._source.value[:2] = electrode
        if self._layered is not None:
            self._layered.set_electrode(electrode)
        right, solution = matrix.createVecs()
        right.array[:] = fenicsx().fem.assemble_vector(self._load).array
        right.array[self._edge] = 0.0
        solver.solve(right, solution)
        if solver.getConvergedReason() <= 0:
            raise ArithmeticError(f"multigrid did not converge (PETSc's reason {solver.getConvergedReason()})")
        size = right.norm()
        matrix.multAdd(-solution, right, right)
        # Ten times: the residual of the recurrence drifts from the true one by rounding.
        if not right.norm() <= 10 * _TOLERANCE * size:
            raise ArithmeticError(f"expected a relative residual of {10 * _TOLERANCE:g}, got {right.norm() / size:.1e}")
        self._potential.x.array[:] = solution.array
        return self._potential.eval(self._receivers, self._cells)[:, 0]


class _LayeredPart:
    """What a layer changes: the conductivity of its cells, and a primary field that is a sum of images.

    `excess`: what the body adds to the conductivity. `gradient`: of the primary potential, in the middle of every cell that
    has some of the body.
    """

    def __init__(self, ground: LayeredGround, domain: Any, cellwise: Any) -> None:
        fem = fenicsx().fem
        corners = domain.geometry.x[geometry_part(domain, "dofmap")]
        heights, self._middle = corners[..., 2], corners.mean(axis=1)
        lower, upper = heights.min(axis=1), heights.max(axis=1)
        in_layer = np.clip((upper + ground.layer.thickness) / (upper - lower), 0.0, 1.0)
        self._others = ground.below + in_layer * (ground.layer.conductivity - ground.below) - ground.conductivity
        self._ground, self.excess = ground, fem.Function(cellwise)
        self.gradient = fem.Function(fem.functionspace(domain, ("DG", 0, (3,))))

    def set(self, excess: Array) -> Array:
        """A new body; what the layers add to the conductivity around it, per cell."""
        self.excess.x.array[:] = excess
        return self._others

    def set_electrode(self, electrode: Array) -> None:
        cells = np.flatnonzero(self.excess.x.array)
        points = self._middle[cells]
        gradient = self.gradient.x.array.reshape(-1, 3)
        gradient[:] = 0.0
        for j, axis in enumerate(np.eye(3)):
            normals = np.broadcast_to(axis, points.shape)
            gradient[cells, j] = self._ground.flux(electrode[None], points, normals)[0]


def _graded_box(body: BuriedBody, h: float) -> Any:
    """Hexahedra of edge h around bodies and receivers, growing towards a far box; the body's mean centre is x1 = x2 = 0."""
    fe = fenicsx()
    reach = body.size(body.volume[1]) * max(body.semi_axis_ratio)
    ways = [(place[1] - place[0]) / 2 if isinstance(place, tuple) else 0.0 for place in body.centre]
    receivers = np.abs(body.survey.potential_electrodes - np.array(body.mean_centre)).max(axis=0)
    wide = [max(float(receivers[j]), reach + ways[j]) + h for j in range(2)]
    deep = body.depth[1] + reach + h
    axes = [_axis(-wide[0], wide[0], h, True), _axis(-wide[1], wide[1], h, True), _axis(-deep, 0.0, h, False)]
    counts = [len(axis) - 1 for axis in axes]
    if math.prod(counts) > _MOST_CELLS:
        raise UsageError(
            f"cells of {h:g} m around body and receivers make {math.prod(counts):,}, expected at most {_MOST_CELLS:,}; "
            "give a larger edge h"
        )
    domain = fe.mesh.create_box(
        fe.MPI.COMM_SELF, [np.zeros(3), np.array(counts, float)], counts, fe.mesh.CellType.hexahedron
    )
    for j, axis in enumerate(axes):
        domain.geometry.x[:, j] = axis[np.rint(domain.geometry.x[:, j]).astype(int)]
    return domain


def _axis(start: float, stop: float, h: float, both: bool) -> Array:
    cells = int(np.ceil((stop - start) / h))
    even = stop - h * np.arange(cells + 1, dtype=float)[::-1]
    steps = h * _GROWTH ** np.arange(1, 60, dtype=float)
    beyond = np.cumsum(steps[: int(np.searchsorted(np.cumsum(steps), _FAR * h)) + 1])
    return np.concatenate([even[0] - beyond[::-1], even, even[-1] + beyond if both else []])


def _share_of_body(corners: Array, body: BuriedBody, placed: PlacedBody) -> Array:
    """Fraction of each cell (n_cells, 8, 3) that lies in the body."""
    semi_axes = placed.size * np.array(body.semi_axis_ratio)
    lower, upper = corners.min(axis=1), corners.max(axis=1)
    centre = np.array([*np.subtract(placed.centre, body.mean_centre), -placed.depth])
    near = np.flatnonzero(((lower - centre < semi_axes.max()) & (upper - centre > -semi_axes.max())).all(axis=1))
    steps = (np.arange(_SUBCELLS) + 0.5) / _SUBCELLS
    offsets = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 3)
    points = lower[near, None] + offsets * (upper - lower)[near, None] - centre
    cosine, sine = np.cos(placed.azimuth), np.sin(placed.azimuth)
    x1, x2, x3 = np.moveaxis(points, 2, 0)
    along = np.stack([cosine * x1 + sine * x2, cosine * x2 - sine * x1, x3], axis=-1) / semi_axes
    share = np.zeros(len(corners))
    share[near] = ((along**2).sum(axis=2) <= 1).mean(axis=1)
    return share


def _multigrid(matrix: Any) -> Any:
    solver = fenicsx().PETSc.KSP().create(matrix.comm)
    solver.setOperators(matrix)
    solver.setType("cg")
    solver.getPC().setType("gamg")
    # PETSc's own norm is of the preconditioned residual, which on the stretched cells falls before the true one does:
    # at the default h and a body of 0.1 S/m it stopped at 1.2e-6.
    solver.setNormType(fenicsx().PETSc.KSP.NormType.UNPRECONDITIONED)
    solver.setTolerances(rtol=_TOLERANCE)
    return solver
