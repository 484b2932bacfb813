"""A model works wherever it is: copied, in another process, without gradients, and on arrays of any kind."""

import copy
import pickle
import subprocess
import sys
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch

from gnvpro.surrogate.model.hessian import hessian_product
from gnvpro.surrogate.model.load import load_model
from gnvpro.surrogate.model.surrogate import Surrogate
from gnvpro.surrogate.networks.concatenated import ConcatenatedNetwork
from gnvpro.surrogate.networks.dense import DenseNetwork
from gnvpro.surrogate.networks.in_time.hamiltonian import HamiltonianNetwork
from gnvpro.surrogate.networks.in_time.residual import ResidualNetwork
from gnvpro.surrogate.networks.kernels import KernelFeatures
from gnvpro.surrogate.networks.module import ModuleNetwork
from gnvpro.surrogate.networks.polynomials import Amplitude, PolynomialBasis
from gnvpro.surrogate.networks.sparse_polynomials import SparsePolynomials
from gnvpro.surrogate.samples import Samples
from gnvpro.surrogate.spaces import Space
from tests import MODELS

POLYNOMIALS = SparsePolynomials(np.array([[1, 2], [0, 3]]), ("legendre", "hermite"), (0.0, 0.1), (1.0, 1.2))
NETWORKS = {
    "dense": DenseNetwork(2, (5, 4)),
    "concatenated": ConcatenatedNetwork((DenseNetwork(2, (3,)), DenseNetwork(2, (4,)))),
    "gaussian": KernelFeatures(2, 4, "gaussian"),
    "matern52": KernelFeatures(2, 4, "matern52"),
    "sparse polynomials": POLYNOMIALS,
    "stack": ConcatenatedNetwork((POLYNOMIALS, KernelFeatures(2, 3, "matern52"), DenseNetwork(2, (3,)))),
    "residual": ResidualNetwork(2, 4, 2),
    "hamiltonian": HamiltonianNetwork(2, 4, 2),
    "module": ModuleNetwork(torch.nn.Sequential(torch.nn.Linear(2, 4), torch.nn.Tanh(), torch.nn.BatchNorm1d(4)), 2),
}
SPACES = Space.vector(["a", "b"]), Space.vector(["x", "y", "z"], axis="observable")
Y = np.random.default_rng(0).integers(1, 9, (6, 2)) / 8  # exact in float16 too
DC = np.random.default_rng(1).integers(1, 9, (6, 3)) / 8
KINDS = [*NETWORKS, "polynomials", "logarithms", "classifier"]


def made(kind):
    """A model that nothing was computed with yet."""
    if kind == "classifier":
        return load_model(MODELS / "schema-3")
    network = NETWORKS["stack"] if kind == "logarithms" else NETWORKS.get(kind, NETWORKS["dense"])
    weights = torch.randn(3, network.width + 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    two = torch.ones(2, dtype=torch.float64)
    model = Surrogate(network, network.initial(0), weights, 0.5 * two, 0.5 * two, *SPACES)
    if kind == "logarithms":
        return replace(model, logarithmic=(False, True))
    if kind != "polynomials":
        return model
    basis = PolynomialBasis((0.0, 0.0), (1.0, 1.0), (1.0, 1.0), 2.0, (1.0, 1.0))
    wider = torch.cat([weights, weights[:, : basis.n_terms]], 1)
    return replace(model, weights=wider, polynomials=basis, amplitude=Amplitude(basis, (0.1,) * (basis.n_terms + 1)))


def points(model):
    wide = np.resize(Y, (6, model.parameters.size))
    return wide, np.resize(DC, (6, model.observables.size))


def answers(model, y, dy, dc):
    """Everything that a model computes."""
    found = {"evaluate": model.evaluate(y), "jvp": model.jvp(y, dy), "vjp": model.vjp(y, dc)}
    if isinstance(model, Surrogate):
        observables, pull = model.pullback(y)
        found |= {"pullback": observables, "pulled": pull(dc), "features": model.features(y)}
        found["hessian"] = hessian_product(model, y, dc, dy)
    return found


def assert_same(found, expected):
    assert found.keys() <= expected.keys()
    for name, values in found.items():
        # A product may add in another order where the memory of its factor has one.
        np.testing.assert_allclose(values, expected[name], rtol=1e-13, atol=1e-13, err_msg=name)


@pytest.mark.parametrize("kind", KINDS)
def test_a_used_model_is_pickled_and_copied(kind):
    model = made(kind)
    y, dc = points(model)
    expected = answers(model, y, y, dc)
    for again in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model), copy.copy(model)):
        assert_same(answers(again, y, y, dc), expected)
    assert_same(answers(model, y, y, dc), expected)


@pytest.mark.long
def test_used_models_are_sent_to_another_process(tmp_path):
    models = {kind: made(kind) for kind in KINDS}
    expected = {}
    for kind, model in models.items():
        y, dc = points(model)
        expected[kind] = answers(model, y, y, dc)
    (tmp_path / "sent").write_bytes(pickle.dumps([(model, points(model)[0]) for model in models.values()]))
    program = (
        "import pickle, sys; sent = pickle.load(open(sys.argv[1], 'rb')); "
        "pickle.dump([(model, model.evaluate(y)) for model, y in sent], open(sys.argv[1], 'wb'))"
    )
    subprocess.run([sys.executable, "-c", program, tmp_path / "sent"], check=True)
    came = pickle.loads((tmp_path / "sent").read_bytes())
    assert len(came) == len(models)
    for kind, (back, values) in zip(models, came, strict=True):
        y, dc = points(back)
        np.testing.assert_array_equal(values, expected[kind]["evaluate"], err_msg=kind)
        assert_same(answers(back, y, y, dc), expected[kind])


@pytest.mark.parametrize("first", [True, False], ids=["first used there", "used before"])
@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("kind", KINDS)
def test_derivatives_are_taken_without_gradients_too(kind, context, first):
    model = made(kind)
    y, dc = points(model)
    expected = answers(made(kind), y, y, dc)
    if not first:
        model.evaluate(y)
    with context():
        assert_same(answers(model, y, y, dc), expected)
    assert_same(answers(model, y, y, dc), expected)


ARRAYS = {
    "reversed": lambda a: a[::-1].copy()[::-1],
    "columns reversed": lambda a: a[:, ::-1].copy()[:, ::-1],
    "Fortran": np.asfortranarray,
    "strided": lambda a: np.repeat(a, 2, axis=1)[:, ::2],
    "read-only": lambda a: np.frombuffer(a.tobytes()).reshape(a.shape),
    "big-endian": lambda a: a.astype(">f8"),
    "float16": lambda a: a.astype(np.float16),
    "float32": lambda a: a.astype(np.float32),
    "longdouble": lambda a: a.astype(np.longdouble),
    "lists": lambda a: a.tolist(),
}


@pytest.mark.parametrize("array", ARRAYS)
@pytest.mark.parametrize("kind", KINDS)
def test_arrays_of_any_kind(kind, array):
    model = made(kind)
    y, dc = points(model)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        found = answers(model, *map(ARRAYS[array], (y, y, dc)))
    assert_same(found, answers(made(kind), y, y, dc))


def test_integers_are_numbers():
    model = made("dense")
    whole = np.arange(6).reshape(3, 2)
    np.testing.assert_array_equal(model.evaluate(whole), model.evaluate(whole.astype(float)))


def test_samples_hold_arrays_that_torch_takes():
    samples = Samples(Y[::-1].astype(">f4"), DC[::-1], *SPACES)
    for held, given in ((samples.parameters, Y[::-1]), (samples.observables, DC[::-1])):
        assert held.flags.carray
        assert held.dtype == np.float64
        np.testing.assert_array_equal(held, given)
