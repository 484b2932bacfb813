"""Training and the writing of models, killed and interrupted at random moments."""

import json
import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest

from gnvpro.apps.train import train
from gnvpro.surrogate.model.folder import HISTORY, SETTINGS, read_document
from gnvpro.surrogate.model.surrogate import Surrogate
from gnvpro.training.fitting.checkpoint import INDEX
from tests.training.problems import smooth_samples

SIZES = dict(train=60, validation=30, test=30)
# Several fits, written often.
OPTIONS = dict(widths=(6,), gain=1.0, members=3, budget=60.0, polynomial="off", checkpoint_every=3.0)
SIGNALS = [signal.SIGKILL, signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT]
# Processes are forked from one that has imported everything: a kill costs the training, not the import of torch.
PROCESSES = multiprocessing.get_context("forkserver")


def samples():
    return smooth_samples(120)


def train_once(out, checkpoint):
    """What `gnvpro train --checkpoint --out --overwrite` does."""
    train(samples(), checkpoint=checkpoint, out=out, overwrite=True, record={"seed": 0}, **OPTIONS, **SIZES)


def save_again_and_again(models, out):
    """Models replaced by one another, until the process is killed."""
    loaded = [Surrogate.load(model) for model in models]
    while True:
        for number, model in enumerate(loaded):
            model.save(out, overwrite=True, extra={SETTINGS: {"number": number}})


def started(target, *arguments):
    PROCESSES.set_forkserver_preload(["gnvpro.apps.train"])
    process = PROCESSES.Process(target=target, args=arguments)
    process.start()
    return process


def bits(folder):
    """Weights and all that decides of a model; seconds of a clock are another each time."""
    model = Surrogate.load(folder)
    history = [
        {name: v for name, v in r.items() if not name.endswith("_seconds")} for r in read_document(folder, HISTORY)
    ]
    tensors = [getattr(model, name).numpy().tobytes() for name in ("theta", "weights", "input_shift", "input_scale")]
    return [*tensors, json.dumps([history, model.errors, read_document(folder, SETTINGS)])]


def finished(checkpoint):
    """Work that a checkpoint has: it never becomes less."""
    if not (checkpoint / INDEX).exists():
        return {}
    names = {stage: f["file"] for stage, f in json.loads((checkpoint / INDEX).read_text())["fits"].items()}
    return {stage: tuple(map(int, Path(name).stem.split("-")[2:])) for stage, name in names.items()}


@pytest.fixture
def reference(tmp_path):
    """The model of a training that nobody disturbed, and its seconds."""
    began = time.monotonic()
    process = started(train_once, tmp_path / "reference" / "model", tmp_path / "reference" / "checkpoint")
    process.join()
    assert process.exitcode == 0
    return tmp_path / "reference" / "model", time.monotonic() - began


@pytest.mark.long
def test_a_training_that_is_killed_goes_on_to_the_same_bits(tmp_path, reference, repeats, fault_rng, fault_figures):
    expected, (_, seconds) = bits(reference[0]), reference
    kills, ends, undisturbed = repeats(2, 40), {signal.SIGKILL: 0, signal.SIGTERM: 0, signal.SIGINT: 0}, 0
    number = 0
    while sum(ends.values()) < kills:
        # One training after the other, each disturbed a few times before it may end.
        number += 1
        place = tmp_path / str(number)
        out, checkpoint, had = place / "model", place / "checkpoint", {}
        for _ in range(4):
            process = started(train_once, out, checkpoint)
            with_what = SIGNALS[int(fault_rng.integers(len(SIGNALS)))]
            process.join(float(fault_rng.uniform(0.05, 1.0)) * seconds)
            alive = process.is_alive()
            if alive:
                os.kill(process.pid, with_what)
            process.join()
            if out.exists():  # never half a one; an interrupted training keeps the best so far
                Surrogate.load(out)
            has = finished(checkpoint)
            assert had.keys() <= has.keys()
            assert all(has[stage] >= position for stage, position in had.items())
            had = has
            if not alive:
                undisturbed += 1
                break
            ends[with_what] += 1
        process = started(train_once, out, checkpoint)
        process.join()
        assert process.exitcode == 0
        assert bits(out) == expected
    fault_figures(
        "kills of a training with checkpoint",
        tried=sum(ends.values()),
        trainings=number,
        bit_identical=number,
        **{signal.Signals(which).name.lower(): count for which, count in ends.items()},
    )


@pytest.mark.long
def test_a_model_that_is_replaced_is_the_old_or_the_new_one(tmp_path, reference, repeats, fault_rng, fault_figures):
    first = reference[0]
    second, out = tmp_path / "second", tmp_path / "out" / "model"
    train(samples(), budget=20.0, widths=(4,), gain=1.0, polynomial="off", **SIZES).save(second)
    whole = [Surrogate.load(model).theta.numpy().tobytes() for model in (first, second)]
    kills, counts = repeats(3, 40), {"old": 0, "new": 0}
    Surrogate.load(first).save(out, extra={SETTINGS: {"number": 0}})
    for _ in range(kills):
        process = started(save_again_and_again, (first, second), out)
        process.join(float(fault_rng.uniform(0.05, 0.6)))
        os.kill(process.pid, SIGNALS[int(fault_rng.integers(len(SIGNALS)))])
        process.join()
        number = whole.index(Surrogate.load(out).theta.numpy().tobytes())
        assert read_document(out, SETTINGS) == {"number": number}
        counts["old" if number == 0 else "new"] += 1
        assert {path.name for path in out.iterdir()} == {"model.json", "weights.safetensors", SETTINGS}
    left = [path for path in out.parent.iterdir() if path != out]
    assert all(path.name.startswith(".gnvpro-") for path in left)
    assert len(left) <= kills
    fault_figures("kills while a model is replaced", tried=kills, whole=sum(counts.values()), left_hidden=len(left))
