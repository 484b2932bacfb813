"""A Gaussian random field on a finite-element space, whose parameters are the coefficients of its modes."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnvpro.pde_data.fields.field_modes import FieldModes
from gnvpro.pde_data.fields.karhunen_loeve import karhunen_loeve
from gnvpro.pde_data.problems.fenicsx import fenicsx, geometry_part
from gnvpro.pde_data.problems.point_values import point_values
from gnvpro.surrogate.checks import integer, numbers
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.laws import Normal
from gnvpro.surrogate.spaces import Array, Space


class GaussianField:
    """A Gaussian field of Matérn covariance by its largest Karhunen–Loève modes.

    The coefficients are independent and standard normal: they are the parameters. For a lognormal field write `exp(k)` in
    the form, k a function of the space.

    Parameters
    ----------
    space
        Scalar: Lagrange of degree 1, or piecewise constant (DG 0). On a mesh that one process holds; `on` brings
        the field to others.
    correlation_length
        In units of the mesh; one, or one for each direction.
    smoothness
        ν of Matérn's covariance: 1/2 for exp(−r), 3/2, 5/2, …, infinity for exp(−r²/2).
    standard_deviation
        Of the field before modes are left out.
    n_modes, variance
        How many modes; or, where that is None, as many as hold this share of the variance.
    mean
        A number, or values (n_dofs,).

    Attributes
    ----------
    modes
        What is independent of FEniCSx: `values`, `moments`, `picture`, `save`.
    matrix, mean : (n_dofs, n_modes), (n_dofs,)
        The field is mean + matrix ξ. `matrix` is also its derivative.

    Raises
    ------
    UsageError
        Another space, numbers that are not positive, more modes than dofs, a share of the variance that takes too many.
    """

    def __init__(
        self,
        space: Any,
        correlation_length: float | Sequence[float],
        smoothness: float = 1.5,
        standard_deviation: float = 1.0,
        *,
        n_modes: int | None = None,
        variance: float = 0.99,
        mean: float | Array = 0.0,
    ) -> None:
        if (size := space.mesh.comm.size) > 1:
            raise UsageError(
                f"expected a mesh that one process holds (MPI.COMM_SELF), got one over {size}; make the field on such a "
                "mesh, and field.on(V) for the space of the other"
            )
        _require_simple(space)
        dimension = space.mesh.geometry.dim
        points = space.tabulate_dof_coordinates()[:, :dimension]
        lengths, means = numbers(correlation_length, "correlation lengths"), numbers(mean, "the mean of the field")
        for what, values, n in (("correlation length", lengths, dimension), ("mean of the field", means, len(points))):
            if values.shape not in ((), (n,)):
                raise UsageError(f"expected one {what}, or {n}, got shape {values.shape}")
        positive = {
            "correlation length": lengths.min(),
            "smoothness": smoothness,
            "standard deviation": standard_deviation,
        }
        for what, value in positive.items():
            if not value > 0:
                raise UsageError(f"expected a positive {what}, got {value}")
        if n_modes is not None:
            integer("n_modes", n_modes, least=1)
        elif not 0 < variance < 1:
            raise UsageError(f"expected a share of the variance between 0 and 1, got {variance}")
        matrix, eigenvalues, captured = karhunen_loeve(
            points, _weights(space), np.broadcast_to(lengths, dimension), smoothness, n_modes, variance
        )
        self.space = space
        self.modes = FieldModes(
            standard_deviation * matrix,
            np.broadcast_to(means, len(points)).copy(),
            standard_deviation**2 * eigenvalues,
            captured,
            *_mesh(space),
        )

    @property
    def matrix(self) -> Array:
        """(n_dofs, n_modes), the derivative of the dofs by the coefficients."""
        return self.modes.matrix

    @property
    def mean(self) -> Array:
        """(n_dofs,)."""
        return self.modes.mean

    def assign(self, function: Any, coefficients: Array) -> None:
        """Put the field of coefficients (n_modes,) into a function of its space."""
        values = self.modes.values(coefficients)
        if values.shape != function.x.array.shape:
            raise UsageError(
                f"expected a function of the field's space with {len(self.mean)} dofs, got {function.x.array.shape[0]}; "
                "field.on(V) is the field on another space"
            )
        function.x.array[:] = values

    def on(self, space: Any) -> GaussianField:
        """The same field, with the same coefficients, on the space of another mesh inside this one's domain.

        So problems on coarser or finer meshes, and the parts of a distributed one, share their parameters.

        Raises UsageError: a space that is not of degree 1 or 0; dofs outside the mesh of the field.
        """
        _require_simple(space)
        values = point_values(self.space, space.tabulate_dof_coordinates()[:, : space.mesh.geometry.dim])
        there = copy(self)
        there.space = space
        nodes, cells = _mesh(space)
        there.modes = replace(
            self.modes, matrix=values @ self.matrix, mean=values @ self.mean, nodes=nodes, cells=cells
        )
        return there

    def laws(self, name: str = "k") -> dict[str, Normal]:
        """The law of every coefficient, called k_1, k_2, …: to be put with those of other parameters into `Space.of_laws`."""
        return {coefficient: Normal() for coefficient in self.modes.names(name)}

    def parameters(self, name: str = "k") -> Space:
        """The space of the coefficients, called k_1, k_2, …, where there are no other parameters."""
        return Space.of_laws(self.laws(name))


def _require_simple(space: Any) -> None:
    """Refuse what is not continuous of degree 1 or of degree 0: there a dof is a value that has a share of the volume."""
    element = space.element.basix_element
    fx = fenicsx()
    kinds = {(fx.basix.ElementFamily.P, 1, False), (fx.basix.ElementFamily.P, 0, True)}
    if space.value_size != 1 or (element.family, element.degree, element.discontinuous) not in kinds:
        raise UsageError(
            f'expected a scalar space ("Lagrange", 1) or ("DG", 0) for a random field, got {space.ufl_element()}; the field '
            "can be interpolated into others"
        )


def _weights(space: Any) -> Array:
    """Integrals (n_dofs,) of the basis functions."""
    fx = fenicsx()
    return fx.fem.assemble_vector(fx.fem.form(fx.ufl.TestFunction(space) * fx.ufl.dx)).array


def _mesh(space: Any) -> tuple[Array, NDArray[np.int64]]:
    """Nodes (n, dimension) and cells (n_cells, corners), in the order of the dofs."""
    mesh, dofs = space.mesh, space.dofmap.list
    if space.element.basix_element.degree == 1:
        return space.tabulate_dof_coordinates()[:, : mesh.geometry.dim], dofs.astype(np.int64)
    corners = fenicsx().cpp.mesh.cell_num_entities(mesh.topology.cell_type, 0)
    cells = geometry_part(mesh, "dofmap")[np.argsort(dofs[:, 0]), :corners]
    return mesh.geometry.x[:, : mesh.geometry.dim].copy(), cells.astype(np.int64)
