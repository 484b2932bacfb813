"""The study of coverage: what it counts, on samples that cost nothing."""

import numpy as np
import pytest

from gnvpro.apps.studies import coverage
from gnvpro.apps.studies.settings import StudySettings


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    rng = np.random.default_rng(0)
    y = rng.uniform(-1, 1, (700, 3))
    path = tmp_path_factory.mktemp("data") / "smooth.npz"
    np.savez(path, parameters=y, observables=np.stack([np.sin(2 * y.sum(1)) + 3, np.exp(y[:, 0] * y[:, 1])], 1))
    sizes = dict(train=200, validation=100, test=400, budget=60.0, splits=100)
    return coverage.run(StudySettings(data=path, set=sizes), lambda *_: None)


def test_shuffled_held_out_samples_are_covered_as_promised(result):
    row = result.numbers()["coverage"]["held-out samples, shuffled"]
    assert row["marginal_mean"] == pytest.approx(0.9, abs=0.02)
    assert row["simultaneous_mean"] == pytest.approx(0.9, abs=0.02)
    assert 0 < row["simultaneous_std"] < 0.06
    assert (result.numbers()["n_held_out"], result.numbers()["n_calibrate"]) == (400, 200)
    assert len(result.numbers()["coverage"]) == 1, "data without a PDE have no fresh solves"


def test_ranks_are_correlations(result):
    ranks = result.numbers()["ranks"]
    assert len(ranks) == 3
    assert all(-1 <= value <= 1 for value in ranks.values())


def test_residuals_of_training_samples_would_not_cover():
    """The study's own counting finds a calibration that is too narrow."""
    rng = np.random.default_rng(1)
    narrow, true = rng.standard_normal((200, 3)), 2 * rng.standard_normal((500, 3))
    assert coverage._coverage(narrow, true, scale=np.ones(3), level=0.9, rng=rng, n=10)["marginal_mean"] < 0.7
