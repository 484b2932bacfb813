"""A model against what it replaces: the function `gnvpro.compare`."""

from __future__ import annotations

from typing import Any

from gnvpro.apps.arguments import Folder, model_of, name_of, problem_of
from gnvpro.apps.comparison.comparison import Comparison
from gnvpro.apps.comparison.fresh_solves import compare_with_solves
from gnvpro.apps.segmentation.compare_classes import LabelComparison, compare_with_labels
from gnvpro.pde_data.problems.limited import solved_within
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.model.classifier import Classifier
from gnvpro.surrogate.model.surrogate import Surrogate
from gnvpro.surrogate.progress import Report, silent


def compare(
    model: Folder | Surrogate | Classifier,
    problem: Any = None,
    *,
    samples: int = 64,
    seed: int = 0,
    repeats: int = 5,
    interpolation: tuple[int, ...] | None = None,
    cube: str | None = None,
    labels: str | None = None,
    time_limit: float | None = None,
    ranks: int = 1,
    threads_per_solve: int = 1,
    progress: Report = silent,
) -> Comparison | LabelComparison:
    """Errors and costs of a surrogate beside fresh PDE solves, or the classes of a classifier beside labels.

    Parameters
    ----------
    problem
        The PDE, or its `package.module:factory`; needed where the surrogate's data are not of a registered one.
    samples, seed
        Fresh parameters to solve the PDE at, and their seed; they are in no data set.
    repeats
        Timings taken, of which the median is reported.
    interpolation
        Chebyshev nodes per parameter: also compare with interpolation through as many solves.
    time_limit, ranks, threads_per_solve
        How samples are solved: see `gnvpro.pde_data.problems.limited.solved_within`.
    cube, labels
        Of a classifier: files of an image and of its labels; of Indian Pines without, if that trained it.

    Raises
    ------
    UsageError
        What belongs to the other kind of model, another PDE, nothing to compare with.
    NumericalFailure
        No sample could be solved.
    """
    shown, model = name_of(model, "the model"), model_of(model)
    if isinstance(model, Classifier):
        if problem is not None or interpolation is not None:
            raise UsageError(f"{shown} is a classifier and replaces no PDE; leave `problem` and `interpolation` out")
        return compare_with_labels(model, cube, labels)
    if cube is not None or labels is not None:
        raise UsageError(f"{shown} is a surrogate; `cube` and `labels` are for a classifier, leave them out")
    with solved_within(problem_of(model, problem), time_limit, ranks, threads_per_solve) as pde:
        return compare_with_solves(model, pde, samples, seed, repeats, interpolation, progress)
