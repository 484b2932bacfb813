"""A confirmation holds its level, sees tails that judges do not, and asks for no more judges than it needs."""

import itertools

import numpy as np
import pytest
from scipy.stats import chi2, t

from gnvpro.apps.build import confirmation
from gnvpro.apps.build.confirmation import LEAST_JUDGES, judge, judges_needed, level_of
from gnvpro.surrogate.errors import UsageError

# All have the mean one.
LAWS = {
    "lognormal": lambda rng, n: rng.lognormal(-0.32, 0.8, n),
    "wide lognormal": lambda rng, n: rng.lognormal(-0.845, 1.3, n),
    "gamma": lambda rng, n: rng.gamma(1.0, 1.0, n),
    "half-normal": lambda rng, n: np.abs(rng.normal(0.0, np.sqrt(np.pi / 2), n)),
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


def test_student_would_not_hold_it():
    draws = [LAWS["wide lognormal"](np.random.default_rng(seed), 8) for seed in range(400)]
    wrong = [e.mean() + t.ppf(0.975, 7) * e.std(ddof=1) / np.sqrt(8) < 1 for e in draws]
    assert np.mean(wrong) > 0.15


def test_judges_alone_hold_it_with_wider_limits():
    judges = [LAWS["lognormal"](np.random.default_rng(seed), 12) for seed in range(400)]
    left_out = LAWS["lognormal"](np.random.default_rng(400), 60)
    alone = [judge(e, 1.0, 0.975, np.zeros(0), np.zeros(0)) for e in judges]
    helped = [judge(e, 1.0, 0.975, left_out, equal(60)) for e in judges]
    assert np.mean([one.confirmed for one in alone]) < 0.06
    assert np.median([one.upper for one in helped]) < np.median([one.upper for one in alone])


def test_given_the_shape_the_limit_is_that_of_the_law(monkeypatch):
    # Errors of an exponential law: 2 n mean / E[X] follows a chi-square law of 2 n degrees of freedom.
    monkeypatch.setattr(confirmation, "_P", np.ones(1))
    monkeypatch.setattr(confirmation, "_K", np.ones(1))
    monkeypatch.setattr(confirmation, "_PRIOR", np.zeros(1))
    errors = np.random.default_rng(5).exponential(size=9)
    found = judge(errors, 1.0, 0.98, np.zeros(0), np.zeros(0))
    lower, upper = 18 * errors.mean() / chi2.ppf([0.98, 0.02], 18)
    np.testing.assert_allclose([found.lower, found.upper], [lower, upper], rtol=1e-3)


def test_a_judge_that_is_like_no_other_is_not_outvoted_by_the_law():
    errors = np.append(np.random.default_rng(7).lognormal(-9, 0.3, 50), 1.0)
    found = judge(errors, 0.03, 0.9999, errors[:40], equal(40))
    assert found.lower <= found.mean < found.upper
    assert not found.confirmed


def test_limits_have_the_unit_of_the_errors_and_do_not_see_that_of_left_out_ones():
    rng = np.random.default_rng(6)
    errors, left_out = rng.lognormal(0, 0.7, 10), rng.lognormal(0, 0.7, 40)
    found, scaled = (judge(unit * errors, 1.0, 0.98, left_out / unit, equal(40)) for unit in (1.0, 1e-6))
    np.testing.assert_allclose([scaled.lower, scaled.upper], [1e-6 * found.lower, 1e-6 * found.upper], rtol=1e-6)


def test_a_tail_that_no_judge_has_seen_but_left_out_errors_have_is_no_confirmation():
    rng = np.random.default_rng(0)
    bulk = rng.lognormal(-7, 0.4, 100)
    with_jump = np.where(np.arange(100) < 3, 1.0, bulk)  # three in a hundred are near a jump: their mean error is .03
    judges = rng.lognormal(-7, 0.4, 10)
    assert judge(judges, 0.01, 0.975, bulk, equal(100)).confirmed
    found = judge(judges, 0.02, 0.975, with_jump, equal(100))
    assert not found.confirmed


def test_a_tail_alone_that_speaks_against_it_is_named():
    rng = np.random.default_rng(0)
    left_out = np.append(np.abs(rng.normal(0, 1, 99)), 300.0)
    found = judge(1e-3 * np.abs(rng.normal(0, 1, 60)), 2.5e-3, 0.975, left_out, equal(100))
    assert found.upper < 2.5e-3
    assert not found.confirmed
    assert found.tail is not None
    assert found.tail.startswith("errors of samples left out reach farther than those of the fresh solves")
    assert found.to_dict()["tail"] == found.tail


def test_judges_that_are_exact_do_not_outweigh_left_out_errors_that_are_not():
    left_out = np.where(np.arange(40) < 4, 1.0, 0.0)
    assert not judge(np.zeros(8), 0.01, 0.975, left_out, equal(40)).confirmed
    assert judge(np.zeros(8), 0.2, 0.975, left_out, equal(40)).confirmed


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
