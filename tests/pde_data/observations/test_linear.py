"""Values at points, averages and their times: exact for polynomials of the element's degree."""

import numpy as np
import pytest

from gnvpro.pde_data.observations.linear import averages, points
from gnvpro.surrogate.errors import UsageError
from tests.calculus import assert_adjoint

RNG = np.random.default_rng(0)


def domain(fenicsx, kind, cells=3):
    mesh, comm = fenicsx.mesh, fenicsx.MPI.COMM_SELF
    if kind == "interval":
        return mesh.create_unit_interval(comm, cells)
    create = mesh.create_unit_square if kind in ("triangle", "quadrilateral") else mesh.create_unit_cube
    return create(comm, *[cells] * (2 if create is mesh.create_unit_square else 3), getattr(mesh.CellType, kind))


def interpolated(space, function, fenicsx):
    u = fenicsx.fem.Function(space)
    u.interpolate(function)
    return u


def polynomial(degree):
    return lambda x: (1 + x[0] - 2 * x[1] + 0.5 * x[2]) ** degree


@pytest.mark.parametrize("degree", [1, 2, 3, 4])
@pytest.mark.parametrize("kind", ["interval", "triangle", "quadrilateral", "tetrahedron", "hexahedron"])
def test_polynomials_are_exact_inside_on_faces_and_at_corners(fenicsx, kind, degree):
    mesh = domain(fenicsx, kind, 2)
    dimension = mesh.geometry.dim
    inside = RNG.random((6, dimension))
    on_faces, corners = np.where(RNG.random((6, dimension)) < 0.5, 0.5, inside), np.eye(dimension)
    at = np.vstack([inside, on_faces, corners])
    observed = points(fenicsx.fem.functionspace(mesh, ("Lagrange", degree)), at)
    u = interpolated_on(observed, mesh, degree, fenicsx)
    exact = polynomial(degree)(np.pad(at, ((0, 0), (0, 3 - dimension))).T)
    np.testing.assert_allclose(observed(u), exact, atol=1e-12)
    np.testing.assert_allclose(observed.matrix.sum(1), 1, rtol=1e-12)


def interpolated_on(observed, mesh, degree, fenicsx):
    space = fenicsx.fem.functionspace(mesh, ("Lagrange", degree))
    assert observed.matrix.shape[1] == len(space.tabulate_dof_coordinates())
    return interpolated(space, polynomial(degree), fenicsx)


def test_vector_functions_give_every_component_of_a_point(fenicsx):
    space = fenicsx.fem.functionspace(domain(fenicsx, "tetrahedron"), ("Lagrange", 2, (3,)))
    at = RNG.random((4, 3))
    observed = points(space, at, ["A", "B", "C", "D"], unit="m/s", length_unit="km")
    u = interpolated(space, lambda x: np.stack([x[0] * x[1], x[2] ** 2, 1 + x[0]]), fenicsx)
    exact = np.stack([at[:, 0] * at[:, 1], at[:, 2] ** 2, 1 + at[:, 0]], 1)
    np.testing.assert_allclose(observed(u).reshape(4, 3), exact, rtol=1e-12)
    (axis,) = observed.space.axes
    assert axis.labels[:4] == ("A x", "A y", "A z", "B x")
    assert [c.name for c in axis.coordinates] == ["sensor_x", "sensor_y", "sensor_z"]
    assert axis.coordinates[1].values[3:6] == (at[1, 1],) * 3
    assert (observed.space.units, axis.coordinates[0].unit) == (("m/s",), "km")


def test_discontinuous_functions_have_the_value_of_a_cell_on_its_face(fenicsx):
    mesh = domain(fenicsx, "interval", 4)
    space = fenicsx.fem.functionspace(mesh, ("DG", 0))
    observed = points(space, np.array([[0.5], [0.1]]))
    values = observed(interpolated(space, lambda x: np.floor(4 * x[0]), fenicsx))
    assert values[0] in (1, 2)
    assert values[1] == 0


def test_rows_of_dofs_are_observed_at_once_and_the_matrix_has_a_transpose(fenicsx):
    space = fenicsx.fem.functionspace(domain(fenicsx, "triangle"), ("Lagrange", 2))
    observed = points(space, RNG.random((5, 2)))
    rows = RNG.normal(size=(4, observed.matrix.shape[1]))
    np.testing.assert_allclose(observed(rows), rows @ observed.matrix.toarray().T, rtol=1e-12)
    assert_adjoint(observed, lambda w: observed.matrix.T @ w, rows[0], RNG.normal(size=5))


def test_a_point_outside_is_named_with_the_distance(fenicsx):
    space = fenicsx.fem.functionspace(domain(fenicsx, "triangle"), ("Lagrange", 1))
    with pytest.raises(UsageError, match=r"got \(0.5, 1.25\), of index 1 among 2, which is 0.25 outside"):
        points(space, [[0.5, 0.5], [0.5, 1.25]])
    # Rounding puts none outside.
    just = points(space, [[0.3, 1 + 1e-13], [1 + 1e-13, 1.0]])
    np.testing.assert_allclose(just(interpolated(space, lambda x: x[0], fenicsx)), [0.3, 1.0], atol=1e-11)


@pytest.mark.parametrize(
    ("at", "said"),
    [([[0.5]], "dimensions"), ([[0.5, np.nan]], "finite"), ([0.5, 0.5], "matrix"), ([["a", "b"]], "real")],
)
def test_what_are_no_points_is_refused(fenicsx, at, said):
    space = fenicsx.fem.functionspace(domain(fenicsx, "triangle"), ("Lagrange", 1))
    with pytest.raises(UsageError, match=said):
        points(space, at)


def test_mapped_elements_and_wrong_names_are_refused(fenicsx):
    mesh = domain(fenicsx, "triangle")
    with pytest.raises(UsageError, match="interpolate the function into a Lagrange space"):
        points(fenicsx.fem.functionspace(mesh, ("N1curl", 1)), [[0.5, 0.5]])
    with pytest.raises(UsageError, match="a name for each of 1 points, got 2"):
        points(fenicsx.fem.functionspace(mesh, ("Lagrange", 1)), [[0.5, 0.5]], ["a", "b"])


def test_averages_over_tags_and_indicators(fenicsx):
    mesh, ufl = domain(fenicsx, "triangle", 4), fenicsx.ufl
    left = fenicsx.mesh.locate_entities(mesh, 2, lambda x: x[0] <= 0.5 + 1e-9)
    tags = fenicsx.mesh.meshtags(mesh, 2, left, np.full(len(left), 7, np.int32))
    space = fenicsx.fem.functionspace(mesh, ("Lagrange", 2))
    regions = {
        "left": (tags, 7),
        "right": lambda x: ufl.conditional(ufl.gt(x[0], 0.5), 1.0, 0.0),
        "all": lambda x: ufl.as_ufl(1.0),
    }
    observed = averages(space, regions, unit="K")
    u = interpolated(space, lambda x: x[0] ** 2 + x[1], fenicsx)
    np.testing.assert_allclose(observed(u), [1 / 12 + 0.5, 7 / 12 + 0.5, 1 / 3 + 0.5], rtol=1e-12)
    assert observed.space.names == ("left", "right", "all")
    assert observed.space.units == ("K",)
    with pytest.raises(UsageError, match="region 'none' has no volume"):
        averages(space, {"none": (tags, 1)})
    with pytest.raises(UsageError, match="expected a scalar space"):
        averages(fenicsx.fem.functionspace(mesh, ("Lagrange", 1, (2,))), regions)


@pytest.fixture
def sensors(fenicsx):
    space = fenicsx.fem.functionspace(domain(fenicsx, "interval", 4), ("Lagrange", 1))
    return points(space, [[0.2], [0.7], [1.0]], unit="K")


def test_several_times_are_read_linearly_between_the_steps(sensors):
    steps, times = np.linspace(0, 1, 6), (0.0, 0.1, 0.35, 0.4, 1.0)
    observed = sensors.at_times(times, steps, "h")
    profile = RNG.normal(size=sensors.matrix.shape[1])
    values = sum(observed(i, (2 - t) * profile) for i, t in enumerate(steps))
    np.testing.assert_allclose(values.reshape(5, 3), np.outer(2 - np.array(times), sensors(profile)), rtol=1e-12)
    assert [axis.name for axis in observed.space.axes] == ["time", "sensor"]
    assert observed.space.axes[0].labels == times
    assert (observed.space.axes[0].unit, observed.space.units) == ("h", ("K",))


def test_the_loads_of_the_steps_are_the_transpose(sensors):
    steps = np.linspace(0, 1, 6)
    observed = sensors.at_times((0.05, 0.5, 0.93), steps)
    states, weights = RNG.normal(size=(6, 5)), RNG.normal(size=9)
    assert_adjoint(
        lambda states: sum(observed(i, u) for i, u in enumerate(states)),
        lambda w: np.array([observed.load(i, w) for i in range(6)]),
        states,
        weights,
    )


def test_one_state_is_steady(sensors):
    observed = sensors.at_times((0.0,), (0.0,))
    np.testing.assert_array_equal(observed(0, np.ones(5)), np.ones(3))


@pytest.mark.parametrize(
    ("times", "steps", "said"),
    [
        ((0.5, 1.2), (0, 1), "expected times between 0 and 1"),
        ((0.5,), (0, 1, 1), "ascending steps"),
        ((0.5,), (), "ascending steps"),
    ],
)
def test_times_that_are_not_reached_are_refused(sensors, times, steps, said):
    with pytest.raises(UsageError, match=said):
        sensors.at_times(times, steps)
