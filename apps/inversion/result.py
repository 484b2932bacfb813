"""What an inversion found: maximum a posteriori points, chains by route, and how far they can be relied on."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from xarray import DataTree

from gnvpro.apps.inversion.adequacy import Adequacy
from gnvpro.apps.inversion.inference_data import inference_data, labels
from gnvpro.apps.inversion.maximum_a_posteriori import Minimum
from gnvpro.apps.inversion.modes import modes_of, shares
from gnvpro.apps.inversion.posterior.posterior import Posterior
from gnvpro.apps.inversion.posterior.solves import Solves
from gnvpro.apps.inversion.sampling.chains import Chains, shift
from gnvpro.apps.inversion.verdict import Check, accuracy, convergence, fit, outliers, verdict
from gnvpro.pde_data.problems.contract import Problem
from gnvpro.surrogate.formatting import seconds, with_unit
from gnvpro.surrogate.model.surrogate import Surrogate
from gnvpro.surrogate.result import Result
from gnvpro.surrogate.spaces import Array

# Chains with a larger split R-hat have not found the same posterior; above 1.01 they may not have.
_DISAGREE = 1.05
# Parameters that are printed: those that are known best.
_MOST_PRINTED = 8


@dataclass(frozen=True, repr=False, eq=False)
class InversionResult(Result):
    """Posteriors of the same parameters by one or more routes.

    Attributes
    ----------
    model
        What was inverted, in words.
    density
        The posterior density by the surrogate, or whatever model was inverted: model, observations, noise, prior.
    minima, corrected
        Maximum a posteriori points of that density, the best first; and the best of them after more steps on the PDE.
    chains
        Draws by route, those that can be relied on most first.
    fitted : (n_out,)
        Observables at `map`, by the most accurate model.
    adequacy
        Error of the surrogate; None where it is unknown.
    truth : (n_in,)
        Of synthetic observations.
    remarks
        What went otherwise than one might think, by subject: a PDE that is not at hand, points that could not be solved.
    problem, seconds
        The PDE behind the model; wall seconds of everything.
    solved
        Solves of that PDE; None without.
    determined
        How many combinations of the parameters the observations determine: see `Whitening`.
    """

    model: str
    density: Posterior
    minima: list[Minimum]
    corrected: Minimum | None
    chains: dict[str, Chains]
    fitted: Array
    adequacy: Adequacy | None = None
    truth: Array | None = None
    problem: Problem | None = None
    seconds: float = 0.0
    remarks: dict[str, str] = field(default_factory=dict)
    solved: Solves | None = None
    determined: float = 0.0

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the parameters."""
        return self.density.prior.space.names

    @property
    def map(self) -> Minimum:
        """The maximum a posteriori point: by the PDE where there is one."""
        return self.corrected or self.minima[0]

    @property
    def best_chains(self) -> Chains | None:
        """Those of the route that can be relied on most; None where nothing was sampled."""
        return next(iter(self.chains.values()), None)

    @cached_property
    def posterior(self) -> DataTree | None:
        """Of the first route, as ArviZ and xarray read it: draws, prior, observations, predictions, log likelihood."""
        return None if not self.chains else self.tree(next(iter(self.chains)))

    @property
    def fitted_by(self) -> str:
        """Which model `fitted` is by."""
        return "the PDE" if self.corrected is not None else "the model that was inverted"

    @property
    def residuals(self) -> Array:
        """Fitted less observed in units of the noise, decorrelated (n_data,)."""
        return self.density.whitened(self.fitted[None])[0]

    @property
    def chi_squared(self) -> float:
        """Mean square of the residuals, about one for a good fit; of Student's law that of normal ones as improbable."""
        return float((self.density.noise.normal_scores(self.residuals) ** 2).mean())

    def tree(self, route: str) -> DataTree:
        """The draws of a route with all that ArviZ asks of them (`inference_data`)."""
        return inference_data(self.chains[route], self.density, None if route == "surrogate" else self.solved)

    def shifts(self) -> dict[str, dict[str, list[float]]]:
        """Of the means by every further route from the first one's, in its standard deviations; and the ratio of these."""
        if (best := self.best_chains) is None:
            return {}
        pairs = {route: shift(chains, best) for route, chains in list(self.chains.items())[1:]}
        return {
            route: {"means": means.tolist(), "standard_deviations": ratios.tolist()}
            for route, (means, ratios) in pairs.items()
        }

    def correction(self) -> Array | None:
        """What the PDE moved the maximum a posteriori point by, in Laplace standard deviations (n_in,)."""
        if self.corrected is None:
            return None
        spread = np.maximum(self.corrected.standard_deviations, 1e-300)
        return (self.corrected.parameters - self.minima[0].parameters) / spread

    def checks(self) -> list[Check]:
        """Whether the result can be relied on, question by question."""
        prior = self.density.prior
        route = next(iter(self.chains), None)
        sampled = convergence(self.best_chains, self.doubt())
        if not prior.n_free:
            sampled = Check("converged", "yes", "all parameters are fixed: there is nothing to sample")
        checks = [sampled, fit(self.density, self.residuals, self.determined)]
        if self.adequacy is not None or isinstance(self.density.solves.model, Surrogate):
            checks.append(accuracy(self.adequacy, route))
        return checks

    def doubt(self) -> str | None:
        """Why the posterior is not to be relied on; None where the chains agree."""
        for route, chains in self.chains.items():
            longer = "`draws`" if route == "surrogate" else "`pde_draws`"
            if not (apart := chains.split_rhat.max()) <= _DISAGREE:
                return (
                    f"the chains of {route} do not agree (split R-hat {apart:.2f}, expected at most {_DISAGREE}); draw more "
                    f"with {longer}, and look at the minima"
                )
            if chains.trouble is not None:
                return (
                    f"not converged, by {route}: {chains.trouble}; take another `sampler`, narrow the prior, or "
                    "give data near zero an absolute part of the noise"
                )
            if len(self.modes) > 1 and not (by_mode := shares(self.modes, chains)).known:
                return (
                    f"the posterior has {len(self.modes)} modes, and the chains of {route} went from one to another too "
                    f"rarely to tell how much each holds (drawn: {_in_percent(by_mode.drawn)}); draw more with {longer}, or "
                    "keep to one of them by a prior"
                )
        return None

    @cached_property
    def modes(self) -> list[Minimum]:
        """The minima that hold a part of the posterior, the lowest first."""
        return modes_of(self.minima)

    @property
    def title(self) -> str:
        """What was inverted."""
        return f"Inversion with {self.model}"

    def rows(self) -> list[tuple[str, str]]:
        """Point, posterior, how far both can be relied on, and what they cost."""
        rows: list[tuple[str, str]] = []
        best, chains, space = self.map, self.best_chains, self.density.prior.space
        known_best = np.argsort(np.where(space.fixed, np.inf, best.standard_deviations))[:_MOST_PRINTED]
        for j in known_best if space.size > _MOST_PRINTED else range(space.size):
            unit = space.unit(j)
            if space.fixed[j]:
                rows.append((space.names[j], with_unit(f"fixed at {best.parameters[j]:.5g}", unit)))
                continue
            text = with_unit(f"most probable {best.parameters[j]:.5g}", unit)
            if chains is not None:
                low, high = chains.quantiles(0.025, 0.975)[:, j]
                text += f", 95 % in {low:.5g} to {high:.5g}"
            if self.truth is not None:
                text += f", truth {self.truth[j]:.5g}"
            rows.append((space.names[j], text))
        rows += [("verdict", verdict(self.checks())), ("observations", self.observations_in_words())]
        rows.append(("minima found", self._minima_in_words()))
        if len(self.modes) > 1:
            rows.append(("modes", self._modes_in_words()))
        rows.append(("fit", f"chi-squared {self.chi_squared:.3g} per observation, by {self.fitted_by}"))
        if self.adequacy is not None:
            rows.append(("surrogate", str(self.adequacy) + ("" if self.adequacy.adequate else ": doubtful")))
        for route, chains in self.chains.items():
            solves = f"{chains.accurate} PDE solves, " if chains.accurate else ""
            rows.append((
                f"posterior, {route}",
                f"{chains.route}: split R-hat {chains.split_rhat.max():.3f}, {chains.effective.min():.0f} effective "
                f"samples, {solves}{seconds(chains.wall_seconds)}",
            ))  # fmt: skip
        for route, differences in self.shifts().items():
            largest = np.abs(differences["means"]).max()
            rows.append((f"{route} against that", f"means within {largest:.2g} standard deviations"))
        return [*rows, *self.remarks.items()]

    def observations_in_words(self) -> str:
        """How many there are, of how many observables, and the law of their noise."""
        density = self.density
        n, n_out, measured = density.n_data, density.solves.observables.size, len(np.unique(density.places))
        some = f" of {n_out:,}" * (measured < n_out)
        text = (
            f"{n:,} measurements of {measured:,} observables{some and f',{some}'}"
            if density.repeated
            else f"{n:,}{some}"
        )
        return text + (f"; noise {density.noise.law}" if density.noise.law != "normal" else "")

    def _modes_in_words(self) -> str:
        drawn = [f"{_in_percent(shares(self.modes, chains).drawn)} of {route}" for route, chains in self.chains.items()]
        return f"{len(self.modes)} of the minima are about as probable; point and deviations are those of the first" + (
            f"; draws by mode: {', '.join(drawn)}" if drawn else ""
        )

    def _minima_in_words(self) -> str:
        first, *others = self.minima
        if not others:
            return f"one, from all {first.starts} starts"
        higher = ", ".join(f"{minimum.value - first.value:.3g} ({minimum.starts})" for minimum in others[:3])
        more = ", …" if len(others) > 3 else ""
        return f"{len(self.minima)}; the best from {first.starts} starts, others higher by {higher}{more}"

    def numbers(self) -> dict[str, Any]:
        """JSON-able."""
        correction = self.correction()
        return {
            "model": self.model, "n_data": self.density.n_data,
            "checks": [check.numbers() for check in self.checks()], "noise": self._noise(),
            "prior": self.density.prior.to_dict(),
            "minima": [self._point(minimum) for minimum in self.minima], "map": self._point(self.map),
            "corrected_by_pde": self.corrected is not None,
            "shift_of_map_by_pde": None if correction is None else correction.tolist(),
            "chi_squared": self.chi_squared,
            "gate": None if self.adequacy is None else self.adequacy.numbers(),
            "posterior": {route: chains.numbers() for route, chains in self.chains.items()},
            "shifts": self.shifts(),
            "truth": None if self.truth is None else self._by_name(self.truth),
            "wall_seconds": self.seconds, "remarks": self.remarks,
        }  # fmt: skip

    def _noise(self) -> dict[str, Any]:
        noise, far = self.density.noise_of_data, outliers(self.density, self.residuals)
        names = labels(self.density)
        return {
            "law": noise.law, "degrees_of_freedom": noise.degrees_of_freedom if noise.heavy_tailed else None,
            "smallest_scale": float(noise.scales.min()), "largest_scale": float(noise.scales.max()),
            "notes": list(noise.notes), "outliers": {names[i]: float(self.residuals[i]) for i in far},
        }  # fmt: skip

    def _by_name(self, values: Array) -> dict[str, float]:
        return dict(zip(self.names, values.tolist(), strict=True))

    def _point(self, minimum: Minimum) -> dict[str, Any]:
        return {
            "parameters": self._by_name(minimum.parameters),
            "standard_deviations": self._by_name(minimum.standard_deviations),
            "at_bound": [name for name, held in zip(self.names, minimum.at_bound, strict=True) if held],
            "value": minimum.value, "misfit": minimum.misfit, "starts": minimum.starts,
            "iterations": minimum.iterations, "converged": minimum.converged,
        }  # fmt: skip


def _in_percent(drawn: Array) -> str:
    return " and ".join(f"{share:.0%}" for share in drawn)
