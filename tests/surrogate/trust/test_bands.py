"""Conformal bands: the promise on exchangeable scores, its weighted form, and that a broken promise is seen."""

import numpy as np
import pytest
from scipy.stats import binom

from gnvpro.surrogate.model.calibration import calibrated_by_split, residuals
from gnvpro.surrogate.samples import Samples
from gnvpro.surrogate.spaces import Space
from gnvpro.surrogate.trust.bands import LEVELS, Bands, law_weights, quantile, samples_needed, spread
from gnvpro.training.train import TrainSettings, train

BOX = Space.vector(["a", "b"], lower=(0.0, -1.0), upper=(2.0, 3.0), law="uniform")


def residuals_of(rng, n, n_out=5):
    """Correlated, of different size and heavy tails; nothing that a band could guess."""
    common = rng.standard_t(3, (n, 1))
    return (common + rng.standard_t(3, (n, n_out))) * 10.0 ** np.arange(n_out)


def test_quantile_is_the_order_statistic_of_the_definition():
    scores = np.random.default_rng(0).permutation(19.0 * np.arange(1, 20)).reshape(19, 1)
    for level, rank in ((0.5, 10), (0.9, 18), (0.95, 19)):
        assert quantile(scores, level)[0] == 19.0 * rank
        np.testing.assert_array_equal(quantile(scores, level, (np.ones(19), 1.0)), quantile(scores, level))
    assert quantile(scores[:9], 0.9)[0] == scores[:9].max()
    assert np.isinf(quantile(scores[:8], 0.9))
    assert [samples_needed(level) for level in LEVELS] == [1, 3, 4, 9, 19, 99]
    for level in LEVELS:
        n = samples_needed(level)
        assert np.isfinite(quantile(np.zeros(n), level))
        assert n == 1 or np.isinf(quantile(np.zeros(n - 1), level))


@pytest.mark.parametrize("level", [0.5, 0.9, 0.95])
@pytest.mark.parametrize("n", [30, 99])
def test_coverage_of_exchangeable_residuals_is_the_level(level, n):
    """Each calibration judged by one new sample: independent trials, so the binomial law bounds their number.

    The probability is between the level and level + 1/(n + 1), exactly ceil((n + 1) level)/(n + 1) without ties.
    """
    rng, trials = np.random.default_rng(7), 3000
    marginal = simultaneous = 0
    for _ in range(trials):
        every = residuals_of(rng, n + 1)
        bands = Bands.calibrated(every[:n], np.ones(5) * 10.0 ** np.arange(5), "calibration")
        found = bands.coverage(every[n:], level)
        marginal += abs(every[n, 0]) <= bands.half_width(level)[0]
        simultaneous += found.simultaneous == 1
    exact = np.ceil((n + 1) * level - 1e-9) / (n + 1)
    low, high = binom.ppf([1e-4, 1 - 1e-4], trials, exact)
    assert low <= marginal <= high
    assert low <= simultaneous <= high


def test_a_simultaneous_band_holds_all_observables_and_a_marginal_one_does_not():
    rng = np.random.default_rng(1)
    bands = Bands.calibrated(residuals_of(rng, 400), spread(residuals_of(rng, 200)), "calibration")
    found = bands.coverage(residuals_of(rng, 4000), 0.9)
    assert found.marginal == pytest.approx(0.9, abs=0.03)
    assert found.simultaneous == pytest.approx(0.9, abs=0.05)
    together = (np.abs(residuals_of(rng, 4000)) <= bands.half_width(0.9)).all(axis=1)
    assert together.mean() < 0.85


def test_weights_make_up_for_another_law():
    """Calibrated where the design puts samples, judged where the law puts them: the error depends on the place."""
    rng, n, trials = np.random.default_rng(3), 60, 1500
    lower, size = np.array([0.0, -1.0]), np.array([2.0, 4.0])
    weighted = plain = 0
    for _ in range(trials):
        placed = lower + size * (1 - np.cos(np.pi * rng.random((n, 2)))) / 2
        fresh = lower + size * rng.random((1, 2))

        def errors(y):  # large in the middle, where the design has few
            return (rng.standard_normal(len(y)) * np.prod(1 - np.abs((y - lower) / size - 0.5), axis=1) ** 4)[:, None]

        scores, score = np.abs(errors(placed)), abs(errors(fresh)[0, 0])
        weighting = law_weights(BOX, "sobol-arcsine", placed)
        assert weighting is not None
        weighted += score <= quantile(scores, 0.8, weighting)[0]
        plain += score <= quantile(scores, 0.8)[0]
    low, _ = binom.ppf([1e-4, 1 - 1e-4], trials, 0.8)
    assert weighted >= low
    assert plain < low, "without weights the promise is broken here, or this test tests nothing"


def test_weights_are_the_ratio_of_the_densities():
    rng = np.random.default_rng(0)
    placed = np.array([0.0, -1.0]) + np.array([2.0, 4.0]) * (1 - np.cos(np.pi * rng.random((200_000, 2)))) / 2
    weights, largest = law_weights(BOX, "sobol-arcsine", placed)
    assert weights.mean() == pytest.approx(1, abs=0.01)
    assert (weights * placed[:, 0]).mean() == pytest.approx(1.0, abs=0.01)  # the law's mean
    assert weights.max() <= largest == pytest.approx((np.pi / 2) ** 2)
    assert law_weights(BOX, "random", placed) is None
    assert law_weights(BOX, None, placed) is None


def overfitted():
    """More weights than training samples: residuals there are nothing like those of new samples."""
    rng = np.random.default_rng(0)
    y = rng.uniform(-1, 1, (4100, 4))
    c = np.stack([np.sin(3 * y @ rng.standard_normal(4)) + 2 for _ in range(3)], axis=1)
    spaces = Space.observed(y, "parameter"), Space.observed(c, "observable")
    split = Samples(y, c, *spaces).split(0, train=60, validation=40, calibration=1000, test=3000)
    return train(split, TrainSettings(widths=(40, 40), gain=1.0, budget=150, polynomial="off")).surrogate, split


def test_a_wrong_calibration_is_caught_by_the_coverage_of_fresh_samples():
    surrogate, split = overfitted()
    fresh, scale = residuals(surrogate, split.test), spread(residuals(surrogate, split.validation))
    assert surrogate.trust.bands.source == "calibration"
    honest = surrogate.trust.bands.coverage(fresh, 0.9)
    wrong = Bands.calibrated(residuals(surrogate, split.train), scale, "calibration").coverage(fresh, 0.9)
    # Five and a half standard deviations of a share of 3000 samples, and of a calibration by 1000: 0.06. The network, and
    # with it every residual, is another one on another processor.
    margin = 5.5 * np.sqrt(0.09 / 3000 + 0.09 / 1000)
    assert honest.simultaneous == pytest.approx(0.9, abs=margin)
    assert honest.marginal == pytest.approx(0.9, abs=margin)
    assert wrong.simultaneous < 0.9 - margin
    assert wrong.marginal < 0.9 - margin


def test_samples_that_chose_nothing_calibrate_first():
    surrogate, split = overfitted()
    for without, source in ((("calibration",), "test"), (("calibration", "test"), "validation")):
        empty = {name: split.test.subset(np.arange(0)) for name in without}
        again = calibrated_by_split(surrogate, type(split)(**{**vars(split), **empty}))
        assert again.trust.bands.source == source
        assert again.trust.about()["also_chose_the_network"] == (source == "validation")


def test_too_few_samples_give_an_infinite_band_that_says_why():
    bands = Bands.calibrated(np.ones((12, 2)), np.ones(2), "test")
    assert np.isinf(bands.half_width(0.95)).all()
    assert bands.half_width(0.9, simultaneous=True).tolist() == [1, 1]
    assert bands.shortage(0.9) is None
    assert "12 samples calibrated, 95% needs at least 19" in bands.shortage(0.95)
    with pytest.raises(ValueError, match=r"levels 0\.5, .*0\.7 is none"):
        bands.half_width(0.7)


def test_exact_observables_have_a_scale_all_the_same():
    assert spread(np.zeros((4, 2))).tolist() == [1, 1]
    found = spread(np.array([[1.0, 0.0], [-1.0, 0.0]]))
    assert found.tolist() == pytest.approx([1.4826, 1.4826e-6])
    assert spread(np.array([[0.0], [0.0], [2e-16]])).tolist() == [2e-16]


def test_the_scale_of_an_observable_does_not_see_the_units_of_the_others():
    residuals, units = residuals_of(np.random.default_rng(2), 50), 10.0 ** np.array([-13, 13, 0, -5, 7])
    np.testing.assert_allclose(spread(residuals * units), spread(residuals) * units, rtol=1e-14)
