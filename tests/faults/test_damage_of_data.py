"""A data set with a byte changed, a file cut short or gone: one sentence or the same answer, and repair gives it back."""

import json
import multiprocessing
import shutil
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from gnvpro.apps.train import train
from gnvpro.pde_data.generation.run import generate
from gnvpro.pde_data.problems.solving import solve_block
from gnvpro.pde_data.storage.append import append
from gnvpro.pde_data.storage.dataset import describe, read_samples
from gnvpro.surrogate.errors import UsageError
from tests.pde_data.toy import OnBackground, OnBackgroundWithJvp

N = 42
SECONDS, MOST_MEMORY = 10, 2**30
GIVEN = np.random.default_rng(0).uniform([1.0, 0.1], [2.0, 0.9], (N, 2))


def placed(path):
    generate(OnBackground(), path, N, 5)


def appended(path):
    append(OnBackground(), path, GIVEN, solve_block(OnBackground(), GIVEN), 1.0)


def differentiated(path):
    generate(OnBackgroundWithJvp(), path, N, 5, derivatives=2)


def tried(path, seed):
    """What becomes of a data set that is read, trained on, described and repaired, and the memory that took."""
    Path("/proc/self/clear_refs").write_text("5")  # the peak is that of what follows
    before = peak()
    read, model, about = (outcome(lambda use=use: use(path)) for use in (numbers_in, learned, describe))
    noticed = about if about == "sentence" else bool(about["damaged"] or "pending" in about["counts"])
    repair = outcome(lambda: generate(OnBackgroundWithJvp(), path, N, seed, repair=True).counts)
    assert peak() - before < MOST_MEMORY
    return read, model, noticed, repair


def peak():
    """Of the resident memory, in bytes."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return 1024 * int(line.split()[1])


def outcome(use):
    """`sentence`, or the answer; every other exception is a traceback."""
    try:
        return use()
    except (UsageError, OSError) as error:
        one_line = "\n" not in str(error) and len(str(error)) < 1000
        return "sentence" if one_line else str(error)


def learned(path):
    trained = train(path, budget=4, widths=(3,), polynomial="off").surrogate
    return trained.evaluate(GIVEN).tobytes()


def numbers_in(path):
    samples = read_samples(path)
    spaces = samples.parameter_space, samples.observable_space
    arrays = samples.parameters, samples.observables, samples.background, samples.directions, samples.derivatives
    return (*(array.tobytes() for array in arrays if array is not None), *map(repr, spaces), samples.n_failed)


def files_in(path):
    """Everything but the seconds, which differ from run to run, and what the history says of the runs."""
    files = {str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()}
    files["zarr.json"] = files["zarr.json"].replace(json.dumps(history_of(path)).encode(), b"")
    return {name: content for name, content in files.items() if "wall_time/c/" not in name}


def history_of(path):
    return json.loads((path / "zarr.json").read_text())["attributes"]["history"]


def damage(rng, path):
    """One of a byte changed, a file cut short, a file gone, at random."""
    file = rng.choice(sorted(file for file in path.rglob("*") if file.is_file()))
    content, kind = bytearray(Path(file).read_bytes()), rng.choice(["flip", "cut", "delete"])
    at = rng.integers(len(content))
    if kind == "flip":
        content[at] ^= rng.integers(1, 256)
    Path(file).write_bytes(content[:at] if kind == "cut" else content)
    if kind == "delete":
        Path(file).unlink()
    return kind, str(Path(file).relative_to(path)), int(at)


@pytest.mark.parametrize("make", [placed, appended, differentiated])
def test_damage_is_said_or_does_not_matter(make, repeats, fault_rng, fault_figures, tmp_path):
    sound, path, seed = tmp_path / "sound.zarr", tmp_path / "d.zarr", 0 if make is appended else 5
    make(sound)
    samples, model = numbers_in(sound), learned(sound)
    bytes_of_sound, counts, n = files_in(sound), Counter(), repeats(10, 500)
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as other:
        assert other.submit(tried, shutil.copytree(sound, path), seed).result()[:3] == (samples, model, False)
        for _ in range(n):
            shutil.rmtree(path)
            shutil.copytree(sound, path)
            what = damage(fault_rng, path)
            read, trained, noticed, repair = other.submit(tried, path, seed).result(SECONDS)
            assert read in ("sentence", samples), what
            assert trained in ("sentence", model), what
            if repair == "sentence":
                assert noticed == "sentence", what
            elif make is not appended or not what[1].startswith("parameters/c"):
                assert files_in(path) == bytes_of_sound, what
                assert history_of(path).startswith(history_of(sound)), what
                repair = "the original bits"
            else:  # nothing makes parameters again that were given: these samples are failed ones now
                assert repair["exception"] >= N % 32, what
                repair = "said what is lost"
            for use, answer in (("read", read), ("train", trained)):
                counts[f"{use}: {'a sentence' if answer == 'sentence' else 'the same answer'}"] += 1
            counts[f"repair: {repair}"] += 1
    fault_figures(f"damage of a data set, {make.__name__}", tried=n, **counts)
