"""Direct-current resistivity as a forward model: from a buried body to differences of potential on the surface.

    -div(m grad u) = I (delta_A - delta_B) in x3 < 0,   no flux through x3 = 0

Half-space of conductivity m0 (S/m), or a layer on one, with one ellipsoid of conductivity m1. The survey is in survey.py,
the body in buried_body.py, the numerics in solver.py; this is what a user sees.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import product
from typing import Any, ClassVar, Literal, cast, get_args

import numpy as np
from numpy.typing import NDArray

from gnvpro.pde_data.problems.contract import Problem, SolveStatus, checked_directions
from gnvpro.pde_data.problems.linear_systems import SolverFailure
from gnvpro.pde_data.problems.options import options_of
from gnvpro.pde_data.problems.resistivity.boundary_elements.reference import BoundaryElements
from gnvpro.pde_data.problems.resistivity.buried_body import BuriedBody
from gnvpro.pde_data.problems.resistivity.meshes.layered_mesh import LayeredMesh, unit_and_cover
from gnvpro.pde_data.problems.resistivity.meshes.mesh import MEAN_DEPTH, ReferenceMesh
from gnvpro.pde_data.problems.resistivity.reference_solver import PlainResistivity
from gnvpro.pde_data.problems.resistivity.solver import ResistivitySolver
from gnvpro.pde_data.problems.solving import solve_block
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.spaces import Array

# From the coarsest on.
Mesh = Literal["coarsest", "coarse", "fine"]


@dataclass(frozen=True)
class Resistivity(BuriedBody):
    """The forward model from depth, volume, azimuth and place of a body to the data of a survey.

    Constructing it is cheap; FEniCSx is imported and the solver built at the first solve. Survey, conductivities,
    ranges, shape and what is observed are those of `BuriedBody`.

    Attributes
    ----------
    mesh
        `coarsest`: 1,223 nodes, error of the anomaly below 2e-2. `coarse`: 6,140, below 3e-3. `fine`: 16,084, below
        1e-3. All are a quarter of the ground, solved once for every parity of the source that is present.
    linear_solver
        `mumps`, `cg` (with algebraic multigrid), or `auto`: by size.

    Raises UsageError: what `BuriedBody` refuses, or a body to which the mesh cannot be stretched.
    """

    mesh: Mesh = "coarse"
    linear_solver: Literal["auto", "mumps", "cg"] = "auto"
    name: str = field(default="dcr", init=False)

    cf_attributes: ClassVar = {"title": "Direct-current resistivity: potential differences for a body in the ground"}

    def __post_init__(self) -> None:
        super().__post_init__()
        refused = self._refused_by(self.mesh)
        if refused is not None:
            depth, semi_axes = refused
            raise UsageError(
                f"the mesh cannot be stretched to a body with semi-axes {semi_axes.round(4).tolist()} m at a depth "
                f"of {depth:g} m together with the others; give narrower ranges or a rounder body"
                + (", or more ground between the bodies and the bottom of the layer" if self.background_layer else "")
            )

    def _refused_by(self, mesh: str) -> tuple[float, Array] | None:
        """Depth and semi-axes of an extreme body that a mesh cannot follow; None if it follows them all."""
        for depth, volume in product(self.depth, self.volume):
            semi_axes = self.size(volume) * np.array(self.semi_axis_ratio)
            if not self._reference_mesh(mesh).admits(depth / self.length, semi_axes / self.length):
                return depth, semi_axes
        return None

    @property
    def length(self) -> float:
        """Of a unit of the reference mesh, in m: bodies of mean depth are moved least."""
        return self._unit_and_cover[0]

    @property
    def _unit_and_cover(self) -> tuple[float, float]:
        mean, layer = sum(self.depth) / 2, self.background_layer
        if layer is None:
            return mean / MEAN_DEPTH, 0.0
        return unit_and_cover(mean, layer.thickness, self.depth[1] < layer.thickness)

    def _reference_mesh(self, name: str) -> ReferenceMesh:
        if self.background_layer is None:
            return ReferenceMesh.named(name)
        unit, cover = self._unit_and_cover
        return LayeredMesh.of(name, self.background_layer.thickness / unit, cover)

    @cached_property
    def definition(self) -> dict[str, Any]:
        """JSON-able: everything that fixes the numbers."""
        options = options_of(self)
        # What a data set was made with before there was a choice is still the same problem.
        for name, value in (("centre", (0.0, 0.0)), ("observable", "resistance"), ("background_layer", None)):
            if options[name] == value:
                del options[name]
        return dict(
            problem=self.name,
            route="secondary potential, quadratic elements on a mesh that follows the body, Green's-function extraction",
            options=options,
            reference_mesh_sha256=ReferenceMesh.named(self.mesh).sha256,
        )

    @property
    def block_size(self) -> int:
        """Samples that are committed together; they are solved one by one."""
        return 32

    @cached_property
    def _solver(self) -> ResistivitySolver:
        return ResistivitySolver(
            self.survey,
            self.ground,
            self.body_conductivity,
            np.array(self.semi_axis_ratio),
            self._reference_mesh(self.mesh),
            self.length,
            self.linear_solver,
        )

    def solve(self, y: Array) -> tuple[Array, NDArray[np.int8]]:
        """Observables (n, n_out) and a status per sample (n,); NaN where the status is not 0.

        Raises SolverFailure: a linear system was not solved to its tolerance.
        """
        y = self.parameters.rows(y)
        inside = self.parameters.contains(y)
        status = np.where(inside, SolveStatus.OK, SolveStatus.OUTSIDE_PARAMETER_SPACE).astype(np.int8)
        observables = np.full((len(y), self.observables.size), np.nan)
        for i in np.flatnonzero(inside):
            observables[i] = self.background + self.data(self._solver.anomalous(self.placed(y[i])))
        return observables, status

    def evaluate(self, y: Array) -> Array:
        """Observables (n, n_out), NaN in rows outside the parameter space and where a system was not solved."""
        return solve_block(cast(Problem, self), self.parameters.rows(y)).observables

    def jacobian(self, y: Array) -> Array:
        """Derivative of every observable by every parameter: (n, n_in) -> (n, n_out, n_in).

        Of the discrete equations, from the factors of the solve: a right-hand side more for each parameter.
        """
        return self.linearize(y)[1]

    def linearize(self, y: Array) -> tuple[Array, Array]:
        """Observables (n, n_out) and Jacobian (n, n_out, n_in) from one solve."""
        y = self.parameters.require(y)
        observables = np.empty((len(y), self.observables.size))
        jacobian = np.empty((*observables.shape, self.parameters.size))
        for data, out, row in zip(observables, jacobian, y, strict=True):
            body = self.placed(row)
            potentials, derivatives = self._solver.with_derivatives(body, self.moving)
            data[:] = self.background + self.data(potentials)
            out[:] = self.data(derivatives)
            out[:, 1] *= body.size / (3 * row[1])  # by volume, not by size
        return observables, jacobian

    def tangents(self, y: Array, directions: Array) -> tuple[Array, Array]:
        """Observables (n, n_out) and derivatives (n, r, n_out) along `directions` (n, r, n_in), from one solve each.

        By all columns of the Jacobian, however many directions there are. The observables are those of `solve` to
        rounding. NaN in rows that fail.
        """
        y = self.parameters.rows(y)
        directions = checked_directions(directions, *y.shape)
        observables = np.full((len(y), self.observables.size), np.nan)
        derivatives = np.full((*directions.shape[:2], self.observables.size), np.nan)
        for i in np.flatnonzero(self.parameters.contains(y)):
            try:
                (observables[i],), (jacobian,) = self.linearize(y[i : i + 1])
            except SolverFailure:
                continue
            derivatives[i] = directions[i] @ jacobian.T
        return observables, derivatives

    def jvp(self, y: Array, dy: Array) -> Array:
        """Derivative along `dy`, row by row: (n, n_in), (n, n_in) -> (n, n_out)."""
        y, dy = self.parameters.require(y), self.parameters.rows(dy)
        if len(y) != len(dy):
            raise UsageError(f"expected one direction per sample, got {len(dy)} directions for {len(y)} samples")
        return np.einsum("noi,ni->no", self.jacobian(y), dy)

    def vjp(self, y: Array, dc: Array) -> Array:
        """Gradient of <dc, observables>, row by row: (n, n_in), (n, n_out) -> (n, n_in).

        Through the Jacobian: an adjoint solve would save one right-hand side or three.
        """
        y, dc = self.parameters.require(y), self.observables.rows(dc)
        if len(y) != len(dc):
            raise UsageError(f"expected one row of weights per sample, got {len(dc)} rows for {len(y)} samples")
        return np.einsum("noi,no->ni", self.jacobian(y), dc)

    def coarser(self) -> Resistivity | None:
        """On the next coarser mesh; None where there is none, or where that mesh cannot follow the bodies."""
        meshes = get_args(Mesh)
        level = meshes.index(self.mesh) - 1
        if level < 0 or self._refused_by(meshes[level]) is not None:
            return None
        return replace(self, mesh=meshes[level])

    def references(self) -> dict[str, Callable[[Array], Array]]:
        """The same observables by boundary elements, which share nothing with this solver but the equation."""
        return {"spectral boundary elements": self._boundary_elements.evaluate}

    @cached_property
    def _boundary_elements(self) -> BoundaryElements:
        return BoundaryElements(self)

    def plain_route(self) -> PlainResistivity:
        """The same problem as one would write it first, without a mesh that follows the body."""
        return PlainResistivity(self, h=0.05 * self.length)
