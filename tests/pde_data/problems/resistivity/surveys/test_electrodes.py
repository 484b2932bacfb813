"""Four electrodes: geometric factors, the orders of them that mean the same, and what cannot be measured."""

import json

import numpy as np
import pytest

from gnvpro.pde_data.problems.resistivity.surveys.arrays import dipole_dipole, pole_dipole
from gnvpro.pde_data.problems.resistivity.surveys.electrodes import (
    canonical,
    electrodes_of,
    geometric_factors,
    measurement_axis,
    oriented,
    reciprocal_pairs,
    require_measurable,
    resistances,
)
from gnvpro.surrogate.spaces import Space

LINE = np.stack([2.0 * np.arange(8), np.zeros(8)], axis=1)
RNG = np.random.default_rng(3)
SCATTERED = RNG.standard_normal((8, 2))


def test_geometric_factors_are_those_of_the_textbook():
    spacing = 2.0
    wenner, dipole, pole, two_poles = geometric_factors(
        LINE, np.array([[1, 4, 2, 3], [1, 2, 4, 5], [1, 0, 3, 4], [1, 0, 4, 0]])
    )
    assert wenner == pytest.approx(2 * np.pi * spacing)
    n = 2  # the dipoles are so many lengths apart; M is the electrode nearer to B, so the sign is the other one
    assert dipole == pytest.approx(-np.pi * n * (n + 1) * (n + 2) * spacing)
    assert pole == pytest.approx(2 * np.pi * 2 * (2 + 1) * spacing)
    assert two_poles == pytest.approx(2 * np.pi * 3 * spacing)


def test_no_signal_has_an_infinite_factor_and_zero_in_an_axis():
    across = np.array([[0.0, 0.0], [2.0, 0.0], [1.0, 1.0], [1.0, -1.0]])
    abmn = np.array([[1, 2, 3, 4]])
    assert np.isinf(geometric_factors(across, abmn)).all()
    assert measurement_axis(across, abmn).coordinates[-1].values == (0.0,)


def all_orders(abmn):
    a, b, m, n = abmn
    for first, second in (((a, b), (m, n)), ((m, n), (a, b))):
        for x in (first, first[::-1]):
            for y in (second, second[::-1]):
                yield (*x, *y)


@pytest.mark.parametrize("abmn", [(5, 2, 7, 1), (1, 2, 3, 4), (3, 0, 6, 2), (4, 0, 6, 0), (2, 8, 1, 5)])
def test_equivalent_orders_have_one_name_and_the_sign_of_their_datum(abmn):
    orders = np.array(list(all_orders(abmn)))
    keys, sign = canonical(orders)
    assert len(np.unique(keys, axis=0)) == 1
    data = resistances(SCATTERED, orders) * sign
    np.testing.assert_allclose(data, data[0], rtol=1e-12)
    own_keys, own_sign = oriented(orders)
    assert len(np.unique(own_keys, axis=0)) == 2
    np.testing.assert_allclose(resistances(SCATTERED, orders) * own_sign, data, rtol=1e-12)


def test_different_measurements_have_different_names():
    survey = dipole_dipole(12, lengths=(1, 2))
    assert len(np.unique(canonical(survey.abmn)[0], axis=0)) == len(survey.abmn)


def test_reciprocals_are_paired_once():
    abmn = np.array([[1, 2, 3, 4], [4, 3, 1, 2], [3, 4, 2, 1], [1, 3, 5, 7], [2, 1, 4, 3]])
    pairs = reciprocal_pairs(abmn)
    assert pairs.tolist() == [[0, 1], [2, 4]]


def test_an_axis_goes_through_json_with_poles():
    survey = pole_dipole(6, 2.0, first=(1.0, -1.0), azimuth=0.3)
    space = Space.from_dict(json.loads(json.dumps(survey.observables.to_dict(), allow_nan=False)))
    assert space == survey.observables
    positions, abmn = electrodes_of(space.axes[0])
    np.testing.assert_array_equal(abmn, survey.abmn)
    np.testing.assert_array_equal(positions, survey.positions)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ([1, 2, 1, 3], "A and M at the same place: the potential is infinite"),
        ([1, 2, 3, 2], "B and N at the same place"),
        ([1, 1, 2, 3], "A and B at the same place: nothing flows"),
        ([1, 2, 3, 3], "M and N at the same place"),
        ([1, 2, 3, 9], "expected electrodes 1 to 8, or 0"),
        ([0, 0, 3, 4], "both current electrodes far away"),
        ([1, 2, 0, 0], "both potential electrodes far away"),
    ],
)
def test_what_cannot_be_measured_is_named(row, message):
    with pytest.raises(ValueError, match=f"measurement 2 .*{message}"):
        require_measurable(LINE, np.array([[1, 2, 3, 4], row]))


def test_electrodes_of_two_numbers_at_one_place_are_told():
    twice = np.concatenate([LINE, LINE[:1]])
    with pytest.raises(ValueError, match="A and M at the same place"):
        require_measurable(twice, np.array([[1, 2, 9, 4]]))
