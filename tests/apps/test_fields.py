"""Fields where they are used: files for ParaView, comparison and report, the page, UM-Bridge, ONNX."""

import asyncio
import json

import meshio
import numpy as np
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

import gnvpro as library
from gnvpro.apps.field_files import write_fields
from gnvpro.apps.reports.raster import Raster
from gnvpro.apps.serving.page.page import page_routes
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.mesh import Mesh
from gnvpro.surrogate.spaces import Axis, Space
from tests.surrogate.fields import Bump

PROBLEM = "tests.surrogate.fields:bump"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fields")
    library.generate(PROBLEM, folder / "data.zarr", 120, options={"points": 9})
    library.train(folder / "data.zarr", out=folder / "model", quick=True)
    return folder / "model"


def test_from_data_set_to_paraview_on_the_command_line(gnvpro, model, tmp_path):
    (tmp_path / "y.csv").write_text("place,size\n0.4,1.5\n0.6,1.2\n")
    predicted = ("predict", model, "--parameters", tmp_path / "y.csv", "--out")
    assert gnvpro(*predicted, tmp_path / "p.vtu").exit_code == 0
    field = meshio.read(tmp_path / "p.vtu")
    expected = library.load(model).evaluate(np.array([[0.4, 1.5], [0.6, 1.2]]))
    np.testing.assert_array_equal(field.point_data["prediction, sample 1"], expected[1])
    np.testing.assert_array_equal(field.cells[0].data, Bump(9).mesh.cells)
    compared = ("compare", model, "--problem", PROBLEM, "--samples", 8)
    ran = gnvpro(*compared, "--out", tmp_path / "out", "--vtu", tmp_path / "c.vtu")
    assert ran.exit_code == 0, ran.stderr
    data = meshio.read(tmp_path / "c.vtu").point_data
    error = data["surrogate, sample worst"] - data["pde, sample worst"]
    np.testing.assert_allclose(data["error, sample worst"], error, atol=1e-12)
    stated = json.loads((tmp_path / "out/comparison.json").read_text())
    assert set(stated["surrogate_error"]["by_observable"]) == {"mean", "median", "p95", "max"}
    report = (tmp_path / "out/report.html").read_text()
    assert "Field of the worst sample" in report
    assert "Error by place" in report
    for place, said in (("c.vtu", "is there already"), ("d.txt", "ends in .vtu or .xdmf")):
        refused = gnvpro(*compared, "--vtu", tmp_path / place)
        assert refused.exit_code == 2
        assert said in " ".join(refused.stderr.split())


def test_a_series_is_one_xdmf(tmp_path):
    problem = Bump(5, times=(0.5, 1.0, 2.0))
    fields = problem.evaluate(np.array([[0.5, 1.0]]))
    write_fields(tmp_path / "f.xdmf", problem.observables, {"heat": fields})
    with meshio.xdmf.TimeSeriesReader(tmp_path / "f.xdmf") as series:
        points, _ = series.read_points_cells()
        steps = [series.read_data(i) for i in range(series.num_steps)]
    np.testing.assert_allclose(points[:, :2], problem.mesh.points)
    assert [step[0] for step in steps] == [0.5, 1.0, 2.0]
    np.testing.assert_allclose([step[1]["heat"] for step in steps], fields.reshape(3, -1))


def test_values_of_cells_are_cell_data(tmp_path):
    mesh = Bump(4).mesh
    space = Space((Axis.of_mesh("cell", Mesh.of(mesh.points, mesh.cells, at="cells")),))
    write_fields(tmp_path / "f.vtu", space, {"k": np.arange(18.0)[None]})
    np.testing.assert_array_equal(meshio.read(tmp_path / "f.vtu").cell_data["k"][0], np.arange(18.0))


def test_other_observables_are_no_fields(tmp_path):
    with pytest.raises(UsageError, match=r"on no mesh; write \.npz or \.csv"):
        write_fields(tmp_path / "f.vtu", Space.vector(["a"]), {"a": np.zeros((1, 1))})


def test_pictures_are_linear_in_triangles_and_quadrilaterals():
    mesh = Bump(4).mesh
    quads = np.array([[i, i + 4, i + 5, i + 1] for i in (0, 1, 2, 4, 5, 6, 8, 9, 10)])
    for cells, kind in ((mesh.cells, "triangle"), (quads, "quad")):
        raster = Raster.of(Space((Axis.of_mesh("node", Mesh.of(mesh.points, cells, kind)),)), 20)
        picture = raster((1 + mesh.points @ [2, -3])[None]).reshape(20, 20)
        x, y = (np.array(axis.labels) for axis in raster.pictures.axes[1:])
        np.testing.assert_allclose(picture, 1 + 2 * x[:, None] - 3 * y, atol=1e-12)


def test_pictures_of_solids_and_lines_are_of_the_nearest_values():
    side = np.linspace(0, 1, 3)
    points = np.stack(np.meshgrid(2 * side, side, 0.5 * side, indexing="ij"), axis=-1).reshape(-1, 3)
    corners = np.array([[0, 9, 12, 3, 1, 10, 13, 4]])
    solid = Mesh.of(points, np.concatenate([corners + i for i in (0, 1, 3, 4, 9, 10, 12, 13)]), "hexahedron")
    raster = Raster.of(Space((Axis("time", (0.0, 1.0)), Axis.of_mesh("node", solid))), 8)
    assert raster.pictures.shape == (2, 8, 4)
    values = np.stack([points[:, 0], points[:, 1]])
    first, second = raster(values.reshape(1, -1)).reshape(2, 8, 4)
    assert np.abs(first - np.array(raster.pictures.axes[1].labels)[:, None]).max() <= 0.5
    assert np.abs(second - np.array(raster.pictures.axes[2].labels)).max() <= 0.25
    line = Mesh.of(side[:, None], [[0, 1], [1, 2]], "line")
    picture = Raster.of(Space((Axis.of_mesh("x", line),)), 9)(side[None])
    assert set(picture[np.isfinite(picture)]) <= set(side)


def test_the_page_shows_pictures_and_stays_small(model):
    surrogate, problem = library.load(model), Bump(9)

    async def ask():
        app = web.Application()
        app.add_routes(page_routes({"bump": surrogate}, {"bump": problem}))
        async with TestClient(TestServer(app)) as client:
            answers = [await (await client.get("/page/models")).read()]
            for route in ("evaluate", "solve"):
                content = {"model": "bump", "parameters": [0.5, 1.5]}
                answers.append(await (await client.post(f"/page/{route}", json=content)).read())
        return answers

    answers = asyncio.run(ask())
    assert sum(map(len, answers)) < 2e6
    described, evaluated, solved = map(json.loads, answers)
    about = described["models"][0]["observables"]
    assert (about["kind"], about["titles"]) == ("images", ["field values"])
    assert len(about["names"]) == len(evaluated["observables"]) == len(solved["observables"]) == 64 * 64
    assert solved["difference"]["relative"] < 0.2
    assert 0 <= solved["difference"]["largest_at"] < 64 * 64


def test_an_onnx_file_has_the_modes_in_the_end(model, tmp_path):
    exported = library.export(model, tmp_path / "f.onnx")
    assert exported.exported.difference < 1e-8
