"""Direct-current resistivity as a forward model: from a buried body to differences of potential on the surface.

    -div(m grad u) = I (delta_A - delta_B) in x3 < 0,   no flux through x3 = 0

Half-space of conductivity m0 (S/m) with one ellipsoid of conductivity m1. The survey is in survey.py, the numerics
in resistivity_solver.py; this is what a user sees.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from gnvpro.pde_data.problems.contract import Problem, SolveStatus
from gnvpro.pde_data.problems.fenicsx import fenicsx
from gnvpro.pde_data.problems.rebuilt import Rebuilt
from gnvpro.pde_data.problems.options import options_of
from gnvpro.pde_data.problems.resistivity.half_space import HalfSpace
from gnvpro.pde_data.problems.resistivity.mesh import ReferenceMesh
from gnvpro.pde_data.problems.resistivity.survey import Survey
from gnvpro.pde_data.problems.solving import solve_block
from gnvpro.surrogate.spaces import Array, Space

if TYPE_CHECKING:
    from gnvpro.pde_data.problems.resistivity.oracle import EllipsoidOracle
    from gnvpro.pde_data.problems.resistivity.plain import PlainResistivity
    from gnvpro.pde_data.problems.resistivity.solver import ResistivitySolver

Range = tuple[float, float]
# Of a body with semi-axes 2b, b, b and b = 0.15 to 0.30 m.
_VOLUME_RANGE = (4 / 3 * math.pi * 2 * 0.15**3, 4 / 3 * math.pi * 2 * 0.30**3)
# Depth of a mean body in units of the reference mesh.
_MEAN_DEPTH = 0.6
# Ground that has to stay above every body, in units of its vertical semi-axis.
_LEAST_GAP = 0.25
# Tried in turn until the error is a tenth of that of the fine mesh: the first does for the default survey, current that
# enters right above a shallow body needs more.
_ORACLE_DEGREES, _ORACLE_ERROR = (10, 13, 16, 20, 24), 2e-5


@dataclass(frozen=True)
class Resistivity(Rebuilt):
    """The forward model from depth, volume and azimuth of a body to the data of a survey, in V per A.

    Constructing it is cheap; FEniCSx is imported and the solver built at the first solve.

    Attributes
    ----------
    survey
        Sources and receivers.
    background_conductivity, body_conductivity
        In S/m.
    depth, volume, azimuth
        Ranges: depth of the body's centre in m, its volume in m³, and the angle in rad by which it is turned from
        x1 towards x2.
    semi_axis_ratio
        Shape of the body: its semi-axes along x1, x2 (at azimuth 0) and x3, up to a factor.
    mesh
        `coarse`: 6,140 nodes, error of the anomaly below 3e-3. `fine`: 16,084 nodes, below 1e-3. Both are a quarter
        of the ground, solved once for every parity of the source that is present.
    linear_solver
        `mumps`, `cg` (with algebraic multigrid), or `auto`: by size.

    Raises
    ------
    ValueError
        Ranges or conductivities that make no body, a body that comes too near the surface, or one to which the mesh
        cannot be stretched.
    """

    survey: Survey = field(default_factory=Survey)
    background_conductivity: float = 1.0
    body_conductivity: float = 10.0
    depth: Range = (0.45, 0.75)
    volume: Range = _VOLUME_RANGE
    azimuth: Range = (0.0, math.pi / 2)
    semi_axis_ratio: tuple[float, float, float] = (2.0, 1.0, 1.0)
    mesh: Literal["coarse", "fine"] = "coarse"
    linear_solver: Literal["auto", "mumps", "cg"] = "auto"
    name: str = field(default="dcr", init=False)

    def __post_init__(self) -> None:
        for conductivity in (self.background_conductivity, self.body_conductivity):
            HalfSpace(conductivity)
        for what in ("depth", "volume", "azimuth"):
            low, high = getattr(self, what)
            if not -math.inf < low <= high < math.inf or (what != "azimuth" and not low > 0):
                raise ValueError(
                    f"expected an ascending range of {what}"
                    + " above 0" * (what != "azimuth")
                    + f", got {low} to {high}"
                )
        if not min(self.semi_axis_ratio) > 0:
            raise ValueError(f"expected positive semi-axes, got the ratio {self.semi_axis_ratio}")
        half_height = self.size(self.volume[1]) * self.semi_axis_ratio[2]
        if self.depth[0] < (1 + _LEAST_GAP) * half_height:
            raise ValueError(
                f"a body of {self.volume[1]:g} m³ reaches {half_height:g} m above its centre, which may be only "
                f"{self.depth[0]:g} m deep; expected at least {(1 + _LEAST_GAP) * half_height:g} m, or smaller bodies"
            )
        self._require_mesh()

    def _require_mesh(self) -> None:
        for depth in self.depth:
            for volume in self.volume:
                semi_axes = self.size(volume) * np.array(self.semi_axis_ratio)
                if not _shipped(self.mesh).admits(depth / self.length, semi_axes / self.length):
                    raise ValueError(
                        f"the mesh cannot be stretched to a body with semi-axes {semi_axes.round(4).tolist()} m at a depth "
                        f"of {depth:g} m together with the others; give narrower ranges or a rounder body"
                    )

    @property
    def length(self) -> float:
        """Of a unit of the reference mesh, in m: bodies of mean depth are moved least."""
        return sum(self.depth) / 2 / _MEAN_DEPTH

    def size(self, volume: float) -> float:
        """Factor of `semi_axis_ratio` that makes a body of this volume, in m."""
        return (volume / (4 / 3 * math.pi * math.prod(self.semi_axis_ratio))) ** (1 / 3)

    @cached_property
    def parameters(self) -> Space:
        """Depth, volume and azimuth, uniform in their ranges."""
        lower, upper = zip(self.depth, self.volume, self.azimuth, strict=True)
        return Space.vector(
            ["depth", "volume", "azimuth"], units=("m", "m3", "rad"), lower=lower, upper=upper, law="uniform"
        )

    @cached_property
    def observables(self) -> Space:
        """Differences of the total potential."""
        return self.survey.observables

    @cached_property
    def background(self) -> Array:
        """The observables without the body (n_out,)."""
        survey = self.survey
        by_electrode = HalfSpace(self.background_conductivity).potential(survey.electrodes, survey.receivers.electrodes)
        return survey.data(survey.currents @ by_electrode)

    @cached_property
    def definition(self) -> dict[str, Any]:
        """JSON-able: everything that fixes the numbers."""
        return dict(
            problem=self.name,
            route="secondary potential, quadratic elements on a mesh that follows the body, Green's-function extraction",
            options=options_of(self),
            reference_mesh_sha256=_shipped(self.mesh).sha256,
        )

    @property
    def block_size(self) -> int:
        """Samples that are committed together; they are solved one by one."""
        return 32

    @cached_property
    def _solver(self) -> ResistivitySolver:
        fenicsx()  # first: where the extra is not installed, it says so
        from gnvpro.pde_data.problems.resistivity.solver import ResistivitySolver

        return ResistivitySolver(
            self.survey,
            HalfSpace(self.background_conductivity),
            self.body_conductivity,
            np.array(self.semi_axis_ratio),
            _shipped(self.mesh),
            self.length,
            self.linear_solver,
        )

    def solve(self, y: Array) -> tuple[Array, NDArray[np.int8]]:
        """Observables (n, n_out) and a status per sample (n,); NaN where the status is not 0.

        Raises
        ------
        SolverFailure
            A linear system was not solved to its tolerance.
        """
        y = self.parameters.rows(y)
        inside = self.parameters.contains(y)
        status = np.where(inside, SolveStatus.OK, SolveStatus.OUTSIDE_PARAMETER_SPACE).astype(np.int8)
        observables = np.full((len(y), self.observables.size), np.nan)
        for i in np.flatnonzero(inside):
            depth, volume, azimuth = y[i].tolist()
            potentials = self._solver.anomalous(depth, self.size(volume), azimuth)
            observables[i] = self.background + self.survey.data(potentials)
        return observables, status

    def evaluate(self, y: Array) -> Array:
        """Observables (n, n_out), NaN in rows outside the parameter space and where a system was not solved."""
        return solve_block(cast(Problem, self), self.parameters.rows(y)).observables

    def jacobian(self, y: Array) -> Array:
        """Derivative of every observable by every parameter: (n, n_in) -> (n, n_out, n_in).

        Of the discrete equations, from the factors of the solve: three right-hand sides more.
        """
        return self.linearize(y)[1]

    def linearize(self, y: Array) -> tuple[Array, Array]:
        """Observables (n, n_out) and Jacobian (n, n_out, n_in) from one solve."""
        y = self.parameters.require(y)
        observables = np.empty((len(y), self.observables.size))
        jacobian = np.empty((*observables.shape, 3))
        for data, out, row in zip(observables, jacobian, y, strict=True):
            depth, volume, azimuth = row.tolist()
            size = self.size(volume)
            potentials, derivatives = self._solver.with_derivatives(depth, size, azimuth)
            data[:] = self.background + self.survey.data(potentials)
            out[:] = self.survey.data(derivatives) * np.array([1.0, size / (3 * volume), 1.0])
        return observables, jacobian

    def jvp(self, y: Array, dy: Array) -> Array:
        """Derivative along `dy`, row by row: (n, n_in), (n, n_in) -> (n, n_out)."""
        y, dy = self.parameters.require(y), self.parameters.rows(dy)
        if len(y) != len(dy):
            raise ValueError(f"expected one direction per sample, got {len(dy)} directions for {len(y)} samples")
        return np.einsum("noi,ni->no", self.jacobian(y), dy)

    def vjp(self, y: Array, dc: Array) -> Array:
        """Gradient of <dc, observables>, row by row: (n, n_in), (n, n_out) -> (n, n_in).

        Through the Jacobian: an adjoint solve would save one right-hand side of three.
        """
        y, dc = self.parameters.require(y), self.observables.rows(dc)
        if len(y) != len(dc):
            raise ValueError(f"expected one row of weights per sample, got {len(dc)} rows for {len(y)} samples")
        return np.einsum("noi,no->ni", self.jacobian(y), dc)

    def references(self) -> dict[str, Callable[[Array], Array]]:
        """The same observables by boundary elements, which share nothing with this solver but the equation."""
        return {"spectral boundary elements": self._by_boundary_elements}

    @cached_property
    def _oracle(self) -> EllipsoidOracle:
        """Boundary elements of a degree that is high enough for the worst body: the largest, nearest the surface."""
        from gnvpro.pde_data.problems.resistivity.oracle import EllipsoidOracle

        previous, error = None, math.inf
        for degree in _ORACLE_DEGREES:
            oracle = EllipsoidOracle(self.semi_axis_ratio, self.background_conductivity, self.body_conductivity, degree)
            found = self._anomalous_by(oracle, self._worst_bodies())
            if previous is not None:
                change, norm = np.linalg.norm(found - previous, axis=1), np.linalg.norm(found, axis=1)
                error = float((change / np.maximum(norm, np.finfo(float).tiny)).max())
            previous = found
            if error < _ORACLE_ERROR:
                return oracle
        raise ArithmeticError(
            f"boundary elements of degree {_ORACLE_DEGREES[-1]} have an error of {error:.1e} for the largest body at the "
            f"least depth, expected at most {_ORACLE_ERROR:g}: it is too long, or too near an electrode, for them"
        )

    def _worst_bodies(self) -> Array:
        """The largest body at the least depth, at azimuths across their range and towards every electrode."""
        low, high = self.azimuth
        towards = np.arctan2(self.survey.electrodes[:, 1], self.survey.electrodes[:, 0])
        azimuths = [
            *np.linspace(low, high, 3),
            *(a for t in towards for a in (t - np.pi, t, t + np.pi) if low < a < high),
        ]
        return np.array([(self.depth[0], self.volume[1], azimuth) for azimuth in azimuths])

    def _anomalous_by(self, oracle: EllipsoidOracle, y: Array) -> Array:
        survey = self.survey
        anomalous = np.empty((len(y), self.observables.size))
        for out, (depth, volume, azimuth) in zip(anomalous, y, strict=True):
            centre = np.array([0.0, 0.0, -depth])
            by_electrode = oracle.secondary_potential(
                centre, self.size(volume), azimuth, survey.electrodes, survey.receivers.electrodes
            )
            out[:] = survey.data(survey.currents @ by_electrode)
        return anomalous

    def _by_boundary_elements(self, y: Array) -> Array:
        return self.background + self._anomalous_by(self._oracle, self.parameters.require(y))

    def plain_route(self) -> PlainResistivity:
        """The same problem as one would write it first, without a mesh that follows the body."""
        from gnvpro.pde_data.problems.resistivity.plain import PlainResistivity  # imports this module

        return PlainResistivity(self, h=0.05 * self.length)


@cache
def _shipped(name: str) -> ReferenceMesh:
    return ReferenceMesh.shipped(name)
