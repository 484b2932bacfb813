"""The inner problem of classes over several processes is that of one: uneven shares, one sample, a class that is missing."""

import pytest
import torch

from gnvpro.surrogate.coupling import ALONE
from gnvpro.surrogate.elimination import class_hessian
from gnvpro.surrogate.elimination.cross_entropy import CrossEntropyLayer
from gnvpro.surrogate.elimination.labels import one_hot
from tests.coupled import in_processes, in_threads

N, WIDTH, N_CLASSES = 120, 5, 4
# The samples are in the order of their classes: some processes lack most of them.
ENDS = {1: [0, N], 2: [0, N - 1, N], 3: [0, 70, 76, N]}


def samples():
    generator = torch.Generator().manual_seed(3)
    features = torch.randn(N, WIDTH, generator=generator, dtype=torch.float64)
    scores = features @ torch.randn(WIDTH, N_CLASSES, generator=generator, dtype=torch.float64)
    scores += torch.randn(N, N_CLASSES, generator=generator, dtype=torch.float64)
    labels, order = scores.argmax(1).sort(stable=True)
    weights = 0.5 + torch.rand(N, generator=generator, dtype=torch.float64)
    return features[order], labels, weights


def layer_of(coupling, alpha=1e-2):
    features, labels, weights = samples()
    mine = slice(*ENDS[coupling.size][coupling.rank : coupling.rank + 2])
    targets = one_hot(labels, N_CLASSES, 0.1)
    return CrossEntropyLayer(targets[mine], weights[mine], alpha, coupling=coupling), features[mine], mine


def change_of(rows):
    return torch.randn(N, WIDTH, generator=torch.Generator().manual_seed(4), dtype=torch.float64)[rows]


def solved_of(coupling, alpha, accuracy):
    """All that a solve gives: what is the same everywhere, then what belongs to samples."""
    layer, features, mine = layer_of(coupling, alpha)
    cold = layer.solve(features, accuracy=accuracy)
    far = 30 * torch.randn(cold.weights.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    far = layer.solve(features, far, accuracy)
    warm = layer.solve(features + 1e-2 * change_of(mine), cold.weights, accuracy)
    together = [
        part
        for solved in (cold, far, warm)
        for part in (
            solved.weights,
            solved.value,
            solved.gradient,
            torch.tensor(solved.training_error(), dtype=torch.float64),
        )
    ]
    effort = [(solved.newton_steps, solved.converged) for solved in (cold, far, warm)]
    by_sample = [cold.probabilities, far.residual, warm.feature_gradient(), cold.probe(7), layer.row_scale]
    for kind in ("schur", "paper"):
        seed, response = far.curvature_product(change_of(mine), kind)
        by_sample.append(seed)
        together.append(response)
    return together, by_sample, effort


def assert_same(found, expected, accuracy):
    """Of one process and of several, to rounding; of these to the bit."""
    for together, _, effort in found:
        for (steps, converged), (of_one, _) in zip(effort, expected[2], strict=True):
            assert converged
            # Asked for all there is, whether a last step gains anything is a matter of rounding.
            assert abs(steps - of_one) <= (0 if accuracy else 1)
        for ours, first, alone in zip(together, found[0][0], expected[0], strict=True):
            assert torch.equal(ours, first)
            assert_close(ours, alone)
    for i, alone in enumerate(expected[1]):
        assert_close(torch.cat([by_sample[i] for _, by_sample, _ in found]), alone)


def assert_close(ours, alone):
    assert float((ours - alone).norm()) <= 1e-9 * max(float(alone.norm()), 1.0)


@pytest.mark.parametrize("accuracy", [0.0, 1e-4])
@pytest.mark.parametrize("alpha", [1.0, 1e-2, 1e-8])
@pytest.mark.parametrize("size", [2, 3])
def test_a_solve_is_that_of_one_process(size, alpha, accuracy):
    assert_same(in_threads(size, solved_of, alpha, accuracy), solved_of(ALONE, alpha, accuracy), accuracy)


@pytest.mark.parametrize("size", [2, *(pytest.param(n, marks=pytest.mark.exhaustive) for n in (1, 3))])
def test_processes_of_gloo_agree_with_one(size):
    assert_same(in_processes(size, solved_of, 1e-2, 1e-4), solved_of(ALONE, 1e-2, 1e-4), 1e-4)


def test_one_block_a_class_is_summed_too(monkeypatch):
    monkeypatch.setattr(class_hessian, "DENSE_LIMIT", 1)
    assert_same(in_threads(3, solved_of, 1e-2, 0.0), solved_of(ALONE, 1e-2, 0.0), 0.0)


def test_weights_have_mean_one_over_all_samples():
    for found in in_threads(3, lambda coupling: coupling.sum(layer_of(coupling)[0].row_weights.sum())):
        assert float(found) == pytest.approx(N)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda targets, weights: (targets + 1, weights), "probabilities"),
        (lambda targets, weights: (targets, 0 * weights), "positive row weights"),
        (lambda targets, weights: (targets[:0], weights[:0]), "n >= 1"),
    ],
)
def test_what_is_wrong_in_one_process_is_said_in_all(wrong, message):
    def refused(coupling):
        targets, weights = one_hot(torch.arange(6) % 3, 3), torch.ones(6, dtype=torch.float64)
        if coupling.rank == 1:
            targets, weights = wrong(targets, weights)
        with pytest.raises(ValueError, match=message):
            CrossEntropyLayer(targets, weights, coupling=coupling)
        return True

    assert in_threads(2, refused) == [True, True]


def test_features_that_overflowed_in_one_process_are_lost_in_all():
    def solved(coupling):
        layer, features, _ = layer_of(coupling)
        features = features.clone()
        if coupling.is_first:
            features[0, 0] = torch.inf
        return layer.solve(features).converged

    assert in_threads(2, solved) == [False, False]
