"""Coarse-to-fine training, and the residual networks through the entry point."""

import pytest
import torch

from gnvpro.surrogate.model.surrogate import Surrogate
from gnvpro.surrogate.networks.in_time.hamiltonian import HamiltonianNetwork
from gnvpro.surrogate.networks.in_time.residual import ResidualNetwork
from gnvpro.surrogate.networks.registry import network_of
from gnvpro.training.choice.multilevel import coarse_to_fine
from gnvpro.training.fitting.fit import Fit
from gnvpro.training.fitting.preparation import Preparation
from gnvpro.training.solvers.protocol import Status
from gnvpro.training.solvers.trust_region import TrustRegionKrylov
from gnvpro.training.train import TrainSettings, train
from tests.training.problems import objective_and_validation, smooth_samples

SPLIT = smooth_samples(150).split(0)


def levels_of(network, levels, budget, on_step=None):
    seen = []

    def start(level):
        seen.append(level)
        objective, validation = objective_and_validation(level.network, alpha_theta=level.alpha_theta)
        theta = level.network.initial(0) if level.theta is None else level.theta
        return Fit(objective, theta, TrustRegionKrylov(), validation, stage=level.stage)

    return coarse_to_fine(network.coarsest(levels), levels, 1e-6, start, budget, on_step), seen


@pytest.mark.parametrize("finest", [ResidualNetwork(3, 4, steps=4), HamiltonianNetwork(3, 4, steps=4)])
def test_levels_double_the_steps_halve_alpha_and_share_the_budget(finest):
    fits, seen = levels_of(finest, 3, budget=300)
    assert [level.network.steps for level in seen] == [1, 2, 4]
    assert [level.alpha_theta for level in seen] == [1e-6, 5e-7, 2.5e-7]
    assert fits[-1].network == finest
    for fit in fits:
        assert 100 <= fit.objective.meter.total < 100 + 2 * 20 + 3  # one iteration more at most


def test_a_level_starts_from_the_prolonged_best_iterate_of_the_one_before():
    fits, seen = levels_of(ResidualNetwork(3, 4, steps=2), 2, budget=200)
    _, expected = fits[0].network.prolonged(fits[0].best.theta)
    assert torch.equal(seen[1].theta, expected)
    # Nearly the same map, so nearly the same error, and far from where random weights start.
    jump = abs(fits[1].history[0].validation_error - fits[0].best.validation_error)
    assert jump < 0.1 * (fits[0].history[0].validation_error - fits[0].best.validation_error)


def test_an_interrupt_ends_the_levels():
    def interrupt(fit):
        raise KeyboardInterrupt

    fits, _ = levels_of(ResidualNetwork(3, 4, steps=4), 3, budget=300, on_step=interrupt)
    assert [fit.status for fit in fits] == [Status.interrupted]


@pytest.mark.parametrize("network", ["residual", "plain", "hamiltonian"])
def test_residual_networks_learn_a_smooth_map_and_are_saved(network, tmp_path):
    settings = TrainSettings(network=network, width=8, steps=2, levels=2, budget=240, gain=0.5, goal="relative")
    trained = train(SPLIT, settings)
    assert trained.errors["test"] < 0.02
    assert trained.numbers()["choice"]["levels"] == 2
    assert 240 <= trained.numbers()["work_units"] < 300
    trained.save(tmp_path / "model")
    loaded = Surrogate.load(tmp_path / "model")
    assert loaded.network == trained.surrogate.network
    y = SPLIT.test.parameters
    assert (loaded.evaluate(y) == trained.surrogate.evaluate(y)).all()


def test_antisymmetric_models_from_before_the_choice_of_matrices_load():
    old = {"kind": "residual", "n_inputs": 3, "width": 4, "steps": 2, "final_time": 1.0}
    assert network_of(old, 3, None) == ResidualNetwork(3, 4, 2)


def test_alpha_is_that_of_the_last_level(monkeypatch):
    seen = []
    task = Preparation.task

    def watched(self, network, formulation, alpha_theta=None, **others):
        seen.append(alpha_theta)
        return task(self, network, formulation, alpha_theta, **others)

    monkeypatch.setattr(Preparation, "task", watched)
    train(SPLIT, TrainSettings(network="plain", width=4, steps=4, levels=3, budget=30, alpha_theta=1e-6))
    assert seen == [4e-6, 2e-6, 1e-6]


def test_levenberg_marquardt_is_a_solver_of_the_race():
    trained = train(SPLIT, TrainSettings(solver="lm", budget=400, polynomial="off"))
    assert trained.numbers()["method"] == "varpro-lm"
    assert trained.errors["test"] < 0.02


def test_steps_that_cannot_be_halved_are_refused():
    with pytest.raises(ValueError, match="expect a multiple of 4, got 6 steps"):
        TrainSettings(network="plain", steps=6, levels=3)
    with pytest.raises(ValueError, match="even width"):
        TrainSettings(network="hamiltonian", width=7)
