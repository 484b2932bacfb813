"""Stacks: shares on the simplex by what was left out."""

from dataclasses import replace

import numpy as np
import pytest

from gnvpro.training.choice.contenders import Contender, Problem, best_stack


def problem(n=200, k=2):
    return Problem(np.zeros((n, 1)), np.zeros((n, k)), np.eye(k), np.ones(n), np.arange(n) % 5)


def contender(residuals, name="a"):
    return Contender({"kind": name}, residuals)


def noise(seed, scale, shape=(200, 2)):
    return scale * np.random.default_rng(seed).standard_normal(shape)


def test_independent_errors_are_averaged_by_their_precision():
    stack = best_stack([contender(noise(0, 1.0)), contender(noise(1, 2.0))], problem(), by_target=False)
    assert stack.shares[:, 0] == pytest.approx([0.8, 0.2], abs=0.06)
    assert stack.shares.sum(0) == pytest.approx([1, 1])
    assert stack.error == pytest.approx(np.sqrt(2 * 0.8), rel=0.1)


def test_opposite_errors_cancel():
    residuals = noise(0, 1.0)
    stack = best_stack([contender(residuals), contender(-residuals)], problem(), by_target=False)
    assert stack.error < 1e-2
    assert stack.shares.min() >= 0


def test_every_target_has_its_own_shares_where_they_are_asked_for():
    first, second = noise(0, 1.0), noise(1, 1.0)
    first[:, 0] *= 1e-3
    second[:, 1] *= 1e-3
    apart = best_stack([contender(first), contender(second)], problem(), by_target=True)
    np.testing.assert_allclose(apart.shares, np.eye(2), atol=0.03)
    assert apart.error < 0.01 < best_stack([contender(first), contender(second)], problem(), by_target=False).error


def test_the_cheaper_one_stands_where_the_dearer_is_hardly_better():
    residuals = noise(0, 1.0)
    contenders = [contender(residuals, "cheap"), contender(0.99 * residuals, "dear")]
    kept = best_stack(contenders, problem(), by_target=False)
    assert kept.error <= problem().error(residuals)
    much = best_stack([contender(residuals, "cheap"), contender(0.5 * residuals, "dear")], problem(), by_target=False)
    assert [one.described["kind"] for one in much.contenders] == ["dear"]


def test_samples_that_are_never_left_out_do_not_count():
    folds = np.where(np.arange(200) < 100, -1, 0)
    residuals = noise(0, 1.0)
    residuals[folds < 0] = np.nan
    judged = replace(problem(), folds=folds)
    stack = best_stack([contender(residuals)], judged, by_target=False)
    assert stack.error == pytest.approx(np.sqrt((residuals[100:] ** 2).sum(1).mean()))


def test_a_contender_without_error_takes_all():
    stack = best_stack([contender(noise(0, 1.0)), contender(np.zeros((200, 2)))], problem(), by_target=False)
    assert stack.error == 0
    assert len(stack.contenders) == 1
