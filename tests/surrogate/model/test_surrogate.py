"""The saved surrogate: round trips, units, derivatives, and files that cannot be trusted."""

import dataclasses
import json
import os
import shutil

import numpy as np
import pytest
import torch

from gnvpro.surrogate.errors import SavedModelError
from gnvpro.surrogate.model.folder import DESCRIPTION, WEIGHTS, canonical, sha256
from gnvpro.surrogate.model.surrogate import Surrogate
from gnvpro.surrogate.networks.dense import DenseNetwork
from gnvpro.surrogate.networks.in_time.residual import ResidualNetwork
from gnvpro.surrogate.scaling import Scaling
from gnvpro.surrogate.spaces import Space
from gnvpro.training.train import TrainSettings, train
from tests import MODELS
from tests.training.problems import smooth_samples

FIXTURES = MODELS
# Of the fixture of schema 2, when it was written.
SCHEMA_2 = [
    [15.28464963871, -1.191490729867, 10.41750028754],
    [20.462386242187, -1.673131925245, 12.376194570748],
    [14.981864734096, -2.602633328512, 10.996521128309],
]
RNG = np.random.default_rng(5)
Y, C = RNG.uniform(1, 2, (40, 4)), RNG.uniform(3, 9, (40, 6))


def surrogate(network=None, dtype=torch.float64):
    network = network or DenseNetwork(4, (5, 3))
    weights = torch.randn(6, network.width + 1, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    spaces = Space.observed(Y, "parameter"), Space.observed(C, "observable")
    scaling = Scaling.standardised(Y, C, gain=0.5)
    return Surrogate.assemble(network, network.initial(0).to(dtype), weights, scaling, *spaces, {"seed": 3})


@pytest.fixture
def folder(tmp_path):
    surrogate().save(tmp_path / "model")
    return tmp_path / "model"


def test_prediction_is_the_separable_formula():
    model, scaling = surrogate(), Scaling.standardised(Y, C, gain=0.5)
    features = model.network.bind(model.theta)(torch.as_tensor(scaling.inputs(Y)))
    expected = features.numpy() @ model.weights[:, :-1].numpy().T + model.weights[:, -1].numpy()
    np.testing.assert_allclose(model.evaluate(Y), expected, rtol=1e-13)
    assert scaling.inputs(Y).std(0) == pytest.approx(0.25)  # gain / sqrt(4 inputs)


@pytest.mark.parametrize("network", [DenseNetwork(4, (5, 3)), ResidualNetwork(4, 3, steps=2, final_time=2.0)])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_round_trip(tmp_path, network, dtype):
    model = surrogate(network, dtype)
    model.save(tmp_path / "deep" / "model")
    loaded = Surrogate.load(tmp_path / "deep" / "model")
    np.testing.assert_array_equal(loaded.evaluate(Y), model.evaluate(Y))
    assert loaded.network == network
    assert loaded.dtype == model.dtype
    assert loaded.parameters == model.parameters
    assert loaded.provenance == {"seed": 3}


def test_large_batches_equal_single_points():
    many = np.tile(Y, (80, 1))
    model = surrogate()
    np.testing.assert_allclose(
        model.evaluate(many)[-40:], np.concatenate([model.evaluate(y[None]) for y in Y]), rtol=1e-12
    )
    assert model.evaluate(Y[:0]).shape == (0, 6)


def test_torch_in_torch_out_with_autograd():
    model, y = surrogate(), torch.as_tensor(Y[:3]).requires_grad_()
    out = model.evaluate(y)
    (out**2).sum().backward()
    np.testing.assert_allclose(y.grad.numpy(), model.vjp(Y[:3], 2 * out.detach().numpy()), rtol=1e-12)
    assert isinstance(model.evaluate(Y), np.ndarray)


def test_autograd_after_numpy():
    """The first call makes what all calls use; numpy's runs in inference mode."""
    samples = smooth_samples()
    model = train(samples.split(0), TrainSettings(widths=(5,), gain=1.0, budget=5, polynomial="on")).surrogate
    model.evaluate(samples.parameters)
    y = torch.from_numpy(samples.parameters[:2]).requires_grad_()
    (gradient,) = torch.autograd.grad(model.evaluate(y).sum(), y)
    np.testing.assert_allclose(gradient, model.vjp(samples.parameters[:2], np.ones((2, 7))), rtol=1e-12)


def test_points_outside_the_training_bounds_are_told():
    model = surrogate()
    assert model.parameters.contains(np.array([[1.5] * 4, [1.5, 1.5, 1.5, 2.5]])).tolist() == [True, False]


def test_wrong_shapes_name_what_was_expected():
    with pytest.raises(ValueError, match=r"expected \(n, 4\).*got \(4, 7\).*transposed"):
        surrogate().evaluate(np.ones((4, 7)))
    with pytest.raises(ValueError, match="one direction per point"):
        surrogate().jvp(Y, Y[:2])


def test_corners_far_from_the_training_points_are_flagged():
    model = dataclasses.replace(surrogate(), training={"bounds": {"lower": [1.0] * 4, "upper": [1.5] * 4}})
    points = np.array([[1.2] * 4, [1.54] * 4, [1.2, 1.2, 1.2, 1.6]])
    assert model.inside(points).tolist() == [True, True, False]


def test_tensors_of_the_wrong_width_are_refused():
    with pytest.raises(ValueError, match=r"expected \(n, 4\)"):
        surrogate().evaluate(torch.ones(3, 1, dtype=torch.float64))


def test_derivatives_of_tensors_are_tensors():
    model, y = surrogate(), torch.as_tensor(Y[:3]).requires_grad_()
    change = model.jvp(y, torch.ones_like(y))
    assert isinstance(change, torch.Tensor)
    np.testing.assert_allclose(change.detach().numpy(), model.jvp(Y[:3], np.ones((3, 4))), rtol=1e-12)


def test_a_folder_with_strangers_is_never_replaced(folder):
    (folder / "precious.txt").write_text("x")
    with pytest.raises(FileExistsError, match="not a model"):
        surrogate().save(folder, overwrite=True)
    assert (folder / "precious.txt").exists()


def test_nothing_is_overwritten_without_asking(folder, tmp_path):
    with pytest.raises(FileExistsError, match="holds a model already"):
        surrogate().save(folder)
    surrogate().save(folder, overwrite=True)
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").write_text("x")
    with pytest.raises(FileExistsError, match="not a model"):
        surrogate().save(tmp_path / "thesis", overwrite=True)
    assert (tmp_path / "thesis" / "chapter.tex").read_text() == "x"
    assert sorted(os.listdir(tmp_path)) == ["model", "thesis"]  # no temporary folder left


def edit(folder, **changes):
    """Change the description consistently, as somebody who knows the format could."""
    description = json.loads((folder / DESCRIPTION).read_text()) | changes
    description.pop("sha256")
    description["sha256"] = sha256(canonical(description))
    (folder / DESCRIPTION).write_text(json.dumps(description))


DAMAGE = {
    "truncated weights": (lambda f: (f / WEIGHTS).write_bytes((f / WEIGHTS).read_bytes()[:-9]), "truncated"),
    "flipped bit": (lambda f: _flip(f / WEIGHTS), "changed since"),
    "no weights": (lambda f: (f / WEIGHTS).unlink(), "missing"),
    "truncated description": (lambda f: (f / DESCRIPTION).write_text((f / DESCRIPTION).read_text()[:99]), "not JSON"),
    "edited description": (lambda f: _replace(f / DESCRIPTION, '"dense"', '"dEnse"'), "changed since"),
    "newer": (lambda f: edit(f, schema_version=99), "newer than"),
    "not an integer": (lambda f: edit(f, schema_version="1"), "integer schema_version"),
    "other document": (lambda f: (f / DESCRIPTION).write_text("[1, 2]"), "does not describe"),
    "binary": (lambda f: (f / DESCRIPTION).write_bytes(b"\xff\xfe\x00"), "not JSON"),
    "unknown network": (lambda f: edit(f, network={"kind": "os.system"}), "unknown kind"),
    "network without widths": (lambda f: edit(f, network={"kind": "dense"}), "not complete"),
    "other widths": (lambda f: edit(f, network={"kind": "dense", "n_inputs": 4, "widths": [5, 4]}), "of shape"),
    "other dtype": (lambda f: edit(f, dtype="float32"), "should be float32"),
    "no spaces": (lambda f: edit(f, parameters={}), "not complete"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_models_are_refused(folder, damage):
    harm, message = DAMAGE[damage]
    harm(folder)
    with pytest.raises(SavedModelError, match=message):
        Surrogate.load(folder)


def test_no_model_is_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="not a saved model"):
        Surrogate.load(tmp_path)


def test_a_model_of_schema_1_is_read():
    """Written by the first version; every later one has to read it."""
    model = Surrogate.load(FIXTURES / "schema-1")
    assert (model.polynomials, model.amplitude, model.background, model.errors_anomalous) == (None, None, None, {})
    assert model.training["method"] == "varpro-lbfgs"
    points = np.random.default_rng(0).uniform(-1, 1, (60, 3))[:3]
    expected = [[1.99538843, 1.57313672], [1.8432172, 2.63152886], [1.77773475, 1.68909873]]
    np.testing.assert_allclose(model.evaluate(points)[:, :2], expected, rtol=1e-8)


def test_a_model_of_schema_2_is_read():
    """With polynomials, amplitude and background; every later version has to read it."""
    model = Surrogate.load(FIXTURES / "schema-2")
    assert model.polynomials is not None
    assert model.amplitude is not None
    assert set(model.errors_anomalous) == {"train", "validation", "test"}
    np.testing.assert_allclose(model.evaluate(np.array([[0.6, 0.2], [1.0, 0.5], [1.4, 0.85]])), SCHEMA_2, rtol=1e-9)


def test_parts_are_background_amplitude_and_separable_formula():
    model = Surrogate.load(FIXTURES / "schema-2")
    y = torch.tensor([[0.6, 0.2], [1.0, 0.5]], dtype=torch.float64)
    features = model.network.bind(model.theta)((y - model.input_shift) * model.input_scale)
    columns = torch.cat([features, model.polynomials(y), torch.ones(2, 1, dtype=torch.float64)], 1)
    expected = model.background + model.amplitude(y) * (columns @ model.weights.t())
    torch.testing.assert_close(model.evaluate(y), expected, rtol=1e-13, atol=0)
    assert model.evaluate(np.tile(y.numpy(), (1500, 1))).shape == (3000, 3)


def _of_fixture(key, **changes):
    given = json.loads((FIXTURES / "schema-2" / DESCRIPTION).read_text())[key]
    return {key: {**given, **changes}}


TAMPERED = {
    "other degree": (_of_fixture("polynomials", degree=2.0), "weights should be"),
    "endless degree": (_of_fixture("polynomials", degree=1e9), "more than"),
    "degree that is no number": (_of_fixture("polynomials", degree="x"), "not consistent"),
    "no powers": (_of_fixture("polynomials", powers=None), "not complete"),
    "other number of parameters": (
        _of_fixture("polynomials", lower=[0.0], upper=[1.0], weights=[1.0], powers=[1.0]),
        "polynomials are of 1 parameters",
    ),
    "crossed bounds": (_of_fixture("polynomials", lower=[2.0, 2.0]), "lower bounds below"),
    "amplitude without coefficients": (_of_fixture("amplitude", coefficients=[]), "coefficients of the amplitude"),
    "polynomials left out": ({"polynomials": None}, "weights should be"),
    "polynomials of another kind": ({"polynomials": [1]}, "not complete"),
}


@pytest.mark.parametrize("change", TAMPERED)
def test_inconsistent_polynomials_are_refused(tmp_path, change):
    shutil.copytree(FIXTURES / "schema-2", tmp_path / "model")
    changes, message = TAMPERED[change]
    edit(tmp_path / "model", **changes)
    with pytest.raises(SavedModelError, match=message):
        Surrogate.load(tmp_path / "model")


def test_a_missing_or_short_background_is_refused(tmp_path):
    model = Surrogate.load(FIXTURES / "schema-2")
    dataclasses.replace(model, background=model.background[:2]).save(tmp_path / "short")
    with pytest.raises(SavedModelError, match="background should be float64 of shape"):
        Surrogate.load(tmp_path / "short")
    dataclasses.replace(model, background=None).save(tmp_path / "none")
    edit(tmp_path / "none", background=True)
    with pytest.raises(SavedModelError, match="not complete"):
        Surrogate.load(tmp_path / "none")


def test_scaling_leaves_constant_parameters_alone():
    constant = Y.copy()
    constant[:, 2] = 7.0
    assert np.isfinite(Scaling.standardised(constant, C, 1.0).inputs(constant)).all()
    assert np.array_equal(Scaling.raw(Y, 0 * C).targets(Y, 0 * C), 0 * C)


def _flip(file):
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(bytes(content))


def _replace(file, old, new):
    file.write_text(file.read_text().replace(old, new))


def test_a_model_of_schema_4_is_read():
    """With error bands and in-domain score; every later version has to read it."""
    model = Surrogate.load(FIXTURES / "schema-4")
    points = np.array([[0.6, 0.2], [1.0, 0.5], [1.4, 0.85], [1.6, 0.95]])
    np.testing.assert_allclose(model.evaluate(points[:1]), [[0.484452480539787, 2.949697444066331, 1.111759800882055]])
    np.testing.assert_allclose(
        model.score(points), [0.8390845268053, 0.3795366744668, 0.6392739452660, 0.9590101738869], rtol=1e-6
    )
    assert model.trusted(points).tolist() == [True, True, True, False]
    np.testing.assert_allclose(model.half_width(0.9), [0.013931035426396, 0.013975913378436, 0.007520328573189])
    np.testing.assert_allclose(model.half_width(0.9, simultaneous=True)[0], 0.020161588363257)
    assert np.isinf(model.half_width(0.99)).all()
    assert (model.trust.bands.source, model.trust.bands.n_samples) == ("calibration", 50)


@pytest.mark.parametrize("schema", ["schema-1", "schema-2"])
def test_older_models_have_no_bands_and_say_so(schema):
    model = Surrogate.load(FIXTURES / schema)
    assert model.trust is None
    with pytest.raises(ValueError, match="no error bands: calibrate it"):
        model.score(np.zeros((1, model.parameters.size)))


def test_trust_survives_saving(tmp_path):
    model = Surrogate.load(FIXTURES / "schema-4")
    model.save(tmp_path / "copy")
    again = Surrogate.load(tmp_path / "copy")
    y = np.random.default_rng(0).uniform(0, 2, (50, 2))
    np.testing.assert_array_equal(again.score(y), model.score(y))
    for level in model.trust.bands.levels:
        for simultaneous in (False, True):
            np.testing.assert_array_equal(
                again.half_width(level, simultaneous=simultaneous), model.half_width(level, simultaneous=simultaneous)
            )


def test_a_model_of_schema_5_is_read():
    """An ensemble; every later version has to read it."""
    model = Surrogate.load(FIXTURES / "schema-5-ensemble")
    assert model.logarithmic is None
    y = np.array([[0.1, -0.5], [0.9, 0.2]])
    expected = [
        [1.682067405575979, 2.813738301586412, 1.329112877286104],
        [2.214827313379065, 1.403504991799998, 2.425112700565866],
    ]
    np.testing.assert_allclose(model.evaluate(y), expected, rtol=1e-12)
    np.testing.assert_allclose(model.score(y), [0.210569938870503, 0.537140006953613], rtol=1e-6)
