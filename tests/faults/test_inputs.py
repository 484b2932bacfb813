"""Damaged files of every format, and real files of other packages: one sentence or the same answer."""

import json
import queue
import shutil
import subprocess
import sys
import threading
import zlib
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from scipy.io import loadmat

from gnvpro.apps.inversion.posterior.observations import noise_of, observations_of
from gnvpro.apps.segmentation.cubes import read_scene
from gnvpro.pde_data.files import ARRAYS, load_arrays, read_table
from gnvpro.pde_data.storage.dataset import read_samples
from gnvpro.pde_data.storage.tables import read_parameters
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.spaces import Space
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


def _files_of_others():
    """Files in the formats that are read here, of every package that brings some along for its tests."""
    packages = (
        Path(str(find_spec(name).origin)).parent for name in ("scipy", "numpy", "xarray", "sklearn", "tensorly", "h5py")
    )
    suffixes = (".mat", ".npy", ".npz", ".csv", ".nc", ".h5")
    return sorted(file for package in packages for file in package.rglob("*") if file.suffix in suffixes)


def test_real_files_of_other_packages_are_read_or_refused_in_a_sentence(tmp_path, fault_figures):
    counts = Counter()
    for file in _files_of_others():
        path = tmp_path / f"{file.stem}.mat" if file.suffix == ".h5" else file
        if file.suffix == ".h5":
            shutil.copy(file, path)
        for name, read in READERS.items():
            said = None
            try:
                read(path)
            except (UsageError, ImportError) as error:
                said = str(error)
            assert said is None or (said and "\n" not in said), (path, said)
            counts[f"{name}: {'read' if said is None else 'said'}"] += 1
    fault_figures("real files of other packages", **counts)
    assert counts["samples: said"] > 100
    assert counts["variables: read"] > 100


READERS = {
    "samples": lambda path: read_samples(path, parameters=["a"]),
    "parameters": read_parameters,
    "observations": lambda path: observations_of(path, Space.vector(["a", "b", "c"])),
    "noise": lambda path: noise_of(path, np.ones(3)),
    "cube": lambda path: read_scene(path, np.ones((3, 3))),
    "variables": lambda path: load_arrays(path) if path.suffix in ARRAYS else read_table(path),
}


def test_matlab_files_of_scipy_s_tests_are_read_as_scipy_reads_them(fault_figures):
    folder, counts = Path(str(find_spec("scipy").origin)).parent / "io/matlab/tests/data", Counter()
    for path in sorted(folder.glob("*.mat")):
        try:
            ours = load_arrays(path)
        except UsageError:
            with pytest.raises((ValueError, NotImplementedError, TypeError, OSError, zlib.error)):
                loadmat(path)  # the files that are broken on purpose
            counts["refused, as SciPy does"] += 1
            continue
        try:
            theirs = {name: value for name, value in loadmat(path).items() if not name.startswith("__")}
        except (NotImplementedError, ValueError):  # v7.3, and a name that is not ASCII
            counts["read, which SciPy does not"] += 1
            continue
        assert ours.keys() == theirs.keys()
        for name, value in ours.items():
            if isinstance(value, np.ndarray) and value.dtype != object:
                np.testing.assert_array_equal(value, theirs[name], err_msg=str(path))
                assert value.shape == theirs[name].shape
                counts["numeric variables, equal"] += 1
            else:
                assert not isinstance(theirs[name], np.ndarray) or theirs[name].dtype.kind not in "fiu", (path, name)
        counts["read as by SciPy"] += 1
    fault_figures("MATLAB files of SciPy's tests", **counts)
    assert counts["read as by SciPy"] + counts["refused, as SciPy does"] + counts["read, which SciPy does not"] >= 100
