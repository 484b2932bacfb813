"""Measured files as observations of a model: found by the places of electrodes, whatever their order."""

import numpy as np
import pytest

import gnvpro
from gnvpro.apps.inversion.posterior.observations import noise_of, observations_of
from gnvpro.pde_data.problems.resistivity.problem import Resistivity
from gnvpro.pde_data.problems.resistivity.surveys import arrays
from gnvpro.pde_data.problems.resistivity.surveys.measured_survey import MeasuredSurvey
from gnvpro.pde_data.problems.resistivity.surveys.survey_observations import observations_for

SURVEY = arrays.dipole_dipole(9, 2.0)
K = len(SURVEY.abmn)
RESISTANCE = Resistivity(SURVEY, background_conductivity=0.01).background * np.linspace(0.8, 1.2, K)
SPACE = Resistivity(SURVEY).observables
APPARENT = Resistivity(SURVEY, observable="apparent_resistivity").observables


def survey(abmn, resistance, deviation=None, positions=SURVEY.positions):
    return MeasuredSurvey(
        positions, np.asarray(abmn), np.asarray(resistance), np.ones(len(abmn), dtype=bool), deviation
    )


@pytest.mark.parametrize("name", ["line.dat", "line.obs"])
def test_a_file_is_found_by_its_electrodes(tmp_path, name):
    rng = np.random.default_rng(0)
    order = rng.permutation(K)[: K - 3]
    abmn, data = SURVEY.abmn[order].copy(), RESISTANCE[order].copy()
    abmn[::2] = abmn[::2][:, [2, 3, 0, 1]]  # reciprocals
    abmn[::3] = abmn[::3][:, [1, 0, 2, 3]]
    data[::3] *= -1
    renumber = rng.permutation(9)
    positions = np.empty_like(SURVEY.positions)
    positions[renumber] = SURVEY.positions
    given = survey(renumber[abmn - 1] + 1, data, np.abs(data) * 0.03, positions)
    path = gnvpro.write_survey(given, tmp_path / name)
    values, deviations, _ = observations_of(path, SPACE)
    missing = np.setdiff1d(np.arange(K), order)
    assert np.flatnonzero(np.isnan(values)).tolist() == missing.tolist()
    np.testing.assert_allclose(np.delete(values, missing), np.delete(RESISTANCE, missing), rtol=1e-8)
    np.testing.assert_allclose(np.delete(deviations, missing), 0.03 * np.abs(np.delete(RESISTANCE, missing)), rtol=1e-8)
    noise = noise_of("data", values, deviations)
    assert noise.size == K
    apparent, spread, _ = observations_of(path, APPARENT)
    np.testing.assert_allclose(apparent, values * SURVEY.geometric_factors)
    np.testing.assert_allclose(spread, deviations * np.abs(SURVEY.geometric_factors))


def test_several_measurements_of_one_are_averaged_by_their_noise():
    abmn = [(1, 2, 3, 4), (3, 4, 1, 2), (2, 1, 3, 4)]
    values, deviations = observations_for(survey(abmn, [1.0, 4.0, -1.0], np.array([0.1, 0.2, 0.1])), SPACE)
    assert values[0] == pytest.approx((100 * 1 + 25 * 4 + 100 * 1) / 225)
    assert deviations[0] == pytest.approx(225**-0.5)
    values, deviations = observations_for(survey(abmn, [1.0, 4.0, -1.0]), SPACE)
    assert values[0] == pytest.approx(2.0)
    assert deviations is None


def test_a_model_with_reciprocals_has_each_its_own_datum():
    both = gnvpro.FourElectrodeSurvey(SURVEY.electrodes, ((1, 2, 3, 4), (3, 4, 1, 2)))
    values, _ = observations_for(survey([(4, 3, 1, 2), (1, 2, 3, 4)], [-2.0, 1.0]), both.observables)
    assert values.tolist() == [1.0, 2.0]
    values, _ = observations_for(survey([(1, 2, 3, 4)], [1.0]), both.observables)
    np.testing.assert_array_equal(values, [1.0, np.nan], "one datum does not count twice")


def test_other_electrodes_and_other_models_are_told(tmp_path):
    shifted = survey(SURVEY.abmn, RESISTANCE, positions=SURVEY.positions + 0.5)
    with pytest.raises(
        gnvpro.UsageError, match=r"none of the model's 21 .*\(0.5, 0.5\) to \(16.5, 0.5\) m in the file"
    ):
        observations_for(shifted, SPACE)
    with pytest.raises(
        gnvpro.UsageError, match="measurement 1 is none of the model's 21 measurements, and with it 1 of 1"
    ):
        observations_for(survey([(1, 3, 2, 4)], [1.0]), SPACE)
    path = gnvpro.write_survey(survey(SURVEY.abmn, RESISTANCE), tmp_path / "line.dat")
    with pytest.raises(gnvpro.UsageError, match="2 differences.*generate dcr --set survey="):
        observations_of(path, Resistivity().observables)
    gnvpro.write_survey(SURVEY, path, overwrite=True)
    with pytest.raises(gnvpro.UsageError, match="expected measurements with r, rhoa, or u and i"):
        observations_of(path, SPACE)


def test_electrodes_with_two_numbers_at_one_place_are_one(tmp_path):
    positions = np.concatenate([SURVEY.positions, SURVEY.positions[2:4]])  # 10 is 3, 11 is 4
    model = gnvpro.FourElectrodeSurvey(tuple(map(tuple, positions)), ((1, 2, 3, 4), (2, 10, 11, 5), (1, 11, 6, 7)))
    given = survey(model.abmn, [1.0, 2.0, 3.0], positions=positions)
    values, _ = observations_for(given, model.observables)
    assert values.tolist() == [1, 2, 3]
    read = gnvpro.read_survey(gnvpro.write_survey(given, tmp_path / "twice.dat"))
    assert read.abmn.tolist() == [[1, 2, 3, 4], [2, 3, 4, 5], [1, 4, 6, 7]]
    for of in (read.survey, model):
        assert observations_for(read, of.observables)[0].tolist() == [1, 2, 3]


def test_noise_of_zero_is_refused_where_noise_is_asked_for():
    values, deviations = observations_for(survey([(1, 2, 3, 4)], [1.0], np.zeros(1)), SPACE)
    with pytest.raises(gnvpro.UsageError, match="positive standard deviations"):
        noise_of("data", values, deviations)
