"""How close the passes of training are to the machine's matrix products: `make bench`, or python -m tests.benchmarks.speed.

The least of several times, since other work only adds to them: of CPU time on one thread, else of wall time. `of GEMM` is the
time of the bare matrix products of the same shapes over the time of the pass, `of peak` its rate over that of one large
square product; `torch.func` is the time of the general path over that of the hand-coded one.
"""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import torch

from gnvpro.surrogate.networks.dense import DenseNetwork
from gnvpro.surrogate.networks.in_time.residual import ResidualNetwork
from gnvpro.surrogate.networks.module import ModuleLinearization
from gnvpro.surrogate.objectives.reduced import reduced_least_squares
from gnvpro.training.device import torch_threads
from tests.benchmarks import operations as by_hand

N_INPUTS, N_TARGETS = 55, 72
NETWORKS = {
    "dense 9,24,24,48": DenseNetwork(N_INPUTS, (9, 24, 24, 48)),
    "dense 16,32,64": DenseNetwork(N_INPUTS, (16, 32, 64)),
    "residual 16, 4 steps": ResidualNetwork(N_INPUTS, 16, steps=4),
}
SAMPLES, THREADS = (400, 10_000), (1, 2)


def speed(seconds: float = 0.3) -> list[dict[str, Any]]:
    """One row a case and pass; `seconds` of repetitions for each measurement."""
    rows = []
    cases = [("cpu", threads) for threads in THREADS] + [("cuda", 1)] * torch.cuda.is_available()
    for device, threads in cases:
        with torch_threads(threads):
            peak = peak_rate(device, seconds)
            for name, network in NETWORKS.items():
                for n in SAMPLES:
                    about = {"device": device, "threads": threads, "network": name, "n": n, "peak_gflops": peak / 1e9}
                    rows += [{**about, **row} for row in _passes(network, n, device, peak, seconds)]
    return rows


def _passes(
    network: DenseNetwork | ResidualNetwork, n: int, device: str, peak: float, seconds: float
) -> Iterator[dict[str, Any]]:
    generator = torch.Generator().manual_seed(0)
    inputs, targets, seed = (
        torch.randn(n, k, generator=generator, dtype=torch.float64).to(device)
        for k in (N_INPUTS, N_TARGETS, network.width)
    )
    theta = network.initial(0).to(device)
    objective = reduced_least_squares(network, inputs, targets)
    point, at = objective.at(theta), network.linearize(theta, inputs)
    point.gauss_newton(theta)  # W W' and (A'A)^+ are made once a point
    general, features = ModuleLinearization(network, theta, inputs), at.features
    factorised = by_hand.factorisation(network.width, n)
    ways: dict[str, tuple[int, Callable[[], object], Callable[[], object] | None]] = {
        "linearise": (
            by_hand.linearise(network, n),
            lambda: network.linearize(theta, inputs),
            lambda: ModuleLinearization(network, theta, inputs),
        ),
        "jvp": (by_hand.jvp(network, n), lambda: at.jvp(theta), lambda: general.jvp(theta)),
        "vjp": (by_hand.vjp(network, n), lambda: at.vjp(seed), lambda: general.vjp(seed)),
        "product": (by_hand.product(network, n, len(objective.rotation)), lambda: point.gauss_newton(theta), None),
        "inner solve": (
            by_hand.inner_products(network.width, n, len(objective.rotation)) + factorised,
            lambda: objective.elimination.solve(features),
            None,
        ),
    }
    for name, (flops, run, by_func) in ways.items():
        taken, moved = least_time(run, device, seconds), by_hand.traffic(run)
        bare = sum(times * _gemm(shape, device, seconds / 10) for shape, times in moved.gemms.items())
        yield {
            "pass": name,
            "mega_operations": flops / 1e6,
            "mega_bytes": moved.bytes / 1e6,
            "milliseconds": 1e3 * taken,
            "gflops": flops / taken / 1e9,
            "of_gemm": bare / taken,
            "of_peak": flops / taken / peak,
            "gigabytes_per_second": moved.bytes / taken / 1e9,
            "torch_func": None if by_func is None else least_time(by_func, device, seconds) / taken,
        }


def _gemm(shape: by_hand.Gemm, device: str, seconds: float) -> float:
    m, k, n = shape
    left, right, out = (torch.ones(a, b, dtype=torch.float64, device=device) for a, b in ((m, k), (k, n), (m, n)))
    return least_time(lambda: torch.mm(left, right, out=out), device, seconds)


def peak_rate(device: str, seconds: float, size: int = 1024) -> float:
    return 2 * size**3 / _gemm((size, size, size), device, 10 * seconds)


def least_time(run: Callable[[], object], device: str, seconds: float) -> float:
    """Least time of one call, over as many as the seconds hold, 5 at least."""
    clock = time.process_time if device == "cpu" and torch.get_num_threads() == 1 else time.perf_counter

    def once() -> float:
        began = clock()
        run()
        if device == "cuda":
            torch.cuda.synchronize()
        return clock() - began

    once()
    end, times = time.perf_counter() + seconds, [once() for _ in range(5)]
    while time.perf_counter() < end:
        times.append(once())
    return min(times)


def as_table(rows: list[dict[str, Any]]) -> str:
    """Markdown, one line a network, pass and number of samples."""
    head = "| network | n | pass | M operations | MB | ms | GFLOP/s | of GEMM | of peak | torch.func |"
    tables = []
    for device, threads in Counter((row["device"], row["threads"]) for row in rows):
        mine = [row for row in rows if (row["device"], row["threads"]) == (device, threads)]
        lines = [
            f"{device}, {threads} thread{'s' * (threads > 1)}: peak {mine[0]['peak_gflops']:.1f} GFLOP/s",
            "",
            head,
        ]
        lines.append("|" + "---|" * 10)
        for row in mine:
            ratio = "" if row["torch_func"] is None else f"{row['torch_func']:.1f}×"
            lines.append(
                f"| {row['network']} | {row['n']:,} | {row['pass']} | {row['mega_operations']:.2f} | {row['mega_bytes']:.2f} "
                f"| {row['milliseconds']:.3f} | {row['gflops']:.1f} | {100 * row['of_gemm']:.0f} % "
                f"| {100 * row['of_peak']:.0f} % | {ratio} |"
            )
        tables.append("\n".join(lines))
    return "\n\n".join(tables)


if __name__ == "__main__":
    found = speed()
    print(as_table(found), file=sys.stderr)
    print(json.dumps(found))
