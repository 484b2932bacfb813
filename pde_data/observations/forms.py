"""Observations by forms: fluxes through parts of the boundary and any other integral, with their derivatives."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnvpro.pde_data.problems.fenicsx import fenicsx
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.spaces import Array, Axis, Space

# A part of the boundary: facet tags and the value, or which of the points (3, n) lie on it.
Facets = tuple[Any, int] | Callable[[Array], NDArray[np.bool_]]


@dataclass(frozen=True, eq=False)
class FormValues:
    """Integrals of functions, which need not be linear in them, such as a flux −k grad u·n of two unknown functions.

    Attributes
    ----------
    forms
        By name, in UFL: scalars, of functions whose present values count.
    unit, axis
        Of the values; what the axis of the observables is called.
    """

    forms: Mapping[str, Any]
    unit: str = "1"
    axis: str = "flux"

    @cached_property
    def _compiled(self) -> list[Any]:
        return [fenicsx().fem.form(form) for form in self.forms.values()]

    @cached_property
    def _derivatives(self) -> dict[Any, list[Any]]:
        return {}

    def __call__(self) -> Array:
        """The values (n,) at the present values of the functions, those of ghosts included."""
        assemble = fenicsx().fem.assemble_scalar
        return np.array([form.mesh.comm.allreduce(assemble(form)) for form in self._compiled])

    def derivative(self, function: Any) -> Array:
        """Matrix (n, n_dofs) of the derivatives by the dofs of one of the functions, or (n, size) by those of a Constant.

        Times a change it is a tangent; its transpose times weights is the load of an adjoint equation. Of a mesh over several
        processes, each has its part, and tangents and the loads of shared dofs are sums over them.
        """
        fx = fenicsx()
        if function not in self._derivatives:
            self._derivatives[function] = [
                fx.fem.form(fx.ufl.derivative(form, function)) for form in self.forms.values()
            ]
        return np.array([fx.fem.assemble_vector(form).array for form in self._derivatives[function]])

    @property
    def space(self) -> Space:
        """Of the observables."""
        return Space((Axis(self.axis, tuple(self.forms)),), (self.unit,))


def boundary_fluxes(u: Any, facets: Mapping[str, Facets], coefficient: Any = 1.0, *, unit: str = "1") -> FormValues:
    """Fluxes −coefficient grad u·n out of the domain through parts of its boundary, integrated as they stand.

    Where u is of degree p the error falls like h^p; `residual_fluxes` falls like h^(2p). `coefficient` is anything of UFL: a
    number, a Constant, a Function, a matrix.
    """
    fx = fenicsx()
    mesh = u.function_space.mesh
    measure, values = _measure(mesh, facets)
    gradient, normal = fx.ufl.grad(u), fx.ufl.FacetNormal(mesh)
    flux = (
        fx.ufl.dot(fx.ufl.dot(fx.ufl.as_ufl(coefficient), gradient), normal)
        if _is_matrix(coefficient)
        else (coefficient * fx.ufl.dot(gradient, normal))
    )
    return FormValues({name: -flux * measure(value) for name, value in values.items()}, unit)


def _is_matrix(coefficient: Any) -> bool:
    return len(getattr(coefficient, "ufl_shape", ())) == 2


def residual_fluxes(residual: Any, u: Any, facets: Mapping[str, Facets], *, unit: str = "1") -> FormValues:
    """Fluxes out of the domain through parts of the boundary where u is prescribed, by the residual of the equation.

    The weak form `residual` (linear in its test function, without boundary conditions), tested with the function that is
    one on the part and zero at all other nodes, is minus the flux through it (Wheeler 1974; Carey et al. 1985): of twice
    the order of u itself, and in exact balance with sources and other fluxes.

    Where the part ends at another one where u is prescribed, the flux of half a cell of the neighbour is added.

    Raises UsageError: a residual without a test function, or with more than one; a function that is no scalar.
    """
    fx = fenicsx()
    space = u.function_space
    if space.dofmap.index_map_bs != 1 or space.element.basix_element.value_size != 1:
        raise UsageError("residual fluxes are those of a scalar function; write those of a vector's components apart")
    if len(arguments := residual.arguments()) != 1:
        raise UsageError(f"expected a residual with one test function, got {len(arguments)}; give F(u; v), not a(u, v)")
    forms = {}
    for name, part in facets.items():
        where = _facets_of(space.mesh, name, part)
        weight = fx.fem.Function(space)
        weight.x.array[fx.fem.locate_dofs_topological(space, space.mesh.topology.dim - 1, where)] = 1.0
        weight.x.scatter_forward()
        forms[name] = -fx.ufl.replace(residual, {arguments[0]: weight})
    return FormValues(forms, unit)


def _facets_of(mesh: Any, name: str, part: Facets) -> NDArray[np.int32]:
    dimension = mesh.topology.dim - 1
    if callable(part):
        found = fenicsx().mesh.locate_entities_boundary(mesh, dimension, part)
    else:
        tags, value = part
        found = tags.find(int(value))
    if not mesh.comm.allreduce(len(found)):
        raise UsageError(f"no facet of the boundary belongs to {name!r}; look at its tag, or at where it is true")
    mesh.topology.create_connectivity(dimension, mesh.topology.dim)
    return found


def _measure(mesh: Any, facets: Mapping[str, Facets]) -> tuple[Any, dict[str, int]]:
    """The measure of the boundary, and the value of each part in it; parts may overlap."""
    fx = fenicsx()
    parts = [_facets_of(mesh, name, part) for name, part in facets.items()]
    pairs = [
        (value, fx.fem.compute_integration_domains(fx.fem.IntegralType.exterior_facet, mesh.topology, found))
        for value, found in enumerate(parts, start=1)
    ]
    return fx.ufl.Measure("ds", mesh, subdomain_data=pairs), {name: value for value, name in enumerate(facets, start=1)}
