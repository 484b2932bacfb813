"""Surveys: who is measured against whom, and what a wrong survey is told."""

import numpy as np
import pytest

from gnvpro.pde_data.problems.loading import registered_problem
from gnvpro.pde_data.problems.resistivity.surveys.survey import ReceiverGrid, ReceiverPairs, Source, Survey


def test_default_survey_is_two_images():
    survey = Survey()
    assert survey.observables.shape == (2, 21, 21)
    assert survey.observables.units == ("V/A",)
    assert len(survey.receivers.electrodes) == 22 * 22


def test_differences_of_a_linear_potential_are_its_slopes():
    survey = Survey()
    x1, x2 = survey.receivers.electrodes.T
    data = survey.data((3 * x1 - 2 * x2)[None]).reshape(2, 21, 21)
    np.testing.assert_allclose(data[0], 0.3, rtol=1e-12)
    np.testing.assert_allclose(data[1], -0.2, rtol=1e-12)


def test_axes_name_the_electrode_with_the_smaller_coordinates():
    survey = Survey()
    x1, x2 = survey.receivers.electrodes.T
    potential = x1**2 * x2
    _, first, second = survey.observables.axes
    data = survey.data(potential[None]).reshape(2, 21, 21)
    i, j = 4, 13
    a, b = first.labels[i], second.labels[j]
    assert data[0, i, j] == pytest.approx(((a + 0.1) ** 2 - a**2) * b)
    assert data[1, i, j] == pytest.approx(a**2 * 0.1)


def test_electrodes_are_unique_and_currents_sum_to_zero_for_dipoles():
    sources = (Source((0.0, 0.0), (2.0, 0.0)), Source((2.0, 0.0), (0.0, 3.0)), Source((0.0, 0.0)))
    survey = Survey(sources, ReceiverPairs((((1.0, 0.0), (1.0, 1.0)),)))
    assert len(survey.electrodes) == 3
    np.testing.assert_array_equal(survey.currents.sum(axis=1), [0, 0, 1])
    assert survey.observables.shape == (3, 1)
    assert survey.observables.axes[0].labels[2] == "(0, 0) to far away"


def test_pairs_share_electrodes():
    pairs = (((0.0, 0.0), (1.0, 0.0)), ((1.0, 0.0), (2.0, 0.0)))
    receivers = ReceiverPairs(pairs)
    assert len(receivers.electrodes) == 3
    survey = Survey((Source((5.0, 0.0)),), receivers)
    potential = receivers.electrodes[:, 0] ** 2
    np.testing.assert_allclose(survey.data(potential[None]), [-1.0, -3.0])


def test_pairs_and_grids_are_told_apart_among_options():
    pairs = [[[0.0, 0.0], [0.5, 0.0]]]
    problem = registered_problem("dcr", {"survey": {"receivers": {"positions": pairs}}})
    assert isinstance(problem.survey.receivers, ReceiverPairs)
    problem = registered_problem("dcr", {"survey": {"receivers": {"spacing": 0.05}}})
    assert problem.survey.receivers == ReceiverGrid(spacing=0.05)
    again = registered_problem("dcr", problem.definition["options"])
    assert again == problem
    with pytest.raises(ValueError, match="spacings.*did you mean"):
        registered_problem("dcr", {"survey": {"receivers": {"spacings": 0.05}}})


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Survey(()), "at least one source"),
        (lambda: Source((0.0, 0.0), (0.0, 0.0)), "two different electrodes"),
        (lambda: ReceiverPairs(()), "at least one pair"),
        (lambda: ReceiverPairs((((0.0, 0.0), (0.0, 0.0)),)), "two different electrodes"),
        (lambda: ReceiverGrid(shape=(1, 5)), "at least 2 × 2"),
        (lambda: ReceiverGrid(spacing=0.0), "positive spacing"),
        (
            lambda: Survey((Source((0.0, 0.0)),), ReceiverPairs((((0.0, 0.0), (1.0, 0.0)),))),
            "every pair of receivers has an electrode",
        ),
        (
            lambda: Survey((Source((-1.05, -1.05)),)),
            "grid of receivers stands where current enters, .*list receivers as pairs",
        ),
    ],
)
def test_wrong_surveys_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_options_of_two_kinds_of_receivers_are_not_mixed():
    pairs = [[[0.0, 0.2], [0.0, 0.4]]]
    with pytest.raises(ValueError, match="do not go together"):
        registered_problem("dcr", {"survey": {"receivers": {"positions": pairs, "spacing": 0.2}}})
    with pytest.raises(ValueError, match="positions: expected"):
        registered_problem("dcr", {"survey": {"receivers": {"positions": 3}}})


def test_sources_are_finite_and_different():
    with pytest.raises(ValueError, match="different sources"):
        Survey((Source((0.0, 0.0)), Source((0.0, 0.0))))
    with pytest.raises(ValueError, match="finite positions"):
        Source((float("nan"), 0.0))
