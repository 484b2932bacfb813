"""Leave-one-out and generalised cross-validation: closed forms against refits, and their limits."""

import math

import pytest
import torch

from gnvpro.surrogate.elimination.least_squares import LeastSquaresLayer
from gnvpro.surrogate.elimination.ridge_path import alphas, choose_alpha
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.networks.dense import DenseNetwork
from gnvpro.surrogate.objectives.reduced import reduced_cross_entropy, reduced_least_squares

N, WIDTH, OUT = 24, 5, 2
GENERATOR = torch.Generator().manual_seed(0)


def normal(*shape):
    return torch.randn(*shape, generator=GENERATOR, dtype=torch.float64)


Z, C, OMEGA, P = normal(N, WIDTH), normal(N, OUT), normal(N).abs() + 0.5, normal(N, 2)


def layer_of(rows, alpha, **given):
    """The inner problem of some samples; weights are not divided by their number, but by that of all."""
    n = len(C[rows])
    return LeastSquaresLayer(C[rows], OMEGA[rows] * math.sqrt(n / N), alpha, P[rows], **given)


@pytest.mark.parametrize("compression", [None, 0.0])
@pytest.mark.parametrize("alpha", [0.0, 1e-6, 1e-1])
def test_leave_one_out_is_refitting_without_each_sample(alpha, compression):
    layer = layer_of(slice(None), alpha, compression=compression)
    left_out = layer.solve(Z).leave_one_out()
    for i in range(N):
        rest = [j for j in range(N) if j != i]
        weights = layer_of(rest, alpha).solve(Z[rest]).outer
        row = torch.cat([Z[i], P[i], torch.ones(1, dtype=torch.float64)])
        expected = (row @ weights - C[i]) * OMEGA[i] / math.sqrt(N)
        found = left_out[i] if layer.rotation is None else left_out[i] @ layer.rotation
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("score", ["gcv", "leave-one-out"])
def test_a_path_has_the_scores_of_direct_solves(score):
    choice = choose_alpha(
        Z, C, OMEGA, torch.cat([P, torch.ones(N, 1).double()], 1), path=[1e-8, 1e-2, 1.0], score=score
    )
    for alpha, found in choice.path.items():
        solution = layer_of(slice(None), alpha).solve(Z)
        shares = solution.leverages()
        if score == "gcv":
            shares = shares.mean().expand(N)
        expected = float(torch.linalg.vector_norm(solution.residual / (1 - shares).unsqueeze(1)))
        assert found == pytest.approx(expected, rel=1e-9)


def test_the_limits_of_generalised_cross_validation():
    """Of huge alpha nothing is fitted and no leverage left; of tiny alpha it is that of least squares."""
    choice = choose_alpha(Z, C, path=[1e-14, 1e12])
    scale = 1 / math.sqrt(N)
    assert choice.path[1e12] == pytest.approx(float(torch.linalg.vector_norm(C)) * scale, rel=1e-9)
    columns = torch.cat([Z, torch.ones(N, 1).double()], 1)
    residual = C - columns @ torch.linalg.lstsq(columns, C).solution
    expected = float(torch.linalg.vector_norm(residual)) * scale / (1 - (WIDTH + 1) / N)
    assert choice.path[1e-14] == pytest.approx(expected, rel=1e-8)


def test_exact_data_keep_the_smallest_alpha_and_noise_asks_for_more():
    features = normal(60, 40)
    exact = features @ normal(40, 1)
    assert choose_alpha(features, exact).alpha == alphas()[0]
    noisy = 0.05 * features @ normal(40, 1) + normal(60, 1)
    choice = choose_alpha(features, noisy, path=alphas(1e-10, 1.0))
    assert choice.alpha > 1e-4
    assert choice.score == choice.path[choice.alpha] < choice.path[1e-10]


def test_the_choice_does_not_depend_on_the_unit_of_the_targets():
    noisy = normal(60, 3)
    features = normal(60, 20)
    assert choose_alpha(features, noisy).alpha == choose_alpha(features, noisy * 1e13).alpha


@pytest.mark.parametrize("compression", [None, 1e-6])
def test_another_alpha_is_the_layer_made_with_it(compression):
    made = layer_of(slice(None), 1e-3, compression=compression)
    changed = layer_of(slice(None), 1e-10, compression=compression).with_alpha(1e-3)
    assert torch.equal(made.solve(Z).outer, changed.solve(Z).outer)
    assert changed.alpha_w == 1e-3


def test_siblings_of_an_objective_have_the_alpha_asked_for():
    network = DenseNetwork(3, (4,))
    objective = reduced_least_squares(network, normal(N, 3), C, alpha_w=1e-10)
    assert objective.sibling(alpha_w=1e-4).elimination.alpha_w == 1e-4
    assert objective.sibling().elimination.alpha_w == objective.elimination.alpha_w == 1e-10
    classes = reduced_cross_entropy(network, normal(N, 3), torch.eye(2).double()[torch.arange(N) % 2])
    with pytest.raises(UsageError, match="prepare them anew"):
        classes.sibling(alpha_w=1e-4)
