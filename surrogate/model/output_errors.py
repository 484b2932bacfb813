"""The error of every output by itself: one number for all hides an output that is small beside the others."""

from __future__ import annotations

from typing import Any

import numpy as np

from gnvpro.surrogate.error_measure import ErrorMeasure
from gnvpro.surrogate.formatting import listed, percent
from gnvpro.surrogate.missing import mean, missing_in
from gnvpro.surrogate.spaces import Array, Space

# Times the error of all outputs together; below the second number an error is harmless whatever the others are.
_MUCH, _HARMLESS = 10.0, 1e-6
_MOST_NAMED = 3
# Numbers of which there are copies at a time: 32 MiB.
_NUMBERS = 1 << 22


def errors_by_output(
    predicted: Array, observables: Array, space: Space, background: Array | None, measure: ErrorMeasure | None = None
) -> dict[str, Any]:
    """Root-mean-square error of every output over its root-mean-square size or spread, as measured, JSON-able.

    Parameters
    ----------
    predicted, observables : (n, n_out)
        Observables that are missing are NaN: an output's error is that at the samples that have it.
    background : (n_out,)
        Sizes are those of the observables less this.

    Returns
    -------
    `errors`, one an output, None where it is zero throughout; `stated`, the mean relative error of samples that stands for
    all outputs; `worse`, by name and the worst first, those that are much larger than it.
    """
    n, n_out = observables.shape
    size = observables if background is None else observables - background
    measure, missing = measure or ErrorMeasure(), missing_in(observables)
    blocks = _blocks(n, n_out) if missing is None else [slice(None)]  # what is missing is estimated from all samples
    lengths = [measure.lengths(predicted[rows] - observables[rows], missing) for rows in blocks]
    stated = float((np.concatenate(lengths) / measure.norms(size)).mean())
    errors = np.full(n_out, np.nan)
    for part in _blocks(n_out, n):
        scale = measure.output_sizes(size[:, part])
        misfit = np.sqrt(mean((predicted[:, part] - observables[:, part]) ** 2))
        np.divide(misfit, scale, out=errors[part], where=scale > 0)
    worst_first = np.argsort(-np.where(np.isnan(errors), 0.0, errors), kind="stable")
    worse = [int(j) for j in worst_first if errors[j] > max(_MUCH * stated, _HARMLESS)]
    return {
        "stated": stated,
        "errors": [None if np.isnan(error) else float(error) for error in errors],
        "worse": {space.names[j]: float(errors[j]) for j in worse},
    }


def _blocks(n: int, size: int) -> list[slice]:
    """n rows or columns of so many numbers, some at a time."""
    together = max(1, _NUMBERS // max(1, size))
    return [slice(first, first + together) for first in range(0, max(n, 1), together)]


def output_error_rows(training: dict[str, Any]) -> list[tuple[str, str]]:
    """Which outputs are much worse than the error stated, from the record of a training; nothing where none is."""
    record = training.get("errors_by_output")
    if not record or not record["worse"]:
        return []
    worse = dict(list(record["worse"].items())[:_MOST_NAMED])
    further = len(record["worse"]) - len(worse)
    others = f" and {further} more" if further else ""
    return [
        (
            "error by output",
            f"{listed(worse, percent)}{others}: more than {_MUCH:g} times the {percent(record['stated'])} of all "
            f"{len(record['errors'])} outputs together (validation); divide each output by its size, or train these alone",
        )
    ]


def missing_rows(training: dict[str, Any]) -> list[tuple[str, str]]:
    """How much of the samples was missing, from the record of a training; nothing where nothing was."""
    if "missing" not in training:
        return []
    return [("missing", f"{training['missing']['in_words']}; each is fitted to the samples that have it")]
