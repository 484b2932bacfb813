"""Scaling: the synthetic field, what compression makes of outputs, slopes, and the study's structure."""

import json
import math

import pytest
import torch

from gnvpro.apps.studies.scaling import scaling
from gnvpro.apps.studies.scaling.cost_figure import FACTORS, slope
from gnvpro.apps.studies.scaling.teacher import Teacher
from gnvpro.apps.studies.settings import StudySettings

SMALL = dict(
    samples=[100, 200], width=[4, 8], outputs=[72, 144, 300], depth=[1, 2], base=[150, 6, 72, 2], budget=20, goal=0.3
)


@pytest.fixture(scope="module")
def result():
    given = StudySettings(quick=True, seeds=1, set=SMALL)
    return scaling.run(given, lambda *_: None)


def rows(result, factor, method, compressed=True):
    return scaling._rows(result.numbers()["measured"], factor, method, compressed)


def test_every_factor_is_measured_by_every_method(result):
    for factor in FACTORS:
        for method in scaling.SETTINGS:
            assert [row["value"] for row in rows(result, factor, method)] == SMALL[factor]
            assert not math.isnan(result.numbers()["slopes"][f"{factor}, {method}"])
    json.dumps(result.numbers())
    assert len(result.tables) == len(FACTORS) + 1
    assert set(result.figures) == {"scaling"}


@pytest.mark.parametrize("method", ["varpro-lbfgs", "varpro-krylov", "adam"])
def test_outputs_do_not_change_the_cost_in_units_nor_what_a_step_sees(result, method):
    found = rows(result, "outputs", method)
    assert len({row["n_targets"] for row in found}) == 1
    assert len({row["n_theta"] for row in found}) == 1
    units = [row["units_per_step"] for row in found]
    assert max(units) <= 1.05 * min(units)


def test_without_compression_a_step_sees_as_many_targets_as_there_are_outputs_or_samples(result):
    found = rows(result, "outputs", "varpro-lbfgs", compressed=False)
    assert [row["n_targets"] for row in found] == [72, 144, 150]


def test_work_units_of_a_step_by_hand(result):
    """An accepted step of L-BFGS is a forward and a backward pass at least; an epoch of Adam is one of each."""
    assert all(row["units_per_step"] >= 2 for row in rows(result, "samples", "varpro-lbfgs"))
    # The solve of the first W is one unit more, shared by the epochs, of which the budget may cut the last.
    assert all(1.8 <= row["units_per_step"] <= 3 for row in rows(result, "samples", "adam"))


def test_a_finer_grid_of_sensors_shows_the_same_field():
    teacher = Teacher(noise=0.0)
    inputs, coarse = teacher.draw(30, 72, seed=1)
    again, fine = teacher.draw(30, 720, seed=1)
    assert torch.equal(inputs, again)
    # Orthogonal modes: the mean square over sensors does not depend on their number.
    torch.testing.assert_close(coarse.square().mean(1), fine.square().mean(1))
    assert float(coarse.square().mean()) == pytest.approx(1)
    assert int((torch.linalg.svdvals(fine) > 1e-10 * torch.linalg.svdvals(fine)[0]).sum()) <= teacher.widths[-1]


def test_noise_has_the_size_that_is_stated():
    quiet, noisy = (Teacher(noise=noise).draw(50, 400, seed=2)[1] for noise in (0.0, 1e-2))
    assert float((noisy - quiet).std()) == pytest.approx(1e-2, rel=0.05)


def test_slope_is_the_exponent():
    measured = [dict(value=v, cost=3 * v**1.5) for v in (2, 8, 64)]
    assert slope(measured, "cost") == pytest.approx(1.5)
    assert slope([*measured, dict(value=128, cost=None)], "cost") == pytest.approx(1.5)
    assert math.isnan(slope(measured[:1], "cost"))


def test_a_goal_most_seeds_miss_is_none():
    costs = [scaling._Cost(1.0, 2.0, t, t, 0.1) for t in (3.0, None, None)]
    assert scaling._medians(costs)["seconds_to_goal"] is None
    assert scaling._medians([*costs[:2], scaling._Cost(1.0, 2.0, 5.0, 5.0, 0.1)])["units_to_goal"] == 5.0


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (dict(set={"methods": ["newton"]}), "expected methods among .* got newton"),
        (dict(set={"goal": 0}), "expected goal and budget > 0"),
        (dict(set={**SMALL, "outputs": [10]}), "at least as many outputs as the field has modes, 24; got 10"),
    ],
)
def test_bad_settings(given, message):
    with pytest.raises(ValueError, match=message):
        scaling.run(StudySettings(quick=True, **given), lambda *_: None)


def test_a_device_that_is_not_there():
    if torch.cuda.is_available():
        pytest.skip("it is")
    with pytest.raises(ValueError, match="no CUDA device is available"):
        scaling.run(StudySettings(quick=True, device="cuda"), lambda *_: None)
