"""What is rounding: of a column, in units that do not matter, and of a precision."""

import numpy as np
import pytest
import torch

from gnvpro.surrogate.precision import in_precision
from gnvpro.surrogate.rounding import spread_or_size, varies
from gnvpro.surrogate.scaling import Scaling
from gnvpro.surrogate.seeds import member_seed

UNITS = 10.0 ** np.array([-13, 13, 0, -100, 100])


def test_a_column_varies_by_its_own_size():
    rng = np.random.default_rng(0)
    assert varies(rng.uniform(1, 2, (50, 5)) * UNITS).all()
    assert varies((1 + 1e-14 * rng.uniform(0, 1, (50, 5))) * UNITS).all()
    constant = np.full((50, 5), 0.1) * UNITS
    assert not varies(constant).any()
    # The same number computed in several ways.
    constant[::2] = (0.3 - 0.2) * UNITS
    constant[1::3] = sum([0.01] * 10) * UNITS
    assert not varies(constant).any()
    assert not varies(np.zeros((50, 5))).any()
    assert not varies(constant[:1]).any()


def test_columns_that_do_not_vary_are_scaled_by_their_size():
    values = np.array([[1e-13, -5e13, 0.0], [2e-13, -5e13, 0.0]])
    assert spread_or_size(values, values.std(0)).tolist() == [values[:, 0].std(), 5e13, 1.0]


def test_inputs_are_scaled_alike_in_every_unit():
    rng = np.random.default_rng(1)
    y, c = np.hstack([rng.uniform(1, 2, (40, 5)), np.ones((40, 1))]), rng.uniform(1, 2, (40, 3))
    units = np.append(UNITS, 1e9)
    expected = Scaling.standardised(y, c, 1.0).inputs(y)
    np.testing.assert_allclose(Scaling.standardised(y * units, c, 1.0).inputs(y * units), expected, atol=1e-13)
    assert (expected[:, -1] == 0).all()


@pytest.mark.parametrize("threshold", [1e-16, 1e-13, 1e-12, 1e-10])
def test_a_threshold_is_kept_in_float64_and_keeps_its_share_of_the_digits_in_others(threshold):
    assert in_precision(threshold, torch.float64) == threshold
    single, half = (in_precision(threshold, dtype) for dtype in (torch.float32, torch.float16))
    digits = np.log(threshold) / np.log(np.finfo(np.float64).eps)
    assert single == pytest.approx(np.finfo(np.float32).eps ** digits)
    assert threshold < single < half < 1


def test_families_of_neighbouring_seeds_share_no_member():
    seeds = [member_seed(seed, member) for seed in range(50) for member in range(20)]
    assert len(set(seeds)) == len(seeds)
    assert [member_seed(seed, 0) for seed in range(3)] == [0, 1, 2]
