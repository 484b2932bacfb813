"""The report of an inversion: one HTML file with everything in it."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from apps import images
from apps.console import seconds
from apps.figure_style import as_data_uri
from apps.inversion import body, figures, fit_figures
from apps.inversion.chains import shift
from apps.inversion.gate import REFUSE, WARN
from apps.inversion.marginals import best_informed, interval, prior_interval, relative_spread, spread, unit
from apps.inversion.maximum import Minimum
from apps.inversion.result import Inversion
from apps.report import render
from pde_data.provenance import git_revision, library_versions

# Parameters with marginals, pairs and chains; in tables in full; minima that are listed.
MOST_PARAMETERS, MOST_ROWS, MOST_MINIMA = 6, 12, 10
RHAT = 1.01


def write_report(path: Path, inversion: Inversion, commands: Sequence[str]) -> None:
    """Write the report of an inversion.

    Parameters
    ----------
    commands
        What to type to get the same again.
    """
    shown = best_informed(inversion, MOST_PARAMETERS)
    page = render(
        "invert.html.j2",
        inversion=inversion,
        headlines=_headlines(inversion),
        parameters=_parameters(inversion),
        most_rows=MOST_ROWS,
        shown=[inversion.names[j] for j in shown],
        minima=[_minimum(inversion, one, shown) for one in inversion.minima[:MOST_MINIMA]],
        corrected=None if inversion.corrected is None else _minimum(inversion, inversion.corrected, shown),
        correction=_correction(inversion),
        pictures=_pictures(inversion, shown),
        costs=_costs(inversion),
        shifts=_shifts(inversion, shown),
        notes=_notes(inversion),
        commands=commands,
        origin=_origin(inversion),
    )
    path.write_text(page, encoding="utf-8")


def _headlines(inversion: Inversion) -> list[tuple[str, str]]:
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


def _parameters(inversion: Inversion) -> list[dict[str, Any]]:
    """Rows of the table of parameters, those that the data tell most of first."""
    prior, best, answer = inversion.posterior.prior, inversion.best, inversion.answer
    learned, credible, before, deviations = (
        relative_spread(inversion), interval(inversion), prior_interval(prior), spread(inversion)
    )  # fmt: skip
    box = ~prior.normal & (not prior.simplex)
    before[box] = np.stack([prior.lower, prior.upper], axis=1)[box]
    rows = []
    for j in np.argsort(learned, kind="stable"):
        low, high = credible[j]
        row = dict(
            name=prior.space.names[j],
            unit=unit(prior.space, j),
            best=f"{best.parameters[j]:.5g}" + (" (at a bound)" if best.at_bound[j] else ""),
            deviation=f"{deviations[j]:.2g}",
            interval=f"{low:.5g} to {high:.5g}",
            prior=f"{before[j, 0]:.4g} to {before[j, 1]:.4g}",
            learned=f"{learned[j]:.2g}",
        )
        if answer is not None:
            row |= dict(rhat=f"{answer.split_rhat[j]:.3f}", effective=f"{answer.effective[j]:,.0f}")
        if inversion.truth is not None:
            truth = inversion.truth[j]
            row |= dict(truth=f"{truth:.5g}", inside="inside" if low <= truth <= high else "outside")
        rows.append(row)
    return rows


def _minimum(inversion: Inversion, one: Minimum, shown: Sequence[int]) -> dict[str, Any]:
    return dict(
        higher=f"{one.value - inversion.minima[0].value:.3g}",
        chi_squared=f"{2 * one.misfit / inversion.posterior.n_data:.4g}",
        starts=one.starts,
        iterations=one.iterations,
        converged="yes" if one.converged else "no",
        values=[f"{one.parameters[j]:.4g} ± {one.standard_deviations[j]:.1g}" for j in shown],
    )


def _correction(inversion: Inversion) -> str:
    """How far the PDE moved the best point, in words; empty without one."""
    moved = inversion.numbers()["shift_of_map_by_pde"]
    if moved is None:
        return ""
    j = int(np.abs(moved).argmax())
    return f"The PDE moves the best point by up to {abs(moved[j]):.2g} standard deviations ({inversion.names[j]})."


def _costs(inversion: Inversion) -> list[dict[str, str]]:
    """A row for every route."""
    rows = []
    for chains in inversion.chains.values():
        least, about = float(chains.effective.min()), chains.about
        of = "divergences", "acceptance"
        how = [f"{about[of[0]]} divergences"] if of[0] in about else []
        how += [f"{about[of[1]]:.0%} accepted"] if of[1] in about else []
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


def _shifts(inversion: Inversion, shown: Sequence[int]) -> list[dict[str, Any]]:
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


def _notes(inversion: Inversion) -> list[str]:
    """What a reader has to know before relying on the numbers."""
    notes, gate = [], inversion.gate
    for chains in inversion.chains.values():
        if not chains.split_rhat.max() < RHAT:
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


def _pictures(inversion: Inversion, shown: Sequence[int]) -> list[dict[str, str]]:
    drawn: list[tuple[str, Figure, str]] = []
    if body.body_problem(inversion) is not None:
        caption = "Outlines of the body. The section is the vertical plane through its centre along the dotted line."
        drawn.append(("The body in the ground", body.body(inversion), caption))
    drawn.append((
        "What the data say of each parameter",
        figures.in_prior(inversion),
        "Left: 95 % intervals by every route within that of the prior, in its standard deviations. Right: the posterior's "
        "standard deviation relative to the prior's; near one the data say nothing of a parameter.",
    ))  # fmt: skip
    if inversion.chains:
        drawn.append(("Posterior", figures.pairs(inversion, shown), _pairs_caption(inversion, shown)))
    drawn += _fit_pictures(inversion)
    if inversion.chains:
        caption = (
            "Colours are chains; red, where known, is the truth. Chains that agree look alike and show no trend. Split R-hat "
            "is rank-normalised; effective samples are the fewer of those of the mean and the tails."
        )
        drawn.append(("Chains", figures.traces(inversion, shown), caption))
    return [dict(title=title, source=as_data_uri(figure), caption=caption) for title, figure, caption in drawn]


def _pairs_caption(inversion: Inversion, shown: Sequence[int]) -> str:
    some = f"The {len(shown)} of {len(inversion.names)} parameters that the data tell most of. "
    return (
        (some if len(shown) < len(inversion.names) else "")
        + "Marginals as densities, pairs by the contours around 50 % and 95 % of the draws. Axes span the draws; the "
        "range of the prior is above each marginal."
    )


def _fit_pictures(inversion: Inversion) -> list[tuple[str, Figure, str]]:
    space, fit = inversion.posterior.solves.observables, inversion.fit
    of = f"At the {fit.name}. "
    correlated = (
        " The noise is correlated: the histogram is of residuals that were decorrelated first."
        if inversion.posterior.noise.factor.ndim == 2
        else ""
    )
    left = (
        "Residuals",
        fit_figures.residuals(inversion),
        f"Chi-squared {fit.chi_squared:.4g} per observation. Left: the band is two standard deviations of the noise. Right: "
        "the residuals beside the law they have if the model fits and the noise is as it was stated." + correlated,
    )
    if not images.are_images(space):
        text = "Dots are observations with one standard deviation of their noise, lines the fitted model."
        return [("Data fit", fit_figures.curves(inversion), of + text), left]
    shown, all_of = fit_figures.telling_images(inversion), len(images.image_names(space))
    text = (
        "Absolute values on a logarithmic scale of four decades; dark lines are changes of sign. A pattern in the "
        "residuals is what the model does not explain. Grey is where nothing was observed."
    )
    some = f" The {len(shown)} images of {all_of} with the largest residuals." if len(shown) < all_of else ""
    return [("Data fit", fit_figures.images(inversion), of + text + some), left]


def _origin(inversion: Inversion) -> list[tuple[str, str]]:
    git = git_revision()
    revision = "not a git checkout"
    if git:
        revision = git["revision"] + (" with local changes" if git["modified"] else "")
    posterior = inversion.posterior
    normal = posterior.prior.to_dict()["normal"]
    laws = [f"{name} normal, {law['mean']:g} ± {law['standard_deviation']:g}" for name, law in normal.items()]
    others = [posterior.prior.to_dict()["law"]] if len(normal) < posterior.prior.size else []
    spread_of = posterior.noise.standard_deviations[posterior.measured]
    low, high = spread_of.min(), spread_of.max()
    return [
        ("model", inversion.model),
        ("PDE", "none at hand" if inversion.problem is None else inversion.problem.name),
        ("observations", f"{posterior.n_data:,} of {len(posterior.data):,}"),
        (
            "noise",
            f"normal, standard deviations {low:.3g} to {high:.3g}"
            + ("" if posterior.noise.factor.ndim == 1 else ", correlated"),
        ),
        ("prior", "; ".join([*laws, *others])),
        ("versions", ", ".join(f"{name} {version}" for name, version in library_versions().items())),
        ("git revision", revision),
        ("machine", f"{platform.system()} {platform.machine()}, one thread"),
        ("written", datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")),
    ]
