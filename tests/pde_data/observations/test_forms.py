"""Fluxes: rates of convergence against a manufactured solution, balance, derivatives."""

import numpy as np
import pytest

from gnvpro.pde_data.observations.forms import FormValues, boundary_fluxes, residual_fluxes
from gnvpro.surrogate.errors import UsageError
from tests.calculus import assert_adjoint, assert_taylor

ENDS = {"left": lambda x: np.isclose(x[0], 0), "right": lambda x: np.isclose(x[0], 1)}


class Slab:
    """−div(k grad u) = f for k = 1 + x y, u = sin(2 x) (1 + y²(3 − 2 y)); the sides are insulated."""

    def __init__(self, fenicsx, cells, degree):
        ufl, fem = fenicsx.ufl, fenicsx.fem
        self.mesh = fenicsx.mesh.create_unit_square(fenicsx.MPI.COMM_SELF, cells, cells)
        self.space = fem.functionspace(self.mesh, ("Lagrange", degree))
        x, v = ufl.SpatialCoordinate(self.mesh), ufl.TestFunction(self.space)
        exact = ufl.sin(2 * x[0]) * (1 + x[1] ** 2 * (3 - 2 * x[1]))
        self.k = 1 + x[0] * x[1]
        self.u = fem.Function(self.space)
        source = -ufl.div(self.k * ufl.grad(exact))
        self.source = fem.assemble_scalar(fem.form(source * ufl.dx(metadata=dict(quadrature_degree=12))))
        self.residual = ufl.inner(self.k * ufl.grad(self.u), ufl.grad(v)) * ufl.dx - source * v * ufl.dx(
            metadata=dict(quadrature_degree=12)
        )
        fixed = fem.Function(self.space)
        fixed.interpolate(fem.Expression(exact, self.space.element.interpolation_points))
        dofs = fem.locate_dofs_geometrical(self.space, lambda x: np.isclose(x[0], 0) | np.isclose(x[0], 1))
        fenicsx.fem_petsc.LinearProblem(
            ufl.derivative(self.residual, self.u, ufl.TrialFunction(self.space)), -self.residual,
            u=(step := fem.Function(self.space)), bcs=[fem.dirichletbc(fixed, dofs)],
            petsc_options=dict(ksp_type="preonly", pc_type="lu"), petsc_options_prefix="slab_",
        ).solve()  # fmt: skip
        self.u.x.array[:] = step.x.array
        # −k u_x n: at x = 0 through n = −1, at x = 1 through n = 1.
        side = 1.5
        self.exact = np.array([2 * side, -2 * np.cos(2) * (side + 0.5 + 0.75 - 0.4)])


@pytest.mark.parametrize("degree", [1, 2])
def test_rates_of_convergence(fenicsx, degree):
    """Order p of the flux as it stands, 2 p by the residual (half an order less is allowed)."""
    direct, consistent = [], []
    for cells in (8, 16, 32):
        slab = Slab(fenicsx, cells, degree)
        direct.append(boundary_fluxes(slab.u, ENDS, slab.k)() - slab.exact)
        consistent.append(residual_fluxes(slab.residual, slab.u, ENDS)() - slab.exact)
    for errors, order in ((direct, degree), (consistent, 2 * degree)):
        sizes = np.linalg.norm(errors, axis=1)
        assert np.log2(sizes[1] / sizes[2]) > order - 0.5, sizes
    assert np.linalg.norm(consistent[-1]) < 0.2 * np.linalg.norm(direct[-1])


def test_residual_fluxes_are_in_balance_with_the_source(fenicsx):
    slab = Slab(fenicsx, 5, 1)
    outwards = residual_fluxes(slab.residual, slab.u, ENDS)()
    assert outwards.sum() == pytest.approx(slab.source, rel=1e-10)


def test_tags_and_predicates_name_the_same_facets(fenicsx):
    slab = Slab(fenicsx, 4, 1)
    facets = [fenicsx.mesh.locate_entities_boundary(slab.mesh, 1, where) for where in ENDS.values()]
    values = np.repeat(np.array([3, 5], np.int32), [len(f) for f in facets])
    order = np.argsort(np.concatenate(facets))
    tags = fenicsx.mesh.meshtags(slab.mesh, 1, np.concatenate(facets)[order], values[order])
    tagged = {"left": (tags, 3), "right": (tags, 5)}
    for fluxes in (boundary_fluxes, residual_fluxes):
        arguments = (slab.u,) if fluxes is boundary_fluxes else (slab.residual, slab.u)
        np.testing.assert_allclose(fluxes(*arguments, tagged)(), fluxes(*arguments, ENDS)(), rtol=1e-12)


def test_parts_may_overlap_and_coefficients_be_matrices(fenicsx):
    slab, ufl = Slab(fenicsx, 4, 1), fenicsx.ufl
    parts = {**ENDS, "both": lambda x: np.isclose(x[0], 0) | np.isclose(x[0], 1)}
    left, right, both = boundary_fluxes(slab.u, parts, 2.0)()
    assert both == pytest.approx(left + right)
    np.testing.assert_allclose(boundary_fluxes(slab.u, parts, 2 * ufl.Identity(2))(), [left, right, both], rtol=1e-12)


def test_derivatives_by_every_function(fenicsx):
    slab, ufl = Slab(fenicsx, 4, 2), fenicsx.ufl
    k = fenicsx.fem.Function(fenicsx.fem.functionspace(slab.mesh, ("Lagrange", 1)))
    rng = np.random.default_rng(0)
    k.x.array[:] = rng.random(len(k.x.array))
    observed = boundary_fluxes(slab.u, ENDS, ufl.exp(k), unit="W")
    for function in (k, slab.u):
        start = function.x.array.copy()
        direction, weights = rng.normal(size=len(start)), rng.normal(size=2)
        matrix = observed.derivative(function)

        def value(dofs, function=function):
            function.x.array[:] = dofs
            return observed()

        if function is k:
            assert_taylor(value, matrix @ direction, start, direction)
        else:
            np.testing.assert_allclose(value(start + direction) - value(start), matrix @ direction, rtol=1e-10)
        function.x.array[:] = start
        assert_adjoint(lambda d, m=matrix: m @ d, lambda w, m=matrix: m.T @ w, direction, weights)
    assert observed.space.names == ("left", "right")
    assert observed.space.units == ("W",)


def test_any_integral_is_an_observation(fenicsx):
    slab, ufl = Slab(fenicsx, 4, 1), fenicsx.ufl
    slab.u.interpolate(lambda x: x[0])
    energy = FormValues({"energy": ufl.inner(ufl.grad(slab.u), ufl.grad(slab.u)) / 2 * ufl.dx}, "J", "integral")
    np.testing.assert_allclose(energy(), [0.5], rtol=1e-12)
    assert energy.space.axes[0].name == "integral"
    np.testing.assert_allclose(energy.derivative(slab.u) @ slab.u.x.array, [1.0], rtol=1e-12)


def test_what_does_not_fit_is_refused(fenicsx):
    slab = Slab(fenicsx, 4, 1)
    with pytest.raises(UsageError, match="no facet of the boundary belongs to 'middle'"):
        boundary_fluxes(slab.u, {"middle": lambda x: np.isclose(x[0], 0.5)})
    bilinear = fenicsx.ufl.derivative(slab.residual, slab.u)
    with pytest.raises(UsageError, match="expected a residual with one test function, got 2"):
        residual_fluxes(bilinear, slab.u, ENDS)
