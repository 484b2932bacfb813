"""Seconds of the parts that matter, to a JSON file: `make bench`.

CPU seconds on one thread, medians of several runs. Nothing is asserted: machines differ. With the data of the
method's paper at hand (GNVPRO_PAPER_DATA names the folder of CDR_Data.mat) its protocol is run too.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from gnvpro.apps.comparison.costs import measure_costs, median_cpu_seconds, one_thread
from gnvpro.pde_data.problems.accuracy import estimated_error
from gnvpro.pde_data.problems.convection.problem import ConvectionDiffusionReaction
from gnvpro.pde_data.problems.loading import registered_problem
from gnvpro.pde_data.sampling import draw
from gnvpro.pde_data.storage.dataset import read_samples
from gnvpro.pde_data.storage.provenance import git_revision, library_versions
from gnvpro.surrogate.samples import Samples
from gnvpro.surrogate.spaces import Space
from gnvpro.training.train import TrainSettings, train
from tests import PROJECT
from tests.benchmarks.onnx_runtime import onnx_speed
from tests.benchmarks.serving import serving
from tests.benchmarks.speed import as_table, speed

N_SAMPLES, SEEDS = 800, range(5)
PROTOCOLS = {
    "default": TrainSettings(),
    "quick": TrainSettings(quick=True),
    "paper network, Krylov": TrainSettings(network="paper", solver="krylov", budget=200),
}
PAPER_DATA = Path(os.environ.get("GNVPRO_PAPER_DATA", PROJECT.parent / "shared" / "data")) / "CDR_Data.mat"


def generation(out: Path) -> dict:
    """Seconds for the data set in a process of its own, set-up included, imports apart."""
    code = f"""
import json, time
from gnvpro.pde_data.generation.run import generate
began = time.process_time()
made = generate("cdr", {str(out)!r}, {N_SAMPLES}, 0)
print(json.dumps(dict(cpu_seconds=time.process_time() - began, wall_seconds=made.wall_seconds)))
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return {"n_samples": N_SAMPLES, **json.loads(ran.stdout)}


def tiers() -> dict:
    """CPU seconds a sample and a gradient of each tier of the PDE in full blocks, set-up apart, and its error."""
    found = {}
    for tier in ("full", "reduced"):
        problem = registered_problem("cdr", {"tier": tier})
        y = draw(problem.parameters, 1, np.arange(problem.block_size))
        weights = np.random.default_rng(1).standard_normal((len(y), problem.observables.size))
        with one_thread():
            found[tier] = {
                "cpu_seconds_per_sample": median_cpu_seconds(lambda p=problem, y=y: p.solve(y), 15) / len(y),
                "cpu_seconds_per_gradient": median_cpu_seconds(lambda p=problem, y=y, w=weights: p.vjp(y, w), 7)
                / len(y),
                "error": estimated_error(problem, y[:64], problem.solve(y)[0][:64]),
            }
    return found


def resistivity() -> dict:
    """CPU seconds of a solve and of a Jacobian on either mesh, and the error, of 16 random samples."""
    found = {}
    for mesh in ("coarse", "fine"):
        problem = registered_problem("dcr", {"mesh": mesh})
        y = draw(problem.parameters, 1, np.arange(16))
        with one_thread():
            found[mesh] = {
                "cpu_seconds_per_sample": median_cpu_seconds(lambda p=problem, y=y: p.solve(y), 5) / len(y),
                "cpu_seconds_per_jacobian": median_cpu_seconds(lambda p=problem, y=y: p.jacobian(y), 5) / len(y),
                "error": estimated_error(problem, y, problem.solve(y)[0]),
            }
    return found


ENGINES = """
import json, time
import numpy as np
from gnvpro.pde_data.generation.engines import in_process, local_workers
from gnvpro.pde_data.generation.run import generate
from tests.pde_data.toy import Second

def measure(out, n_samples, seed, run):
    began, reached = time.perf_counter(), []
    generate(Second(), out, n_samples, seed, engine=run, progress=lambda done, *_: reached.append(time.perf_counter()))
    finished = np.array(reached[1:]) - began
    # The slope of all blocks over time: neither the start nor workers out of step count.
    pace = np.polyfit(finished, np.arange(len(finished)), 1)[0]
    print(json.dumps(dict(start_seconds=finished[0] - 1, blocks_per_second=pace)))
"""


def engines(folder: Path, blocks: int = 24) -> dict:
    """What handing out blocks of one second costs: Dask with 2 workers against 2 processes with half of them each.

    The blocks sleep, so that the figure is that of the engines and not of the machine's other work.
    """

    def start(call: str) -> subprocess.Popen:
        code = f"{ENGINES}\nif __name__ == '__main__':\n    measure({call})"
        return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)

    def ends(processes: list[subprocess.Popen]) -> list[dict]:
        return [json.loads(process.communicate()[0]) for process in processes]

    halves = ends([start(f"{str(folder / f'{k}.zarr')!r}, {blocks // 2}, {k}, in_process") for k in (0, 1)])
    (dask,) = ends([start(f"{str(folder / 'dask.zarr')!r}, {blocks}, 0, local_workers(2)")])
    alone = sum(half["blocks_per_second"] for half in halves)
    return {
        "blocks": blocks,
        "block_seconds": 1.0,
        "overhead": alone / dask["blocks_per_second"] - 1,
        "start_seconds_dask": dask["start_seconds"],
        "start_seconds_in_process": max(half["start_seconds"] for half in halves),
    }


def protocols(samples: Samples, sizes: dict[str, int]) -> dict:
    """Test error and CPU seconds of every protocol over seeds."""
    found = {}
    for name, settings in PROTOCOLS.items():
        runs = [
            train(samples.split(seed, **sizes), TrainSettings(**{**vars(settings), "seed": seed})) for seed in SEEDS
        ]
        errors = [run.errors["test"] for run in runs]
        seconds = [run.surrogate.training["cpu_seconds"] for run in runs]
        found[name] = {"test_error": errors, "test_error_mean": float(np.mean(errors)), "cpu_seconds": seconds}
        print(f"{name}: test error {np.mean(errors):.2e}, {statistics.median(seconds):.2f} CPU s", file=sys.stderr)
    return found


def few_parameters() -> dict:
    """Three parameters to 200 analytic observables: choice of the polynomials and training, with and without them."""
    y = np.random.default_rng(0).uniform([0.45, 0.1, 0.0], [0.75, 0.3, 1.5], (900, 3))
    x = np.linspace(-1, 1, 200)
    shifted = x * np.cos(y[:, 2:]) - 0.3 * np.sin(y[:, 2:])
    c = y[:, 1:2] * y[:, :1] / (shifted**2 + y[:, :1] ** 2) ** 1.5
    samples = Samples(y, c, Space.observed(y, "parameter"), Space.observed(c, "observable"))
    found = {}
    for polynomial in ("auto", "off"):
        runs = [
            train(samples.split(seed, train=250, validation=38), TrainSettings(seed=seed, polynomial=polynomial))
            for seed in SEEDS
        ]
        alone = [run.numbers()["choice"].get("polynomial_alone", {}).get("validation_error") for run in runs]
        found[polynomial] = {
            "test_error": [run.errors["test"] for run in runs],
            "polynomial_alone_validation_error": alone,
            "cpu_seconds": [run.numbers()["cpu_seconds"] for run in runs],
        }
    return found


def main() -> None:
    """Run everything and write the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/benchmarks.json"))
    parser.add_argument("--serving-seconds", type=float, default=600.0, help="of the server's run under load")
    given = parser.parse_args()
    out = given.out
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        store, problem = Path(folder) / "cdr.zarr", ConvectionDiffusionReaction()
        results = {
            "generation": generation(store),
            "engines": engines(Path(folder)),
            "tiers of the PDE": tiers(),
            "resistivity": resistivity(),
        }
        samples = read_samples(store)
        surrogate = train(samples.split(0), TrainSettings()).surrogate
        costs = measure_costs(problem, surrogate, lambda n: draw(problem.parameters, 1, np.arange(n)), repeats=7)
        results["cpu_seconds_per_sample"] = vars(costs)
        results["onnx runtime, CDR"] = onnx_speed(surrogate)
        surrogate.save(Path(folder) / "model")
        results["serving"] = serving(Path(folder) / "model", given.serving_seconds)
        results["training, CDR of this project"] = protocols(samples, dict(train=400, validation=200, test=200))
    results["training, few parameters"] = few_parameters()
    if PAPER_DATA.exists():
        results["training, CDR of the paper"] = protocols(
            read_samples(PAPER_DATA), dict(train=400, validation=200, test=200)
        )
    results["speed"] = speed()
    print(as_table(results["speed"]), file=sys.stderr)
    results["about"] = {
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "versions": library_versions(),
        "git": git_revision(),
        "wall_seconds": time.perf_counter() - began,
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(results, indent=1))
    print(f"written to {out}", file=sys.stderr)


if __name__ == "__main__":
    main()
