"""Equality of what holds arrays: by value for what users compare, and never a question that an array cannot answer."""

import dataclasses
import importlib
import pkgutil

import numpy as np
import pytest
import torch

import gnvpro.surrogate
import gnvpro.training
from gnvpro.surrogate.equality import same
from gnvpro.surrogate.labelled import LabelledSamples, LabelledSplit
from gnvpro.surrogate.model.classifier import Classifier
from gnvpro.surrogate.model.load import load_model
from gnvpro.surrogate.model.spectra import SpectralFeatures
from gnvpro.surrogate.scaling import Scaling
from tests import MODELS
from tests.surrogate.model.test_classifier import SPECTRA, classifier
from tests.training.problems import smooth_samples


def labelled():
    samples = LabelledSamples(np.ones((4, 2)), np.array([0, 1, 0, 1]))
    return LabelledSplit(samples, samples, samples, ("a", "b"))


MAKERS = {
    "samples": smooth_samples,
    "split": lambda: smooth_samples().split(0),
    "labelled": labelled,
    "scaling": lambda: Scaling.standardised(smooth_samples().parameters, smooth_samples().observables, 1.0),
    "features": lambda: SpectralFeatures(7).fitted(SPECTRA),
    "classifier": classifier,
    "surrogate with bands": lambda: load_model(MODELS / "schema-4"),
    "surrogate with polynomials": lambda: load_model(MODELS / "schema-2"),
    "trust": lambda: load_model(MODELS / "schema-4").trust,
}


@pytest.mark.parametrize("name", MAKERS)
def test_equal_parts_make_equal_wholes(name):
    one, again = MAKERS[name](), MAKERS[name]()
    assert one == again
    assert one != "something else"
    assert one in [None, again]


@pytest.mark.parametrize("name", MAKERS)
def test_one_number_makes_the_difference(name):
    one, changed = MAKERS[name](), 0
    for field in dataclasses.fields(one):
        value = getattr(one, field.name)
        if isinstance(value, np.ndarray | torch.Tensor) and value.shape:
            other = value.clone() if isinstance(value, torch.Tensor) else value.copy()
            other.reshape(-1)[-1] += 1
        elif isinstance(value, LabelledSamples):
            other = LabelledSamples(value.inputs + 1, value.labels)
        elif type(value) is type(one) or not dataclasses.is_dataclass(value) or not hasattr(value, "marginal"):
            continue
        else:
            other = dataclasses.replace(value, scale=2 * value.scale)
        assert dataclasses.replace(one, **{field.name: other}) != one
        changed += 1
    assert changed or name == "split"


def test_a_saved_model_equals_its_copy(tmp_path):
    model = classifier()
    model.save(tmp_path / "model")
    assert Classifier.load(tmp_path / "model") == model
    surrogate = load_model(MODELS / "schema-4")
    surrogate.save(tmp_path / "surrogate")
    surrogate.evaluate(np.zeros((1, 2)))  # what is kept for evaluation is no part of the model
    assert load_model(tmp_path / "surrogate") == surrogate


def test_values_are_compared_in_type_shape_and_number():
    a = np.array([1.0, np.nan])
    assert same({"x": [a, (1, np.nan)]}, {"x": [a.copy(), (1, np.nan)]})
    for other in (a[:1], a.astype(np.float32), np.array([1.0, 2.0]), torch.as_tensor(a), [1.0, np.nan], None):
        assert not same(a, other)
        assert not same(other, a)
    assert same(np.array(["a"]), np.array(["a"]))
    assert same(torch.tensor([True]), torch.tensor([True]))
    assert not same(torch.tensor([1.0]), torch.tensor([[1.0]]))
    assert same(1, 1.0)
    assert not same({"x": 1}, {"y": 1})


def dataclasses_with_arrays():
    for package in (gnvpro.surrogate, gnvpro.training):
        for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
            for kind in vars(importlib.import_module(module.name)).values():
                if isinstance(kind, type) and dataclasses.is_dataclass(kind) and kind.__module__ == module.name:
                    words = " ".join(str(field.type) for field in dataclasses.fields(kind))
                    if any(word in words for word in ("Array", "Tensor", "ndarray")):
                        yield kind


def test_no_dataclass_with_arrays_has_the_equality_of_tuples():
    kinds = list(dataclasses_with_arrays())
    assert len(kinds) > 15
    assert [kind.__qualname__ for kind in kinds if kind.__dataclass_params__.eq] == []
