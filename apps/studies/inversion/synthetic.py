"""Synthetic observations: parameters by their law, observables by an accurate model, and noise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from gnvpro.apps.comparison.fresh_solves import FRESH
from gnvpro.apps.inversion.posterior.noise import Noise, parse_noise
from gnvpro.apps.inversion.posterior.posterior import Posterior
from gnvpro.apps.inversion.posterior.prior import Prior
from gnvpro.apps.inversion.posterior.solves import Solves
from gnvpro.apps.progress import Report
from gnvpro.pde_data.problems.contract import Problem
from gnvpro.pde_data.sampling import draw
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.forward_model import ForwardModel
from gnvpro.surrogate.spaces import Array

# Truths are samples that neither a data set nor a comparison has.
_TRUTHS = FRESH + 2**20


@dataclass(frozen=True)
class Synthetic:
    """Noisy observables of known parameters.

    Attributes
    ----------
    truth : (n_in,)
        The parameters.
    exact, data : (n_out,)
        Observables by the model that makes the observations, and the same with noise.
    noise
        That made them.
    estimated
        What one takes the noise to be who knows the observations alone.
    """

    truth: Array
    exact: Array
    data: Array
    noise: Noise
    estimated: Noise

    def posterior(self, solves: Solves, noise: Noise | None = None) -> Posterior:
        """Of the parameters by a forward model, with the noise that made the observations or another one."""
        return Posterior(solves, self.data, noise or self.noise, Prior.of(solves.parameters))

    def error_in_noise(self, model: ForwardModel) -> Array:
        """Error (n_out,) of a model at the truth, in units of the noise."""
        return self.noise.whiten(model.evaluate(self.truth[None]) - self.exact)[0]


def truths(problem: Problem, n: int, seed: int) -> Array:
    """Parameters (n, n_in) by the law of the space."""
    return draw(problem.parameters, seed, _TRUTHS + np.arange(n, dtype=np.int64))


def reference_of(problem: Problem) -> tuple[str, Callable[[Array], Array]]:
    """The more accurate model that the error of a problem is stated against first, and its name.

    Raises
    ------
    ValueError
        The problem has none.
    """
    offered = getattr(problem, "references", None)
    found = offered() if offered is not None else {}
    if not found:
        raise UsageError(f"the problem {problem.name} has no reference to make observations by; give it `references()`")
    return next(iter(found.items()))


def observed(
    solve: Callable[[Array], Array], at: Array, noise: str, seed: int, report: Report | None = None
) -> list[Synthetic]:
    """Observations of every truth (n, n_in); the same seed gives the same noise whatever model makes them.

    Parameters
    ----------
    solve
        Observables (n, n_out) of parameters: the PDE or a reference of it, never the surrogate.
    noise
        As `gnvpro invert --noise`: `2%` of every datum, without noise where it makes the observations.

    Raises
    ------
    ArithmeticError
        A truth that could not be solved.
    """
    found = []
    for i, truth in enumerate(at):
        if report is not None:
            report(i, len(at), f"observations {i + 1} of {len(at)}")
        exact = solve(truth[None])[0]
        if not np.isfinite(exact).all():
            raise ArithmeticError(f"the observations of {truth.tolist()} could not be solved; take another --seed")
        law = parse_noise(noise, exact)
        data = exact + law.draw(np.random.default_rng((seed, i)), 1)[0]
        found.append(Synthetic(truth, exact, data, law, parse_noise(noise, data)))
    return found
