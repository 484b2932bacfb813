"""Observables that are missing: what they are of a table, of samples, of errors and of bands."""

from dataclasses import replace

import numpy as np
import pytest

from gnvpro.surrogate.error_measure import ErrorMeasure, measure_for
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.missing import lengths_of_all, mean, mean_square, variance
from gnvpro.surrogate.model.output_errors import errors_by_output
from gnvpro.surrogate.samples import Samples
from gnvpro.surrogate.scaling import Scaling
from gnvpro.surrogate.spaces import Space
from gnvpro.surrogate.trust.bands import LEVELS, Bands, quantiles, spread

N, K = 200, 6


def table(seed=0, share=0.2):
    """Rows of one shape and sizes of their own, with their gaps and without."""
    rng = np.random.default_rng(seed)
    values = np.exp(rng.normal(size=(N, 1))) * (10.0 ** -np.arange(K)) * (1 + 0.1 * rng.normal(size=(N, K)))
    missing = rng.random((N, K)) < share
    missing[missing.all(axis=1)] = False
    return values, missing


def samples(missing):
    values, _ = table()
    parameters = np.random.default_rng(1).uniform(size=(N, 2))
    spaces = Space.vector(["a", "b"], lower=(0.0, 0.0), upper=(1.0, 1.0)), Space.vector([f"c{j}" for j in range(K)])
    return Samples(parameters, np.where(missing, np.nan, values), *spaces)


def test_moments_are_those_of_what_there_is_and_of_all_where_all_is_there():
    values, missing = table()
    gaps = np.where(missing, np.nan, values)
    for of, expected in ((mean, np.mean), (variance, np.var)):
        np.testing.assert_array_equal(of(values), expected(values, axis=0))
        np.testing.assert_allclose(of(gaps), [expected(gaps[~missing[:, j], j]) for j in range(K)], rtol=1e-12)
    assert mean_square(values) == float((values**2).mean())
    gaps[:, 2] = np.nan
    assert mean(gaps)[2] == variance(gaps)[2] == 0


def test_the_length_of_a_row_is_estimated_from_what_there_is_of_it():
    values, missing = table()
    found, exact = lengths_of_all(np.where(missing, np.nan, values), missing), np.linalg.norm(values, axis=1)
    whole = ~missing.any(axis=1)
    np.testing.assert_allclose(found[whole], exact[whole], rtol=1e-12)
    large = ~missing[:, 0]
    np.testing.assert_allclose(found[large], exact[large], rtol=0.05)
    # A row of which the last and smallest number alone is known is one of ordinary size, not a thousandth of that.
    one = np.ones((1, K), bool)
    one[0, -1] = False
    rows, gaps = np.concatenate([values, values[:1] * 1e-3]), np.concatenate([missing, one])
    assert 0.5 < lengths_of_all(np.where(gaps, np.nan, rows), gaps)[-1] / np.median(exact) < 2
    assert np.isnan(lengths_of_all(np.full((2, 2), np.nan), np.array([[True, True], [False, True]]))[0])


def test_errors_of_samples_with_gaps_estimate_those_without():
    values, missing = table()
    misfit = 0.01 * values * np.random.default_rng(5).normal(size=values.shape)
    measure = ErrorMeasure()
    exact = measure.errors(misfit, values)
    found = measure.errors(np.where(missing, np.nan, misfit), np.where(missing, np.nan, values))
    whole = ~missing.any(axis=1)
    np.testing.assert_array_less(np.abs(found[whole] / exact[whole] - 1), 1e-12)
    # The root of an estimate that scatters is a little too small.
    assert found.mean() == pytest.approx(exact.mean(), rel=0.25)
    # A misfit that is no number where there is an observable is an error that is none.
    broken = misfit.copy()
    broken[3, 1] = np.nan
    assert np.isnan(measure.errors(broken, values)[3])
    gaps = np.where(missing, np.nan, values)
    gaps[3, 1] = values[3, 1]
    assert np.isnan(measure.errors(np.where(np.isnan(gaps), np.nan, broken), gaps)[3])


def test_measure_and_scaling_hardly_depend_on_gaps():
    values, missing = table()
    gaps = np.where(missing, np.nan, values)
    space, y = Space.vector([f"c{j}" for j in range(K)]), np.random.default_rng(1).uniform(size=(N, 2))
    for goal in ("relative", "absolute"):
        whole, found = measure_for(values, space, goal)[0], measure_for(gaps, space, goal)[0]
        np.testing.assert_allclose(found.output_scale, whole.output_scale, rtol=0.3)
        assert (found.spread is None) == (whole.spread is None)
        scaling = Scaling.standardised(y, gaps, 1.0, unit=found.output_scale, centred=goal == "absolute")
        targets = scaling.targets(y, gaps)
        assert mean_square(targets) == pytest.approx(1)
        np.testing.assert_allclose(scaling.observables(y, targets), gaps, rtol=1e-12, equal_nan=True)


def test_samples_say_what_they_lack():
    _, missing = table()
    missing[:] = False
    assert samples(missing).missing is None
    assert samples(missing).lacking is None
    missing[:10, 1] = missing[5:12, 3] = True
    found = samples(missing)
    assert found.lacking is not None
    assert found.lacking.in_words == "12 of 200 samples lack values of 2 of 6 observables, 1.4 % of all"
    np.testing.assert_array_equal(found.missing, missing)
    assert len(found.complete) == N - 12
    assert found.complete.missing is None
    with pytest.raises(UsageError, match=r"^x needs all observables .*12 of 200.*samples.complete has 188"):
        found.require_complete("x")
    found.require_observed()
    missing[5:, 3] = True
    with pytest.raises(UsageError, match="expected every observable in 10 samples at least, got c3 in 5 of 200"):
        samples(missing).require_observed()
    assert samples(missing) == samples(missing)
    renamed = found.in_order_of(found.parameter_space, Space.vector([f"c{j}" for j in range(K)][::-1]))
    assert renamed.missing is not None
    np.testing.assert_array_equal(renamed.missing, found.missing[:, ::-1])


def test_an_output_has_the_error_at_the_samples_that_have_it():
    values, missing = table()
    predicted, space = values * 1.01, Space.vector([f"c{j}" for j in range(K)])
    found = errors_by_output(predicted, np.where(missing, np.nan, values), space, None)
    np.testing.assert_allclose(found["errors"], 0.01, rtol=1e-9)
    assert found["stated"] == pytest.approx(0.01, rel=1e-6)
    assert found["worse"] == {}


def test_bands_are_those_of_the_samples_that_have_an_observable():
    rng = np.random.default_rng(2)
    residuals, missing = rng.normal(size=(150, 4)) * [1, 2, 3, 4], rng.random((150, 4)) < 0.3
    missing[missing.all(axis=1)] = False
    missing[:100, 3] = True
    missing[:100, 0] = False
    gaps = np.where(missing, np.nan, residuals)
    bands = Bands.calibrated(gaps, spread(gaps), "test")
    for j in range(4):
        known = np.abs(residuals[~missing[:, j], j])
        np.testing.assert_array_equal(bands.marginal[:, j], quantiles(known, LEVELS))
        assert bands.scale[j] == pytest.approx(1.4826 * np.median(known))
    assert bands.n_samples == int((~missing).sum(axis=0).min())
    assert np.isinf(bands.half_width(0.99)[3])
    assert "needs at least 99" in (bands.shortage(0.99) or "")
    weighted = quantiles(np.abs(gaps), LEVELS, (np.ones(150), 1.0))
    np.testing.assert_array_equal(weighted, bands.marginal)
    coverage = bands.coverage(gaps, 0.8)
    assert coverage.marginal == pytest.approx(0.8, abs=0.03)


def test_the_simultaneous_band_of_samples_with_gaps_covers_whole_ones():
    # 2000 samples of 30 observables with a common size; coverage of 4000 others has a standard deviation below 0.008.
    rng = np.random.default_rng(3)

    def drawn(n):
        return rng.normal(size=(n, 30)) * np.exp(0.5 * rng.normal(size=(n, 1)))

    whole, fresh = drawn(2000), drawn(4000)
    gaps = np.where(rng.random(whole.shape) < 0.5, np.nan, whole)
    bands = Bands.calibrated(gaps, spread(gaps), "test")
    covered = bands.coverage(fresh, 0.9)
    assert covered.simultaneous == pytest.approx(0.9, abs=0.04)
    # Without an estimate of what is missing, the largest of half of the numbers is too small.
    scores = np.nanmax(np.abs(gaps) / bands.scale, axis=1)
    naive = replace(bands, factors=quantiles(scores, LEVELS))
    assert naive.coverage(fresh, 0.9).simultaneous < covered.simultaneous - 0.02


@pytest.mark.parametrize("where", ["scale", "calibration", "both", "all but one"])
def test_the_simultaneous_band_of_an_observable_without_residuals_is_infinite(where):
    rng = np.random.default_rng(3)
    of_scale, residuals = rng.normal(size=(2, 60, 3))
    for name, of in (("scale", of_scale), ("calibration", residuals)):
        if where in (name, "both"):
            of[:, 1] = np.nan
    expected = Bands.calibrated(residuals[:, [0, 2]], spread(of_scale[:, [0, 2]]), "test").half_width(
        0.9, simultaneous=True
    )
    if where == "all but one":
        # What the rows that have no observable with a scale hold is not taken for residuals of zero.
        of_scale[:, 1:] = residuals[:30, 0] = np.nan
        expected = Bands.calibrated(residuals[30:, :1], spread(of_scale[:, :1]), "test").half_width(
            0.9, simultaneous=True
        )
    bands = Bands.calibrated(residuals, spread(of_scale), "test")
    found = bands.half_width(0.9, simultaneous=True)
    assert np.isinf(found[1])
    np.testing.assert_array_equal(found[np.isfinite(found)], expected)
    assert bands.finite_half_width(0.9, simultaneous=True) is None
    assert bands.coverage(rng.normal(size=(200, 3)), 0.9).simultaneous > 0.8
    if where in ("scale", "all but one"):
        assert "observables are in none of the samples that set the scales" in bands.shortage(0.9)
    else:
        assert bands.shortage(0.9) == "infinite: 0 samples calibrated, 90% needs at least 9"


def test_bands_of_nothing_are_infinite():
    bands = Bands.calibrated(np.zeros((20, 2)), spread(np.full((20, 2), np.nan)), "test")
    assert np.isinf(bands.half_width(0.9, simultaneous=True)).all()
    bands = Bands.calibrated(np.full((20, 2), np.nan), np.ones(2), "test")
    assert np.isinf([bands.half_width(0.9), bands.half_width(0.9, simultaneous=True)]).all()
