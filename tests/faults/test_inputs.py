"""Damaged files of every format, and real files of other packages: one sentence or the same answer."""

import json
import queue
import shutil
import subprocess
import sys
import threading
from collections import Counter

import pytest

from tests import PROJECT
from tests.faults.inputs import CHECKSUMMED, write

SECONDS = 10


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    write(folder)
    return folder


FORMATS = [
    *(
        "y.npy",
        "plain.npz",
        "packed.npz",
        "plain.mat",
        "packed.mat",
        "four.mat",
        "seven.mat",
        "table.csv",
        "observed.csv",
    ),
    *("five.nc", "packed.nc", "three.nc", "cube.hdr", "cube.img", "labels.hdr", "labels.img", "labels.npy"),
    *("settings.toml", "settings.json"),
]


class Readers:
    """The program of `inputs`, started again after a file that ended it or took it too long."""

    def __init__(self, whole):
        self.whole, self.process = whole, None

    def __call__(self, path):
        if self.process is None:
            command = [sys.executable, "-m", "tests.faults.inputs", str(self.whole)]
            self.process = subprocess.Popen(
                command, cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            )
            self.lines = queue.Queue()
            threading.Thread(target=self._follow, args=(self.process,), daemon=True).start()
            self._answer(self.whole / "y.npy", 100)
        return self._answer(path, SECONDS)

    def _follow(self, process):
        for line in process.stdout:
            self.lines.put(line)
        self.lines.put("")

    def _answer(self, path, seconds):
        try:
            self.process.stdin.write(f"{path}\n")
            self.process.stdin.flush()
            line = self.lines.get(timeout=seconds)
        except (queue.Empty, BrokenPipeError):
            line = None
        if line:
            return json.loads(line)
        self.close()
        return {"ended": "it took too long" if line is None else "the process ended"}

    def close(self):
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
            self.process = None


@pytest.fixture(scope="module")
def readers(whole):
    readers = Readers(whole)
    yield readers
    readers.close()


def damaged(content, rng):
    """Up to three bytes are others, or the file is cut off, or both; or some are there twice."""
    content = bytearray(content)
    for _ in range(rng.integers(0, 4)):
        content[rng.integers(len(content))] = rng.integers(256)
    at = int(rng.integers(len(content)))
    way = rng.integers(5)
    if way == 0:
        del content[at:]
    elif way == 1:
        content[at:at] = content[at : at + int(rng.integers(1, 9))]
    return bytes(content)


@pytest.mark.parametrize("name", FORMATS)
def test_damage_is_one_sentence_or_the_same_answer(whole, readers, tmp_path, name, repeats, fault_rng, fault_figures):
    right, counts, wrong = readers(whole / name)["read"], Counter(), []
    for path in whole.iterdir():
        shutil.copy(path, tmp_path)
    content = (whole / name).read_bytes()
    for _ in range(repeats(12, 500)):
        (tmp_path / name).write_bytes(damaged(content, fault_rng))
        answer = readers(tmp_path / name)
        ((kind, what),) = answer.items()
        if kind == "read":
            kind = "same" if what == right else "changed"
        if kind == "said" and ("\n" in what or not what):
            kind = "several lines"
        counts[kind] += 1
        if kind not in ("said", "same") and not (kind == "changed" and name not in CHECKSUMMED):
            kept = whole.parent / f"{counts.total()}-{name}"
            kept.write_bytes((tmp_path / name).read_bytes())
            wrong.append((kept, answer))
    fault_figures(f"damaged {name}", **counts)
    assert not wrong
