"""How often the inner problem of classes waits for a device, and that all of it happens there."""

import pytest
import torch

from gnvpro.surrogate.elimination import class_hessian
from gnvpro.surrogate.elimination.cross_entropy import CrossEntropyLayer
from gnvpro.surrogate.elimination.labels import one_hot
from tests.synchronisations import Replay, Synchronisations, is_fake

torch.set_default_dtype(torch.float64)
N, WIDTH, N_CLASSES = 60, 4, 3


def samples():
    generator = torch.Generator().manual_seed(3)
    features = torch.randn(N, WIDTH, generator=generator)
    scores = features @ torch.randn(WIDTH, N_CLASSES, generator=generator)
    labels = (scores + torch.randn(N, N_CLASSES, generator=generator)).argmax(1)
    return features, one_hot(labels, N_CLASSES, 0.1)


def looks(monkeypatch, number):
    monkeypatch.setattr(class_hessian, "products_a_look", lambda device: number)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("number", [2, 4, 300])
def test_looking_less_often_changes_nothing(monkeypatch, number, dtype):
    features, targets = samples()
    layer = CrossEntropyLayer(targets, alpha_w=1e-2)

    def results():
        solved = layer.fresh().solve(features.to(dtype), accuracy=1e-6)
        seed, response = solved.curvature_product(features.to(dtype))
        return solved.weights, seed, response, solved.products, solved.newton_steps

    expected = results()
    looks(monkeypatch, number)
    for ours, alone in zip(results(), expected, strict=True):
        assert torch.equal(torch.as_tensor(ours), torch.as_tensor(alone))


def test_a_newton_step_waits_twice_and_once_for_some_products(monkeypatch):
    looks(monkeypatch, 4)
    features, targets = samples()
    layer = CrossEntropyLayer(targets, alpha_w=1e-2)
    first = layer.solve(features)
    with Synchronisations() as counted:
        solved = layer.solve(features + 0.05 * features.flip(0), first.weights, 1e-8)
    # The value at the start; of every step, whose directions take up to four products, these, the reduction and a trial.
    # The last direction is not taken.
    assert solved.newton_steps >= 2
    assert solved.products <= 4 * (solved.newton_steps + 1)
    assert counted.count == 1 + 3 * solved.newton_steps + 2


def test_a_product_waits_once_for_four_of_its_solve(monkeypatch):
    looks(monkeypatch, 4)
    features, targets = samples()
    solved = CrossEntropyLayer(targets, alpha_w=1e-2).solve(features)
    solved.curvature_product(features)  # makes the inverse
    for kind, solves in (("schur", 1), ("paper", 2)):
        with Synchronisations() as counted:
            solved.curvature_product(features, kind)
        assert counted.count == solves


def test_an_inverse_waits_twice():
    features, targets = samples()
    solved = CrossEntropyLayer(targets, alpha_w=1e-2).solve(features)
    hessian = solved.layer.hessian(solved)
    with Synchronisations() as counted:
        hessian.inverse()
    assert counted.count == 2


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("limit", [2048, 1])
def test_all_of_it_happens_on_the_device(monkeypatch, limit, dtype):
    monkeypatch.setattr(class_hessian, "DENSE_LIMIT", limit)
    looks(monkeypatch, 4)
    features, targets = samples()

    def everything(features, targets):
        layer = CrossEntropyLayer(targets, alpha_w=1e-2)
        solved = layer.solve(features)
        again = layer.solve(features + 0.1, solved.weights, 1e-5)
        made = [*again.curvature_product(features), *again.curvature_product(features, "paper")]
        again.training_error()
        return [*made, again.weights, again.gradient, again.value, again.feature_gradient(), again.probe(3)]

    with Synchronisations() as recorded:
        everything(features.to(dtype), targets)
    with Replay(recorded) as replayed:
        made = everything(
            torch.empty(N, WIDTH, dtype=dtype, device="cuda"),
            torch.empty(N, N_CLASSES, dtype=torch.float64, device="cuda"),
        )
    assert all(is_fake(part) and part.device.type == "cuda" for part in made)
    assert not replayed.left
