"""Studies of few solves: costs, curves, cases, and small runs of both studies."""

import json

import numpy as np
import pytest

from gnvpro.apps.studies import run_study
from gnvpro.apps.studies.few_solves.curves import Curve, drawn
from gnvpro.apps.studies.few_solves.derivatives import Run, _of_equal_cost
from gnvpro.apps.studies.few_solves.functions import PAIRS, co_kriging
from gnvpro.apps.studies.few_solves.levels import LEVELS, LevelCosts
from gnvpro.apps.studies.few_solves.solves import derivative_error, with_directions
from gnvpro.apps.studies.settings import StudySettings
from gnvpro.apps.studies.surrogates import darcy
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.samples import Samples
from gnvpro.training.train import train
from tests.test_contract import AnalyticModel

FALLING = Curve("x", ((10.0, (0.1, 0.4)), (40.0, (0.02, 0.005)), (80.0, (0.001,))))


def test_the_cost_of_a_target_is_between_two_points_by_logarithms():
    assert FALLING.means == [(10, pytest.approx(0.2)), (40, pytest.approx(0.01)), (80, pytest.approx(0.001))]
    # A factor of 20 for one of 4 in cost: half of it is at twice the cost.
    assert FALLING.cost_to(0.2 / 20**0.5) == pytest.approx(20)
    assert FALLING.cost_to(0.5) == 10
    assert FALLING.cost_to(1e-4) is None


def test_a_figure_shows_every_curve_and_the_target():
    axes = drawn([FALLING], "error", target=0.05).axes[0]
    assert [line.get_label() for line in axes.get_lines() if not line.get_label().startswith("_")] == ["x", "5 %"]


def test_costs_count_derivatives():
    assert LevelCosts(0.1, 0.05).of(20, 2, 5) == pytest.approx(9)


def model_samples(n, seed, directions=0):
    model, rng = AnalyticModel(), np.random.default_rng(seed)
    y = rng.random((n, 2)) * [1, 2]
    along = rng.standard_normal((n, directions, 2)) if directions else None
    derivatives = None if along is None else np.stack([model.jvp(y, along[:, j]) for j in range(directions)], 1)
    return Samples(y, model.evaluate(y), model.parameters, model.observables, directions=along, derivatives=derivatives)


def test_errors_of_derivatives_are_relative_and_tell_a_wrong_one():
    surrogate = train(model_samples(60, 0)).surrogate
    test = model_samples(20, 1, directions=1)
    assert derivative_error(surrogate, test) < 0.01
    flipped = Samples(
        test.parameters, test.observables, test.parameter_space, test.observable_space,
        directions=test.directions, derivatives=-test.derivatives,
    )  # fmt: skip
    assert derivative_error(surrogate, flipped) == pytest.approx(2, rel=0.02)


def test_fewer_directions_are_the_first_ones():
    samples = model_samples(5, 0, directions=3)
    fewer = with_directions(samples, 2)
    assert np.array_equal(fewer.derivatives, samples.derivatives[:, :2])
    assert with_directions(samples, 0).derivatives is None


def test_posteriors_are_compared_at_about_equal_cost():
    plan = [Run("p", n, r, seed) for n in (20, 50, 125, 300) for r in (0, 3) for seed in (0, 1)]

    class Bench:
        @staticmethod
        def cost_in_solves(run):
            return run.n * (1 + 0.5 * run.directions)

    assert _of_equal_cost(plan, Bench) == [Run("p", 125, 0, 0), Run("p", 50, 3, 0)]


@pytest.mark.parametrize("name", sorted(PAIRS))
def test_fine_samples_are_some_of_the_coarse_ones_and_the_coarse_function_is_near(name):
    coarse, fine = PAIRS[name].samples(60, 6, 0)
    assert {row.tobytes() for row in fine.parameters} <= {row.tobytes() for row in coarse.parameters}
    test = PAIRS[name].test()
    off = PAIRS[name].coarse(test.parameters) - test.observables[:, 0]
    assert 0.1 < np.sqrt((off**2).mean()) / test.observables.std() < 0.5


def test_co_kriging_beats_its_coarse_function():
    coarse, fine = PAIRS["park"].samples(60, 12, 0)
    test = PAIRS["park"].test()
    error = np.sqrt(((co_kriging(coarse, fine, 0)(test.parameters) - test.observables) ** 2).mean())
    assert error < 0.1 * test.observables.std()


def test_coarse_darcy_flow_comes_nearer_with_more_cells():
    fields = [
        np.array([darcy.pressure(row) for row in darcy.parameters(4)]),
        *(np.array([darcy.coarse_pressure(row, cells) for row in darcy.parameters(4)]) for cells in (10, 25)),
    ]
    off = [np.linalg.norm(field - fields[0]) / np.linalg.norm(fields[0]) for field in fields[1:]]
    assert 0.02 < off[0] < 0.06
    assert off[1] < 0.3 * off[0]


@pytest.mark.parametrize(
    "name",
    [
        "cdr-rough",
        *(pytest.param(name, marks=pytest.mark.exhaustive) for name in ("cdr", "cdr-diffusion", "nonlinear-diffusion")),
    ],
)
def test_cases_of_problems_are_off_by_per_cents(name):
    levels = LEVELS[name]
    y = levels.points(3, 0, 0)
    fine, coarse = levels.fine_at(y), levels.coarse(3, 0, 2)
    assert coarse.derivatives.shape == (3, 2, fine.observable_space.size)
    assert coarse.observable_space == fine.observable_space
    assert 0 < levels.costs().coarse < 1.5


def test_study_of_fidelities(tmp_path):
    own = dict(cases=["park"], coarse=[40], fine=[8], methods=["random", "alone"], runs=str(tmp_path / "runs.jsonl"))
    result = run_study("fidelities", StudySettings(seeds=1, set=own))
    rows = result.numbers()["cases"]["park"]["runs"]
    assert [(row["method"], row["coarse"], row["cost"]) for row in rows] == [("random", 40, 12), ("alone", 0, 8)]
    assert rows[0]["nrmse"] < rows[1]["nrmse"]
    result.save(tmp_path / "study")
    assert {file.name for file in (tmp_path / "study").iterdir()} == {"park.png", "study.json"}
    again = run_study("fidelities", StudySettings(seeds=1, set=own))
    assert again.numbers()["cases"] == result.numbers()["cases"]


def test_study_of_derivatives(tmp_path):
    name = "tests.test_contract:AnalyticModel"
    own = dict(problems=[name], sizes=[6, 12], directions=[0, 2], test=20, invert=1, cache=str(tmp_path / "cache"))
    result = run_study("derivatives", StudySettings(seeds=1, set=own))
    numbers = result.numbers()["problems"][name]
    by_run = {(row["n"], row["directions"]): row for row in numbers["runs"]}
    assert by_run[6, 2]["derivative_error"] < by_run[6, 0]["derivative_error"]
    assert by_run[6, 2]["cost"] > by_run[6, 0]["cost"] == 6
    assert len(numbers["posteriors"]) == 2
    assert all(row["mean_moved"] >= 0 for row in numbers["posteriors"])
    result.save(tmp_path / "study")
    assert json.loads((tmp_path / "study" / "study.json").read_text())["study"] == "derivatives"


@pytest.mark.parametrize(
    ("study", "own", "message"),
    [
        ("derivatives", dict(problems=[]), "expected a problem"),
        ("derivatives", dict(sizes=[2]), "samples of 3 and more"),
        ("fidelities", dict(cases=["pork"]), "expected cases among cdr"),
        ("fidelities", dict(fine=[1]), "fine samples of 3 and more"),
    ],
)
def test_settings_that_mean_nothing_are_refused(study, own, message):
    with pytest.raises(UsageError, match=message):
        run_study(study, StudySettings(set=own))
