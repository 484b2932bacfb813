"""What a study of inversion is made with: samples and surrogates of a problem, synthetic observations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gnvpro.apps.arguments import problem_of
from gnvpro.apps.comparison.fresh_solves import FRESH
from gnvpro.apps.inversion.posterior.observations import Noise, noise_of
from gnvpro.apps.inversion.posterior.posterior import Posterior
from gnvpro.apps.settings import portable
from gnvpro.apps.studies.data import solved_samples
from gnvpro.pde_data.problems.contract import Problem
from gnvpro.pde_data.problems.loading import registered_problem
from gnvpro.pde_data.sampling import draw
from gnvpro.pde_data.storage.dataset import read_samples
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.forward_model import ForwardModel
from gnvpro.surrogate.model.surrogate import Surrogate
from gnvpro.surrogate.progress import Report
from gnvpro.surrogate.samples import Samples
from gnvpro.surrogate.spaces import Array
from gnvpro.training.train import TrainSettings, train

# Truths are samples that neither a data set nor a comparison has.
_TRUTHS = FRESH + 2**20


def samples_of(name: str, data: Path | None, n: int, report: Report) -> tuple[Samples, str]:
    """Samples of a registered problem, and where they are from: the data set, or `n` solves."""
    if data is not None:
        return read_samples(data), portable(data)
    return solved_samples(name, n, report), f"{n} solves of the problem {name}"


def trained(
    samples: Samples, n_train: int, n_validation: int, seed: int, budget: float | None, report: Report
) -> Surrogate:
    """A surrogate by the defaults of `gnvpro train` on some of the samples; the others are only reported."""
    split = samples.split(seed, train=n_train, validation=n_validation, test=len(samples) - n_train - n_validation)
    settings = TrainSettings(seed=seed, budget=budget)
    what = f"training on {n_train} samples"
    return train(split, settings, lambda now: report(now.work_units, now.budget, f"{what}: {now.stage}")).surrogate


def pde_of(name: str, data: Path | None, surrogate: Surrogate) -> Problem:
    """The PDE of the samples; a data set of another problem, or of none, is refused."""
    problem = registered_problem(name) if data is None else problem_of(surrogate)
    if problem.name != name:
        expected = f"this study is of the problem {name}"
        raise UsageError(f"{expected}, and {data} of {problem.name}; give a data set of {name}")
    return problem


def reference_of(problem: Problem) -> tuple[str, Callable[[Array], Array]]:
    """The more accurate model that the error of a problem is stated against first, and its name."""
    references = getattr(problem, "references", dict)()
    if not references:
        raise UsageError(f"the problem {problem.name} has no reference to make observations by; give it `references()`")
    return next(iter(references.items()))


def truths(problem: Problem, n: int, seed: int) -> Array:
    """Parameters (n, n_in) by the law of the space."""
    return draw(problem.parameters, seed, _TRUTHS + np.arange(n, dtype=np.int64))


@dataclass(frozen=True, eq=False)
class Case:
    """Observables (n_out,) of known parameters (n_in,), exact by the model that makes the observations and with noise.

    The noise is the law that made them; the estimated noise is what it is taken for where only the observations are known.
    """

    truth: Array
    exact: Array
    data: Array
    noise: Noise
    estimated_noise: Noise

    def posterior(self, model: ForwardModel) -> Posterior:
        """Of the parameters by a forward model, with the noise that made the observations."""
        return Posterior.of(model, self.data, self.noise)

    def error_in_noise(self, model: ForwardModel) -> Array:
        """Error (n_out,) of a model at the truth, in units of the noise."""
        return self.noise.whiten(model.evaluate(self.truth[None]) - self.exact)[0]


def observed(
    solve: Callable[[Array], Array], at: Array, noise: str, seed: int, report: Report | None = None
) -> list[Case]:
    """Observations of every truth (n, n_in); the same seed gives the same noise whatever model makes them.

    `solve` gives observables (n, n_out) by the PDE or a reference of it, never by the surrogate; `noise` is as for
    `gnvpro invert --noise`, where 2% are of every exact datum.

    Raises
    ------
    ArithmeticError
        A truth that could not be solved.
    """
    cases = []
    for i, truth in enumerate(at):
        if report is not None:
            report(i, len(at), f"observations {i + 1} of {len(at)}")
        exact = solve(truth[None])[0]
        if not np.isfinite(exact).all():
            raise ArithmeticError(f"the observations of {truth.tolist()} could not be solved; take another --seed")
        law = noise_of(noise, exact)
        data = exact + law.draw(np.random.default_rng((seed, i)), 1)[0]
        cases.append(Case(truth, exact, data, law, noise_of(noise, data)))
    return cases
