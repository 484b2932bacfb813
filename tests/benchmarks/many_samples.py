"""Seconds of an iteration of one fit over processes, and from a file: `python -m tests.benchmarks.many_samples`.

The problem is of the size of CDR: 55 inputs, 72 outputs, widths 9,24,24,48; the numbers are drawn, as seconds do not rest on
them. Processes and memory are measured in turns, so that noise of a shared machine meets all alike.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import time
from typing import Any

import numpy as np
import torch

from gnvpro.surrogate.coupling import ALONE, Coupling
from gnvpro.surrogate.networks.dense import DenseNetwork
from gnvpro.surrogate.objectives.reduced import reduced_least_squares
from gnvpro.surrogate.objectives.rows import RowsInMemory, RowsOnDisk
from gnvpro.surrogate.objectives.streamed import StreamedLayer, StreamedObjective
from gnvpro.training.solvers.lbfgs import LimitedMemoryBFGS
from tests.coupled import in_processes

N_IN, N_OUT, N_TARGETS, WIDTHS = 55, 72, 40, (9, 24, 24, 48)
# Samples that are drawn together.
BLOCK = 1000


def drawn(n: int, first: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Inputs and targets of rank `N_TARGETS`, those of so many samples from this one on."""
    mixing = np.random.default_rng(0).standard_normal((N_IN, N_TARGETS)) / 8
    outputs = np.random.default_rng(2).standard_normal((N_TARGETS, N_OUT))
    blocks = range(first // BLOCK, -(-(first + n) // BLOCK))
    random = np.concatenate([np.random.default_rng([1, block]).standard_normal((BLOCK, N_IN)) for block in blocks])
    inputs = random[first % BLOCK : first % BLOCK + n] / N_IN**0.5
    return torch.from_numpy(inputs), torch.from_numpy(np.sin(4 * inputs @ mixing) @ outputs)


def seconds_of_steps(objective: Any, steps: int) -> list[float]:
    """Of single steps of L-BFGS in the metric, the first few of which are left out."""
    solver, point, seconds = LimitedMemoryBFGS(), objective.at(objective.network.initial(0)), []
    for _ in range(steps):
        begin = time.perf_counter()
        point = solver.step(point).point
        seconds.append(time.perf_counter() - begin)
    return seconds[3:]


def in_memory(coupling: Coupling, n: int) -> Any:
    """The objective of this process's share."""
    share = coupling.share(n)
    inputs, targets = drawn(share.stop - share.start, share.start)
    return reduced_least_squares(DenseNetwork(N_IN, WIDTHS), inputs, targets, compression=1e-6, coupling=coupling)


def over_processes(coupling: Coupling, n: int, steps: int) -> tuple[list[float], list[float]]:
    """Steps on the share of each, then, on the first alone while the others wait, on all samples."""
    together = seconds_of_steps(in_memory(coupling, n), steps)
    alone = seconds_of_steps(in_memory(ALONE, n), steps) if coupling.is_first else []
    coupling.any(False)
    return together, alone


def from_file(n: int, steps: int) -> dict[str, Any]:
    """Steps of samples in a file, written in pieces, and the peak of memory over that before; then those in memory."""
    torch.linalg.qr(torch.randn(9000, 90, dtype=torch.float64))  # what libraries take at their first call
    seconds_of_steps(in_memory(ALONE, 2000), 5)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    network, rows, rotation = DenseNetwork(N_IN, WIDTHS), None, None
    for first in range(0, n, 10_000):
        inputs, targets = drawn(min(10_000, n - first), first)
        part = reduced_least_squares(network, inputs, targets, compression=1e-6)
        layer = part.elimination
        if rows is None:
            rotation = layer.rotation
            rows = RowsOnDisk((N_IN, layer.targets.shape[1], 1), torch.device("cpu"))
        assert rotation is not None
        chunk = RowsInMemory(inputs, layer).read(slice(None))
        scale = chunk.row_scale * (len(inputs) / n) ** 0.5
        rows.append(chunk._replace(targets=targets @ rotation.t(), row_scale=scale))
    assert rows is not None
    rows.finish()
    objective = StreamedObjective(network, rows, StreamedLayer(n, rotation, 1e-10), 1e-9)
    seconds = seconds_of_steps(objective, steps)
    peak = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    return {"seconds": statistics.median(seconds), "peak_mb": peak}


def main() -> None:
    """Print figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=100_000)
    parser.add_argument("--steps", type=int, default=15)
    parser.add_argument("--part", choices=["processes", "file"], default="processes")
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.part == "processes":
        (together, alone), _ = in_processes(2, over_processes, given.samples, given.steps)
        found = {"two_processes": statistics.median(together), "one": statistics.median(alone)}
        found["faster"] = found["one"] / found["two_processes"]
    else:
        found = from_file(given.samples, given.steps)
        found["in_memory"] = statistics.median(seconds_of_steps(in_memory(ALONE, given.samples), given.steps))
        found["ratio"] = found["seconds"] / found["in_memory"]
    print(json.dumps({"samples": given.samples, **found}))


if __name__ == "__main__":
    main()
