"""The inner problem of classes against a dense Newton and scikit-learn, and its labels."""

import math

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from gnvpro.surrogate.elimination import class_features, class_hessian
from gnvpro.surrogate.elimination.cross_entropy import CrossEntropyLayer
from gnvpro.surrogate.elimination.labels import class_weights, one_hot

torch.set_default_dtype(torch.float64)
ALPHA = 1e-2


def problem(n=60, width=4, n_classes=3, smoothing=0.0, alpha=ALPHA, weighted=True):
    generator = torch.Generator().manual_seed(3)
    features = torch.randn(n, width, generator=generator)
    scores = features @ torch.randn(width, n_classes, generator=generator)
    labels = (scores + torch.randn(n, n_classes, generator=generator)).argmax(1)
    weights = 0.5 + torch.rand(n, generator=generator) if weighted else torch.ones(n)
    return CrossEntropyLayer(one_hot(labels, n_classes, smoothing), weights, alpha), features, labels


def objective(layer, features, weights):
    """The inner objective, written out for autograd."""
    columns = torch.cat([features, torch.ones(len(features), 1)], 1)
    loss = torch.nn.functional.cross_entropy(columns @ weights, layer.targets, reduction="none")
    return (layer.row_weights * loss).mean() + 0.5 * layer.alpha_w * (weights**2).sum()


def dense_newton(layer, features):
    """Newton's method with autodiff's Hessian, damped by halving."""
    shape = features.shape[1] + 1, layer.targets.shape[1]

    def value(flat):
        return objective(layer, features, flat.view(shape))

    flat = torch.zeros(shape[0] * shape[1])
    for _ in range(100):
        gradient = torch.func.grad(value)(flat)
        step = torch.linalg.solve(torch.func.hessian(value)(flat), -gradient)
        length = 1.0
        while value(flat + length * step) > value(flat) + 1e-14 and length > 1e-6:
            length /= 2
        flat = flat + length * step
        if float(gradient.norm()) < 1e-15:
            break
    return flat.view(shape)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_solution_is_that_of_a_dense_newton(smoothing):
    layer, features, _ = problem(smoothing=smoothing)
    solved = layer.solve(features)
    torch.testing.assert_close(solved.weights, dense_newton(layer, features), rtol=1e-11, atol=1e-13)
    assert float(solved.value) == pytest.approx(float(objective(layer, features, solved.weights)), rel=1e-14)
    assert float(solved.gradient.norm()) < 1e-15
    assert float(layer.row_weights.mean()) == pytest.approx(1.0)


def test_solution_is_that_of_scikit_learn():
    layer, features, labels = problem(n_classes=4)
    # There the bias is not regularised; a column of ones as a feature makes it so.
    columns = torch.cat([features, torch.ones(len(features), 1)], 1)
    reference = LogisticRegression(
        C=1 / (len(features) * ALPHA), fit_intercept=False, tol=1e-12, max_iter=10_000, solver="newton-cg"
    ).fit(columns.numpy(), labels.numpy(), sample_weight=layer.row_weights.numpy())
    np.testing.assert_allclose(layer.solve(features).weights.numpy(), reference.coef_.T, rtol=1e-7, atol=1e-8)


def test_hessian_inverse_and_solve_against_the_dense_matrix(monkeypatch):
    layer, features, _ = problem()
    solved = layer.solve(features)
    hessian, size = layer.hessian(solved), solved.weights.numel()
    dense = torch.func.hessian(lambda w: objective(layer, features, w))(solved.weights).reshape(size, size)
    right = torch.randn(solved.weights.shape, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(hessian.apply(right).flatten(), dense @ right.flatten(), rtol=1e-12, atol=1e-14)
    exact = torch.linalg.solve(dense, right.flatten()).view_as(right)
    torch.testing.assert_close(hessian.inverse().apply(right), exact, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(hessian.solve(right, hessian.inverse(), 1e-14), exact, rtol=1e-12, atol=1e-12)
    # Chunks of rows, and one block a class, give the same.
    whole = hessian.inverse().blocks
    monkeypatch.setattr(class_features, "CHUNK_ENTRIES", 15 * 7)
    torch.testing.assert_close(hessian.inverse().blocks, whole, rtol=1e-4, atol=1e-4)
    monkeypatch.setattr(class_hessian, "DENSE_LIMIT", 1)
    blocks = hessian.inverse()
    assert blocks.blocks.shape == (3, 5, 5)
    ours = dense.view(5, 3, 5, 3)[:, 1, :, 1]
    torch.testing.assert_close(torch.linalg.inv(blocks.blocks[1].double()), ours, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(hessian.solve(right, blocks, 1e-14), exact, rtol=1e-11, atol=1e-11)
    torch.testing.assert_close(layer.solve(features).weights, solved.weights, rtol=1e-11, atol=1e-13)


def test_a_solve_stopped_early_errs_on_the_safe_side():
    layer, features, _ = problem()
    hessian = layer.hessian(layer.solve(features))
    right = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    poor = class_hessian.ClassInverse(torch.eye(15)[None].float())
    exact = float((right * hessian.solve(right, hessian.inverse(), 1e-14)).sum())
    reached = [float((right * hessian.solve(right, poor, 0.0, most=k)).sum()) for k in (1, 2, 4, 8)]
    assert reached == sorted(reached)
    assert reached[0] < 0.99 * exact
    assert reached[-1] <= exact * (1 + 1e-12)


def test_warm_start_gives_the_same_in_fewer_steps():
    layer, features, _ = problem()
    cold = layer.solve(features)
    near = layer.solve(features + 1e-4)
    warm = layer.solve(features, start=near.weights)
    assert warm.newton_steps < cold.newton_steps
    torch.testing.assert_close(warm.weights, cold.weights, rtol=1e-11, atol=1e-13)
    assert layer.solve(features, start=cold.weights, accuracy=1e-8).newton_steps == 0
    assert layer.stopwatch.cpu_seconds > 0


@pytest.mark.parametrize("accuracy", [1e-2, 1e-4, 1e-6, 1e-9])
def test_value_is_within_the_accuracy_asked_for(accuracy):
    layer, features, _ = problem()
    exact, solved = layer.solve(features), layer.solve(features, accuracy=accuracy)
    assert 0 <= float(solved.value - exact.value) <= 1.5 * accuracy


def test_far_start_converges_and_a_hopeless_one_is_dropped():
    layer, features, _ = problem()
    exact = layer.solve(features)
    far = 50 * torch.randn(5, 3, generator=torch.Generator().manual_seed(1))
    for start in (far, torch.full((5, 3), torch.nan)):
        torch.testing.assert_close(layer.solve(features, start).weights, exact.weights, rtol=1e-10, atol=1e-12)


def test_separable_classes_and_an_absent_one():
    labels = torch.arange(30) % 2
    features = torch.stack([2.0 * labels - 1, torch.linspace(-1, 1, 30)], 1)
    layer = CrossEntropyLayer(one_hot(labels, 3), torch.ones(30), 1e-6)
    solved = layer.solve(features)
    assert bool((solved.probabilities.argmax(1) == labels).all())
    assert float(solved.gradient.norm()) < 1e-12
    assert float(solved.probabilities[:, 2].max()) < 1e-2
    torch.testing.assert_close(solved.weights, dense_newton(layer, features), rtol=1e-5, atol=1e-6)


def test_dependent_features_and_more_features_than_samples():
    layer, features, _ = problem(n=8, width=5)
    doubled = torch.cat([features, features, torch.zeros(8, 3)], 1)
    solved = layer.solve(doubled)
    assert float(solved.gradient.norm()) < 1e-14
    torch.testing.assert_close(solved.weights[:5], solved.weights[5:10], rtol=1e-10, atol=1e-12)


def test_a_class_is_as_likely_as_it_is_frequent_where_features_tell_nothing():
    labels = torch.tensor([0] * 6 + [1] * 3 + [2])
    solved = CrossEntropyLayer(one_hot(labels, 3), torch.ones(10), 1e-10).solve(torch.zeros(10, 2))
    torch.testing.assert_close(solved.probabilities[0], torch.tensor([0.6, 0.3, 0.1]), rtol=1e-6, atol=0)


def features_of(kind, n=40):
    generator = torch.Generator().manual_seed(5)
    drawn = torch.randn(n, 3, generator=generator)
    return {
        "zero": torch.zeros(n, 2),
        "ones": torch.ones(n, 2),
        "dead units beside others": torch.cat([drawn, torch.full((n, 1), -0.964), torch.zeros(n, 1)], 1),
        "twice": torch.cat([drawn, drawn, drawn[:, :1] + drawn[:, 1:2]], 1),
        "nearly twice": torch.cat([drawn, drawn + 1e-9 * torch.randn(n, 3, generator=generator)], 1),
        "saturated": torch.tanh(20 * drawn),
        "of all sizes": drawn * torch.tensor([1e-2, 1.0, 1e2]),
        "more than samples": torch.randn(n, 60, generator=generator),
    }[kind]


KINDS = (
    "zero",
    "ones",
    "dead units beside others",
    "twice",
    "nearly twice",
    "saturated",
    "of all sizes",
    "more than samples",
)


def relative_gradient(solved, layer):
    """What is left of the gradient, relative to the sums that it is the difference of."""
    columns = torch.cat([solved.features.own, layer.columns], 1)
    terms = columns.abs().t() @ (layer.row_scale * (solved.probabilities + layer.targets))
    return float((solved.gradient.abs() / (terms.amax(1, keepdim=True) + 1e-8)).max())


@pytest.mark.parametrize("alpha", [1e3, 1e-3, 1e-7, 1e-10, 1e-13])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("case", ["random labels", "separable", "one class only"])
def test_w_is_found_for_any_features_and_regularisation(kind, alpha, case):
    if kind == "of all sizes" and alpha < 1e-10:
        return  # beside features of 100 that is below rounding, and whether W is found is chance
    features = features_of(kind)
    n = len(features)
    labels = {
        "random labels": torch.randint(0, 3, (n,), generator=torch.Generator().manual_seed(1)),
        "separable": (features[:, 0] > 0).long(),
        "one class only": torch.zeros(n, dtype=torch.int64),
    }[case]
    layer = CrossEntropyLayer(one_hot(labels, 4), torch.ones(n), alpha)
    far = 3 * torch.randn(features.shape[1] + 1, 4, generator=torch.Generator().manual_seed(2))
    first, second = layer.solve(features), layer.solve(features, far)
    for solved in (first, second):
        assert solved.converged
        assert relative_gradient(solved, layer) < 1e-10
    assert float(second.value) == pytest.approx(float(first.value), rel=1e-9, abs=1e-13)


@pytest.mark.parametrize("size", [1e-40, 1e-8, 1e4])
def test_w_is_found_for_features_in_any_unit(size):
    layer, features, _ = problem()
    solved = layer.solve(torch.cat([features[:, :2], size * features[:, 2:]], 1))
    assert solved.converged
    assert relative_gradient(solved, layer) < 1e-10


def test_the_inverse_of_other_features_does_not_end_a_solve():
    labels = torch.arange(40) % 3
    layer = CrossEntropyLayer(one_hot(labels, 3), torch.ones(40), 1e-10)
    alive = features_of("twice")
    layer.solve(torch.zeros_like(alive))
    again = layer.solve(alive)
    fresh = CrossEntropyLayer(one_hot(labels, 3), torch.ones(40), 1e-10).solve(alive)
    assert again.converged
    assert float(again.value) == pytest.approx(float(fresh.value), rel=1e-12)


def test_where_w_cannot_be_found_it_is_said():
    layer, features, _ = problem()
    assert layer.solve(features).converged
    for size in (1e100, 1e150, 1e160, 1e300):  # squares overflow from 1e154
        lost = CrossEntropyLayer(layer.targets, layer.row_weights, 1e-30).solve(size * features)
        assert not lost.converged
    features[3, 1] = math.inf
    assert not layer.solve(features).converged


def test_features_that_overflowed_give_a_value_that_is_not_finite():
    layer, features, _ = problem()
    features[3, 1] = math.inf
    assert not math.isfinite(float(layer.solve(features).value))


def test_labels_become_probabilities_and_weights():
    labels = torch.tensor([0, 2, 2, 2, 0])
    expected = torch.tensor([[0.8, 0.1, 0.1], [0.1, 0.1, 0.8]])
    torch.testing.assert_close(one_hot(labels, 3, smoothing=0.3)[:2], expected)
    assert torch.equal(one_hot(labels, 3).sum(0), torch.tensor([2.0, 0.0, 3.0]))
    assert one_hot(labels.int(), 3).dtype == torch.float64
    weights = class_weights(labels, 3)
    assert float(weights.mean()) == pytest.approx(1.0)
    assert float(weights[0] / weights[1]) == pytest.approx(math.sqrt(3 / 2))
    balanced = class_weights(labels, 3, power=1.0)
    assert float(balanced[labels == 0].sum()) == pytest.approx(float(balanced[labels == 2].sum()))
    assert torch.equal(class_weights(labels, 3, power=0.0), torch.ones(5))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: one_hot(torch.tensor([0, 3]), 3), "expected labels 0 to 2"),
        (lambda: one_hot(torch.tensor([-1, 1]), 3), "number them from 0"),
        (lambda: one_hot(torch.tensor([0.0, 1.0]), 3), "expected integer labels"),
        (lambda: one_hot(torch.tensor([0, 0]), 1), "at least two classes"),
        (lambda: one_hot(torch.tensor([0, 1]), 2, smoothing=1.0), "label smoothing"),
        (lambda: class_weights(torch.tensor([], dtype=torch.int64), 2), "at least one label"),
        (lambda: CrossEntropyLayer(torch.ones(3, 2), torch.ones(3), 1.0), "probabilities"),
        (lambda: CrossEntropyLayer(torch.ones(3, 1), torch.ones(3), 1.0), "K >= 2"),
        (lambda: CrossEntropyLayer(torch.full((3, 2), 0.5), torch.zeros(3), 1.0), "positive row weights"),
        (lambda: CrossEntropyLayer(torch.full((3, 2), 0.5), torch.ones(2), 1.0), "expected 3 positive row weights"),
        (lambda: CrossEntropyLayer(torch.full((3, 2), 0.5), torch.ones(3), 0.0), "expected alpha_w > 0"),
        (lambda: problem()[0].solve(problem()[1], start=torch.zeros(3, 3)), "expected a start of shape"),
    ],
)
def test_bad_input_is_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        wrong()
