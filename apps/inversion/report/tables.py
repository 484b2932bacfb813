"""Tables of the report of an inversion: what stands in them, as text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gnvpro.apps.inversion.adequacy import REFUSE_ABOVE, WARN_ABOVE
from gnvpro.apps.inversion.maximum_a_posteriori import Minimum
from gnvpro.apps.inversion.report.marginals import interval, labelled_parameter, prior_interval, relative_spread, spread
from gnvpro.apps.inversion.result import InversionResult
from gnvpro.apps.inversion.sampling.chains import RHAT, shift
from gnvpro.surrogate.formatting import seconds


def headlines(inversion: InversionResult) -> list[tuple[str, str]]:
    """A value and what it says, for the cards on top."""
    n, chains, adequacy = inversion.density.n_data, inversion.best_chains, inversion.adequacy
    usual = f"1 ± {2 * np.sqrt(2 / n):.2g} is usual of {n:,} observations with noise of this size"
    cards = [
        (
            f"{inversion.chi_squared:.3g}",
            f"chi-squared per observation at the most probable point, by {inversion.fitted_by}; {usual}",
        )
    ]
    if chains is not None:
        worst = float(chains.split_rhat.max())
        agree = f"below {RHAT}, the chains agree"
        verdict = agree if worst < RHAT else f"not below {RHAT}, draw more before relying on it"
        cards.append((f"{worst:.3f}", f"largest split R-hat of {chains.route}: {verdict}"))
        cards.append((f"{chains.effective.min():,.0f}", "effective samples of the parameter that has fewest"))
    if adequacy is not None:
        verdict = "fit" if adequacy.adequate else "not fit" if adequacy.refused else "doubtful"
        cards.append((verdict, f"the surrogate has an {adequacy}"))
    if inversion.truth is not None:
        low, high = interval(inversion).T
        inside = int(((inversion.truth >= low) & (inversion.truth <= high)).sum())
        cards.append((f"{inside} of {len(low)}", "parameters have the truth in their 95 % interval"))
    return [*cards, (seconds(inversion.seconds), "in all")]


def parameters(inversion: InversionResult) -> list[dict[str, Any]]:
    """Rows of the table of parameters, those that the data inform best first."""
    prior, best, chains = inversion.density.prior, inversion.map, inversion.best_chains
    ratios, credible, before, deviations = (
        relative_spread(inversion), interval(inversion), prior_interval(prior), spread(inversion)
    )  # fmt: skip
    box = ~prior.normal & (not prior.simplex)
    before[box] = np.stack([prior.lower, prior.upper], axis=1)[box]
    rows = []
    for j in np.argsort(ratios, kind="stable").tolist():
        low, high = credible[j].tolist()
        deviation = float(deviations[j])
        row = dict(
            name=labelled_parameter(prior.space, j),
            best=rounded(float(best.parameters[j]), deviation) + (" (at a bound)" if best.at_bound[j] else ""),
            deviation=f"{deviation:.2g}",
            interval=f"{rounded(low, deviation)} to {rounded(high, deviation)}",
            prior=f"{before[j, 0]:.3g} to {before[j, 1]:.3g}",
            learned=f"{ratios[j]:.2g}",
        )
        if chains is not None:
            row |= dict(rhat=f"{chains.split_rhat[j]:.3f}", effective=f"{chains.effective[j]:,.0f}")
        if inversion.truth is not None:
            truth = float(inversion.truth[j])
            row |= dict(truth=rounded(truth, deviation) + ("" if low <= truth <= high else " (outside)"))
        rows.append(row)
    return rows


def rounded(value: float, deviation: float) -> str:
    """A value to the second digit of its standard deviation."""
    if not 1e-6 < deviation < 1e4:
        return f"{value:.5g}"
    return f"{value:.{max(0, 1 - int(np.floor(np.log10(deviation))))}f}"


def minimum(inversion: InversionResult, local: Minimum, shown: Sequence[int]) -> dict[str, Any]:
    """A row of the table of minima, with the values of some parameters."""
    lowest = inversion.minima[0]
    known = lowest.standard_deviations > 0
    distance = (local.parameters - lowest.parameters)[known] / lowest.standard_deviations[known]
    return dict(
        higher=f"{local.value - lowest.value:.3g}",
        apart=f"{np.abs(distance).max(initial=0):.2g}",
        chi_squared=f"{2 * local.misfit / inversion.density.n_data:.4g}",
        starts=local.starts,
        iterations=local.iterations,
        converged="yes" if local.converged else "no",
        values=[
            f"{rounded(local.parameters[j], local.standard_deviations[j])} ± {local.standard_deviations[j]:.2g}"
            for j in shown
        ],
    )


def correction(inversion: InversionResult) -> str:
    """How far the PDE moved the best point, in words; empty without one."""
    moved = inversion.correction()
    if moved is None:
        return ""
    j = int(np.abs(moved).argmax())
    return f"The PDE moves the best point by up to {abs(moved[j]):.2g} standard deviations ({inversion.names[j]})."


def costs(inversion: InversionResult) -> list[dict[str, str]]:
    """A row for every route."""
    rows = []
    for chains in inversion.chains.values():
        least, about = float(chains.effective.min()), chains.about
        how = [f"{about['divergences']} divergences"] if "divergences" in about else []
        how += [f"{100 * about['acceptance']:.0f} % accepted"] if "acceptance" in about else []
        rows.append(dict(
            route=chains.route, draws=f"{chains.draws.shape[0]} × {chains.draws.shape[1]:,}",
            pde=f"{chains.accurate:,}", cheap=f"{chains.cheap:,}", derivatives=f"{chains.derivatives:,}",
            wall=seconds(chains.wall_seconds), cpu=seconds(chains.cpu_seconds), effective=f"{least:,.0f}",
            per_solve=f"{least / chains.accurate:.2g}" if chains.accurate else "–",
            per_second=f"{least / chains.wall_seconds:.2g}" if chains.wall_seconds else "–", how=", ".join(how),
        ))  # fmt: skip
    return rows


def shifts(inversion: InversionResult, shown: Sequence[int]) -> list[dict[str, Any]]:
    """Of every other route against the best: in its standard deviations, and ratios of these."""
    best, rows = inversion.best_chains, []
    for chains in list(inversion.chains.values())[1:]:
        assert best is not None
        means, ratios = shift(chains, best)
        # What two sets of draws of one posterior differ by.
        chance = np.max(np.hypot(chains.monte_carlo_error, best.monte_carlo_error) / best.standard_deviation)
        values = [f"{means[j]:+.2g}; {ratios[j]:.2f}" for j in shown]
        rows.append(
            dict(route=chains.route, largest=f"{np.abs(means).max():.2g}", values=values, noise=f"{chance:.1g}")
        )
    return rows


def notes(inversion: InversionResult) -> list[str]:
    """Reasons not to rely on the numbers."""
    notes, adequacy = [], inversion.adequacy
    for chains in inversion.chains.values():
        if not chains.converged:
            notes.append(
                f"{chains.route}: split R-hat {chains.split_rhat.max():.3f} is not below {RHAT}; its chains have not drawn "
                "long enough, or there are several minima."
            )
        if chains.about.get("divergences"):
            notes.append(f"{chains.route}: {chains.about['divergences']} divergences; it may miss narrow parts.")
    if not inversion.map.converged:
        notes.append("The search for the most probable point ended before its tolerance.")
    if adequacy is not None and not adequacy.adequate:
        notes.append(
            f"The error of the surrogate is more than {REFUSE_ABOVE if adequacy.refused else WARN_ABOVE:g} of the noise or "
            "of a posterior standard deviation: draws on the surrogate alone may be off."
        )
    return notes
