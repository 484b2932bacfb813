"""Estimates that few solves correct: unbiased and covered by their intervals, however wrong the surrogate is."""

import numpy as np
import pytest
from scipy.stats import binomtest, norm

from gnvpro.apps.propagate.counts import weighted_counts, wilson
from gnvpro.apps.propagate.design import BY_LAW, choose
from gnvpro.apps.propagate.drawn import Drawn, Sizes
from gnvpro.apps.propagate.exceedance import Solved, exceedance
from gnvpro.apps.propagate.moments import correction, moments
from gnvpro.apps.propagate.quantiles import curve, quantiles_of

LEVELS = (0.05, 0.5, 0.9)
RARE = 0.02
LIMIT = norm.isf(RARE)
TRUTH = {"rare": RARE, "mean": 0.0, "deviation": 1.0} | {f"q{level:g}": norm.ppf(level) for level in LEVELS}
REPETITIONS = 200
UNKNOWN = np.array([np.nan]), np.array([np.nan])


def wrong(x):
    """A surrogate of x that is off by half of its standard deviation, and biased."""
    return x + 0.4 + 0.3 * np.sin(3 * x)


def far_off(x):
    """Exact but for a twentieth of the law, where it misses what exceeds the limit altogether."""
    return np.where(x > norm.isf(0.05), -x, x)


def estimated(surrogate, seed, corrected=True, n=60):
    """Value and interval of the numbers in `TRUTH`, of a standard normal x; of a surrogate that is `far_off` of one."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((8, 256))
    cheap, band = surrogate(x), 0.05
    chosen = choose(n, cheap.ravel(), np.abs(cheap.ravel() - LIMIT) / band, rng)
    at = x.ravel()[chosen.rows]
    solved = Solved(at, surrogate(at), chosen.weights, band) if corrected else None
    control = (at[:, None], surrogate(at)[:, None], chosen.weights) if corrected else None
    sizes, errors = Sizes(np.array([1.0]), np.array([band])), (np.array([band]), np.array([band]))
    drawn = Drawn.of(cheap)
    rare = exceedance(np.array([LIMIT]), drawn, 0.95, sizes, solved)
    mean, deviation, _ = moments(cheap[:, :, None], 0.95, errors, control)
    found = {"rare": rare, "mean": mean, "deviation": deviation}
    if surrogate is far_off:
        return {"rare": (rare.value[0], rare.lower[0], rare.upper[0])}
    of_levels = quantiles_of(LEVELS, curve(LEVELS, drawn, 0.95, sizes, solved))
    for i, level in enumerate(LEVELS):
        found[f"q{level:g}"] = type(mean)(*(getattr(of_levels, name)[i : i + 1] for name in vars(of_levels)))
    return {name: (one.value[0], one.lower[0], one.upper[0]) for name, one in found.items()}


def flaws(surrogate, corrected=True):
    """What is wrong with estimates over many seeds: biased by more than five standard errors, or covered too seldom."""
    runs = [estimated(surrogate, seed, corrected) for seed in range(REPETITIONS)]
    said = []
    for name, truth in ((name, TRUTH[name]) for name in runs[0]):
        value, lower, upper = np.array([run[name] for run in runs]).T
        error = value.std(ddof=1) / np.sqrt(REPETITIONS)
        # The root of an unbiased variance is not unbiased, nor is a quantile from an unbiased probability.
        bias = np.mean(value**2) - truth**2 if name == "deviation" else np.mean(value) - truth
        if name in ("rare", "mean", "deviation") and abs(bias) > 5 * error * (2 if name == "deviation" else 1):
            said.append(f"{name} is biased")
        if np.mean((lower <= truth) & (truth <= upper)) < 0.9:
            said.append(f"{name} is not covered")
    return said


@pytest.mark.long
def test_a_wrong_surrogate_is_corrected_without_bias_and_within_the_intervals():
    assert flaws(wrong) == []


@pytest.mark.long
def test_a_surrogate_that_misses_all_that_exceeds_is_corrected_too():
    """Solves by the law find what those near the limit do not: the interval is wide, and it covers."""
    assert flaws(far_off) == []


@pytest.mark.long
def test_the_checker_finds_a_correction_that_is_left_out():
    found = flaws(wrong, corrected=False)
    assert {"rare is biased", "mean is biased", "rare is not covered", "mean is not covered"} <= set(found)


@pytest.mark.parametrize("slope", [0.3, 0.03])
def test_the_draws_of_a_surrogate_of_too_little_slope_count_as_those_of_the_pde(slope):
    """The solves say that the surrogate varies too little: so does what few draws leave open."""
    covered = []
    for seed in range(REPETITIONS):
        rng = np.random.default_rng(seed)
        x = rng.standard_normal((8, 256))
        chosen = choose(60, slope * x.ravel(), None, rng)
        at = x.ravel()[chosen.rows, None]
        found = moments(slope * x[:, :, None], 0.95, UNKNOWN, (at, slope * at, chosen.weights))[:2]
        covered.append(
            [one.lower[0] <= truth <= one.upper[0] for one, truth in zip(found, (0.0, 1.0), strict=True)]
            + [one.drawn_lower[0] <= truth <= one.drawn_upper[0] for one, truth in zip(found, (0.0, 1.0), strict=True)]
        )
    assert (np.mean(covered, axis=0) >= 0.9).all()


def test_an_interval_has_a_width_where_no_solve_differs():
    """The surrogate is exact: nothing is counted, and yet the interval is wider than that of the draws alone."""
    value, lower, upper = estimated(lambda x: x, 0)["rare"]
    drawn = exceedance(np.array([LIMIT]), Drawn.of(np.random.default_rng(0).standard_normal((8, 256))), 0.95)
    assert value == drawn.value[0]
    assert lower < drawn.drawn_lower[0]
    assert upper > drawn.drawn_upper[0]


def test_without_an_assumption_on_unseen_errors_the_rule_of_three_is_left():
    rng = np.random.default_rng(3)
    x = rng.standard_normal((8, 2048))
    chosen = choose(200, x.ravel(), None, rng)
    at = x.ravel()[chosen.rows]
    found = exceedance(np.array([LIMIT]), Drawn.of(x), 0.95, None, Solved(at, at, chosen.weights, 1e-3))
    three = -np.log(0.025) / 200
    assert found.unassuming_upper[0] - found.upper[0] == pytest.approx(three * (1 - RARE), rel=0.05)
    assert found.upper[0] - found.drawn_upper[0] < 0.1 * three


@pytest.mark.long
def test_solves_near_a_limit_tell_more_about_it_than_solves_by_the_law():
    """Of the same number of solves: how far estimates are from what all draws by the PDE would say."""
    off = {True: [], False: []}
    for seed in range(40):
        rng = np.random.default_rng(seed)
        x = rng.standard_normal((8, 2048))
        cheap = x + 0.1 * np.sin(9 * x)
        for near, found in off.items():
            distance = np.abs(cheap.ravel() - LIMIT) / 0.1
            chosen = choose(100, cheap.ravel(), distance if near else None, rng)
            at = x.ravel()[chosen.rows]
            solved = Solved(at, cheap.ravel()[chosen.rows], chosen.weights, 0.1)
            found.append(
                exceedance(np.array([LIMIT]), Drawn.of(cheap), 0.95, None, solved).value[0] - (x > LIMIT).mean()
            )
    assert np.std(off[True]) < 0.5 * np.std(off[False])


def test_solves_that_failed_count_as_anything():
    rng = np.random.default_rng(1)
    x = rng.standard_normal((8, 512))
    chosen = choose(100, x.ravel(), np.abs(x.ravel() - LIMIT) / 0.05, rng)
    at = x.ravel()[chosen.rows]
    broken = np.where(at > 1.5, np.nan, at)
    whole, part = (
        exceedance(np.array([LIMIT]), Drawn.of(x), 0.95, None, Solved(f, at, chosen.weights, 0.05))
        for f in (at, broken)
    )
    assert part.value[0] == whole.value[0]
    # What fails is all of what exceeds, and may as well not.
    assert part.lower[0] == 0
    assert part.upper[0] > whole.upper[0]
    control = broken[:, None], at[:, None], chosen.weights
    extremes = np.array([-10.0]), np.array([10.0])
    mean = moments(x[:, :, None], 0.95, UNKNOWN, control, extremes)[0]
    share = chosen.weights[np.isnan(broken)].sum()
    assert mean.upper[0] - mean.lower[0] > 15 * share


@pytest.mark.parametrize("truth", [0.0, 3.0, "both"])
def test_the_deviation_of_what_failed_is_bounded_by_the_mean_and_by_both_extremes(truth):
    """What fails, a third of the law, lies at the mean, at one extreme, or half of it at each."""
    rng = np.random.default_rng(2)
    x = rng.standard_normal((8, 512))
    fails = np.abs(x) > 1
    f = np.where(fails, 3.0 * np.sign(x) if truth == "both" else truth, x)
    chosen = choose(200, x.ravel(), None, rng)
    at = x.ravel()[chosen.rows]
    control = np.where(fails, np.nan, f).ravel()[chosen.rows, None], at[:, None], chosen.weights
    found = moments(x[:, :, None], 0.95, UNKNOWN, control, (np.array([-3.0]), np.array([3.0])))[1]
    assert found.lower[0] <= f.std() <= found.upper[0]
    assert found.value[0] == pytest.approx(1, abs=0.1)
    assert found.upper[0] < 1.2 * np.where(fails, 3.0 * np.sign(x), x).std()


def test_below_a_limit_is_above_it_for_the_negated():
    x = np.random.default_rng(2).standard_normal((8, 100))
    below = exceedance(np.array([1.0]), Drawn.of(x).negated, 0.95)
    again = exceedance(np.array([1.0]), Drawn.of(-x), 0.95)
    for name, values in vars(below).items():
        np.testing.assert_array_equal(values, getattr(again, name))
    np.testing.assert_array_equal(Drawn.of(x).negated.ordered, Drawn.of(-x).ordered)


def test_error_bands_push_all_errors_up_or_all_down():
    """A surrogate that is off by its band everywhere is covered; without bands nothing is known."""
    x = np.random.default_rng(4).standard_normal((8, 4096))
    sizes = Sizes.of_bands(np.array([0.5, 0.9, 0.99]), np.array([0.1, 0.2, np.inf]))
    assert sizes.shares.sum() == pytest.approx(0.999)
    for bias in (-0.1, 0.1):
        found = exceedance(np.array([LIMIT]), Drawn.of(x + bias), 0.95, sizes)
        assert found.lower[0] <= RARE <= found.upper[0]
        assert not found.drawn_lower[0] <= RARE <= found.drawn_upper[0]
    assert np.isnan(exceedance(np.array([LIMIT]), Drawn.of(x), 0.95).upper[0])
    assert Sizes.of_bands(np.array([0.5]), np.array([np.inf])) is None


@pytest.mark.long
def test_weighted_samples_are_unbiased_whatever_they_are_chosen_by():
    rng = np.random.default_rng(5)
    x = rng.standard_normal(3000)
    g = np.exp(x) + (x > 2)
    chosen = [choose(40, x, np.abs(x - 2) / 0.1, np.random.default_rng(seed)) for seed in range(400)]
    estimates = np.array([(one.weights * g[one.rows]).sum() for one in chosen])
    assert abs(estimates.mean() - g.mean()) < 5 * estimates.std() / np.sqrt(len(estimates))
    assert max(one.weights.max() for one in chosen) <= 1 / (BY_LAW * 40) * (1 + 1e-12)
    # Most of them are where the surrogate is within a band of the limit, which hardly any of the law is.
    near = np.mean([(np.abs(x[one.rows] - 2) < 0.1).mean() for one in chosen])
    assert near > 3 * (np.abs(x - 2) < 0.1).mean()


def test_the_coefficient_of_the_control_variate_is_optimal_and_changes_no_mean():
    rng = np.random.default_rng(6)
    s = rng.standard_normal((200, 1))
    weights = np.full(200, 1 / 200)
    for slope in (1.0, -2.0, 0.0):
        found = correction(slope * s, s, np.zeros(1), weights, 0.95)
        assert found.coefficient[0] == pytest.approx(slope)
        assert found.half_width[0] == pytest.approx(0, abs=1e-12)
    constant = correction(np.ones((200, 1)), np.ones((200, 1)), np.ones(1), weights, 0.95)
    assert (constant.shift[0], constant.coefficient[0]) == (0, 1)


def test_intervals_of_counts_are_those_of_scipy_and_of_the_rule_of_three():
    for count in (0, 3, 40):
        exact = binomtest(count, 40).proportion_ci(0.95, method="wilson")
        found = wilson(np.array([count / 40]), 40, norm.ppf(0.975))
        np.testing.assert_allclose([found[0][0], found[1][0]], [exact.low, exact.high], atol=1e-12)
    none = weighted_counts(np.full(9, 0.1), np.zeros(9, dtype=bool), np.array(0.1), 0.95)
    np.testing.assert_allclose(none, [0, 0, -0.1 * np.log(0.025)])


def test_weighted_counts_are_covered():
    """Of events of chance 0.03 and weights over two orders of magnitude."""
    weights = np.geomspace(1e-3, 1e-1, 300)
    inside = 0
    for seed in range(400):
        seen = np.random.default_rng(seed).random(300) < 0.03
        _, lower, upper = weighted_counts(weights, seen, np.array(0.1), 0.95)
        inside += lower <= 0.03 * weights.sum() <= upper
    assert inside >= 0.93 * 400
