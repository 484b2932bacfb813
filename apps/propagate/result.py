"""What came out of a model: numbers with their intervals, in words and for programs."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from gnvpro.apps.propagate.exceedance import Exceedance
from gnvpro.apps.propagate.in_words import between, in_brackets, valued
from gnvpro.apps.propagate.limits import Limit
from gnvpro.apps.propagate.moments import Estimate
from gnvpro.apps.propagate.quantiles import Curve
from gnvpro.apps.propagate.quantities import Quantities
from gnvpro.pde_data.problems.accuracy import error_in_words
from gnvpro.pde_data.problems.solving import reasons
from gnvpro.surrogate.formatting import with_unit
from gnvpro.surrogate.result import Result
from gnvpro.surrogate.spaces import Array

# Quantities that are told one by one, and limits of observables.
_TOLD = 4


@dataclass(frozen=True, eq=False)
class Solves:
    """What the PDE was solved for.

    Attributes
    ----------
    parameters, weights : (n, n_in), (n,)
        Σ weights x estimates the mean of x over the law.
    solved, predicted : (n, k)
        Quantities by the PDE, NaN where it failed, and by the surrogate.
    coefficients : (k,)
        Of the control variate of the means.
    n_solved
        Points, of which some may be there several times.
    failures
        Reasons, with their numbers of points.
    remembered
        Of the points, those that a checkpoint knew.
    """

    parameters: Array
    weights: Array
    solved: Array
    predicted: Array
    coefficients: Array
    n_solved: int
    failures: dict[str, int]
    remembered: int = 0

    @cached_property
    def n_failed(self) -> int:
        """Points."""
        return sum(self.failures.values())

    @cached_property
    def failed_share(self) -> float:
        """Of the law, by the weights."""
        return float(self.weights[np.isnan(self.solved).any(axis=1)].sum())


@dataclass(frozen=True, repr=False, eq=False)
class PropagationResult(Result):
    """Mean, deviation, quantiles and probabilities of quantities under the law of the parameters.

    Attributes
    ----------
    model, law
        In words.
    n_draws, level, seed
        Draws of the law, and level of all intervals.
    mean, deviation
        Of k quantities.
    quantile_levels, quantiles
        An estimate of k quantities for every level.
    limits, exceedances
        The probability of each limit, arrays of one.
    curves
        Distributions of the quantities that are pictured, by their column.
    problem
        Name of the PDE that was solved, or why none was.
    pde_error
        The PDE's own error, as the data state it.
    """

    model: str
    quantities: Quantities
    law: str
    n_draws: int
    level: float
    seed: int
    mean: Estimate
    deviation: Estimate
    quantile_levels: tuple[float, ...]
    quantiles: tuple[Estimate, ...]
    limits: tuple[Limit, ...]
    exceedances: tuple[Exceedance, ...]
    curves: dict[int, Curve]
    solves: Solves | None
    has_bands: bool
    pde_error: dict[str, Any] | None = None
    seconds: float = 0.0
    remarks: dict[str, str] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """What came out of which model."""
        return f"What comes out of {self.model}"

    @property
    def certainty(self) -> str:
        """Where the intervals come from, in words."""
        if self.solves is not None:
            return f"from {self.n_draws} draws and {self.solves.n_solved} PDE solves, which make the answers unbiased"
        if self.has_bands:
            return (
                f"from {self.n_draws} draws and the error bands of the surrogate; `pde_solves` would make them unbiased"
            )
        return (
            f"from {self.n_draws} draws alone: the model has no error bands, see gnvpro.calibrate, or give `pde_solves`"
        )

    def rows(self) -> list[tuple[str, str]]:
        """The limits first, then what was asked for as scalars; of many observables how large they are."""
        rows = [("law", self.law), (f"{self.level:.0%} intervals", self.certainty)]
        told = sorted(range(len(self.limits)), key=lambda i: -float(self.exceedances[i].value[0]))[: 2 * _TOLD]
        for i in sorted(told):
            rows.append((f"P({self.limits[i].event(self.quantities)})", self._probability(i)))
        if len(told) < len(self.limits):
            rows.append(("", f"and {len(self.limits) - len(told)} limits more, which are reached less often"))
        k, first = len(self.quantities.names), self.quantities.n_observables
        for column in range(first if k > _TOLD else 0, min(k, first + _TOLD)):
            rows += self._quantity(column)
        if self.quantities.n_observables and k > _TOLD:
            rows.append((f"means of {first} observables", self._range(self.mean)))
            rows.append(("their standard deviations", self._range(self.deviation)))
        if (solves := self.solves) is not None:
            rows.append(("PDE solves", self._solves(solves)))
        if self.pde_error is not None:
            rows.append(("the PDE's own error", error_in_words(self.pde_error, None)))
        return [*rows, *self.remarks.items()]

    def _probability(self, i: int) -> str:
        one = self.exceedances[i]
        lower, upper = float(one.lower[0]), float(one.upper[0])
        text = valued(one.shown, lower, upper) + in_brackets(lower, upper)
        drawn = f"draws alone {between(float(one.drawn_lower[0]), float(one.drawn_upper[0]))}"
        if self.solves is None:
            return f"{text}; {drawn}"
        n = int(one.differences[0])
        return f"{text}; surrogate {one.surrogate[0]:.3g}, {n} solve{'s differ' if n != 1 else ' differs'}; {drawn}"

    def _quantity(self, column: int) -> list[tuple[str, str]]:
        name, unit = self.quantities.names[column], self.quantities.unit(column)

        def shown(one: Estimate, unit: str = "") -> str:
            value, lower, upper = (float(x[column]) for x in (one.value, one.lower, one.upper))
            return with_unit(valued(value, lower, upper), unit) + in_brackets(lower, upper)

        quantiles = ", ".join(
            f"{level:.4g}: {shown(one)}" for level, one in zip(self.quantile_levels, self.quantiles, strict=True)
        )
        return [
            (f"{name}, mean", shown(self.mean, unit)),
            (f"{name}, standard deviation", shown(self.deviation, unit)),
            (f"{name}, quantiles", with_unit(quantiles, unit)),
        ]

    def _range(self, one: Estimate) -> str:
        own = slice(0, self.quantities.n_observables)
        half = (one.upper - one.lower)[own] / 2
        text = f"{one.value[own].min():.4g} to {one.value[own].max():.4g}"
        if (unknown := np.isnan(half)).all():
            return text
        which = f"{(~unknown).sum()} of them known" if unknown.any() else "each"
        return f"{text}, {which} within ± {np.nanmax(half):.2g} or less"

    def _solves(self, solves: Solves) -> str:
        text = str(solves.n_solved) + (f", {solves.remembered} of them remembered" if solves.remembered else "")
        if solves.n_failed:
            text += (
                f"; {solves.n_failed} failed, {solves.failed_share:.2g} of the law, and count as anything in the intervals: "
                f"{reasons(solves.failures)}"
            )
        return text

    def numbers(self) -> dict[str, Any]:
        """JSON-able."""
        by_limit: dict[int, list[dict[str, Any]]] = {}
        for limit, one in zip(self.limits, self.exceedances, strict=True):
            by_limit.setdefault(limit.column, []).append(self._of_limit(limit, one))
        return {
            "model": self.model,
            "law": self.law,
            "n_draws": self.n_draws,
            "level": self.level,
            "seed": self.seed,
            "corrected": self.solves is not None,
            "error_bands": self.has_bands,
            "quantities": [
                {
                    "name": name,
                    "unit": self.quantities.unit(j),
                    "mean": _of(self.mean, j),
                    "standard_deviation": _of(self.deviation, j),
                    "quantiles": [
                        {"level": level, **_of(one, j)}
                        for level, one in zip(self.quantile_levels, self.quantiles, strict=True)
                    ],
                    "limits": by_limit.get(j, []),
                }
                for j, name in enumerate(self.quantities.names)
            ],
            "pde": None if self.solves is None else self._of_solves(self.solves),
            "estimated_error": self.pde_error,
            "wall_seconds": self.seconds,
            **({"remarks": self.remarks} if self.remarks else {}),
        }

    def _of_limit(self, limit: Limit, one: Exceedance) -> dict[str, Any]:
        names = ("value", "lower", "upper", "drawn_lower", "drawn_upper", "surrogate")
        found = {name: _finite(getattr(one, name)[0]) for name in names}
        if self.solves is not None:
            found |= {name: _finite(getattr(one, name)[0]) for name in ("unassuming_lower", "unassuming_upper")}
            found["n_differences"] = int(one.differences[0])
        return {"limit": limit.value, "event": limit.sign, **found}

    def _of_solves(self, solves: Solves) -> dict[str, Any]:
        return {
            "n_solved": solves.n_solved,
            "n_draws": len(solves.weights),
            "n_failed": solves.n_failed,
            "failed_share": solves.failed_share,
            "failures": solves.failures,
            "remembered": solves.remembered,
            "coefficients": solves.coefficients.tolist(),
        }


def _of(one: Estimate, j: int) -> dict[str, float | None]:
    names = ("value", "lower", "upper", "drawn_lower", "drawn_upper")
    return {name: _finite(getattr(one, name)[j]) for name in names}


def _finite(value: Any) -> float | None:
    return float(value) if math.isfinite(value) else None
