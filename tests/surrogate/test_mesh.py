"""Meshes are told apart by their content, and stay out of JSON."""

import json
from dataclasses import replace

import numpy as np
import pytest

from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.mesh import Mesh
from gnvpro.surrogate.spaces import Axis, Space
from tests.surrogate.fields import Bump, square


def test_meshes_of_equal_content_are_equal():
    mesh = square(4)
    assert mesh == Mesh.of(mesh.points.tolist(), mesh.cells.astype(np.int64)) != square(5)
    assert mesh != Mesh.of(mesh.points, mesh.cells, at="cells")
    assert mesh != Mesh.of(mesh.points + 1e-12, mesh.cells)
    assert (mesh.n_values, Mesh.of(mesh.points, mesh.cells, at="cells").n_values) == (16, 18)


@pytest.mark.parametrize(
    ("points", "cells", "kind", "message"),
    [
        (np.zeros((3, 4)), [[0, 1, 2]], "triangle", "one to three coordinates"),
        (np.full((3, 2), np.nan), [[0, 1, 2]], "triangle", "finite points"),
        (np.zeros((3, 2)), [[0, 1]], "triangle", "cells of 3 numbers of points"),
        (np.zeros((3, 2)), [[0.0, 1.0, 2.0]], "triangle", "cells of 3 numbers"),
        (np.zeros((3, 2)), [[0, 1, 3]], "triangle", "among its 3 points"),
        (np.zeros((3, 2)), [[0, 1, 2]], "wedge", "expected a cell line, triangle"),
    ],
)
def test_what_is_no_mesh_is_refused(points, cells, kind, message):
    with pytest.raises(UsageError, match=message):
        Mesh.of(points, cells, kind)


def test_a_description_knows_the_mesh_and_not_its_points():
    space = Bump(30, times=(0.5, 1.0)).observables
    text = json.dumps(space.to_dict())
    assert len(text) < 600
    again = Space.from_dict(json.loads(text))
    assert again == space
    assert again.difference(space) is None
    with pytest.raises(UsageError, match="only its description"):
        _ = again.mesh.points
    mesh = space.mesh
    assert again.with_mesh(mesh.with_arrays(mesh.points, mesh.cells)).mesh.points is not None
    with pytest.raises(UsageError, match="those of the mesh that is described: damaged"):
        again.mesh.with_arrays(mesh.points + 1e-9, mesh.cells)
    assert space.difference(Bump(30, times=(0.5, 1.0)).observables.with_mesh(replace(mesh, digest="other"))) == (
        "values on one mesh, and on another"
    )


def test_names_of_a_field_are_made_when_asked_for():
    space = Bump(5, times=(0.5, 1.0)).observables
    assert len(space.names) == space.size == 50
    assert space.names[27] == "time 1, node 2"
    assert list(space.names) == [space.names[j] for j in range(50)]
    assert space.names[-1] == "time 1, node 24"
    assert space.names[:2] == ("time 0.5, node 0", "time 0.5, node 1")
    assert space.names == Bump(5, times=(0.5, 1.0)).observables.names != Bump(6, times=(0.5, 1.0)).observables.names
    assert space.order_of(space.names, "here") == list(range(50))


def test_a_field_has_one_mesh_and_one_unit():
    one, other = Axis.of_mesh("node", square(2)), Axis.of_mesh("point", square(3))
    for axes, units in (((one, other), ("K",)), ((one,), ("K", "m", "s", "kg"))):
        with pytest.raises(UsageError, match="one mesh and one unit"):
            Space(axes, units)
    with pytest.raises(UsageError, match=r"Axis\.of_mesh"):
        Axis("node", ("a", "b", "c", "d"), mesh=square(2))
