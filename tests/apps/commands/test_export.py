"""ONNX files against the models they were made of, in both precisions and for every kind of network."""

import json
from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from gnvpro.surrogate.errors import NumericalFailure
from gnvpro.surrogate.model.onnx.export import build, difference, export
from gnvpro.surrogate.model.onnx.networks import low_rank
from gnvpro.surrogate.model.spectra import SpectralFeatures
from gnvpro.surrogate.model.surrogate import Surrogate
from gnvpro.surrogate.networks.concatenated import ConcatenatedNetwork
from gnvpro.surrogate.networks.dense import DenseNetwork
from gnvpro.surrogate.networks.in_time.hamiltonian import HamiltonianNetwork
from gnvpro.surrogate.networks.in_time.residual import ResidualNetwork
from gnvpro.surrogate.networks.kernel_tangents import KernelTangents
from gnvpro.surrogate.networks.kernels import KernelFeatures
from gnvpro.surrogate.networks.module import ModuleNetwork
from gnvpro.surrogate.networks.none import NoFeatures
from gnvpro.surrogate.networks.polynomials import Amplitude, PolynomialBasis
from gnvpro.surrogate.networks.sparse_polynomials import SparsePolynomials
from gnvpro.surrogate.spaces import Space
from tests.surrogate.model.test_classifier import classifier

LOWER, UPPER = (0.45, 0.1, 0.0), (0.75, 0.3, 1.5)
# The weights below are Gaussian and so without the cancellation of ill-conditioned features.
TOLERANCE = {"float64": 1e-12, "float32": 1e-6}
POLYNOMIALS = SparsePolynomials(
    np.array([[2, 1, 0], [0, 0, 3], [1, 1, 2], [0, 2, 0]]), ("legendre", "hermite", "legendre"), (0.1,) * 3, (1.2,) * 3
)
STACK = ConcatenatedNetwork((POLYNOMIALS, KernelFeatures(3, 5, "matern52"), DenseNetwork(3, (5, 4))))
NETWORKS = {
    "dense": DenseNetwork(3, (5, 4)),
    "one layer": DenseNetwork(3, (4,)),
    "concatenated": ConcatenatedNetwork((DenseNetwork(3, (4,)), DenseNetwork(3, (5, 3)))),
    "gaussian": KernelFeatures(3, 8, "gaussian"),
    "matern52": KernelFeatures(3, 8, "matern52"),
    "gaussian with derivatives": KernelTangents(3, 8, "gaussian", 2),
    "matern52 with derivatives": KernelTangents(3, 8, "matern52", 2),
    "sparse polynomials": POLYNOMIALS,
    "sparse polynomials of one input": SparsePolynomials(
        np.array([[0, 3, 0], [0, 1, 0]]), ("legendre",) * 3, (0.0,) * 3, (1.0,) * 3
    ),
    "stack": STACK,
    "residual": ResidualNetwork(3, 4, steps=3, final_time=2.0),
    "width one": ResidualNetwork(3, 1),
    "plain": ResidualNetwork(3, 4, steps=2, kind="plain"),
    "hamiltonian": HamiltonianNetwork(3, 6, steps=3, final_time=1.5),
}
BASIS = PolynomialBasis(LOWER, UPPER, (1.0, 0.8, 0.7), 5.0, (-1.0, 0.5, 1.0))


def surrogate(network, *, polynomials=None, amplitude=None, background=False, dtype=torch.float64, n_out=6):
    generator = torch.Generator().manual_seed(1)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    n_terms = 0 if polynomials is None else polynomials.n_terms
    low, high = torch.tensor(LOWER, dtype=torch.float64), torch.tensor(UPPER, dtype=torch.float64)
    return Surrogate(
        network,
        (network.initial(0) + 0.1 * normal(network.n_theta)).to(dtype),
        normal(n_out, network.width + n_terms + 1),
        (low + high) / 2,
        1 / (high - low),
        Space.vector(["depth", "volume", "azimuth"], units=("m", "m3", "rad"), lower=LOWER, upper=UPPER, law="uniform"),
        Space.vector([f"c{k}" for k in range(n_out)], axis="observable"),
        polynomials,
        amplitude,
        3 * normal(n_out) if background else None,
    )


AMPLITUDE = Amplitude(BASIS, tuple((0.3 / (1 + np.arange(BASIS.n_terms + 1))).tolist()))
PARTS = {
    "background": dict(background=True),
    "polynomials": dict(polynomials=BASIS),
    "amplitude": dict(amplitude=AMPLITUDE),
    "constant amplitude": dict(amplitude=Amplitude(replace(BASIS, degree=0.0), (0.5,))),
    "all": dict(polynomials=BASIS, amplitude=AMPLITUDE, background=True),
}
SURROGATES = {
    **{name: surrogate(network) for name, network in NETWORKS.items()},
    **{f"dense, {name}": surrogate(NETWORKS["dense"], **parts) for name, parts in PARTS.items()},
    "polynomials alone": surrogate(NoFeatures(3), polynomials=BASIS),
    "float32 network": surrogate(NETWORKS["dense"], dtype=torch.float32),
    "float32 stack": surrogate(STACK, dtype=torch.float32, **PARTS["all"]),
    "logarithms": replace(surrogate(STACK, **PARTS["all"]), logarithmic=(True, True, False)),
}


def compressed(model, rank):
    """The model with a last layer of that rank, as training on many observables leaves it."""
    return replace(model, weights=model.weights[:, :rank] @ model.weights[:rank])


for _name in ("all", "polynomials", "background"):
    _many = surrogate(NETWORKS["dense"], n_out=90, **PARTS[_name])
    SURROGATES[f"compressed, {_name}"] = compressed(_many, 2)
SPECTRA = np.random.default_rng(0).uniform(1, 5, (30, 7))
FEATURES = {
    "per pixel, per band, brightness": SpectralFeatures(7).fitted(SPECTRA),
    "paper": SpectralFeatures.paper(7).fitted(SPECTRA),
    "paper, in the unit of the cube": replace(SpectralFeatures.paper(7).fitted(SPECTRA), absolute_floor=True),
    "raw": SpectralFeatures.named("raw", 7),
    "per band": SpectralFeatures.named("per-band", 7).fitted(SPECTRA),
}


def session(proto):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", SURROGATES)
def test_one_file_gives_what_the_surrogate_gives_in_batches_of_every_size(name, dtype):
    model = SURROGATES[name]
    exact = replace(model, theta=model.theta.double())
    run = session(export(model, dtype).proto).run
    for n in (1, 7, 10_000):
        y = np.random.default_rng(n).uniform(LOWER, UPPER, (n, 3)).astype(dtype)
        (found,) = run(["observables"], {"parameters": y})
        assert found.dtype == dtype
        assert difference(found, exact.evaluate(y.astype(float))) <= TOLERANCE[dtype]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", FEATURES)
def test_probabilities_of_a_classifier(name, dtype):
    features = FEATURES[name]
    network = DenseNetwork(features.n_features, (5, 4))
    model = replace(classifier(), features=features, network=network, theta=network.initial(0))
    y = np.vstack([SPECTRA, np.full((2, 7), 3.0) if dtype == "float64" else SPECTRA[:2]]).astype(dtype)
    (found,) = session(export(model, dtype).proto).run(None, {"parameters": y})
    np.testing.assert_allclose(found, model.evaluate(y.astype(float)), rtol=0, atol=TOLERANCE[dtype])


def test_spectra_that_are_not_finite_have_no_class():
    y = SPECTRA[:3].copy()
    y[0, 2], y[2, 0] = np.inf, np.nan
    (found,) = session(export(classifier()).proto).run(None, {"parameters": y})
    assert np.isnan(found).any(axis=1).tolist() == [True, False, True]


def test_parameters_without_a_logarithm_give_no_number():
    for network in (STACK, NETWORKS["sparse polynomials of one input"]):
        model = replace(surrogate(network), logarithmic=(True, True, False))
        y = np.array([[0.5, 0.2, 0.0], [0.0, 0.2, 1.0], [0.5, -0.2, 1.0], [0.5, 0.2, np.nan]])
        (found,) = session(export(model).proto).run(None, {"parameters": y})
        for values in (found, model.evaluate(y)):
            assert np.isnan(values).all(axis=1).tolist() == [False, True, True, True]
            assert np.isfinite(values[0]).all()


def test_an_unbounded_space_is_tried_at_positive_parameters():
    model = replace(SURROGATES["logarithms"], polynomials=None, amplitude=None)
    free = replace(model.parameters, lower=None, upper=None, law="unknown")
    model = replace(model, parameters=free, weights=model.weights[:, -STACK.width - 1 :])
    assert export(model).difference <= 1e-12


def test_double_precision_inside_where_single_precision_cancels():
    """Two features that differ by 1e-5: their weights cancel five digits."""
    network = DenseNetwork(3, (2,))
    theta = network.initial(0).view(4, 2)
    theta[:, 1] = theta[:, 0] * (1 + 1e-5)
    model = replace(
        surrogate(network, n_out=1), theta=theta.reshape(-1), weights=torch.tensor([[1e5, -1e5, 0.1]]).double()
    )
    exported = export(model, "float32")
    assert exported.computes_in == "float64"
    assert exported.difference <= 1e-6
    assert export(SURROGATES["dense"], "float32").computes_in == "float32"


def test_parameters_that_vary_little_about_a_large_centre():
    """Of rounding the centre alone, single precision would be wrong by 6e-8 * 1e3 / 2 = 3e-5."""
    model = replace(SURROGATES["dense"], input_shift=torch.tensor([1000.1, 0.2, 0.75]).double())
    model = replace(model, parameters=replace(model.parameters, lower=(999.6, 0.1, 0.0), upper=(1000.6, 0.3, 1.5)))
    assert export(model, "float32").computes_in == "float32"


def test_a_file_that_is_not_the_model_is_not_written(monkeypatch, gnvpro, model, tmp_path):
    def wrong(surrogate, *args):
        return build(replace(surrogate, weights=1.00001 * surrogate.weights), *args)

    monkeypatch.setattr("gnvpro.surrogate.model.onnx.export.build", wrong)
    for dtype in ("float64", "float32"):
        with pytest.raises(NumericalFailure, match=r"differs from the model by 1\.0e-05"):
            export(SURROGATES["dense"], dtype)
    ran = gnvpro("export", model, "--out", tmp_path / "model.onnx")
    assert (ran.exit_code, ran.stderr.startswith("failed: the ONNX file differs")) == (1, True)
    assert not any(tmp_path.iterdir())


def test_a_last_layer_of_low_rank_is_two_factors_in_the_file():
    model = surrogate(NETWORKS["dense"], n_out=90, **PARTS["all"])
    largest = {
        name: max(np.prod(part.dims) for part in export(one).proto.graph.initializer)
        for name, one in (("full", model), ("compressed", compressed(model, 3)))
    }
    assert largest == {"full": 90 * BASIS.n_terms, "compressed": 90 * 3}


@pytest.mark.parametrize("rank", [1, 5, 8])
def test_factors_give_the_matrix_back(rank):
    weights = surrogate(NETWORKS["dense"], polynomials=BASIS, n_out=60).weights.numpy().T
    of_rank = weights[:, :rank] @ weights[:rank]
    factors = low_rank(of_rank)
    assert factors is not None
    assert [part.shape for part in factors] == [(len(weights), rank), (rank, 60)]
    np.testing.assert_allclose(
        factors[0] @ factors[1], of_rank, rtol=0, atol=1e-14 * np.abs(of_rank).max() * len(weights)
    )
    assert low_rank(weights) is None
    assert low_rank(np.zeros_like(weights)) is None


def test_the_file_says_what_its_numbers_mean():
    model = SURROGATES["dense, all"]
    proto = export(model).proto
    about = {item.key: json.loads(item.value) for item in proto.metadata_props}
    assert about["gnvpro.schema_version"] == 1
    assert Space.from_dict(about["gnvpro.parameters"]) == model.parameters
    assert Space.from_dict(about["gnvpro.observables"]) == model.observables


def test_command(gnvpro, model, tmp_path):
    out = tmp_path / "deep" / "model.onnx"
    ran = gnvpro("export", model, "--out", out, "--dtype", "float32", "--json")
    assert ran.exit_code == 0, ran.stderr
    assert ran.numbers["largest_difference"] <= 1e-6
    onnx.checker.check_model(str(out))
    before = out.read_bytes()
    again = gnvpro("export", model, "--out", out)
    assert again.exit_code == 2
    assert "--overwrite" in again.stderr
    assert out.read_bytes() == before
    assert gnvpro("export", model, "--out", out, "--overwrite").exit_code == 0
    assert out.read_bytes() != before
    assert [path.name for path in out.parent.iterdir()] == ["model.onnx"]


def test_bad_usage_is_one_sentence(gnvpro, model, tmp_path):
    for arguments, says in (
        (("--out", tmp_path / "model.bin"), "ends in .onnx"),
        (("--out", tmp_path / "model.onnx", "--dtype", "float16"), "float16"),
    ):
        ran = gnvpro("export", model, *arguments)
        assert ran.exit_code == 2
        assert says in ran.stderr
    assert gnvpro("export", tmp_path, "--out", tmp_path / "model.onnx").exit_code == 2
    with pytest.raises(ValueError, match="unknown dtype 'float16'; expected float32 or float64"):
        export(SURROGATES["dense"], "float16")  # pyright: ignore[reportArgumentType]


def test_a_torch_module_is_refused():
    module = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.SiLU())
    with pytest.raises(ValueError, match=r"torch module \(Sequential\) cannot be exported; expected a built-in"):
        export(surrogate(ModuleNetwork(module, 3)))


@pytest.mark.parametrize(("kernel", "log_length"), [("gaussian", 0.3), ("matern52", 1.2)])
def test_an_interpolation_by_kernels_whose_terms_cancel_is_exported(kernel, log_length):
    """Large weights, and observables with zeros: there the largest observable is no measure of rounding."""
    n, rng = 200, np.random.default_rng(0)
    y = rng.uniform(LOWER, UPPER, (n, 3))
    network = KernelFeatures(3, n, kernel)
    centres = (y - np.add(LOWER, UPPER) / 2) / np.subtract(UPPER, LOWER)
    theta = torch.cat([torch.full((3,), log_length, dtype=torch.float64), torch.from_numpy(centres.reshape(-1))])
    gram = network.bind(theta)(torch.from_numpy(centres)).numpy() + 1e-10 * np.eye(n)
    weights = np.linalg.solve(gram, np.sin(20 * y[:, 0]) * np.cos(9 * y[:, 1]))
    assert np.abs(weights).max() > 1e3
    model = replace(surrogate(network, n_out=1), theta=theta, weights=torch.from_numpy(np.r_[weights, 0.0][None]))
    points = rng.uniform(LOWER, UPPER, (500, 3))
    (found,) = session(export(model).proto).run(None, {"parameters": points})
    of_terms = (model.features(points) @ np.abs(weights)).max()
    np.testing.assert_allclose(found, model.evaluate(points), rtol=0, atol=16 * np.finfo(float).eps * of_terms)
    assert of_terms < 1e10  # so that this is less than a tenth of a per mille of the observables
    assert export(model, "float32").computes_in == "float64"
