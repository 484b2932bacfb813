"""Tables of the report of an inversion: what stands in them, as text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gnvpro.apps.inversion.gate import REFUSE, WARN
from gnvpro.apps.inversion.maximum import Minimum
from gnvpro.apps.inversion.report.marginals import (
    interval,
    labelled_parameter,
    prior_interval,
    relative_spread,
    spread,
)
from gnvpro.apps.inversion.result import Inversion
from gnvpro.apps.inversion.sampling.chains import RHAT, shift
from gnvpro.surrogate.formatting import seconds


def headlines(inversion: Inversion) -> list[tuple[str, str]]:
    """A value and what it says, for the cards on top."""
    n, fit, answer = inversion.posterior.n_data, inversion.fit, inversion.answer
    usual = np.sqrt(2 / n)
    found = [
        (
            f"{fit.chi_squared:.3g}",
            f"chi-squared per observation of the {fit.name}; 1 ± {2 * usual:.2g} is usual of {n:,} observations with "
            "noise of this size",
        )
    ]
    if answer is not None:
        worst = float(answer.split_rhat.max())
        found.append((
            f"{worst:.3f}",
            f"largest split R-hat of {answer.route}: "
            + (f"below {RHAT}, the chains agree" if worst < RHAT else f"not below {RHAT}, draw more before relying on it"),
        ))  # fmt: skip
        found.append((f"{answer.effective.min():,.0f}", "effective samples of the parameter that has fewest"))
    if inversion.gate is not None:
        found.append((_verdict(inversion), f"the surrogate has an {inversion.gate.text()}"))
    if inversion.truth is not None:
        low, high = interval(inversion).T
        inside = int(((inversion.truth >= low) & (inversion.truth <= high)).sum())
        found.append((f"{inside} of {len(low)}", "parameters have the truth in their 95 % interval"))
    found.append((seconds(inversion.seconds), "in all"))
    return found


def _verdict(inversion: Inversion) -> str:
    assert inversion.gate is not None
    return "fit" if inversion.gate.passed else "not fit" if inversion.gate.refused else "doubtful"


def parameters(inversion: Inversion) -> list[dict[str, Any]]:
    """Rows of the table of parameters, those that the data tell most of first."""
    prior, best, answer = inversion.posterior.prior, inversion.best, inversion.answer
    learned, credible, before, deviations = (
        relative_spread(inversion), interval(inversion), prior_interval(prior), spread(inversion)
    )  # fmt: skip
    box = ~prior.normal & (not prior.simplex)
    before[box] = np.stack([prior.lower, prior.upper], axis=1)[box]
    rows = []
    for j in np.argsort(learned, kind="stable").tolist():
        low, high = credible[j].tolist()
        deviation = float(deviations[j])
        row = dict(
            name=labelled_parameter(prior.space, j),
            best=rounded(float(best.parameters[j]), deviation) + (" (at a bound)" if best.at_bound[j] else ""),
            deviation=f"{deviation:.2g}",
            interval=f"{rounded(low, deviation)} to {rounded(high, deviation)}",
            prior=f"{before[j, 0]:.3g} to {before[j, 1]:.3g}",
            learned=f"{learned[j]:.2g}",
        )
        if answer is not None:
            row |= dict(rhat=f"{answer.split_rhat[j]:.3f}", effective=f"{answer.effective[j]:,.0f}")
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


def minimum(inversion: Inversion, one: Minimum, shown: Sequence[int]) -> dict[str, Any]:
    """A row of the table of minima, with the values of some parameters."""
    lowest = inversion.minima[0]
    known = lowest.standard_deviations > 0
    apart = (one.parameters - lowest.parameters)[known] / lowest.standard_deviations[known]
    return dict(
        higher=f"{one.value - lowest.value:.3g}",
        apart=f"{np.abs(apart).max(initial=0):.2g}",
        chi_squared=f"{2 * one.misfit / inversion.posterior.n_data:.4g}",
        starts=one.starts,
        iterations=one.iterations,
        converged="yes" if one.converged else "no",
        values=[
            f"{rounded(one.parameters[j], one.standard_deviations[j])} ± {one.standard_deviations[j]:.2g}"
            for j in shown
        ],
    )


def correction(inversion: Inversion) -> str:
    """How far the PDE moved the best point, in words; empty without one."""
    moved = inversion.numbers()["shift_of_map_by_pde"]
    if moved is None:
        return ""
    j = int(np.abs(moved).argmax())
    return f"The PDE moves the best point by up to {abs(moved[j]):.2g} standard deviations ({inversion.names[j]})."


def costs(inversion: Inversion) -> list[dict[str, str]]:
    """A row for every route."""
    rows = []
    for chains in inversion.chains.values():
        least, about = float(chains.effective.min()), chains.about
        of = "divergences", "acceptance"
        how = [f"{about[of[0]]} divergences"] if of[0] in about else []
        how += [f"{100 * about[of[1]]:.0f} % accepted"] if of[1] in about else []
        rows.append(dict(
            route=chains.route,
            draws=f"{chains.draws.shape[0]} × {chains.draws.shape[1]:,}",
            pde=f"{chains.accurate:,}",
            cheap=f"{chains.cheap:,}",
            derivatives=f"{chains.derivatives:,}",
            wall=seconds(chains.wall_seconds),
            cpu=seconds(chains.cpu_seconds),
            effective=f"{least:,.0f}",
            per_solve=f"{least / chains.accurate:.2g}" if chains.accurate else "–",
            per_second=f"{least / chains.wall_seconds:.2g}" if chains.wall_seconds else "–",
            how=", ".join(how),
        ))  # fmt: skip
    return rows


def shifts(inversion: Inversion, shown: Sequence[int]) -> list[dict[str, Any]]:
    """Of every other route against the answer: in its standard deviations, and ratios of these."""
    answer, rows = inversion.answer, []
    for chains in list(inversion.chains.values())[1:]:
        assert answer is not None
        means, ratios = shift(chains, answer)
        rows.append(dict(
            route=chains.route,
            largest=f"{np.abs(means).max():.2g}",
            values=[f"{means[j]:+.2g}; {ratios[j]:.2f}" for j in shown],
            # What two sets of draws of one posterior differ by.
            noise=f"{np.max(np.hypot(chains.monte_carlo_error, answer.monte_carlo_error) / answer.standard_deviation):.1g}",
        ))  # fmt: skip
    return rows


def notes(inversion: Inversion) -> list[str]:
    """What a reader has to know before relying on the numbers."""
    notes, gate = [], inversion.gate
    for chains in inversion.chains.values():
        if not chains.converged:
            notes.append(
                f"{chains.route}: split R-hat {chains.split_rhat.max():.3f} is not below {RHAT}; its chains have not drawn "
                "long enough, or there are several minima."
            )
        if chains.about.get("divergences"):
            notes.append(f"{chains.route}: {chains.about['divergences']} divergences; it may miss narrow parts.")
    if not inversion.best.converged:
        notes.append("The search for the most probable point ended before its tolerance.")
    if gate is not None and not gate.passed:
        limit = f"more than {REFUSE:g}" if gate.refused else f"more than {WARN:g}"
        notes.append(
            f"The error of the surrogate is {limit} of the noise or of the answer's standard deviation: "
            "draws on the surrogate alone may be off."
        )
    return notes
