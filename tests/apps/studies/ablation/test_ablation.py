"""Ablation: its structure, and the mathematics of what it measures."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from gnvpro.apps.studies.ablation import ablation
from gnvpro.apps.studies.ablation.batches import train_on_batches
from gnvpro.apps.studies.ablation.last_layer import spectra
from gnvpro.apps.studies.ablation.variants import DEFAULT, FACTORS, Variant, measure, task_of
from gnvpro.apps.studies.data import cdr_samples, sizes_for
from gnvpro.apps.studies.settings import StudySettings
from gnvpro.surrogate.objectives.full import FullObjective
from gnvpro.training.fitting.preparation import Preparation
from gnvpro.training.settings import TrainSettings
from tests.training.problems import smooth_samples

SAMPLES = smooth_samples(n=160, n_in=4, n_out=9)
SPLIT = SAMPLES.split(0, train=80, validation=40, test=40)


def small_problem(seed, widths):
    return task_of(SPLIT, replace(DEFAULT, widths=widths), seed)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    path = tmp_path_factory.mktemp("ablation") / "smooth.npz"
    np.savez(path, Y=SAMPLES.parameters, C=SAMPLES.observables)
    return path


@pytest.fixture(scope="module")
def result(data):
    settings = dict(budget=24, initialisations=2, batches=[10, 80], batch_budget=4)
    given = StudySettings(quick=True, data=data, seeds=2, set=settings)
    return ablation.run(given, lambda *_: None)


def test_every_variant_of_every_factor_is_there_for_every_seed(result):
    assert {name: list(labels) for name, labels in result.numbers()["factors"].items()} == {
        name: list(labels) for name, labels in FACTORS.items()
    }
    for labels in result.numbers()["factors"].values():
        for found in labels.values():
            assert len(found["validation_error"]) == 2
            # Equal work: none ends before the budget, and none far beyond it.
            assert all(24 <= units <= 24 + 3 * 90 for units in found["work_units"])
    assert result.numbers()["sizes"] == dict(train=80, validation=40, test=40)
    json.dumps(result.numbers())
    assert set(result.figures) == {"ablation", "ablation-goals", "ablation-last-layer", "ablation-batches"}


def test_one_factor_at_a_time():
    for name, labels in FACTORS.items():
        first, *others = labels.values()
        for other in others:
            changed = [f for f in Variant.__dataclass_fields__ if getattr(first, f) != getattr(other, f)]
            assert len(changed) == 1, f"{name}: {changed}"


def test_a_variant_is_measured_the_same_twice():
    first, again = (measure(SPLIT, DEFAULT, 3, 20) for _ in range(2))
    assert first._replace(cpu_seconds=0) == again._replace(cpu_seconds=0)


def test_errors_of_a_variant_are_mean_relative_errors_of_the_samples():
    """By hand, from the features and the last layer; the targets that compression drops weigh next to nothing."""
    task = small_problem(0, (5,))
    point = task.reduced.at(task.theta)
    prepared = Preparation(SPLIT, TrainSettings(seed=0, goal="relative"))
    formulation = prepared.standardised(DEFAULT.gain)
    model = prepared.surrogate(task.reduced.network, point.theta, point.outer_weights, formulation)
    for name in ("train", "validation", "test"):
        samples = getattr(SPLIT, name)
        misfit = model.evaluate(samples.parameters) - samples.observables
        error = prepared.measure.errors(misfit, samples.observables).mean()
        assert task.measures(name).measure(point)[1] == pytest.approx(error, rel=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_eliminating_cannot_worsen_the_condition(seed):
    task = small_problem(seed, (3, 4))
    found = spectra(task.reduced, task.theta)
    condition = found.conditions()
    assert condition["kaufman"] <= condition["full"] * (1 + 1e-9)
    # Interlacing: the largest eigenvalue of a Schur complement is not above that of the whole.
    assert float(found.kaufman[-1]) <= float(found.full[-1]) * (1 + 1e-9)
    # Golub-Pereyra adds a positive semidefinite term to Kaufman's.
    assert bool((found.golub_pereyra >= found.kaufman * (1 - 1e-6)).all())


def test_kaufmans_matrix_is_the_schur_complement_of_the_full_one():
    task = small_problem(0, (3, 2))
    reduced, theta, full = task.reduced, task.theta, FullObjective(task.reduced)
    kept, point = full.at(full.start(theta)), reduced.at(theta)
    matrix = torch.stack([kept.gauss_newton(e) for e in torch.eye(full.n_theta, dtype=torch.float64)])
    n = len(theta)
    schur = matrix[:n, :n] - matrix[:n, n:] @ torch.linalg.solve(matrix[n:, n:], matrix[n:, :n])
    kaufman = torch.stack([point.gauss_newton(e, "kaufman") for e in torch.eye(n, dtype=torch.float64)])
    torch.testing.assert_close(kaufman, schur, rtol=1e-6, atol=1e-8 * float(matrix.abs().max()))


def test_small_batches_are_fitted_perfectly_and_do_not_generalise():
    """With 49 columns, 20 samples are fitted whatever the features; W of them says nothing of other samples."""
    small, large = (train_on_batches(SPLIT, batch, 0, 4, 3e-3) for batch in (20, 80))
    assert small.batch_error < 0.05 * small.validation_error
    assert small.batch_error < large.batch_error
    assert small.validation_error > large.validation_error
    assert (small.steps, large.steps) == (8, 2)


def test_where_the_data_are_from(data, monkeypatch):
    samples, source = cdr_samples(data, lambda *_: None)
    assert len(samples) == 160
    assert source == data.name
    monkeypatch.setenv("GNVPRO_PAPER_DATA", str(data.parent))
    with pytest.raises(FileNotFoundError, match=r"CDR_Data\.mat"):
        cdr_samples(None, lambda *_: None)
    assert sizes_for(samples) == dict(train=80, validation=40, test=40)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (dict(set={"factors": ["colour"]}), "expected factors among .* got colour"),
        (dict(set={"budget": 0}), "expected budgets"),
        (dict(device="cuda"), "expected --device cpu, got cuda"),
    ],
)
def test_bad_settings(given, message, data):
    with pytest.raises(ValueError, match=message):
        ablation.run(StudySettings(quick=True, data=data, **given), lambda *_: None)
