"""All that an inversion found."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from gnvpro.apps.inversion.gate import Gate
from gnvpro.apps.inversion.maximum import Minimum
from gnvpro.apps.inversion.posterior.posterior import Posterior
from gnvpro.apps.inversion.sampling.chains import Chains, shift
from gnvpro.pde_data.problems.contract import Problem
from gnvpro.surrogate.spaces import Array


@dataclass(frozen=True)
class Fit:
    """Observables at one point beside the observations.

    Attributes
    ----------
    name
        In words: which point, by which model.
    parameters : (n_in,)
        The point.
    observables : (n_out,)
        By the most accurate model at hand.
    residuals : (n_data,)
        In units of the noise.
    """

    name: str
    parameters: Array
    observables: Array
    residuals: Array

    @property
    def chi_squared(self) -> float:
        """Mean square of the residuals; about one for a good fit."""
        return float((self.residuals**2).mean())


@dataclass(frozen=True)
class Inversion:
    """Answers by one or more routes to the same question.

    Attributes
    ----------
    model
        What was inverted, in words.
    posterior
        The question; its forward model is that of the first route.
    minima
        Maximum a posteriori points on the first route, the best first.
    corrected
        The best of them after more steps on the PDE; None where there is no PDE.
    chains
        Posteriors by route; the first is the answer.
    fit
        Of the best point there is.
    gate
        Error of the surrogate; None where it could not be told, or no surrogate was used.
    truth : (n_in,)
        Of synthetic observations.
    problem
        The PDE behind the model.
    seconds
        Wall seconds of everything.
    """

    model: str
    posterior: Posterior
    minima: list[Minimum]
    corrected: Minimum | None
    chains: dict[str, Chains]
    fit: Fit
    gate: Gate | None = None
    truth: Array | None = None
    problem: Problem | None = None
    seconds: float = 0.0

    @property
    def names(self) -> tuple[str, ...]:
        """Of the parameters."""
        return self.posterior.prior.space.names

    @property
    def answer(self) -> Chains | None:
        """The posterior that counts; None where none was sampled."""
        return next(iter(self.chains.values()), None)

    @cached_property
    def best(self) -> Minimum:
        """The maximum a posteriori point that counts."""
        return self.corrected or self.minima[0]

    def shifts(self) -> dict[str, dict[str, list[float]]]:
        """Of every further route's posterior against the answer, in standard deviations; and the ratio of these."""
        if (answer := self.answer) is None:
            return {}
        found = {}
        for name, chains in list(self.chains.items())[1:]:
            means, ratios = shift(chains, answer)
            found[name] = {"means": means.tolist(), "standard_deviations": ratios.tolist()}
        return found

    def numbers(self) -> dict[str, Any]:
        """JSON-able."""

        def point(minimum: Minimum) -> dict[str, Any]:
            return {
                "parameters": dict(zip(self.names, minimum.parameters.tolist(), strict=True)),
                "standard_deviations": dict(zip(self.names, minimum.standard_deviations.tolist(), strict=True)),
                "at_bound": [n for n, held in zip(self.names, minimum.at_bound, strict=True) if held],
                "value": minimum.value, "misfit": minimum.misfit, "starts": minimum.starts,
                "iterations": minimum.iterations, "converged": minimum.converged,
            }  # fmt: skip

        return {
            "model": self.model,
            "n_data": self.posterior.n_data,
            "prior": self.posterior.prior.to_dict(),
            "minima": [point(one) for one in self.minima],
            "map": point(self.best),
            "corrected_by_pde": self.corrected is not None,
            "shift_of_map_by_pde": self._correction(),
            "chi_squared": self.fit.chi_squared,
            "gate": None if self.gate is None else self.gate.numbers(),
            "posterior": {name: chains.numbers() for name, chains in self.chains.items()},
            "shifts": self.shifts(),
            "truth": None if self.truth is None else dict(zip(self.names, self.truth.tolist(), strict=True)),
            "wall_seconds": self.seconds,
        }

    def _correction(self) -> list[float] | None:
        """By the PDE, in Laplace standard deviations."""
        if self.corrected is None:
            return None
        spread = np.maximum(self.corrected.standard_deviations, 1e-300)
        return ((self.corrected.parameters - self.minima[0].parameters) / spread).tolist()
