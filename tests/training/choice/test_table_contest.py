"""What fits a table: ridge regression in closed form, and how much better something else has to be."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge, RidgeCV

from gnvpro.training.choice import table_contest
from gnvpro.training.choice.contenders import Problem
from gnvpro.training.choice.table_contest import ridge, table_model


def problem(n=30, d=6, noise=0.5, folds=5, seed=0):
    rng = np.random.default_rng(seed)
    inputs = rng.standard_normal((n, d)) / np.sqrt(d)
    targets = inputs @ rng.standard_normal((d, 2)) + noise * rng.standard_normal((n, 2))
    weights = rng.uniform(0.5, 2, n)
    weights /= np.sqrt((weights**2).mean())
    return Problem(inputs, targets, np.eye(2), weights, np.arange(n) % folds)


def predicted(member, inputs):
    features = member.network.bind(member.theta)(torch.from_numpy(inputs)).numpy()
    return np.column_stack([features, np.ones(len(inputs))]) @ member.weights.numpy().T


@pytest.mark.parametrize("shape", [(30, 6), (12, 20)])
def test_ridge_is_that_of_scikit_learn_and_leaves_out_in_closed_form(shape):
    given = problem(*shape)
    contender = ridge(given)
    shares = given.weights**2 / (given.weights**2).sum()
    centred = (given.inputs - shares @ given.inputs) * given.weights[:, None]
    alphas = table_contest._RIDGES * np.linalg.norm(centred, 2) ** 2
    for j, target in enumerate(given.targets.T):
        chosen = RidgeCV(alphas).fit(given.inputs, target, given.weights**2)
        np.testing.assert_allclose(
            predicted(contender.model, given.inputs)[:, j], chosen.predict(given.inputs), rtol=1e-7
        )
        for i in (0, 7):
            rows = np.arange(len(target)) != i
            one = Ridge(chosen.alpha_).fit(given.inputs[rows], target[rows], given.weights[rows] ** 2)
            # The centre is that of all samples in the one and of the others in the other: equal in exact leave-one-out.
            left_out = target[i] - one.predict(given.inputs[[i]])[0]
            assert contender.close[i, j] == pytest.approx(left_out, rel=1e-6, abs=1e-9)
    out = given.folds == 2
    parts = (part[~out] for part in (given.inputs, given.targets, given.weights, given.folds))
    inputs, targets, weights, folds = parts
    without = ridge(Problem(inputs, targets, given.rotation, weights, folds))
    np.testing.assert_allclose(
        given.targets[out] - predicted(without.model, given.inputs[out]), contender.left_out[out], rtol=1e-7, atol=1e-10
    )


def test_ridge_alone_where_nothing_varies_and_of_one_sample():
    for inputs, targets in ((np.zeros((9, 2)), np.arange(9.0)[:, None]), (np.ones((1, 2)), np.zeros((1, 1)))):
        model = table_model(inputs, targets - targets.mean(), np.ones(len(inputs)), 0)
        assert model.choice["kind"] == "ridge"
        assert np.isfinite(model.weights.numpy()).all()


def test_large_tables_hold_out_one_part_and_never_train_on_it_in_vain():
    rng = np.random.default_rng(0)
    inputs = rng.standard_normal((2500, 2))
    targets = (inputs[:, :1] * inputs[:, 1:]) + 0.1 * rng.standard_normal((2500, 1))
    model = table_model(inputs, targets, np.ones(2500), 0)
    judged = np.isfinite(model.left_out[:, 0])
    assert judged.sum() == 500
    assert model.choice["folds"] == 1
    assert model.choice["error_left_out"] == pytest.approx(0.1, rel=0.15)
