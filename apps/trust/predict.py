"""Observables at parameters by a saved model: the function `gnvpro.predict`."""

from __future__ import annotations

from typing import Any, Literal

from gnvpro.apps import field_files
from gnvpro.apps.arguments import Folder, Parameters, model_of, parameters_of, problem_of
from gnvpro.apps.trust.predictions import Predictions, require_new_file
from gnvpro.surrogate.checks import path_of
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.model.classifier import Classifier
from gnvpro.surrogate.model.surrogate import Surrogate
from gnvpro.surrogate.progress import Report, silent


def predict(
    model: Folder | Surrogate | Classifier,
    parameters: Parameters,
    *,
    level: float = 0.9,
    fallback: Literal["none", "pde"] = "none",
    tolerance: float | None = None,
    append: Folder | None = None,
    problem: Any = None,
    time_limit: float | None = None,
    ranks: int = 1,
    threads_per_solve: int = 1,
    transpose: bool = False,
    out: Folder | None = None,
    record: dict[str, Any] | None = None,
    progress: Report = silent,
) -> Predictions:
    """Observables, error bands, and which points are not to be trusted.

    Parameters
    ----------
    parameters
        See `gnvpro.apps.arguments.parameters_of`.
    level
        Of the error bands; one that the model stores.
    fallback
        `pde`: solve the PDE at points that are not to be trusted.
    tolerance, append, problem
        With it: solve also where the band is wider, relative to the observables; the data set that keeps the solves;
        the PDE, where it is not a registered one.
    time_limit, ranks, threads_per_solve
        How samples are solved: see `gnvpro.pde_data.problems.limited.solved_within`.
    transpose
        See `gnvpro.pde_data.storage.tables.read_parameters`.
    out, record
        File to write, and what to keep in it: see `Predictions.save`.

    Raises
    ------
    UsageError, OSError
        What does not fit; a fallback of a model without error bands or PDE.
    """
    if out is not None:
        require_new_file(path_of(out, "the file `out`"))
    model = model_of(model)
    if out is not None and path_of(out).suffix in field_files.FORMATS:
        field_files.require_field(model.observables, path_of(out))
    if fallback not in ("none", "pde"):
        raise UsageError(f"expected fallback='none' or fallback='pde', got {fallback!r}")
    of_solves = (tolerance, append, problem, time_limit) != (None,) * 4 or max(ranks, threads_per_solve) > 1
    if fallback == "none" and of_solves:
        raise UsageError(
            "`tolerance`, `append`, `problem`, `time_limit`, `ranks` and `threads_per_solve` belong to fallback='pde'; "
            "add it, or leave them out"
        )
    predictions = Predictions.of(model, parameters_of(parameters, model.parameters, transpose), level)
    if fallback == "pde":
        if isinstance(model, Classifier):
            raise UsageError("the model is a classifier, there is no PDE behind it; leave out fallback='pde'")
        from gnvpro.apps.trust.fallback import with_pde  # what keeps solves needs zarr, which prediction does not
        from gnvpro.pde_data.problems.limited import solved_within

        kept = None if append is None else path_of(append)
        with solved_within(problem_of(model, problem), time_limit, ranks, threads_per_solve) as pde:
            predictions = with_pde(predictions, pde, tolerance, kept, progress)
    if out is not None:
        predictions.save(out, record)
    return predictions
