"""Solves of a problem with derivatives along directions, and what they cost in solves of it.

They are data sets in a folder, made once: samples to train on, a set of them for every seed, and others that only measure.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from gnvpro.apps.comparison.costs import median_cpu_seconds, one_thread
from gnvpro.pde_data.generation.run import generate
from gnvpro.pde_data.problems.contract import Problem
from gnvpro.pde_data.problems.solving import solve_block
from gnvpro.pde_data.sampling import directions, draw
from gnvpro.pde_data.storage.dataset import read_samples
from gnvpro.surrogate.error_measure import ErrorMeasure
from gnvpro.surrogate.model.surrogate import Surrogate
from gnvpro.surrogate.progress import Report
from gnvpro.surrogate.samples import Samples
from gnvpro.training.train import mean_relative_error

# Of the samples that measure; no other seed of a study is as large.
_TEST_SEED = 1_000_003
# Samples of a problem that names no block.
_TIMED, _REPEATS = 32, 5


@dataclass(frozen=True)
class Cost:
    """CPU seconds of a solve, and of one derivative beside it; one thread, in blocks."""

    solve: float
    derivative: float

    def of(self, samples: int, directions: int) -> float:
        """CPU seconds of so many samples, each with derivatives along so many directions."""
        return samples * (self.solve + directions * self.derivative)


def cost_of(problem: Problem, n_directions: int) -> Cost:
    """Measured on a whole block of samples, the derivatives along so many directions together."""
    n = getattr(problem, "block_size", _TIMED)
    y = draw(problem.parameters, _TEST_SEED, np.arange(n))
    along = directions(problem.parameters, _TEST_SEED, np.arange(n), n_directions)
    with one_thread():
        solve = median_cpu_seconds(lambda: solve_block(problem, y), _REPEATS) / n
        tangents = getattr(problem, "tangents", None)
        if tangents is not None:
            both = median_cpu_seconds(lambda: tangents(y, along), _REPEATS) / n
            return Cost(solve, max(both - solve, 0.0) / n_directions)
        return Cost(solve, median_cpu_seconds(lambda: problem.jvp(y, along[:, 0]), _REPEATS) / n)


def solved(problem: Problem, file: Path, n: int, seed: int, n_directions: int, report: Report) -> Samples:
    """The first n samples of a data set that is made, or extended, where it has fewer."""

    def told(done: float, total: float | None, note: str) -> None:
        report(done, total, f"solving {problem.name} for {file.stem}: {note}")

    there = len(read_samples(file)) if file.exists() else 0
    if there < n:
        generate(problem, file, n, seed, derivatives=n_directions, progress=told)
    samples = read_samples(file)
    return samples.subset(np.arange(min(n, len(samples))))


def tested(problem: Problem, folder: Path, n: int, report: Report) -> Samples:
    """Samples by the law, each with one derivative, that only measure."""
    file = folder / f"{file_name(problem)}-test.zarr"
    if not file.exists():
        generate(problem, file, n, _TEST_SEED, derivatives=1, design="random", progress=report)
    return read_samples(file)


def file_name(problem: Problem) -> str:
    """The problem's name as a file may have it."""
    return problem.name.replace(":", "-").replace("/", "-")


def with_directions(samples: Samples, n_directions: int) -> Samples:
    """The first so many derivatives of every sample."""
    if not n_directions:
        return samples.without_derivatives
    along, derivatives = samples.directions, samples.derivatives
    assert along is not None
    assert derivatives is not None
    return replace(samples, directions=along[:, :n_directions], derivatives=derivatives[:, :n_directions])


def value_error(surrogate: Surrogate, test: Samples) -> float:
    """Mean error of the observables, or of their anomalous part, as the model states it."""
    return mean_relative_error(surrogate, test, anomalous=True)


def derivative_error(surrogate: Surrogate, test: Samples) -> float:
    """Mean over samples of the relative error of the derivative along a direction."""
    assert test.directions is not None
    assert test.derivatives is not None
    along, expected = test.directions[:, 0], test.derivatives[:, 0]
    predicted = surrogate.jvp(test.parameters, along)
    scale = ErrorMeasure.of(surrogate.training).output_scale
    norms = [np.linalg.norm(d if scale is None else d / scale, axis=1) for d in (predicted - expected, expected)]
    known = norms[1] > 0
    return float((norms[0][known] / norms[1][known]).mean())
