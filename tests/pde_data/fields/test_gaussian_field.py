"""Gaussian fields on finite-element spaces, against analytic eigenvalues and the covariance itself."""

from types import SimpleNamespace

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.spatial.distance import cdist

from gnvpro.apps.studies.surrogates import darcy
from gnvpro.pde_data.fields.covariance import Matern
from gnvpro.pde_data.fields.gaussian_field import GaussianField
from gnvpro.surrogate.errors import UsageError


@pytest.fixture(scope="module")
def space(fenicsx):
    """Of a mesh of the unit interval, square or cube."""

    def make(cells, dimension=2, element=("Lagrange", 1), kind=None):
        mesh = fenicsx.mesh
        name = ("create_unit_interval", "create_unit_square", "create_unit_cube")[dimension - 1]
        shape = {} if kind is None else {"cell_type": getattr(mesh.CellType, kind)}
        domain = getattr(mesh, name)(fenicsx.MPI.COMM_SELF, *[cells] * dimension, **shape)
        return fenicsx.fem.functionspace(domain, element)

    return make


def exponential_eigenvalues(length, n):
    """Of exp(−|x − y| / length) on an interval of length 1 (Ghanem and Spanos 1991, Sec. 2.3)."""
    values, half = [], 0.5
    for i in range(n):

        def frequency(w, even=i % 2 == 0):
            return (
                np.cos(w * half) - length * w * np.sin(w * half)
                if even
                else (length * w * np.cos(w * half) + np.sin(w * half))
            )

        w = brentq(frequency, i * np.pi + 1e-9, (i + 1) * np.pi - 1e-9)
        values.append(2 * length / (1 + (w * length) ** 2))
    return np.array(values)


def gaussian_eigenvalues(length, n):
    """Of exp(−(x − y)²/(2 length²)) on the unit interval, by a rule of Gauss with 80 points: exact to rounding."""
    x, w = np.polynomial.legendre.leggauss(80)
    x, w = (x + 1) / 2, w / 2
    kernel = np.exp(-((x[:, None] - x) ** 2) / (2 * length**2))
    return np.linalg.eigvalsh(np.sqrt(w)[:, None] * kernel * np.sqrt(w))[::-1][:n]


@pytest.mark.parametrize("element", [("Lagrange", 1), ("DG", 0)], ids=["P1", "DG0"])
def test_eigenvalues_of_the_exponential_covariance_are_the_analytic_ones(space, element):
    exact = exponential_eigenvalues(0.3, 8)
    errors = [
        np.abs(GaussianField(space(n, 1, element), 0.3, 0.5, n_modes=8).modes.eigenvalues / exact - 1)
        for n in (64, 128, 256, 512)
    ]
    assert max(errors[-1]) < 1e-3
    # Of the mesh, down to that of the grid the covariance is applied by.
    assert max(errors[0]) / max(errors[3]) > 16


def test_on_a_square_they_are_products(space):
    """The covariance of infinite smoothness is a product, also with a length for each direction."""
    lengths = (0.2, 0.5)
    exact = np.sort(np.outer(*(gaussian_eigenvalues(length, 20) for length in lengths)).ravel())[::-1][:12]
    errors = []
    for n in (16, 32, 64):
        values = GaussianField(space(n), lengths, np.inf, 3.0, n_modes=12).modes.eigenvalues
        errors.append(np.abs(values / (9 * exact) - 1).max())
    assert errors[-1] < 8e-3
    assert np.log2(errors[0] / errors[1]) > 1.7


@pytest.mark.parametrize("smoothness", [0.5, 1.5, 2.5, np.inf])
def test_the_covariance_of_all_modes_is_the_matrix_itself(space, smoothness):
    """Between the dofs, with as many modes as the dofs allow; the few that are missing are the smallest."""
    V = space(9)
    x = V.tabulate_dof_coordinates()
    field = GaussianField(V, 0.7, smoothness, 2.0, n_modes=len(x) - 8)
    exact = 4 * Matern(smoothness)(cdist(x, x) / 0.7)
    assert np.linalg.norm(field.matrix @ field.matrix.T - exact) < 0.03 * np.linalg.norm(exact)


@pytest.mark.long
@pytest.mark.parametrize(("smoothness", "n_modes", "within"), [(1.5, 120, 0.02), (np.inf, 40, 0.005)])
def test_samples_have_the_covariance(space, smoothness, n_modes, within):
    V = space(24)
    field = GaussianField(V, 0.3, smoothness, n_modes=n_modes, mean=2.0)
    some = np.random.default_rng(0).choice(len(field.mean), 40, replace=False)
    x = V.tabulate_dof_coordinates()[some]
    samples = field.modes.values(np.random.default_rng(1).standard_normal((20000, n_modes)))[:, some]
    exact = Matern(smoothness)(cdist(x, x) / 0.3)
    # Six standard errors of a sample covariance and what the truncation leaves out.
    assert np.abs(np.cov(samples.T) - exact).max() < within + 6 * np.sqrt(2 / 20000)
    assert np.abs(samples.mean(0) - 2).max() < 6 / np.sqrt(20000)


def test_variance_captured_is_what_the_modes_hold(space, fenicsx):
    V = space(20)
    weights = fenicsx.fem.assemble_vector(fenicsx.fem.form(fenicsx.ufl.TestFunction(V) * fenicsx.ufl.dx)).array
    field = GaussianField(V, 0.4, 2.5, 3.0, variance=0.97)
    fewer = GaussianField(V, 0.4, 2.5, 3.0, n_modes=field.modes.n_modes - 1)
    assert fewer.modes.captured < 0.97 <= field.modes.captured
    assert weights @ field.modes.deviation**2 == pytest.approx(9 * field.modes.captured, rel=1e-10)
    assert field.modes.eigenvalues.sum() == pytest.approx(9 * field.modes.captured, rel=1e-10)


def test_modes_are_orthogonal_and_those_of_one_eigenvalue_do_not_depend_on_rounding(space, fenicsx):
    V = space(20)
    weights = fenicsx.fem.assemble_vector(fenicsx.fem.form(fenicsx.ufl.TestFunction(V) * fenicsx.ufl.dx)).array
    field = GaussianField(V, 0.5, 2.5, n_modes=6)
    gram = field.matrix.T @ (weights[:, None] * field.matrix)
    np.testing.assert_allclose(np.linalg.eigvalsh(gram)[::-1], field.modes.eigenvalues, rtol=1e-9)
    # The second and third are one function and its mirror image: varying along one side each.
    other = GaussianField(space(20, kind="quadrilateral"), 0.5, 2.5, n_modes=6)
    x = V.tabulate_dof_coordinates()
    place = {tuple(np.round(p, 9)): i for i, p in enumerate(other.space.tabulate_dof_coordinates())}
    same = other.matrix[[place[tuple(np.round(p, 9))] for p in x]]
    assert np.abs(field.matrix[:, :3] - same[:, :3]).max() < 0.02


def test_eigenvalues_and_fields_hardly_depend_on_the_mesh(space):
    coarse, fine = (GaussianField(space(n), 0.4, 1.5, n_modes=10) for n in (20, 50))
    np.testing.assert_allclose(coarse.modes.eigenvalues, fine.modes.eigenvalues, rtol=0.01)
    there = fine.on(coarse.space)
    covariance = coarse.matrix @ coarse.matrix.T
    assert np.abs(there.matrix @ there.matrix.T - covariance).max() < 0.02
    # And the coefficients mean the same field.
    xi = np.random.default_rng(0).normal(size=10)
    nodes = {tuple(np.round(p, 9)): i for i, p in enumerate(fine.modes.nodes)}
    shared = [(i, nodes[key]) for i, p in enumerate(there.modes.nodes) if (key := tuple(np.round(p, 9))) in nodes]
    assert len(shared) > 100
    i, j = np.array(shared).T
    np.testing.assert_allclose(there.modes.values(xi)[i], fine.modes.values(xi)[j], atol=1e-12)


def test_on_cells_it_agrees_with_an_independent_computation(space):
    """Of the study of Darcy flow, by the separable covariance on 50 × 50 cells."""
    V = space(darcy.CELLS, 2, ("DG", 0), "quadrilateral")
    field = GaussianField(V, darcy.LENGTH, np.inf, n_modes=darcy.MODES)
    theirs = darcy.modes().T
    centre = V.tabulate_dof_coordinates()[:, :2]
    i, j = np.floor(centre * darcy.CELLS).astype(int).T
    order = i * darcy.CELLS + j
    values = field.modes.eigenvalues
    np.testing.assert_allclose(values, (theirs**2).mean(0), rtol=2e-3)
    # Up to a gap: of a pair of equal eigenvalues, which the square has, either may be any direction of their plane.
    whole = int(np.flatnonzero(values[1:] < 0.98 * values[:-1])[-1]) + 1
    assert whole >= darcy.MODES - 4
    ours, theirs = field.matrix[:, :whole], theirs[order, :whole]
    assert np.abs(ours @ ours.T - theirs @ theirs.T).max() < 0.02


@pytest.mark.parametrize("element", [("Lagrange", 1), ("DG", 0)], ids=["P1", "DG0"])
def test_in_space_too(space, element):
    lengths = (0.4, 0.6, 0.8)
    parts = [gaussian_eigenvalues(length, 8) for length in lengths]
    exact = np.sort(np.einsum("i,j,k->ijk", *parts).ravel())[::-1][:8]
    field = GaussianField(space(12, 3, element), lengths, np.inf, n_modes=8)
    np.testing.assert_allclose(field.modes.eigenvalues, exact, rtol=0.03)


def test_it_is_put_into_a_function_and_is_affine(space, fenicsx):
    field = GaussianField(space(8), 0.5, n_modes=5, mean=-1.0)
    u, rng = fenicsx.fem.Function(field.space), np.random.default_rng(0)
    xi, direction = rng.normal(size=(2, 5))
    field.assign(u, xi)
    np.testing.assert_allclose(u.x.array, -1 + field.matrix @ xi, rtol=1e-13)
    change = field.modes.values(xi + direction) - field.modes.values(xi)
    np.testing.assert_allclose(change, field.matrix @ direction, atol=1e-12)


def test_the_same_call_gives_the_same_bits(space):
    one, other = (GaussianField(space(12), 0.3, n_modes=7) for _ in range(2))
    assert one.matrix.tobytes() == other.matrix.tobytes()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (dict(correlation_length=0.0), "positive correlation length"),
        (dict(correlation_length=(0.1, -1.0)), "positive correlation length"),
        (dict(correlation_length=(0.1, 0.2, 0.3)), "one correlation length, or 2"),
        (dict(smoothness=0.0), "positive smoothness"),
        (dict(smoothness=float("nan")), "positive smoothness"),
        (dict(smoothness=200.0), "smoothness of at most 100, or infinity"),
        (dict(standard_deviation=-1.0), "positive standard deviation"),
        (dict(n_modes=0), "n_modes"),
        (dict(n_modes=80), "expected fewer than 75 modes of 81 points, got 80; refine the mesh"),
        (dict(n_modes=None, correlation_length=0.01), "refine the mesh"),
        (dict(n_modes=None, variance=1.5), "share of the variance between 0 and 1"),
        (dict(mean=np.zeros(3)), "mean of the field"),
    ],
)
def test_what_cannot_be_is_refused(space, arguments, said):
    with pytest.raises(UsageError, match=said):
        GaussianField(space(8), **(dict(correlation_length=0.5, n_modes=3) | arguments))


@pytest.mark.parametrize("element", [("Lagrange", 2), ("DG", 1), ("Lagrange", 1, (2,)), ("N1curl", 1)])
def test_other_spaces_are_refused(space, element):
    with pytest.raises(UsageError, match='expected a scalar space \\("Lagrange", 1\\) or \\("DG", 0\\)'):
        GaussianField(space(4, 2, element), 0.5, n_modes=3)


def test_functions_of_other_spaces_and_wrong_numbers_of_coefficients_are_refused(space, fenicsx):
    field = GaussianField(space(6), 0.5, n_modes=3)
    with pytest.raises(UsageError, match="expected 3 coefficients"):
        field.assign(fenicsx.fem.Function(field.space), np.zeros(4))
    with pytest.raises(UsageError, match="49 dofs, got 25; field.on"):
        field.assign(fenicsx.fem.Function(space(4)), np.zeros(3))


def test_a_distributed_mesh_is_referred_to_on():
    distributed = SimpleNamespace(mesh=SimpleNamespace(comm=SimpleNamespace(size=4)))
    with pytest.raises(UsageError, match="field.on"):
        GaussianField(distributed, 0.5, n_modes=3)


@pytest.mark.long
def test_a_hundred_thousand_dofs(space):
    field = GaussianField(space(320), 0.2, 1.5, n_modes=30)
    few = GaussianField(space(80), 0.2, 1.5, n_modes=30)
    assert len(field.mean) == 321**2
    np.testing.assert_allclose(field.modes.eigenvalues, few.modes.eigenvalues, rtol=0.01)
