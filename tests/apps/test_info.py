"""`info` as a function: it describes models and data sets, and for a model needs no library of data or PDEs."""

import json

import pytest

from gnvpro.apps.info import info
from tests.apps.test_imports import FENICSX, python


@pytest.mark.parametrize("kind", ["data set", "surrogate"])
def test_numbers_rows_and_representations_are_of_what_stands_there(kind, data, model):
    path = data if kind == "data set" else model
    described = info(path)
    assert json.loads(json.dumps(described.numbers()))["kind"] == kind
    assert described.title == f"{kind.capitalize()} {path}"
    for what, value in described.rows():
        assert what in repr(described)
        assert value in repr(described)
    assert described._repr_html_().startswith("<table>")


def test_a_model_is_described_without_zarr_xarray_fenicsx_or_numba(model):
    code = "import sys; from gnvpro.apps.cli import app; app(['info', sys.argv[1]])"
    ran = python(code, FENICSX | {"zarr", "xarray", "netCDF4", "numba", "matplotlib", "sklearn"}, model)
    assert ran.returncode == 0, ran.stderr
    assert "trained by" in ran.stdout
