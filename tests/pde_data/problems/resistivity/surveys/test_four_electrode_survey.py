"""Lists of measurements and arrays of them: what they measure, and how they become options."""

import numpy as np
import pytest

from gnvpro.pde_data.problems.loading import registered_problem
from gnvpro.pde_data.problems.resistivity.ground.half_space import HalfSpace
from gnvpro.pde_data.problems.resistivity.problem import Resistivity
from gnvpro.pde_data.problems.resistivity.surveys import arrays
from gnvpro.pde_data.problems.resistivity.surveys.electrodes import reciprocal_pairs
from gnvpro.pde_data.problems.resistivity.surveys.four_electrode_survey import FourElectrodeSurvey
from gnvpro.pde_data.problems.resistivity.surveys.survey import ReceiverPairs, Source, Survey

RNG = np.random.default_rng(5)
MIXED = FourElectrodeSurvey(
    tuple(map(tuple, RNG.standard_normal((7, 2)).tolist())),
    ((1, 2, 3, 4), (3, 4, 1, 2), (1, 0, 2, 7), (7, 5, 6, 0), (2, 1, 3, 5), (0, 5, 3, 1)),
)


def test_data_are_differences_of_superposed_potentials():
    between = RNG.standard_normal((8, 8))  # potential at one electrode of 1 A into another
    between[0] = between[:, 0] = 0.0
    current, potential = (
        np.array([int(np.flatnonzero((MIXED.positions == p).all(axis=1))[0]) + 1 for p in places])
        for places in (MIXED.current_electrodes, MIXED.potential_electrodes)
    )
    data = MIXED.data(MIXED.currents @ between[np.ix_(current, potential)])
    for found, (a, b, m, n) in zip(data, MIXED.measurements, strict=True):
        assert found == pytest.approx(between[a, m] - between[b, m] - between[a, n] + between[b, n])


def test_background_is_one_over_the_conductivity_as_apparent_resistivity():
    problem = Resistivity(MIXED, background_conductivity=0.02, observable="apparent_resistivity")
    np.testing.assert_allclose(problem.background, 50.0, rtol=1e-12)
    assert problem.observables.units == ("ohm m",)
    resistance = Resistivity(MIXED, background_conductivity=0.02)
    assert np.isfinite(resistance.background).all()
    np.testing.assert_allclose(resistance.background * MIXED.geometric_factors, 50.0, rtol=1e-12)


def test_a_measurement_without_signal_has_no_apparent_resistivity():
    with pytest.raises(
        ValueError, match=r"21 of 882 measurements have no apparent resistivity, the\s+first 'difference x2"
    ):
        Resistivity(observable="apparent_resistivity")


def test_sources_and_receivers_that_touch_are_left_out():
    a, b, c, d = ((2.0 * i, 0.0) for i in range(4))
    survey = Survey((Source(a, b), Source(c, d)), ReceiverPairs(((c, d), (a, (9.0, 0.0)), ((9.0, 0.0), (5.0, 1.0)))))
    listed = survey.observables.axes[0]
    assert listed.name == "measurement"
    assert len(listed.labels) == 4, "the second receiver touches the first source, the first one the second"
    by_electrode = HalfSpace(1.0).potential(survey.current_electrodes, survey.potential_electrodes)
    by_electrode[~np.isfinite(by_electrode)] = 0.0
    np.testing.assert_allclose(survey.data(survey.currents @ by_electrode) * survey.geometric_factors, 1.0, rtol=1e-12)


def test_options_name_a_list_of_measurements():
    problem = registered_problem(
        "dcr", {"survey": {"electrodes": [[0, 0], [1, 0], [2, 0], [3, 0]], "measurements": [[1, 2, 3, 4]]}}
    )
    assert problem.survey == arrays.dipole_dipole(4)
    assert registered_problem("dcr", problem.definition["options"]) == problem


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"electrodes": [[0, 0], [1, 0]], "measurements": [[1, 2, 3, 4]]}, "expected electrodes 1 to 2"),
        ({"electrodes": [[0, 0, 0]], "measurements": [[1, 2, 3, 4]]}, "electrodes"),
        ({"electrodes": [[0, 0], [1, 0], [2, 0]], "measurements": [[1, 0, 2, 3], [1, 0, 2, 3]]}, "there 2 times"),
    ],
)
def test_wrong_lists_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        registered_problem("dcr", {"survey": options})


def test_what_is_no_survey_is_told_how_to_read_one():
    with pytest.raises(ValueError, match="read_survey"):
        Resistivity("line.dat")


def test_former_definitions_are_the_same():
    assert {"centre", "observable"}.isdisjoint(Resistivity().definition["options"])
    assert Resistivity(centre=(1.0, 0.0)).definition["options"]["centre"] == (1.0, 0.0)


class TestArrays:
    def test_dipole_dipole_of_21_electrodes(self):
        survey = arrays.dipole_dipole(21, 2.0)
        assert len(survey.measurements) == 116
        assert survey.measurements[0] == (1, 2, 3, 4)
        assert survey.electrodes[-1] == (40.0, 0.0)

    def test_wenner_has_equal_distances_and_schlumberger_its_middle(self):
        for survey, ratio in ((arrays.wenner(10), 1.0), (arrays.schlumberger(10), None)):
            a, b, m, n = (survey.positions[survey.abmn[:, j] - 1, 0] for j in range(4))
            np.testing.assert_allclose((a + b) / 2, (m + n) / 2)
            if ratio:
                np.testing.assert_allclose(m - a, n - m)
            assert (a < m).all()
            assert (n < b).all()
        assert len(arrays.wenner(10).measurements) == 7 + 4 + 1
        np.testing.assert_allclose(arrays.wenner(7, 3.0, widths=(2,)).geometric_factors, 2 * np.pi * 6.0)

    def test_poles_are_far_away_and_go_both_ways(self):
        survey = arrays.pole_dipole(6)
        assert (survey.abmn[:, 1] == 0).all()
        steps = survey.abmn[:, 2] - survey.abmn[:, 0]
        assert (steps > 0).sum() == (steps < 0).sum() > 0
        assert (arrays.pole_pole(5).abmn[:, [1, 3]] == 0).all()
        assert len(arrays.pole_pole(5).measurements) == 10

    def test_a_grid_has_every_line_once(self):
        survey = arrays.grid((5, 4), 2.0, separations=2)
        assert len(survey.electrodes) == 20
        one, other = (len(arrays.dipole_dipole(n, separations=2).measurements) for n in (5, 4))
        assert len(survey.measurements) == 4 * one + 5 * other
        assert len(arrays.together(survey, survey).measurements) == len(survey.measurements)

    def test_lines_turn(self):
        turned = arrays.wenner(7, azimuth=np.pi / 2, first=(1.0, 2.0))
        np.testing.assert_array_equal(turned.positions, [[1.0, 2.0 + i] for i in range(7)])

    def test_reciprocals_of_an_array(self):
        survey = arrays.dipole_dipole(8)
        back = survey.abmn[:, [2, 3, 0, 1]]
        assert len(reciprocal_pairs(np.concatenate([survey.abmn, back]))) == len(survey.abmn)

    @pytest.mark.parametrize(
        ("make", "message"),
        [
            (lambda: arrays.wenner(3), "too few for a Wenner"),
            (lambda: arrays.wenner(8.0), "expected n an integer, got 8.0"),
            (lambda: arrays.pole_pole("8"), "expected n an integer"),
            (lambda: arrays.wenner(8, "2"), "the spacing of electrodes to be real numbers"),
            (lambda: arrays.dipole_dipole(8, lengths=1), r"lengths of dipoles as a list such as \[1, 2\], got 1"),
            (lambda: arrays.grid(4), "shape of a grid as two numbers of electrodes, got 4"),
            (lambda: arrays.grid((4.0, 4)), r"expected shape\[0\] an integer"),
            (lambda: arrays.dipole_dipole(8, 0.0), "positive spacing"),
            (lambda: arrays.dipole_dipole(8, lengths=(0,)), "lengths of dipoles"),
            (lambda: arrays.grid((2, 2)), "enough for a line"),
        ],
    )
    def test_wrong_arrays_are_refused(self, make, message):
        with pytest.raises(ValueError, match=message):
            make()
