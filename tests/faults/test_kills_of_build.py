"""Builds killed at moments spread over an undisturbed one: the same call comes to the same end."""

import json
import multiprocessing
import os
import signal

import numpy as np
import pytest

from gnvpro.apps.build.build import build
from gnvpro.pde_data.storage.dataset import read_samples
from gnvpro.surrogate.model.folder import HISTORY, read_document
from gnvpro.surrogate.model.surrogate import Surrogate
from tests.apps.build.problems import Bumps, Levels

# Processes are forked from one that has imported everything: a kill costs the build, not the import of torch.
PROCESSES = multiprocessing.get_context("forkserver")
# Costs are given: measured ones would be others in every run, and with them what is bought.
OPTIONS = dict(derivative_cost=0.5, coarse_cost=0.05)
CASES = {"coarse solves": (Levels, 0.002, "auto"), "placed samples": (Bumps, 0.004, "adaptive")}
MORE = [(2, "coarse solves"), *((10, case) for case in ("coarse solves", "placed samples"))]


def build_once(case, out, kill_at=None, count_to=None):
    """Build; at that event of the progress the process kills itself, or it writes down how many there were."""
    events = 0

    def progress(done, total, note):
        nonlocal events
        events += 1
        if events == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    kind, error, placement = CASES[case]
    build(kind(), out, error, placement=placement, progress=progress, tell=lambda _: progress(0, None, ""), **OPTIONS)
    if count_to is not None:
        count_to.write_text(str(events))


def run(*arguments, **options):
    PROCESSES.set_forkserver_preload(["gnvpro.apps.build.build"])
    process = PROCESSES.Process(target=build_once, args=arguments, kwargs=options)
    process.start()
    process.join()
    return process.exitcode


def without_seconds(value):
    if isinstance(value, dict):
        return {name: without_seconds(v) for name, v in value.items() if not name.endswith("seconds")}
    return [without_seconds(v) for v in value] if isinstance(value, list) else value


def bits(out):
    """Weights, all that decides, and the data; seconds of a clock are another each time."""
    model, data = Surrogate.load(out), out.with_name(f"{out.name}-data")
    tensors = [getattr(model, name).numpy().tobytes() for name in ("theta", "weights", "input_shift", "input_scale")]
    journal = without_seconds(json.loads((data / "build.json").read_text()))
    samples = [
        [
            file.name,
            *(np.asarray(getattr(read_samples(file), name)).tobytes() for name in ("parameters", "observables")),
        ]
        for file in sorted(data.glob("*.zarr"))
    ]
    return tensors, journal, without_seconds(read_document(out, HISTORY)), model.errors, samples


@pytest.mark.parametrize(
    ("kills", "case"),
    [(2, "placed samples"), *(pytest.param(n, case, marks=pytest.mark.exhaustive) for n, case in MORE)],
)
def test_a_build_that_is_killed_comes_to_the_same_bits(kills, case, tmp_path, fault_figures):
    assert run(case, tmp_path / "reference", count_to=tmp_path / "events") == 0
    n_events, expected = int((tmp_path / "events").read_text()), bits(tmp_path / "reference")
    assert n_events > 20
    for k in range(kills):
        out = tmp_path / f"killed-{k}"
        assert run(case, out, kill_at=1 + (k + 1) * (n_events - 2) // (kills + 1)) == -signal.SIGKILL
        assert run(case, out) == 0
        assert bits(out) == expected
        left = [path.name for path in tmp_path.iterdir() if path.name.startswith(f"killed-{k}")]
        assert sorted(left) == [f"killed-{k}", f"killed-{k}-data"]
    fault_figures(f"kills of a build, {case}", tried=kills, bit_identical=kills)
