"""Microseconds a sample of exported models in ONNX Runtime on one thread, beside torch: `make bench`.

`python -m tests.benchmarks.onnx_runtime MODEL …` does it for saved models. Least and median CPU time of several runs, each of
many calls where a call is one point; other work on the machine only adds to them.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import onnxruntime
import torch

from gnvpro.surrogate.admissible import admissible_points
from gnvpro.surrogate.model.classifier import Classifier
from gnvpro.surrogate.model.load import load_model
from gnvpro.surrogate.model.onnx.export import export
from gnvpro.surrogate.model.surrogate import Surrogate

BATCHES, REPEATS = (1, 10_000), 15


def onnx_speed(model: Surrogate | Classifier) -> list[dict[str, Any]]:
    """One row for every precision and batch size."""
    rows = []
    for dtype in ("float32", "float64"):
        exported = export(model, dtype)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        content = exported.proto.SerializeToString()
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        for n in BATCHES:
            points = admissible_points(model.parameters, n, seed=1)
            single, calls = points.astype(dtype), max(1, 1000 // n)
            taken = _seconds(lambda run=session.run, y=single: run(None, {"parameters": y}), calls)
            by_torch = _seconds(lambda y=points: model.evaluate(y), calls)
            rows.append(
                {
                    "dtype": dtype,
                    "computes_in": exported.computes_in,
                    "n": n,
                    "largest_difference": exported.difference,
                    "microseconds_per_sample": {how: 1e6 * t / n for how, t in taken.items()},
                    "torch_microseconds_per_sample": {how: 1e6 * t / n for how, t in by_torch.items()},
                }
            )
    return rows


def _seconds(run: Callable[[], object], calls: int) -> dict[str, float]:
    def once() -> float:
        began = time.process_time()
        for _ in range(calls):
            run()
        return (time.process_time() - began) / calls

    once()
    times = [once() for _ in range(REPEATS)]
    return {"least": min(times), "median": statistics.median(times)}


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(json.dumps({path: onnx_speed(load_model(path)) for path in sys.argv[1:]}, indent=1))
