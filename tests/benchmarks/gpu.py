"""Training on a GPU by the number of samples, against two CPU cores, as a table in markdown: `make gpu`.

The shape is that of the convection example, 55 inputs and 72 targets. A step is one of L-BFGS in the Kronecker metric,
between validations. Of peak: operations of a pass, counted by hand, over its time and the rate of a large square product in
float64.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from gnvpro.surrogate.networks.dense import DenseNetwork
from gnvpro.surrogate.objectives.reduced import reduced_least_squares
from gnvpro.training.device import torch_threads
from gnvpro.training.fitting.fit import Fit
from gnvpro.training.fitting.validation import ObjectiveValue
from gnvpro.training.solvers.lbfgs import LimitedMemoryBFGS
from tests.benchmarks import operations as by_hand
from tests.benchmarks.speed import least_time, peak_rate
from tests.synchronisations import Synchronisations

N_INPUTS, N_TARGETS = 55, 72
WIDTHS = ((9, 24, 24, 48), (256, 64))
SAMPLES = (10_000, 100_000, 1_000_000)
# Steps after the metric of iteration 20, until the next.
FIRST_STEPS, STEPS = 21, 20
# On two CPU cores no more samples: seconds a step.
MOST_ON_CPU = 100_000
CPU_THREADS = 2

HEAD = "| device | network | n | ms a step | waits a step | kernels a step | linearise, of peak | pull-back | GB held |"


def measured(widths: tuple[int, ...], n: int, device: str, peak: float, seconds: float) -> dict[str, Any]:
    """One row."""
    generator, network = torch.Generator().manual_seed(0), DenseNetwork(N_INPUTS, widths)
    inputs = torch.randn(n, N_INPUTS, generator=generator, dtype=torch.float64).to(device)
    mixing = torch.randn(N_INPUTS, N_TARGETS, generator=generator, dtype=torch.float64).to(device)
    objective = reduced_least_squares(network, inputs, torch.sin(inputs @ mixing / N_INPUTS**0.5), compression=None)
    theta = network.initial(0).to(device)
    solver = LimitedMemoryBFGS()
    solver.validation_interval = sys.maxsize
    fit = Fit(objective, theta, solver, ObjectiveValue())
    for _ in range(FIRST_STEPS):
        fit._one_step()
    times, waits = [], []
    for _ in range(STEPS):
        with Synchronisations() as counted:
            times.append(_seconds(fit._one_step, device))
        waits.append(counted.count)
    at, seed = network.linearize(theta, inputs), torch.ones(n, network.width, dtype=torch.float64, device=device)
    linearise = least_time(lambda: network.linearize(theta, inputs), device, seconds)
    pull_back = least_time(lambda: at.vjp(seed), device, seconds)
    return {
        "device": device,
        "network": ",".join(map(str, widths)),
        "n": n,
        "milliseconds": 1e3 * statistics.median(times),
        "waits": statistics.median(waits),
        "kernels": _kernels(fit._one_step) if device == "cuda" else None,
        "linearise": by_hand.linearise(network, n) / linearise / peak,
        "pull_back": by_hand.vjp(network, n) / pull_back / peak,
        "gigabytes": torch.cuda.max_memory_allocated() / 1e9 if device == "cuda" else None,
    }


def _seconds(run: Callable[[], object], device: str) -> float:
    began = time.perf_counter()
    run()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - began


def _kernels(run: Callable[[], object]) -> int:
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as seen:
        run()
        torch.cuda.synchronize()
    return sum(event.count for event in seen.key_averages() if event.key.startswith("cudaLaunchKernel"))


def study(devices: list[str], samples: tuple[int, ...], seconds: float = 0.3) -> list[dict[str, Any]]:
    """All rows."""
    rows = []
    for device in devices:
        with torch_threads(CPU_THREADS):
            peak = peak_rate(device, seconds)
            for widths in WIDTHS:
                for n in samples:
                    if device == "cuda":
                        torch.cuda.reset_peak_memory_stats()
                    elif n > MOST_ON_CPU:
                        continue
                    rows.append(measured(widths, n, device, peak, seconds))
                    print(as_line(rows[-1]), file=sys.stderr)
    return rows


def as_line(row: dict[str, Any]) -> str:
    """Of the table."""
    kernels = "" if row["kernels"] is None else row["kernels"]
    held = "" if row["gigabytes"] is None else f"{row['gigabytes']:.2f}"
    return (
        f"| {row['device']} | {row['network']} | {row['n']:,} | {row['milliseconds']:.2f} | {row['waits']:g} | {kernels} "
        f"| {100 * row['linearise']:.0f} % | {100 * row['pull_back']:.0f} % | {held} |"
    )


def as_table(rows: list[dict[str, Any]]) -> str:
    """Markdown."""
    return "\n".join([HEAD, "|" + "---|" * HEAD.count(" | ") + "---|", *map(as_line, rows)])


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/gpu.md"))
    parser.add_argument("--samples", type=int, nargs="+", default=SAMPLES)
    options = parser.parse_args()
    if not torch.cuda.is_available():
        print("no CUDA: nothing measured on a GPU", file=sys.stderr)
        return
    rows = study(["cuda", "cpu"], tuple(options.samples))
    options.out.parent.mkdir(parents=True, exist_ok=True)
    name = torch.cuda.get_device_name()
    options.out.write_text(f"{name}, torch {torch.__version__}, {CPU_THREADS} CPU threads.\n\n{as_table(rows)}\n")
    print(f"written to {options.out}", file=sys.stderr)


if __name__ == "__main__":
    main()
