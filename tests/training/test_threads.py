"""Threads of a training: chosen by its work and what the process may have, said by the record and the checkpoint."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from gnvpro.surrogate.samples import Samples
from gnvpro.surrogate.spaces import Space
from gnvpro.training import device
from gnvpro.training.device import cores, threads_for
from gnvpro.training.fitting.checkpoint import CheckpointError
from gnvpro.training.train import TrainSettings, _with_threads, train


@pytest.fixture
def eight(monkeypatch):
    monkeypatch.setattr(device, "cores", lambda: 8)
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    monkeypatch.delitem(sys.modules, "distributed.worker", raising=False)  # workers of other tests


@pytest.mark.parametrize(
    ("rows", "width", "threads"),
    [(0, 105, 1), (400, 105, 1), (952, 105, 1), (953, 105, 2), (2000, 105, 4), (10**6, 105, 8)],
)
def test_threads_by_rows_times_width(rows, width, threads, eight):
    assert threads_for(rows, width) == threads


def test_one_thread_where_processes_share_the_machine(monkeypatch, eight):
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    assert threads_for(10**6, 100) == 1
    monkeypatch.delenv("LOCAL_WORLD_SIZE")
    for workers, threads in (([object()], 1), ([], 8)):
        module = SimpleNamespace(Worker=SimpleNamespace(_instances=workers))
        monkeypatch.setitem(sys.modules, "distributed.worker", module)
        assert threads_for(10**6, 100) == threads


@pytest.mark.parametrize(
    ("quota", "expected"), [("max 100000", 4), ("200000 100000", 2), ("150000 100000", 2), ("50000 100000", 1), ("", 4)]
)
def test_cores_are_those_of_the_affinity_and_the_control_group(quota, expected, monkeypatch, tmp_path):
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: {0, 1, 2, 5})
    (tmp_path / "cpu.max").write_text(quota)
    monkeypatch.setattr(device, "_CGROUP", tmp_path / "cpu.max")
    assert cores() == expected
    monkeypatch.setattr(device, "_CGROUP", tmp_path / "none")
    assert cores() == 4


def samples(n):
    parameters = np.random.default_rng(0).uniform(size=(n, 2))
    space = Space.vector(["a", "b"], lower=(0, 0), upper=(1, 1))
    return Samples(parameters, np.sin(3 * parameters), space, Space.vector(["u", "v"]))


def test_work_is_that_of_the_training(eight):
    def threads(n, **settings):
        return _with_threads(TrainSettings(**settings), [samples(n)])[1]

    assert threads(400) == 1
    assert threads(3000) == 6
    assert threads(400, widths=(300, 300)) == 4
    assert threads(20_001) == 6  # batches of 1,024
    assert threads(20_001, widths=(9, 9)) == 7
    assert threads(20_001, device="cuda") == 1
    assert threads(20_001, threads=3) == 3


def test_the_record_has_the_threads_and_a_checkpoint_keeps_them(monkeypatch, tmp_path):
    settings = dict(widths=(4, 4), gain=0.5, budget=20.0, checkpoint=tmp_path / "kept", every=1.0)
    used, before = [], torch.get_num_threads()
    monkeypatch.setattr(device, "cores", lambda: 2)
    record = train(
        samples(60), on_progress=lambda _: used.append(torch.get_num_threads()), **settings
    ).surrogate.training
    assert record["settings"]["threads"] == 1
    assert set(used) == {1}
    assert torch.get_num_threads() == before
    assert train(samples(60), threads=1, **settings).surrogate.training["settings"]["threads"] == 1  # it goes on
    with pytest.raises(CheckpointError, match=r"threads \(1 there, 2 here\)"):
        train(samples(60), threads=2, **settings)
