"""A confirmation holds its level, sees tails that judges do not, and asks for no more judges than it needs."""

import itertools

import numpy as np
import pytest

from gnvpro.apps.build.confirmation import LEAST_JUDGES, judge, judges_needed, level_of
from gnvpro.surrogate.errors import UsageError

LAWS = {
    "lognormal": lambda rng, n: rng.lognormal(-0.32, 0.8, n),
    "gamma": lambda rng, n: rng.gamma(1.0, 1.0, n),
    "Weibull": lambda rng, n: rng.weibull(0.8, n) / 1.133,
}


def equal(n):
    return np.ones(n)


def false_confirmations(draw, n_judges, n_left_out, level, scale=1.0, repeats=400):
    """Share of models with the mean error 1 that are confirmed to be below 1; left-out errors are `scale` times as large."""
    wrong = 0
    for seed in range(repeats):
        rng = np.random.default_rng(seed)
        errors, left_out = draw(rng, n_judges), scale * draw(rng, n_left_out)
        wrong += judge(errors, 1.0, level, left_out, equal(n_left_out)).confirmed
    return wrong / repeats


def test_all_tests_together_hold_the_confidence():
    spent = [1 - level_of(test, 0.95) for test in range(1, 40)]
    assert sum(spent) <= 0.05 + 1e-12
    assert all(later < earlier for earlier, later in itertools.pairwise(spent))


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("scale", [1.0, 10.0])
def test_a_confirmation_holds_its_level_whatever_the_scale_of_left_out_errors(law, scale):
    # 2.5 % are allowed; a binomial of 400 with that mean stays below 5 % with a probability of .998.
    assert false_confirmations(LAWS[law], 8, 40, 0.975, scale) < 0.05


def test_student_alone_would_not_hold_it():
    def student(draw):
        # Left-out errors that are all alike say nothing of the shape.
        return sum(
            judge(draw(np.random.default_rng(seed), 8), 1.0, 0.975, np.ones(0), np.ones(0)).confirmed
            for seed in range(400)
        )

    def heavy(rng, n):
        return rng.lognormal(-0.98, 1.4, n)

    assert student(heavy) / 400 > 2 * false_confirmations(heavy, 8, 60, 0.975)


def test_a_tail_that_no_judge_has_seen_but_left_out_errors_have_is_no_confirmation():
    rng = np.random.default_rng(0)
    bulk = rng.lognormal(-7, 0.4, 100)
    with_jump = np.where(np.arange(100) < 3, 1.0, bulk)  # three in a hundred are near a jump: their mean error is .03
    judges = rng.lognormal(-7, 0.4, 10)
    assert judge(judges, 0.01, 0.975, bulk, equal(100)).confirmed
    assert not judge(judges, 0.01, 0.975, with_jump, equal(100)).confirmed


def test_limits_lie_about_the_mean_and_the_upper_one_falls_with_judges():
    rng = np.random.default_rng(1)
    left_out = rng.lognormal(0, 0.7, 50)
    few, many = (judge(rng.lognormal(0, 0.7, n), 1.0, 0.99, left_out, equal(50)) for n in (8, 200))
    for found in (few, many):
        assert found.lower < found.mean < found.upper
    assert many.upper / many.mean < few.upper / few.mean


def test_weights_move_the_shape():
    rng = np.random.default_rng(2)
    left_out = np.concatenate([rng.lognormal(0, 0.3, 50), rng.lognormal(3, 0.3, 10)])
    rare = np.concatenate([np.ones(50), np.full(10, 1e-9)])
    errors = rng.lognormal(0, 0.3, 8)
    assert judge(errors, 2.0, 0.975, left_out, rare).upper < judge(errors, 2.0, 0.975, left_out, equal(60)).upper


def test_an_exact_model_is_confirmed_and_one_judge_is_none():
    assert judge(np.zeros(6), 1e-9, 0.99, np.zeros(20), equal(20)).confirmed
    with pytest.raises(UsageError, match="two judges at least, got 1"):
        judge(np.ones(1), 1.0, 0.99, np.ones(20), equal(20))


def test_the_closer_the_error_the_more_judges():
    left_out = np.random.default_rng(3).lognormal(0, 0.7, 60)

    def needed(expected, power=0.75):
        return judges_needed(expected, 1.0, 0.98, left_out, equal(60), 400, power)

    assert needed(0.1) == LEAST_JUDGES
    assert LEAST_JUDGES <= needed(0.4) < needed(0.6) < needed(0.8)
    assert needed(0.6, power=0.3) < needed(0.6)
    assert needed(1.01) is None
    assert judges_needed(0.9, 1.0, 0.98, left_out, equal(60), 10, 0.75) is None


def test_as_many_judges_as_were_asked_for_confirm_as_often_as_was_said():
    law, repeats = LAWS["lognormal"], 200
    left_out = law(np.random.default_rng(4), 200)
    n = judges_needed(0.5, 1.0, 0.975, left_out, equal(200), 400, 0.75)
    confirmed = sum(
        judge(0.5 * law(np.random.default_rng(seed), n), 1.0, 0.975, left_out, equal(200)).confirmed
        for seed in range(repeats)
    )
    assert confirmed / repeats > 0.65
