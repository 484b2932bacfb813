"""Columns of several kinds in one last layer, and parameters that enter by their logarithm."""

import dataclasses
import json

import numpy as np
import pytest
import torch

from gnvpro.surrogate.errors import SavedModelError
from gnvpro.surrogate.model.hessian import hessian_product
from gnvpro.surrogate.model.surrogate import Surrogate
from gnvpro.surrogate.networks.dense import DenseNetwork
from gnvpro.surrogate.networks.sparse_polynomials import SparsePolynomials
from gnvpro.surrogate.networks.summary import about
from tests import MODELS
from tests.calculus import assert_taylor
from tests.surrogate.model.stacks import CENTRE, HALF, STACK, calibrated_stack, points, stacked
from tests.surrogate.model.test_surrogate import edit


def test_the_formula_with_logarithms():
    model, y = stacked(), points(7, 3)
    t = y.copy()
    t[:, 1] = np.log(t[:, 1])
    features = STACK.bind(model.theta)(torch.from_numpy((t - CENTRE) / HALF)).numpy()
    expected = np.column_stack([features, np.ones(7)]) @ model.weights.numpy().T
    np.testing.assert_allclose(model.evaluate(y), expected, rtol=1e-11, atol=1e-11)
    assert features.shape == (7, 4 + 20 + 4)
    np.testing.assert_allclose(model.features(y), features, rtol=1e-11, atol=1e-11)


def test_derivatives_in_the_unit_of_the_parameters():
    model, y = stacked(), points(1, 3)
    direction, weights = y * [[0.5, 0.1, -0.2]], np.array([[1.0, -0.4, 0.3, 0.7]])
    assert_taylor(model.evaluate, model.jvp(y, direction), y, direction)
    assert_taylor(
        lambda at: model.vjp(at, weights) * y, hessian_product(model, y, weights, direction) * y, y, direction
    )
    observables, pull = model.pullback(y)
    np.testing.assert_allclose(observables, model.evaluate(y), rtol=1e-12)
    np.testing.assert_allclose(pull(weights), model.vjp(y, weights), rtol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_round_trip(tmp_path, dtype):
    model = stacked(dtype=dtype)
    model.save(tmp_path / "model")
    again, y = Surrogate.load(tmp_path / "model"), points(50, 3)
    np.testing.assert_array_equal(again.evaluate(y), model.evaluate(y))
    assert again == model
    assert (again.network, again.logarithmic, again.dtype) == (STACK, (False, True, False), model.dtype)
    np.testing.assert_allclose(model.evaluate(y), stacked().evaluate(y), rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    "network",
    [
        STACK,
        DenseNetwork(3, (4,)),
        SparsePolynomials(np.array([[2, 0, 0]]), ("legendre",) * 3, (0.0,) * 3, (1.0,) * 3),
    ],
    ids=["stack", "dense", "polynomials of another parameter"],
)
def test_parameters_that_are_not_positive_have_no_observables(network):
    model, y = stacked(network), points(6, 3)
    y[:3, 1] = 0.0, -1e-12, -np.inf
    y[3, 2] = np.nan
    for values in (model.evaluate(y), model.jvp(y, np.ones_like(y))):
        assert np.isnan(values[:4]).all()
        assert np.isfinite(values[4:]).all()
    assert np.isnan(model.features(y)).any(axis=1).tolist() == [True] * 4 + [False] * 2
    assert model.inside(y).tolist() == [False] * 4 + [True] * 2
    free = dataclasses.replace(model, parameters=dataclasses.replace(model.parameters, lower=None), training={})
    assert free.inside(y).tolist() == [False] * 4 + [True] * 2


def test_zero_is_no_trouble_for_a_parameter_that_enters_as_it_is():
    model, y = stacked(), points(2, 3)
    y[:, [0, 2]] = 0.0
    assert np.isfinite(model.vjp(y, np.ones((2, 4)))).all()
    assert np.isfinite(hessian_product(model, y, np.ones((2, 4)), y)).all()


def test_the_margin_of_the_training_range_is_one_of_logarithms():
    model = dataclasses.replace(stacked(), training={"bounds": {"lower": [-1, 1e-15, 0], "upper": [1, 1e-11, 3]}})
    y = np.array([[0.0, at, 1.0] for at in (2e-16, 3e-16, 1e-13, 2e-11, 3e-11)])
    assert model.inside(y).tolist() == [False, False, True, True, False]
    y[:, 1] = 10 ** np.array([-15.41, -15.39, -13, -10.61, -10.59])  # four decades, a tenth of them on both sides
    assert model.inside(y).tolist() == [False, True, True, True, False]


def test_a_stack_with_logarithms_of_schema_6_is_read():
    """Every later version has to read it."""
    model = Surrogate.load(MODELS / "schema-6")
    expected = calibrated_stack()
    y = points(5, 6)
    np.testing.assert_allclose(model.evaluate(y), expected.evaluate(y), rtol=1e-10)
    np.testing.assert_allclose(model.score(y), expected.score(y), rtol=1e-4)
    np.testing.assert_allclose(model.half_width(0.9), expected.half_width(0.9), rtol=1e-6)
    assert model.logarithmic == (False, True, False)
    assert model.network == STACK


@pytest.mark.parametrize(
    "flags", [[True, False], [1, 0, 1], ["yes"] * 3, True, "abc"], ids=["short", "numbers", "text", "one", "word"]
)
def test_logarithms_that_are_not_flags_are_refused(tmp_path, flags):
    stacked().save(tmp_path / "model")
    edit(tmp_path / "model", logarithmic=flags)
    with pytest.raises(SavedModelError):
        Surrogate.load(tmp_path / "model")


def test_it_says_what_it_is_made_of_in_a_few_words():
    model = stacked()
    rows = dict(model.rows())
    assert rows["network"] == "4 polynomial terms + 20 Matérn kernels + network 6,4"
    assert rows["by logarithm"] == "permeability"
    numbers = json.loads(json.dumps(model.numbers()))
    assert numbers["logarithmic"] == ["permeability"]
    assert numbers["network"]["members"][0] == {
        "kind": "sparse_polynomials", "n_inputs": 3, "n_terms": 4, "degree": 3, "families": ["legendre"],
    }  # fmt: skip


def test_many_columns_are_told_in_short():
    exponents = np.eye(300, 300, dtype=int) + np.eye(300, 300, 1, dtype=int)
    network = SparsePolynomials(exponents, ("legendre",) * 300, (0.0,) * 300, (1.0,) * 300)
    assert len(json.dumps(about(network))) < 200


def test_on_cuda():
    if not torch.cuda.is_available():
        pytest.skip("needs a GPU")
    model, y = stacked(), points(9, 3)
    at = torch.from_numpy(y).cuda().requires_grad_()
    values = model.evaluate(at)
    np.testing.assert_allclose(values.detach().cpu().numpy(), model.evaluate(y), rtol=1e-10, atol=1e-10)
    (gradient,) = torch.autograd.grad(values.sum(), at)
    np.testing.assert_allclose(gradient.cpu().numpy(), model.vjp(y, np.ones((9, 4))), rtol=1e-9)
