"""Solves of a problem with derivatives along directions.

They are data sets in a folder, made once: samples to train on, a set of them for every seed, and others that only measure.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from gnvpro.pde_data.generation.run import generate
from gnvpro.pde_data.problems.contract import Problem
from gnvpro.pde_data.storage.dataset import read_samples
from gnvpro.surrogate.error_measure import ErrorMeasure
from gnvpro.surrogate.model.surrogate import Surrogate
from gnvpro.surrogate.progress import Report
from gnvpro.surrogate.samples import Samples
from gnvpro.training.train import mean_relative_error

# Of the samples that measure; no other seed of a study is as large.
_TEST_SEED = 1_000_003


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
