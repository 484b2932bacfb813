"""A fit that pauses holds nothing of the size of its samples, and goes on with the same bits."""

import weakref

import pytest
import torch

from gnvpro.surrogate.networks.dense import DenseNetwork
from gnvpro.surrogate.objectives.protocol import Point
from gnvpro.training.choice.candidates import Candidate
from gnvpro.training.choice.race import race
from gnvpro.training.fitting.fit import Fit
from gnvpro.training.fitting.run import Run
from gnvpro.training.solvers.lbfgs import LimitedMemoryBFGS
from gnvpro.training.solvers.levenberg import LevenbergMarquardt
from gnvpro.training.solvers.trust_region import TrustRegionKrylov
from tests.training.problems import objective_and_validation

NETWORK = DenseNetwork(3, (6, 8))


def fit_of(solver, network=NETWORK):
    objective, validation = objective_and_validation(network)
    return Fit(objective, network.initial(0), solver, validation)


@pytest.mark.parametrize("make", [LimitedMemoryBFGS, TrustRegionKrylov, LevenbergMarquardt])
def test_a_pause_changes_no_bit_and_costs_nothing(make, monkeypatch):
    def history():
        fit = fit_of(make())
        for _ in range(6):
            fit.advance(25)
        return [
            (r.work_units, r.objective, r.gradient_norm, r.step, r.train_error, r.validation_error) for r in fit.history
        ]

    released = history()
    monkeypatch.setattr(Point, "release", lambda point: None)
    assert released == history()


def test_nothing_of_the_size_of_the_samples_is_held_in_a_pause():
    fit = fit_of(LimitedMemoryBFGS())
    assert fit.point.inner.residual.shape[0] == len(fit.objective.inputs)
    held = [weakref.ref(fit.point._linearization), weakref.ref(fit.point.inner)]
    before = fit.point
    fit.advance(0.0)
    assert fit.point is before
    assert [reference() for reference in held] == [None, None]
    value, gradient = fit.point.value, fit.point.gradient
    assert value == fit.history[-1].objective
    assert gradient is before.gradient


def test_candidates_that_wait_hold_nothing(monkeypatch):
    seen = []

    def start(candidate):
        fit = fit_of(LimitedMemoryBFGS(), DenseNetwork(3, candidate.widths))
        seen.append(weakref.ref(fit.point._linearization))
        # Of those before, none is left.
        assert not any(reference() for reference in seen[:-1])
        return fit

    candidates = [Candidate((4 + j, 6), 1.0, False) for j in range(3)]
    best, entries = race(candidates, start, 120.0, Run(120.0).advance)
    assert not any(reference() for reference in seen)
    assert best in entries
    assert all(torch.isfinite(entry.fit.best.theta).all() for entry in entries)
