"""The page's example, run as a reader would run it."""

import importlib
import re

import numpy as np
import pytest

from gnvpro.pde_data.generation.run import generate
from gnvpro.pde_data.problems.loading import load_problem
from gnvpro.pde_data.storage.dataset import read_samples
from gnvpro.surrogate.forward_model import ForwardModel
from tests import PROJECT
from tests.calculus import assert_adjoint, assert_taylor

PAGE = PROJECT / "docs" / "your-own-pde.md"


@pytest.fixture(scope="module")
def plate(fenicsx, tmp_path_factory):
    folder = tmp_path_factory.mktemp("reader")
    (block,) = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), flags=re.DOTALL | re.MULTILINE)
    if importlib.util.find_spec("dolfinx_solver") is None:
        block = re.sub(r"^import dolfinx_solver.*\n", "", block, flags=re.MULTILINE)
    (folder / "my_pde.py").write_text(block)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        yield load_problem("my_pde:problem")


@pytest.fixture
def points(plate):
    rng = np.random.default_rng(0)
    lower, upper = np.array(plate.parameters.lower), np.array(plate.parameters.upper)
    return lower + (upper - lower) * rng.uniform(0.3, 0.7, (2, 3))


def test_it_keeps_the_contract(plate, points):
    assert isinstance(plate.model, ForwardModel)
    assert plate.name == "my_pde:problem"
    assert plate.evaluate(points).shape == (2, plate.observables.size)


def test_equal_materials_scale_like_heating_over_conductivity(plate):
    # A maximum principle and a number: the unit square with k = q = 1 is .0737 warm in the middle.
    one, twice = plate.evaluate(np.array([[1.0, 1.0, 1.0], [2.0, 2.0, 4.0]]))
    np.testing.assert_allclose(twice, 2 * one, rtol=1e-12)
    assert np.all((one > 0) & (one < 0.0737))
    np.testing.assert_allclose(one[0], one[1], rtol=1e-3)


def test_options_are_arguments_of_the_factory(plate):
    fine = load_problem("my_pde:problem", {"n": 32})
    assert fine.model.n == 32
    assert fine.definition["options"] == {"n": 32}


def test_derivatives(plate, points):
    rng = np.random.default_rng(1)
    dy, dc = rng.normal(size=(2, 3)) * 0.2, rng.normal(size=(2, 3))
    assert_taylor(plate.evaluate, plate.jvp(points, dy), points, dy)
    assert_adjoint(lambda d: plate.jvp(points, d), lambda w: plate.vjp(points, w), dy, dc)


def test_data_are_generated_and_read(plate, tmp_path):
    summary = generate(plate, tmp_path / "plate.zarr", 6, seed=1)
    samples = read_samples(tmp_path / "plate.zarr")
    assert summary.n_ok == len(samples) == 6
    error = summary.estimated_error
    assert (error["against"], error["n_samples"]) == ("half the mesh width", 6)
    assert 0 < error["relative_l2"] < 1e-3
    np.testing.assert_allclose(samples.observables, plate.evaluate(samples.parameters), rtol=1e-12)
    assert samples.parameter_space == plate.parameters
