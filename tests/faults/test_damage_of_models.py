"""Bytes of saved models and of checkpoints, damaged at random: one sentence, or the same answer."""

import resource
import shutil
import signal
from collections import Counter
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch

from gnvpro.apps.train import train
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.model.folder import DESCRIPTION, HISTORY, SETTINGS, WEIGHTS, read_document
from gnvpro.surrogate.model.load import load_model
from gnvpro.surrogate.model.surrogate import Surrogate
from tests import MODELS
from tests.training.problems import smooth_samples

SECONDS, MEMORY = 10, 1 << 30
MODULE = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh())
SAMPLES = smooth_samples(120)
SIZES = dict(train=60, validation=20, calibration=20, test=20)
# The checkpoint is one of a run that was long over when it was written last, so that to resume it costs little.
CHECKPOINTED = dict(widths=(4,), gain=1.0, polynomial="off", budget=40.0, checkpoint_every=5.0)


def damaged(content: bytes, rng) -> bytes:
    """A bit, a few bytes or a whole page otherwise; the end lost; bytes lost or new in the middle."""
    new, at = bytearray(content), int(rng.integers(len(content)))
    match int(rng.integers(6)):
        case 0 | 1:
            new[at] ^= 1 << int(rng.integers(8))
        case 2:
            new[at : at + 8] = rng.bytes(len(new[at : at + 8]))
        case 3:
            new[at : at + 4096] = bytes(len(new[at : at + 4096]))
        case 4:
            del new[at:]
        case _:
            new[at : at + int(rng.integers(4))] = rng.bytes(int(rng.integers(1, 9)))
    return bytes(new)


@contextmanager
def bounded():
    """TimeoutError after ten seconds, MemoryError above another GiB."""

    def late(*_):
        raise TimeoutError(f"no answer after {SECONDS} s")

    held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    before, _ = resource.getrlimit(resource.RLIMIT_AS), signal.signal(signal.SIGALRM, late)
    resource.setrlimit(resource.RLIMIT_AS, (held + MEMORY, before[1]))
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        resource.setrlimit(resource.RLIMIT_AS, before)


def outcomes(folder: Path, names: list[str], answer, tries: int, rng) -> Counter:
    """How often damage to one of the files was refused or changed nothing; anything else fails."""
    broken, counts = folder.with_name("broken"), Counter()
    shutil.copytree(folder, broken)  # an answer may go on writing there
    with bounded():
        expected = answer(broken)
    shutil.rmtree(broken)
    for _ in range(tries):
        shutil.copytree(folder, broken)
        name = names[int(rng.integers(len(names)))]
        content = (folder / name).read_bytes()
        while (harmed := damaged(content, rng)) == content:
            pass
        (broken / name).write_bytes(harmed)
        try:
            with bounded():
                found = answer(broken)
        except (UsageError, OSError) as error:
            counts["several lines" if "\n" in str(error) else "one sentence"] += 1
        else:
            assert found == expected, f"{name} was damaged and nobody noticed: {harmed[:400]!r}"
            counts["the same answer"] += 1
        shutil.rmtree(broken)
    assert counts["several lines"] == 0
    return +counts


def surrogate():
    return train(SAMPLES, widths=(4,), gain=1.0, members=2, budget=40.0, polynomial="off", **SIZES)


def module_surrogate():
    return train(SAMPLES, module=MODULE, budget=20.0, **SIZES)


class SavedAgain:
    """A classifier of an earlier version as the present one saves it."""

    def __init__(self):
        self._model = load_model(MODELS / "schema-3")

    def save(self, path, extra):
        self._model.save(path, extra={HISTORY: [], **extra})


KINDS = {"surrogate": surrogate, "classifier": SavedAgain, "module": module_surrogate}


def answer_of(folder):
    """All bits that a model gives, and what stands beside it."""
    documents = [read_document(folder, name) for name in (HISTORY, SETTINGS)]
    kind = Surrogate if "module" in folder.parent.name else None
    model = kind.load(folder, MODULE) if kind else load_model(folder)
    y = np.linspace(0, 1, 4 * model.parameters.size).reshape(4, -1)
    answers = [model.evaluate(y).tobytes(), repr(model), repr(model.numbers()), repr(documents)]
    if isinstance(model, Surrogate) and model.trust is not None:
        answers += [
            model.score(y).tobytes(),
            *(model.half_width(level).tobytes() for level in model.trust.bands.levels),
        ]
    return answers


@pytest.mark.parametrize("kind", ["surrogate", "classifier", pytest.param("module", marks=pytest.mark.long)])
def test_a_damaged_model_is_refused_or_the_same(kind, tmp_path, repeats, fault_rng, fault_figures):
    folder = tmp_path / kind / "model"
    KINDS[kind]().save(folder, extra={SETTINGS: {"seed": 0}})
    files = [DESCRIPTION, WEIGHTS, DESCRIPTION, WEIGHTS, HISTORY, SETTINGS]
    tries = repeats(30, 500)
    counts = outcomes(folder, files, answer_of, tries, fault_rng)
    assert counts["one sentence"] > 0.9 * tries
    fault_figures(f"damage of a saved model: {kind}", tried=tries, **counts)


@pytest.mark.long
def test_a_damaged_checkpoint_is_refused_or_ends_the_same(tmp_path, repeats, fault_rng, fault_figures):
    folder = tmp_path / "checkpoint"
    train(SAMPLES, checkpoint=folder, **CHECKPOINTED, **SIZES)

    def resumed(at):
        surrogate = train(SAMPLES, checkpoint=at, **CHECKPOINTED, **SIZES).surrogate
        return [surrogate.theta.numpy().tobytes(), surrogate.weights.numpy().tobytes()]

    tries = repeats(20, 500)
    counts = outcomes(folder, sorted(path.name for path in folder.iterdir()), resumed, tries, fault_rng)
    assert counts["one sentence"] > 0.9 * tries
    fault_figures("damage of a training checkpoint", tried=tries, **counts)


@pytest.mark.long
def test_no_file_of_a_model_or_checkpoint_runs_code(tmp_path, fault_figures):
    """A pickle that would leave a mark, in the place of every file that is read."""
    mark, program = tmp_path / "mark", b"cos\nsystem\n(S'touch %s'\ntR." % str(tmp_path / "mark").encode()
    as_torch = tmp_path / "torch"
    torch.save({"a": _Touches(mark)}, as_torch)
    folder, checkpoint = tmp_path / "surrogate" / "model", tmp_path / "checkpoint"
    training = train(SAMPLES, checkpoint=checkpoint, **CHECKPOINTED, **SIZES)
    training.save(folder, extra={SETTINGS: {}})
    tried = 0
    for place, answer in ((folder, answer_of), (checkpoint, _resumed)):
        for name in sorted(path.name for path in place.iterdir()):
            for content in (program, as_torch.read_bytes()):
                broken = place.with_name("broken")
                shutil.copytree(place, broken)
                (broken / name).write_bytes(content)
                with pytest.raises(UsageError):
                    answer(broken)
                shutil.rmtree(broken)
                tried += 1
    assert not mark.exists()
    fault_figures("pickles in the place of files", tried=tried, refused=tried)


def _resumed(at):
    return train(SAMPLES, checkpoint=at, **CHECKPOINTED, **SIZES)


class _Touches:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)
