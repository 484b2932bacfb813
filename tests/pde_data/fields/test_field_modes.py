"""Modes of a field without FEniCSx: moments, the file, pictures."""

import numpy as np
import pytest

from gnvpro.pde_data.fields.field_modes import FieldModes
from gnvpro.surrogate.errors import UsageError


def modes(nodes, cells, at_cells=False, n_modes=3):
    n = len(cells) if at_cells else len(nodes)
    rng = np.random.default_rng(0)
    return FieldModes(rng.normal(size=(n, n_modes)), rng.normal(size=n), np.ones(n_modes), 0.9, nodes, np.array(cells))


SQUARE = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
TRIANGLES, QUADRILATERAL = [[0, 1, 2], [1, 3, 2]], [[0, 1, 2, 3]]


def test_moments_are_those_of_the_values():
    field = modes(SQUARE, TRIANGLES)
    draws = np.random.default_rng(1).normal(size=(4, 50, 3))
    values = field.values(draws).reshape(-1, 4)
    mean, deviation = field.moments(draws)
    np.testing.assert_allclose(mean, values.mean(0), rtol=1e-12)
    np.testing.assert_allclose(deviation, values.std(0, ddof=1), rtol=1e-12)
    np.testing.assert_array_equal(field.moments(draws[0, :1])[1], 0)


def test_it_is_saved_and_read(tmp_path):
    field = modes(SQUARE, TRIANGLES)
    field.save(tmp_path / "field.npz")
    again = FieldModes.read(tmp_path / "field.npz")
    for name in FieldModes.__dataclass_fields__:
        np.testing.assert_array_equal(getattr(again, name), getattr(field, name))
    assert isinstance(again.captured, float)


def test_another_file_is_refused(tmp_path):
    np.savez(tmp_path / "other.npz", matrix=np.ones((3, 2)))
    with pytest.raises(
        UsageError, match="expected the modes of a field, as `save` writes them, got no captured, cells"
    ):
        FieldModes.read(tmp_path / "other.npz")
    (tmp_path / "text.npz").write_text("no archive")
    with pytest.raises(UsageError):
        FieldModes.read(tmp_path / "text.npz")
    with pytest.raises(OSError, match="none"):
        FieldModes.read(tmp_path / "none.npz")


@pytest.mark.parametrize("at_cells", [False, True], ids=["nodes", "cells"])
@pytest.mark.parametrize("cells", [TRIANGLES, QUADRILATERAL], ids=["triangles", "quadrilateral"])
def test_pictures_in_the_plane(cells, at_cells, tmp_path):
    field = modes(SQUARE, cells, at_cells)
    figure = field.picture(np.random.default_rng(1).normal(size=(20, 3)), np.zeros(3))
    titles = [axes.get_title() for axes in figure.axes if axes.get_title()]
    assert titles == ["truth", "mean", "standard deviation"]
    truth, mean = (axes.collections[0] for axes in figure.axes[:2])
    assert truth.get_clim() == mean.get_clim()
    np.testing.assert_array_equal(np.unique(truth.get_array()), np.unique(field.mean))
    figure.savefig(tmp_path / "field.png")


@pytest.mark.parametrize("at_cells", [False, True], ids=["nodes", "cells"])
def test_pictures_on_an_interval(at_cells):
    field = modes(np.array([[1.0], [0.0], [0.5]]), [[1, 2], [2, 0]], at_cells)
    axes = field.picture(np.zeros((2, 3))).axes[0]
    assert list(axes.lines[0].get_xdata()) == ([0.25, 0.75] if at_cells else [0.0, 0.5, 1.0])


def test_none_in_space():
    field = modes(np.eye(4, 3), [[0, 1, 2, 3]])
    with pytest.raises(UsageError, match="has no picture"):
        field.picture(np.zeros((2, 3)))
