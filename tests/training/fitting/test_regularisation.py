"""Regularisation that is chosen during a training."""

import numpy as np
import pytest
import torch

from gnvpro.surrogate.coupling import ALONE
from gnvpro.surrogate.networks.dense import DenseNetwork
from gnvpro.surrogate.samples import Samples
from gnvpro.surrogate.spaces import Space
from gnvpro.training.fitting.methods import fit_by
from gnvpro.training.fitting.preparation import Preparation
from gnvpro.training.fitting.regularisation import Adapting, advance_adapting, best_regularisation, with_alphas
from gnvpro.training.fitting.run import Run
from gnvpro.training.settings import TrainSettings
from tests.coupled import in_threads

BUDGET = 120.0


def task_of(noise):
    rng = np.random.default_rng(0)
    y = rng.uniform(-1, 1, (160, 3))
    c = np.stack([np.sin(y.sum(1)), y[:, 0] * y[:, 1]], 1) + noise * rng.normal(size=(160, 2))
    split = Samples(y, c, Space.observed(y, "y"), Space.observed(c, "c")).split(0)
    return Preparation(split, TrainSettings()).task(
        DenseNetwork(3, (8, 30)), Preparation(split, TrainSettings()).standardised(0.3)
    )


def begin(task):
    return fit_by("varpro-kf-lbfgs", task, BUDGET)


def adapted(task, budget):
    training = Adapting(task, begin)
    advance_adapting([training], budget, Run(budget).advance)
    return training.fits


@pytest.mark.parametrize("noise", [0.0, 0.5])
def test_alpha_of_w_follows_the_noise_within_the_budget(noise):
    fits = adapted(task_of(noise), BUDGET)
    chosen = fits[-1].objective.elimination.alpha_w
    assert (chosen > 1e-7) == (noise > 0)
    assert BUDGET <= sum(fit.objective.meter.total for fit in fits) < BUDGET + 12 * len(fits)
    if noise:
        fixed = begin(task_of(noise))
        fixed.advance(BUDGET)
        assert min(fit.best.validation_error for fit in fits) < fixed.best.validation_error


def test_the_best_regularisation_is_that_of_least_validation_error():
    task = task_of(0.5)
    found = best_regularisation(task, begin, 40.0, Run(40.0).advance, (1e-9, 1e-3))
    errors = {}
    for alpha in (1e-9, 1e-3):
        fits = adapted(with_alphas(task, alpha_theta=alpha), 40.0)
        errors[alpha] = min(fit.best.validation_error for fit in fits)
    assert errors[found.alpha_theta] == found.fit.best.validation_error == min(errors.values())
    assert found.fit.objective.elimination.alpha_w == found.alpha_w
    assert found.fit.best.work_units <= found.work_units < 80


def test_trials_over_ranks_are_those_of_one():
    def tried(coupling):
        found = best_regularisation(task_of(0.5), begin, 40.0, Run(40.0, coupling=coupling).advance)
        return found.fit.best.theta, found.fit.best.weights, *found[1:]

    expected = tried(ALONE)
    for theta, weights, *rest in in_threads(2, tried):
        assert torch.equal(theta, expected[0])
        assert torch.equal(weights, expected[1])
        assert tuple(rest) == expected[2:]
