"""`torchrun -m gnvpro train`: several processes train one model, the first of them writes and reports."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from gnvpro.apps.segmentation.cubes import indian_pines
from gnvpro.surrogate.model.load import load_model

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node"]
NETWORK = ["--widths", "6,5", "--gain", "1", "--seed", "2", "--threads", "1"]


def started(size: int, *arguments: object) -> subprocess.Popen[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.getcwd()}
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"):
        environment.pop(name, None)
    command = [*TORCHRUN, str(size), "--standalone", "-m", "gnvpro", *map(str, arguments)]
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def finished(process: subprocess.Popen[str], within: float = 240.0) -> tuple[int, str, str]:
    try:
        out, err = process.communicate(timeout=within)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    return process.returncode, out, err


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """More samples than the default trains in one process."""
    rng = np.random.default_rng(0)
    y = rng.uniform(-1, 1, (21_000, 3))
    c = 2 + np.sin(y @ rng.standard_normal((3, 4)))
    xr = pytest.importorskip("xarray")
    place = tmp_path_factory.mktemp("torchrun") / "set.zarr"
    xr.Dataset({"parameters": (("sample", "p"), y), "observables": (("sample", "o"), c)}).to_zarr(place)
    return place


def test_two_processes_train_the_model_of_one(data, tmp_path):
    sizes, found = ["--train", 15_000, "--validation", 3_000, "--test", 3_000], {}
    for size in (1, 2):
        place = tmp_path / f"model-{size}"
        code, out, err = finished(
            started(size, "train", data, *NETWORK, *sizes, "--budget", 60, "--memory", "1MB", "--out", place, "--json")
        )
        assert code == 0, err
        found[size] = json.loads(out), load_model(place)  # one process alone prints
    numbers, model = found[2]
    assert numbers["processes"] == 2
    assert numbers["samples"] == {"train": 15_000, "validation": 3_000, "calibration": 0, "test": 3_000}
    assert "file" in numbers["samples_kept"]
    theta = found[1][1].theta
    assert float((model.theta - theta).norm()) <= 1e-7 * float(theta.norm())
    assert numbers["error"]["test"] == pytest.approx(found[1][0]["error"]["test"], rel=1e-5)


@pytest.mark.exhaustive
def test_two_processes_segment_as_one(tmp_path):
    pines = indian_pines()
    cube, labels = pines.cube[:60, 85:, ::8], pines.labels[:60, 85:]
    large = [k for k in range(1, 17) if (labels == k).sum() > 60]
    place = tmp_path / "corner.npz"
    np.savez(place, cube=cube, labels=sum((labels == k) * i for i, k in enumerate(large, 1)))
    options = ["--labels", f"{place}:labels", "--budget", 15, "--finish", "none", "--widths", "12", "--json"]
    found = {}
    for size in (1, 2):
        code, out, err = finished(started(size, "segment", place, *options, "--out", tmp_path / f"out-{size}"))
        assert code == 0, err
        found[size] = json.loads(out)
    assert found[2]["accuracy"]["validation"] == pytest.approx(found[1]["accuracy"]["validation"], abs=0.03)
    assert (tmp_path / "out-2" / "report.html").is_file()


def test_an_interrupt_ends_all_processes_with_the_best_so_far(data, tmp_path):
    place, state = tmp_path / "model", tmp_path / "state"
    process = started(
        2, "train", data, *NETWORK, "--budget", 1e6, "--out", place, "--checkpoint", state, "--checkpoint-every", 20
    )
    begun = time.monotonic()
    while not (state / "checkpoint.json").exists():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() - begun < 200
        time.sleep(0.1)
    os.kill(process.pid, signal.SIGINT)
    finished(process, within=60.0)
    assert load_model(place).training["status"] == "interrupted"


SCRIPT = """
import sys
from pathlib import Path
import numpy as np
import gnvpro
from gnvpro.surrogate.launch import rank

y = np.random.default_rng(0).uniform(-1, 1, (60, 2))
errors = [gnvpro.train((y, np.sin(y @ [[1.0], [2.0]])), seed=0, quick=True, threads=1).errors for _ in range(5)]
assert errors[0] == errors[-1]
try:
    gnvpro.train((y + rank(), np.sin(y @ [[1.0], [2.0]])), seed=0, quick=True)
except ValueError as error:
    Path(sys.argv[1], f"refused-{rank()}").write_text(str(error))
"""


def test_a_script_trains_as_often_as_it_wants_and_other_samples_in_a_process_are_refused(tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.getcwd()}
    ran = subprocess.run(
        [*TORCHRUN, "2", "--standalone", str(tmp_path / "script.py"), str(tmp_path)],
        env=environment, capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    for k in range(2):
        assert "the processes have different samples or settings" in (tmp_path / f"refused-{k}").read_text()


def test_other_commands_and_mistakes_are_told(data, tmp_path):
    code, _, err = finished(started(2, "info"))
    assert code != 0
    assert err.count("several processes were started together, which is for `train` and `segment`") == 1
    code, _, err = finished(started(2, "train", tmp_path / "none.zarr"))
    assert code != 0
    assert err.count("no data set at") == 1
