"""Points by the covariance of the features."""

import numpy as np
import pytest
import torch

from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.model.surrogate import Surrogate
from gnvpro.surrogate.networks.kernels import KernelFeatures
from gnvpro.surrogate.networks.sparse_polynomials import SparsePolynomials
from gnvpro.surrogate.placement import place_for
from gnvpro.surrogate.spaces import Space

N_IN = 6
BOX = Space.vector([f"y{j}" for j in range(N_IN)], lower=(-1.0,) * N_IN, upper=(1.0,) * N_IN, law="uniform")


def surrogate(network, theta, weights, space=BOX):
    observables = Space.vector([f"c{k}" for k in range(len(weights))], axis="observable")
    shift, scale = torch.zeros(network.n_inputs, dtype=torch.float64), torch.ones(network.n_inputs, dtype=torch.float64)
    return Surrogate(network, theta, weights, shift, scale, space, observables)


def linear_model(space=BOX):
    network = SparsePolynomials(np.eye(N_IN, dtype=np.int64), ("legendre",) * N_IN, (0.0,) * N_IN, (1.0,) * N_IN)
    weights = torch.ones((2, N_IN + 1), dtype=torch.float64)
    weights[:, -1] = 20.0
    return surrogate(network, network.initial(0), weights, space)


def test_the_first_points_are_those_for_fewer():
    model = linear_model()
    np.testing.assert_array_equal(place_for(model, 20, seed=3)[:7], place_for(model, 7, seed=3))


def test_points_lie_in_the_space_and_are_different():
    points = place_for(linear_model(), 30)
    assert BOX.contains(points).all()
    assert len(np.unique(points, axis=0)) == 30


def test_linear_models_are_determined_better_than_by_random_points():
    """The mean variance of least squares, over many seeds."""
    model, fresh = linear_model(), np.random.default_rng(0).uniform(-1, 1, (500, N_IN))

    def variance(points):
        columns, there = (np.column_stack([np.ones(len(y)), y]) for y in (points, fresh))
        return np.einsum("ij,ji->i", there @ np.linalg.inv(columns.T @ columns), there.T).mean()

    ratios = [
        variance(place_for(model, 14, seed)) / variance(np.random.default_rng(seed).uniform(-1, 1, (14, N_IN)))
        for seed in range(10)
    ]
    assert np.exp(np.mean(np.log(ratios))) < 0.8


def test_points_that_are_there_are_taken_into_account():
    model = linear_model()
    first = place_for(model, 6)
    further = place_for(model, 6, seed=1, existing=first)
    assert not np.array_equal(further, place_for(model, 6, seed=1))


def test_kernels_are_filled():
    """No two greedy points are near each other: the process is known there already."""
    rng = np.random.default_rng(0)
    network = KernelFeatures(N_IN, 40, "gaussian")
    theta = torch.from_numpy(np.concatenate([np.zeros(N_IN), rng.uniform(-1, 1, 40 * N_IN)]))
    model = surrogate(network, theta, torch.from_numpy(rng.standard_normal((1, 41))))
    points = place_for(model, 10)[::2]
    distances = np.linalg.norm(points[:, None] - points, axis=2)[np.triu_indices(5, 1)]
    assert distances.min() > 1.0


def test_candidates_stand_in_for_a_law():
    model = linear_model(Space.vector([f"y{j}" for j in range(N_IN)]))
    candidates = np.random.default_rng(0).standard_normal((50, N_IN))
    points = place_for(model, 5, candidates=candidates)
    assert all((candidates == point).all(1).any() for point in points)
    with pytest.raises(UsageError, match="cannot draw from the law 'unknown'"):
        place_for(model, 5)


def test_more_points_than_candidates_are_refused():
    with pytest.raises(
        UsageError, match="expected at most 2000 further points, as many as there are candidates, got 2001"
    ):
        place_for(linear_model(), 2001)
