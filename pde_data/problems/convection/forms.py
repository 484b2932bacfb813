"""Finite elements for the convection–diffusion–reaction problem: weak forms and assembly."""

from __future__ import annotations

from dataclasses import dataclass
from math import pi
from typing import Any

import numpy as np
import scipy.sparse as sp

from gnvpro.pde_data.problems.convection.coefficients import ConvectionCoefficients
from gnvpro.pde_data.problems.fenicsx import fenicsx
from gnvpro.pde_data.problems.point_values import point_values
from gnvpro.surrogate.spaces import Array


@dataclass(frozen=True)
class SemiDiscrete:
    """M dU/dt = −A U + F + M r(U), with nodal values U.

    Attributes
    ----------
    mass, transport
        M and A: sparse (n, n); A is diffusion and convection.
    load
        F: (n,).
    nodes
        Position of each nodal value: (n, 2).
    sensors
        Values at the sensors from nodal values: (n_sensors, n).
    """

    mass: sp.csr_array
    transport: sp.csr_array
    load: Array
    nodes: Array
    sensors: Array


def function_space(cells: int, degree: int, element: str) -> Any:
    """Lagrange elements on the unit square, nodes at Gauss–Lobatto–Legendre points (warped on triangles)."""
    fx = fenicsx()
    mesh = fx.mesh.create_unit_square(fx.MPI.COMM_SELF, cells, cells, cell_type=fx.mesh.CellType[element])
    variant = fx.basix.LagrangeVariant.gll_warped
    return fx.fem.functionspace(mesh, fx.basix_ufl.element("Lagrange", element, degree, variant))


def velocity(coefficients: ConvectionCoefficients, x: Any) -> Any:
    """v = (∂ψ/∂y, −∂ψ/∂x) as a UFL expression of the position `x`."""
    ufl = fenicsx().ufl
    one, four = coefficients.circulations
    psi = one / pi * ufl.sin(pi * x[0]) * ufl.sin(pi * x[1])
    psi += four / pi * ufl.sin(2 * pi * x[0]) * ufl.sin(2 * pi * x[1])
    return ufl.as_vector([psi.dx(1), -psi.dx(0)])


def source(coefficients: ConvectionCoefficients, x: Any) -> Any:
    """f as a UFL expression of the position `x`."""
    ufl = fenicsx().ufl
    gaussians = (
        s.weight / (2 * pi * s.width**2) * ufl.exp(-((x[0] - s.x) ** 2 + (x[1] - s.y) ** 2) / (2 * s.width**2))
        for s in coefficients.sources
    )
    return coefficients.source_strength * sum(gaussians, ufl.as_ufl(0))


def transport_form(coefficients: ConvectionCoefficients, x: Any, u: Any, w: Any) -> Any:
    """D grad u·grad w + v·grad u w, the integrand of the transport."""
    ufl = fenicsx().ufl
    diffusion = coefficients.diffusion * ufl.inner(ufl.grad(u), ufl.grad(w))
    return diffusion + ufl.inner(velocity(coefficients, x), ufl.grad(u)) * w


def assemble(coefficients: ConvectionCoefficients, cells: int, degree: int, element: str) -> SemiDiscrete:
    """Assemble mass, transport, load and sensor weights."""
    fx = fenicsx()
    space = function_space(cells, degree, element)
    u, w, x = fx.ufl.TrialFunction(space), fx.ufl.TestFunction(space), fx.ufl.SpatialCoordinate(space.mesh)
    dx = fx.ufl.dx(metadata=dict(quadrature_degree=2 * degree + 8))
    f = source(coefficients, x)
    return SemiDiscrete(
        mass=_matrix(u * w * dx),
        transport=_matrix(transport_form(coefficients, x, u, w) * dx),
        load=_vector(f * w * dx) if f != 0 else np.zeros(space.dofmap.index_map.size_local),
        nodes=space.tabulate_dof_coordinates()[:, :2].copy(),
        sensors=point_values(space, np.array(coefficients.sensors)).toarray(),
    )


def _matrix(form: Any) -> sp.csr_array:
    fx = fenicsx()
    matrix = fx.fem_petsc.assemble_matrix(fx.fem.form(form))
    matrix.assemble()
    indptr, indices, data = matrix.getValuesCSR()
    return sp.csr_array((data, indices, indptr), shape=matrix.getSize())


def _vector(form: Any) -> Array:
    fx = fenicsx()
    return fx.fem_petsc.assemble_vector(fx.fem.form(form)).array.copy()
