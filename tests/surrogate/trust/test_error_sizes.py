"""Mean errors from error bands."""

import numpy as np
import pytest
from scipy.stats import norm

from gnvpro.surrogate.trust.bands import LEVELS
from gnvpro.surrogate.trust.error_sizes import mean_errors, mean_square_errors


@pytest.mark.parametrize(("n_finite", "ratio"), [(6, 1.26), (4, 1.70)])
def test_those_of_a_normal_error_are_estimated_from_above_and_not_far(n_finite, ratio):
    widths = norm.ppf((1 + np.array(LEVELS)) / 2)[:, None] * [1.0, 3.0]
    widths[n_finite:] = np.inf
    found = mean_square_errors(LEVELS, widths)
    np.testing.assert_allclose(found, ratio * np.array([1.0, 9.0]), rtol=0.01)
    mean = mean_errors(LEVELS, widths)
    assert (mean >= np.sqrt(2 / np.pi) * np.array([1.0, 3.0])).all()
    assert (mean <= np.sqrt(found)).all()


def test_every_column_has_its_own_finite_levels():
    levels, widths = (0.5, 0.9), np.array([[1.0, 1.0, np.inf], [2.0, np.inf, np.inf]])
    np.testing.assert_allclose(mean_errors(levels, widths), [0.25 + 0.6 + 0.1 * 4, 0.25 + 0.5 * 2, np.nan])
    np.testing.assert_allclose(mean_square_errors(levels, widths), [0.25 + 1.0 + 0.1 * 16, 0.25 + 0.5 * 4, np.nan])
