"""A training that is cut short and resumed ends with the bits of one that was not."""

import dataclasses
import hashlib
import json
import os
import signal
import subprocess
import sys

import pytest
import torch
from torch import nn

from gnvpro.surrogate.networks.dense import DenseNetwork
from gnvpro.training.fitting.checkpoint import (
    INDEX,
    Checkpoint,
    CheckpointError,
    _read_state,
    _serialised,
    identity_of,
    restored_fit,
)
from gnvpro.training.fitting.fit import Fit
from gnvpro.training.fitting.stored import Stored, stored
from gnvpro.training.solvers.lbfgs import LimitedMemoryBFGS
from gnvpro.training.solvers.levenberg import LevenbergMarquardt
from gnvpro.training.solvers.protocol import Step
from gnvpro.training.solvers.trust_region import TrustRegionKrylov
from gnvpro.training.train import TrainSettings, train
from tests.training.problems import objective_and_validation, smooth_samples

SPLIT = smooth_samples(200).split(0)
RACE = TrainSettings(budget=420, polynomial="off")
WAYS = {
    "race, lbfgs": RACE,
    "race, krylov": dataclasses.replace(RACE, solver="krylov"),
    "one, lm": TrainSettings(widths=(4, 5), gain=1.0, solver="lm", budget=300, polynomial="off"),
    "polynomials": TrainSettings(widths=(5,), budget=200, polynomial="on"),
    "members": TrainSettings(widths=(5, 6), gain=1.0, budget=90, members=3, polynomial="off"),
    "levels": TrainSettings(network="paper", budget=60),
    "levels, krylov": TrainSettings(network="paper", budget=60, solver="krylov"),
    "float32": TrainSettings(widths=(5, 6), gain=1.0, budget=120, dtype="float32"),
}


class Killed(Exception):
    pass


def killed_after(steps):
    left = [steps]

    def callback(_):
        left[0] -= 1
        if left[0] < 0:
            raise Killed

    return callback


def history_of(training):
    return [dataclasses.replace(record, cpu_seconds=0.0, wall_seconds=0.0) for record in training.history]


def assert_same_bits(resumed, whole):
    assert torch.equal(resumed.surrogate.theta, whole.surrogate.theta)
    assert torch.equal(resumed.surrogate.weights, whole.surrogate.weights)
    assert history_of(resumed) == history_of(whole)
    seconds = {"cpu_seconds", "wall_seconds"}
    assert {k: v for k, v in resumed.numbers().items() if k not in seconds} == {
        k: v for k, v in whole.numbers().items() if k not in seconds
    }


@pytest.mark.parametrize("settings", WAYS.values(), ids=WAYS)
def test_resumed_at_several_places_gives_the_same_bits(settings, tmp_path):
    steps = [0]
    whole = train(SPLIT, settings, lambda _: steps.__setitem__(0, steps[0] + 1))
    places = sorted({1, steps[0] // 5, steps[0] // 3, steps[0] // 4})
    for place in places:  # each cut goes on from the one before
        with pytest.raises(Killed):
            train(SPLIT, settings, killed_after(place), checkpoint=tmp_path / "run", every=1)
    resumed = train(SPLIT, settings, checkpoint=tmp_path / "run", every=25)
    assert_same_bits(resumed, whole)
    assert_same_bits(train(SPLIT, settings, checkpoint=tmp_path / "run"), whole)


def test_module_is_resumed(tmp_path):
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(3, 5), nn.LayerNorm(5), nn.Tanh(), nn.Linear(5, 6), nn.Tanh())
    settings = TrainSettings(budget=90)
    whole = train(SPLIT, settings, module=module)
    with pytest.raises(Killed):
        train(SPLIT, settings, killed_after(20), module, checkpoint=tmp_path / "run", every=5)
    assert_same_bits(train(SPLIT, settings, module=module, checkpoint=tmp_path / "run"), whole)
    module[0].bias.data += 1
    with pytest.raises(CheckpointError, match="the module"):
        train(SPLIT, settings, module=module, checkpoint=tmp_path / "run")


SCRIPT = """
import os, signal, sys
from tests.training.fitting.test_checkpoint import SPLIT, RACE
from gnvpro.training.train import train
left = [int(sys.argv[2])]
def callback(_):
    left[0] -= 1
    if left[0] < 0:
        os.kill(os.getpid(), signal.SIGKILL)
train(SPLIT, RACE, callback, checkpoint=sys.argv[1], every=30)
"""


@pytest.mark.long
def test_a_killed_process_is_resumed_by_another(tmp_path):
    ran = subprocess.run([sys.executable, "-c", SCRIPT, str(tmp_path / "run"), "120"], env=dict(os.environ))
    assert ran.returncode == -signal.SIGKILL
    assert (tmp_path / "run" / INDEX).exists()
    assert_same_bits(train(SPLIT, RACE, checkpoint=tmp_path / "run"), train(SPLIT, RACE))


@pytest.mark.parametrize(
    "solver",
    [LimitedMemoryBFGS, TrustRegionKrylov, lambda: TrustRegionKrylov(5, metric=True), LevenbergMarquardt],
    ids=["lbfgs", "krylov", "krylov in the metric", "lm"],
)
def test_every_step_can_be_taken_by_a_restored_fit(solver):
    network = DenseNetwork(3, (5, 6))

    def fresh():
        objective, validation = objective_and_validation(network)
        return Fit(objective, network.initial(0), solver(), validation)

    whole = fresh()
    whole.advance(150)
    stepwise = fresh()
    for _ in range(whole.history[-1].iteration):
        seen = []

        def put_aside(fit, seen=seen):
            seen.append(stored(fit.state()))
            raise Killed

        with pytest.raises(Killed):
            stepwise.advance(150, put_aside)
        stepwise, before = fresh(), stepwise
        given = Stored(json.loads(json.dumps(seen[0].values)), seen[0].tensors)
        stepwise.restore(restored_fit(given, stepwise))
        assert stepwise.position == before.position
    stepwise.advance(150)
    assert torch.equal(stepwise.point.theta, whole.point.theta)
    assert torch.equal(stepwise.best.theta, whole.best.theta)
    assert stepwise.objective.meter == whole.objective.meter
    assert stepwise.status is whole.status


def made(folder, settings=RACE):
    with pytest.raises(Killed):
        train(SPLIT, settings, killed_after(60), checkpoint=folder, every=20)


def test_another_training_is_refused_and_what_differs_is_named(tmp_path):
    made(tmp_path / "run")
    before = sorted((p.name, p.read_bytes()) for p in (tmp_path / "run").iterdir())
    with pytest.raises(CheckpointError, match=r"seed \(0 there, 1 here\)"):
        train(SPLIT, dataclasses.replace(RACE, seed=1), checkpoint=tmp_path / "run")
    with pytest.raises(CheckpointError, match="the data"):
        train(smooth_samples(200, seed=5).split(0), RACE, checkpoint=tmp_path / "run")
    identity = identity_of(SPLIT, RACE, None)
    identity["versions"]["torch"] = "0.1"
    with pytest.raises(CheckpointError, match="version of torch"):
        Checkpoint(tmp_path / "run", 1.0, identity)
    assert before == sorted((p.name, p.read_bytes()) for p in (tmp_path / "run").iterdir())


def test_damage_is_found_before_training(tmp_path):
    folder = tmp_path / "run"
    made(folder)
    index = (folder / INDEX).read_text()
    for content in (index[: len(index) // 2], index.replace('"budget": 420', '"budget": 421'), "[]"):
        (folder / INDEX).write_text(content)
        with pytest.raises(CheckpointError, match="damaged|does not describe"):
            train(SPLIT, RACE, checkpoint=folder)
    (folder / INDEX).write_text(index.replace('"schema_version": 2', '"schema_version": 1'))
    with pytest.raises(CheckpointError, match="schema version 1, expected 2; resume with the gnvpro that wrote it"):
        train(SPLIT, RACE, checkpoint=folder)
    (folder / INDEX).write_text(index)
    state = next(folder.glob("*.safetensors"))
    content = state.read_bytes()
    state.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(CheckpointError, match=f"{state.name} is damaged"):
        train(SPLIT, RACE, checkpoint=folder)
    state.unlink()
    with pytest.raises(CheckpointError, match=f"{state.name} is damaged"):
        train(SPLIT, RACE, checkpoint=folder)


def test_a_write_that_was_cut_short_is_the_checkpoint_before(tmp_path, monkeypatch):
    folder, replace, left = tmp_path / "run", os.replace, [7]

    def unlucky(source, target):
        left[0] -= 1
        if left[0] < 0:
            raise Killed
        replace(source, target)

    monkeypatch.setattr(os, "replace", unlucky)
    with pytest.raises(Killed):
        train(SPLIT, RACE, checkpoint=folder, every=30)
    monkeypatch.undo()
    assert list(folder.glob("*.new"))
    assert_same_bits(train(SPLIT, RACE, checkpoint=folder, every=100), train(SPLIT, RACE))
    assert not list(folder.glob("*.new"))
    assert len(list(folder.iterdir())) == 1 + len(json.loads((folder / INDEX).read_text())["fits"])


def test_places_and_numbers_that_cannot_be_are_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="not a checkpoint"):
        train(SPLIT, RACE, checkpoint=tmp_path)
    with pytest.raises(ValueError, match="expected work units"):
        train(SPLIT, RACE, checkpoint=tmp_path / "new", every=0)


def test_a_solver_without_state_is_refused():
    class Stubborn:
        name, validation_interval = "stubborn", 1

        def step(self, point):
            return Step(point, 0.0, False)

    objective, validation = objective_and_validation(DenseNetwork(3, (4,)))
    with pytest.raises(ValueError, match="stubborn has no state that a checkpoint could store"):
        Fit(objective, objective.network.initial(0), Stubborn(), validation).state()


def test_layouts_survive(tmp_path):
    """Products of a transposed factor have other last bits: the order in memory is part of the state."""

    matrix = torch.arange(6.0).view(2, 3)
    content = _serialised(Stored({"x": 1.5}, {"rows": matrix, "columns": matrix.t(), "none": torch.zeros(0)}))
    (tmp_path / "state").write_bytes(content)

    state = _read_state(tmp_path / "state", hashlib.sha256(content).hexdigest())
    assert state.values == {"x": 1.5}
    for name, tensor in {"rows": matrix, "columns": matrix.t()}.items():
        assert torch.equal(state.tensors[name], tensor)
        assert state.tensors[name].stride() == tensor.stride()


def test_a_place_that_cannot_be_written_is_refused_before_the_training(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError, match="file is a file; choose another place"):
        Checkpoint(tmp_path / "file" / "checkpoint", 100, identity_of(SPLIT, RACE, None))
