"""Trainings whose fits are spread over processes end as those of one."""

import copy
from dataclasses import replace

import pytest
import torch

from gnvpro.surrogate.coupling import ALONE
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.networks.dense import DenseNetwork
from gnvpro.surrogate.samples import Split
from gnvpro.training.fitting.checkpoint import Checkpoint, identity_of
from gnvpro.training.fitting.fit import Fit
from gnvpro.training.fitting.run import Job, Run, _owners
from gnvpro.training.regression import SurrogateTraining
from gnvpro.training.settings import TrainSettings
from gnvpro.training.solvers.lbfgs import LimitedMemoryBFGS
from gnvpro.training.solvers.protocol import Status
from gnvpro.training.solvers.trust_region import TrustRegionKrylov
from tests.coupled import in_processes, in_threads
from tests.training.problems import objective_and_validation, smooth_samples

NETWORKS = TrainSettings(budget=300, members=3, polynomial="off")
CONTEST = TrainSettings(budget=200)
NETWORK = DenseNetwork(3, (4, 5))


def trained(coupling, way, settings, checkpoint=None):
    """Theta, weights, what was chosen without seconds, the work, and the history without seconds."""
    samples = smooth_samples(80, n_out=4)
    split = samples.split(0) if way == "networks" else Split.of(samples)
    kept = checkpoint and Checkpoint(checkpoint, 50.0, identity_of(split, settings, None), coupling.is_first)
    training = getattr(SurrogateTraining(split, settings, checkpoint=kept, coupling=coupling), way)()
    record = training.surrogate.training
    history = [(r.stage, r.iteration, r.work_units, r.objective, r.validation_error) for r in training.history]
    chosen = without_seconds(record["choice"])
    return training.surrogate.theta, training.surrogate.weights, chosen, record["work_units"], history


def without_seconds(value):
    if isinstance(value, dict):
        return {key: without_seconds(part) for key, part in value.items() if key != "cpu_seconds"}
    return [without_seconds(part) for part in value] if isinstance(value, list) else value


def require_same(actual, expected):
    assert torch.equal(actual[0], expected[0])
    assert torch.equal(actual[1], expected[1])
    assert actual[2:] == expected[2:]


@pytest.mark.parametrize("size", [2, 3])
def test_a_race_and_its_members_over_ranks_are_those_of_one(size):
    expected = trained(ALONE, "networks", NETWORKS)
    assert len(expected[2]["candidates"]) > 3
    for of_rank in in_threads(size, trained, "networks", NETWORKS):
        require_same(of_rank, expected)


def test_networks_of_a_contest_and_their_folds_over_ranks_are_those_of_one():
    settings = replace(CONTEST, contender="network")
    expected = trained(ALONE, "contest", settings)
    assert expected[2]["folds"] > 2
    for of_rank in in_threads(2, trained, "contest", settings):
        require_same(of_rank, expected)


def test_a_contest_over_processes_is_that_of_one():
    expected = in_processes(1, trained, "contest", CONTEST)[0]
    assert len(expected[2]["contenders"]) > 2
    assert expected[2]["candidates"]
    for of_rank in in_processes(2, trained, "contest", CONTEST):
        require_same(of_rank, expected)


@pytest.mark.parametrize("sizes", [(1, 2), (2, 1), (2, 3)])
def test_a_checkpoint_is_resumed_by_another_number_of_ranks(tmp_path, sizes, monkeypatch):
    expected = trained(ALONE, "networks", NETWORKS)

    class Cut(Exception):
        pass

    step, steps = LimitedMemoryBFGS.step, [0]

    def cut_short(self, point):
        steps[0] += 1
        if steps[0] == 150:
            raise Cut
        return step(self, point)

    with monkeypatch.context() as patch:
        patch.setattr(LimitedMemoryBFGS, "step", cut_short)
        with pytest.raises(Cut):
            in_threads(sizes[0], trained, "networks", NETWORKS, tmp_path)
    assert list(tmp_path.iterdir())
    for of_rank in in_threads(sizes[1], trained, "networks", NETWORKS, tmp_path):
        require_same(of_rank, expected)


def fits(n=3, solver=LimitedMemoryBFGS):
    objective, validation = objective_and_validation(NETWORK)
    return [Fit(copy.copy(objective).sibling(), NETWORK.initial(j), solver(), validation) for j in range(n)]


@pytest.mark.parametrize("solver", [LimitedMemoryBFGS, TrustRegionKrylov, lambda: TrustRegionKrylov(metric=True)])
def test_a_fit_that_was_taken_up_goes_on_with_the_same_bits(solver):
    def advanced(coupling):
        run = Run(100.0, coupling=coupling)
        run.fits = fits(3, solver)
        for _ in range(2):
            run.advance([Job(fit, 40.0) for fit in run.fits])
        run.advance([Job(run.fits[0], 30.0)])
        return [(fit.point.theta, fit.best.weights, fit.objective.meter.total, len(fit.history)) for fit in run.fits]

    expected = advanced(ALONE)
    for of_rank in in_threads(2, advanced):
        for actual, wanted in zip(of_rank, expected, strict=True):
            assert torch.equal(actual[0], wanted[0])
            assert torch.equal(actual[1], wanted[1])
            assert actual[2:] == wanted[2:]


def test_an_interrupt_of_one_rank_is_seen_by_all():
    def advanced(coupling):
        def interrupting(_):
            if coupling.rank == 1:
                raise KeyboardInterrupt

        run = Run(100.0, on_progress=interrupting, coupling=coupling)
        run.fits = fits(2)
        run.advance([Job(fit, 40.0) for fit in run.fits])
        return run.interrupted, [fit.status for fit in run.fits]

    for interrupted, statuses in in_threads(2, advanced):
        assert interrupted
        assert statuses == [Status.budget_spent, Status.interrupted]


def test_an_error_of_one_rank_ends_all():
    def advanced(coupling):
        def failing(_):
            if coupling.rank == 1:
                raise UsageError("on one alone")

        run = Run(100.0, on_progress=failing, coupling=coupling)
        run.fits = fits(2)
        with pytest.raises(UsageError, match="on one alone"):
            run.advance([Job(fit, 40.0) for fit in run.fits])
        return True

    assert all(in_threads(2, advanced))


def test_work_is_shared_evenly():
    jobs = [Job(fit, work) for fit, work in zip(fits(5), (10.0, 40.0, 20.0, 30.0, 20.0), strict=True)]
    assert _owners(jobs, 2) == [1, 0, 1, 1, 0]
    assert _owners(jobs, 1) == [0] * 5
