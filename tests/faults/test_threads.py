"""Surrogates of every kind in many threads: everything is what one thread computes, and the weights stay as they are."""

import copy
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

from gnvpro.surrogate.model.onnx.export import export
from gnvpro.surrogate.model.spectra import SpectralFeatures
from gnvpro.surrogate.networks.dense import DenseNetwork
from gnvpro.surrogate.networks.in_time.residual import ResidualNetwork
from gnvpro.surrogate.networks.module import ModuleNetwork
from gnvpro.surrogate.trust.bands import LEVELS, Bands
from gnvpro.surrogate.trust.domain import Domain
from gnvpro.surrogate.trust.trust import Trust
from gnvpro.training.estimators import GNvproClassifier, GNvproRegressor
from tests.apps.commands.test_export import LOWER, PARTS, SPECTRA, SURROGATES, UPPER, surrogate
from tests.surrogate.model.test_classifier import classifier

THREADS = 8


class Keeping(nn.Module):
    """Keeps what it computes on itself, as modules of users do."""

    def __init__(self, n_inputs=3):
        super().__init__()
        self.first, self.second = nn.Linear(n_inputs, 8), nn.Linear(8, 5)
        self.aliases = [self.first]  # a reference that the module does not register
        self.register_buffer("slope", torch.full((8,), 1.5))

    def forward(self, x):
        self.hidden = torch.tanh(self.slope * self.aliases[0](x))
        self.hidden = torch.tanh(self.second(self.hidden))
        return self.hidden


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.cell = nn.LSTM(1, 5, batch_first=True)

    def forward(self, x):
        return self.cell(x[:, :, None])[0][:, -1]


def modules():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        frozen = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 5), nn.Tanh())
        frozen[0].weight.requires_grad_(False)
        return {
            "module": nn.Sequential(nn.Linear(3, 8), nn.SiLU(inplace=True), nn.Linear(8, 5), nn.Tanh()),
            "module, partly frozen": frozen,
            "module that keeps its state": Keeping(),
            "module, batch norm": nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Dropout(0.5)),
            "module, parametrised": nn.Sequential(
                nn.utils.parametrizations.weight_norm(nn.Linear(3, 6)), nn.Tanh(), nn.Linear(6, 4)
            ),
            "module, convolution": nn.Sequential(
                nn.Unflatten(1, (1, 3)), nn.Conv1d(1, 4, 2, padding=1), nn.Tanh(), nn.Flatten()
            ),
            "module, recurrent": Recurrent(),
        }


def trusting(model):
    """With error bands and score, whose numbers do not matter here."""
    n_out, width = model.observables.size, 1 + model.domain_features(np.ones((1, model.parameters.size))).shape[1]
    bands = Bands(LEVELS, np.ones((6, n_out)), np.ones(n_out), np.ones(6), 50, "calibration", 1.0)
    return replace(model, trust=Trust(bands, Domain(np.eye(width, dtype=np.float32), 1.0)))


def surrogates():
    models = dict(SURROGATES) | {name: surrogate(ModuleNetwork(module, 3)) for name, module in modules().items()}
    models["module in float32, all"] = surrogate(ModuleNetwork(Keeping(), 3), dtype=torch.float32, **PARTS["all"])
    return {name: trusting(model) for name, model in models.items()}


def classifiers():
    models = {}
    for name in ("scaled", "raw"):
        features = SpectralFeatures.named(name, 7).fitted(SPECTRA)
        for kind, network in {
            "dense": DenseNetwork(features.n_features, (5, 4)),
            "residual": ResidualNetwork(features.n_features, 4, 2),
            "module": ModuleNetwork(nn.Sequential(Keeping(features.n_features), nn.Linear(5, 4)), features.n_features),
        }.items():
            theta = network.initial(0)
            models[f"{kind}, {name}"] = replace(classifier(), features=features, network=network, theta=theta)
    return models


KINDS, CLASSIFIERS = surrogates(), classifiers()


def by_autograd(model, y, dc):
    at = torch.as_tensor(y).clone().requires_grad_()
    model.evaluate(at).backward(torch.as_tensor(dc))
    return at.grad.numpy()


def layers(model, y, dc):
    """What a training asks of a network: its features, and what enters its layers and comes back to them."""
    at = model.network.linearize(model.theta, torch.as_tensor(y).to(model.theta))
    parts = (getattr(at, "layers", None) or (lambda seed: []))(torch.ones_like(at.features)) or []
    return np.concatenate([at.features.flatten(), *(part.sensitivities.flatten().numpy() for part in parts)])


OF_SURROGATES = {
    "evaluate": lambda model, y, dy, dc: model.evaluate(y),
    "jvp": lambda model, y, dy, dc: model.jvp(y, dy),
    "vjp": lambda model, y, dy, dc: model.vjp(y, dc),
    "pullback": lambda model, y, dy, dc: model.pullback(y)[1](dc),
    "autograd": lambda model, y, dy, dc: by_autograd(model, y, dc),
    "jvp of tensors": lambda model, y, dy, dc: model.jvp(torch.as_tensor(y), torch.as_tensor(dy)).detach().numpy(),
    "vjp of tensors": lambda model, y, dy, dc: model.vjp(torch.as_tensor(y), torch.as_tensor(dc)).detach().numpy(),
    "score": lambda model, y, dy, dc: model.score(y),
    "layers": lambda model, y, dy, dc: layers(model, y, dc),
}
OF_CLASSIFIERS = {
    "evaluate": OF_SURROGATES["evaluate"],
    "labels": lambda model, y, dy, dc: model.labels(y),
    "jvp": OF_SURROGATES["jvp"],
    "vjp": OF_SURROGATES["vjp"],
}


def state(model):
    """Copies of everything a model computes with."""
    module = getattr(model.network, "module", None)
    own = [model.theta, model.weights]
    return [part.clone() for part in (own if module is None else [*own, *module.state_dict().values()])]


def wrong(calls, serial):
    """How many of the calls give another answer in threads than in one; each call is a function without arguments."""
    with ThreadPoolExecutor(THREADS) as pool:
        found = list(pool.map(lambda call: call(), calls))
    return sum(not np.array_equal(a, b, equal_nan=True) for a, b in zip(found, serial, strict=True))


def calls_of(model, operations, n, rng, low, high):
    sizes = rng.choice([1, 2, 7, 30], n)
    names = list(rng.choice(list(operations), n))
    points = [
        (rng.uniform(low, high, (m, len(low))), rng.normal(size=(m, len(low))), rng.normal(size=(m, n_out)))
        for m, n_out in zip(sizes, [model.observables.size] * n, strict=True)
    ]
    return [lambda name=name, at=at: operations[name](model, *at) for name, at in zip(names, points, strict=True)]


@pytest.mark.parametrize("name", KINDS)
def test_surrogates(name, repeats, fault_rng, fault_figures):
    model, n = KINDS[name], repeats(12, 1_000)
    # The serial answers are those of a model of its own: the first calls, which bind it, are made by the threads.
    calls = calls_of(model, OF_SURROGATES, n, fault_rng, LOWER, UPPER)
    alone = [
        call() for call in calls_of(copy.deepcopy(model), OF_SURROGATES, n, np.random.default_rng(0), LOWER, UPPER)
    ]
    before = state(model)
    n_wrong = wrong(calls, alone)
    again = sum(not np.array_equal(call(), answer) for call, answer in zip(calls, alone, strict=True))
    changed = not all(torch.equal(a, b) for a, b in zip(state(model), before, strict=True))
    fault_figures("threads", kind=name, evaluations=n, wrong=n_wrong, wrong_afterwards=again, weights_changed=changed)
    assert (n_wrong, again, changed) == (0, 0, False)


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_classifiers(name, repeats, fault_rng, fault_figures):
    model, n = CLASSIFIERS[name], repeats(12, 1_000)
    low, high = np.full(7, 1.0), np.full(7, 5.0)
    calls = calls_of(model, OF_CLASSIFIERS, n, fault_rng, low, high)
    alone = [call() for call in calls_of(copy.deepcopy(model), OF_CLASSIFIERS, n, np.random.default_rng(0), low, high)]
    before = state(model)
    n_wrong = wrong(calls, alone)
    changed = not all(torch.equal(a, b) for a, b in zip(state(model), before, strict=True))
    fault_figures("threads", kind=f"classifier, {name}", evaluations=n, wrong=n_wrong, weights_changed=changed)
    assert (n_wrong, changed) == (0, False)


def test_onnx_and_estimators(repeats, fault_rng, fault_figures):
    n = repeats(12, 1_000)
    session = onnxruntime.InferenceSession(
        export(SURROGATES["dense, all"], "float64").proto.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    x = fault_rng.uniform(LOWER, UPPER, (60, 3))
    regressor = GNvproRegressor((6,), budget=20, random_state=0).fit(x, x[:, :2] ** 2)
    sorter = GNvproClassifier((6,), budget=20, random_state=0).fit(x, x[:, 0] > 0.6)
    operations = {
        "ONNX": lambda y: session.run(None, {"parameters": y})[0],
        "predict": regressor.predict,
        "classes": sorter.predict,
        "probabilities": sorter.predict_proba,
    }
    for name, operation in operations.items():
        points = [fault_rng.uniform(LOWER, UPPER, (m, 3)) for m in fault_rng.choice([1, 2, 7, 30], n)]
        calls = [lambda y=y, operation=operation: operation(y) for y in points]
        n_wrong = wrong(calls, [call() for call in calls])
        fault_figures("threads", kind=name, evaluations=n, wrong=n_wrong)
        assert n_wrong == 0


def test_modules_are_trained_in_threads_as_in_one(repeats, fault_figures):
    """Two fits of one network at once: each sees what passes through its own copies only."""
    network, n = ModuleNetwork(Keeping(), 3), repeats(4, 40)
    inputs = [torch.rand(20, 3, generator=torch.Generator().manual_seed(j), dtype=torch.float64) for j in range(n)]

    def descended(x):
        theta = network.initial(0)
        for _ in range(10):
            at = network.linearize(theta, x)
            theta = theta - 0.1 * at.vjp(at.features)
            at.layers(torch.ones_like(at.features))
        return theta.numpy()

    calls = [lambda x=x: descended(x) for x in inputs]
    n_wrong = wrong(calls, [call() for call in calls])
    fault_figures("threads", kind="trainings of one module", evaluations=10 * n, wrong=n_wrong)
    assert n_wrong == 0
