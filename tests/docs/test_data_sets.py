"""docs/data-sets.md: its programs run, and what it shows of a data set is what xarray says."""

import io
import re
import warnings

import pytest
import xarray as xr

from gnvpro.pde_data.generation.run import generate
from tests import PROJECT
from tests.pde_data.toy import Fragile

PAGE = (PROJECT / "docs" / "data-sets.md").read_text()
READING, IN_MEMORY = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    generate(Fragile(), "runs/cdr.zarr", 42, seed=5)
    return tmp_path


def test_xarray_alone_reads_and_masks(folder):
    """Fragile has the times and sensors that the program names, and samples that failed."""
    found = {}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        exec(compile(READING, "data-sets.md", "exec"), found)
    solved, data = found["solved"], found["data"]
    assert 0 < solved.sizes["sample"] == int((data.status == 0).sum()) < 42
    assert solved.observables.dtype == "float64"
    assert not solved.observables.isnull().any()
    assert found["at_the_end"].dims == ("sensor",)


def test_all_variables_can_be_masked(folder):
    import gnvpro

    data = gnvpro.open_dataset("runs/cdr.zarr")
    solved = data.where(data.status == 0, drop=True)
    assert set(solved.failure.values) == {""}
    assert not solved.observables.isnull().any()


def test_a_dataset_in_memory_is_trained_on():
    found = {"xr": xr}
    exec(compile(IN_MEMORY, "data-sets.md", "exec"), found)
    assert found["surrogate"].parameters.names == ("depth", "volume")
    assert found["again"].observables.shape == (60, 2)


def test_the_excerpt_is_what_xarray_says(fenicsx, tmp_path):
    generate("cdr", tmp_path / "cdr.zarr", 12, estimates_error=False)
    said = io.StringIO()
    xr.open_zarr(tmp_path / "cdr.zarr", chunks=None).info(said)
    (excerpt,) = re.findall(r"```text\n(.*?)```", PAGE, re.DOTALL)
    lines = said.getvalue().splitlines()
    places = [lines.index(line) for line in excerpt.splitlines()]
    assert len(places) > 10
    assert places == sorted(places)
