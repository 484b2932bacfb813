"""What a study of inversion is made with: samples, surrogates trained on them, and the PDE that they are of."""

from __future__ import annotations

from pathlib import Path

from gnvpro.apps.arguments import problem_of
from gnvpro.apps.progress import Report
from gnvpro.apps.studies.data import solved_samples
from gnvpro.pde_data.problems.contract import Problem
from gnvpro.pde_data.problems.loading import registered_problem
from gnvpro.pde_data.storage.dataset import read_samples
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.model.surrogate import Surrogate
from gnvpro.surrogate.samples import Samples
from gnvpro.training.train import TrainSettings, train


def samples_of(name: str, data: Path | None, n: int, report: Report) -> tuple[Samples, str]:
    """Samples of a registered problem, and where they are from: the data set, or `n` solves."""
    if data is not None:
        return read_samples(data), str(data)
    return solved_samples(name, n, report), f"{n} solves of the problem {name}"


def trained(
    samples: Samples, train_on: int, validate_on: int, seed: int, budget: float | None, report: Report
) -> Surrogate:
    """A surrogate by the defaults of `gnvpro train`, on some of the samples; the others are only reported.

    Parameters
    ----------
    budget
        Work units; None for the default.
    """
    split = samples.split(seed, train=train_on, validation=validate_on, test=len(samples) - train_on - validate_on)
    settings = TrainSettings(seed=seed, budget=budget)
    return train(
        split, settings, lambda now: report(now.work_units, now.budget, f"training on {train_on} samples: {now.stage}")
    ).surrogate


def pde_of(name: str, data: Path | None, surrogate: Surrogate) -> Problem:
    """The PDE of the samples.

    Raises
    ------
    ValueError
        A data set of another problem, or of none.
    """
    problem = registered_problem(name) if data is None else problem_of(surrogate)
    if problem.name != name:
        raise UsageError(
            f"this study is of the problem {name}, and {data} of {problem.name}; give a data set of {name}"
        )
    return problem
