"""The report of an inversion: one HTML file with everything in it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from gnvpro.apps.inversion.adequacy import REFUSE_ABOVE, WARN_ABOVE
from gnvpro.apps.inversion.maximum_a_posteriori import Minimum
from gnvpro.apps.inversion.report import body, figures, fit_figures
from gnvpro.apps.inversion.report.figures import interval, labelled_parameter, relative_spread
from gnvpro.apps.inversion.result import InversionResult
from gnvpro.apps.inversion.sampling.chains import RHAT, shift
from gnvpro.apps.inversion.verdict import verdict, worst
from gnvpro.apps.reports import images
from gnvpro.apps.reports.domain import domain
from gnvpro.apps.reports.figure_style import styled
from gnvpro.apps.reports.page import origin_rows, pictures, render
from gnvpro.pde_data.problems.scene import views_of
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.formatting import seconds, with_unit
from gnvpro.surrogate.laws.plain import law_of
from gnvpro.surrogate.names import listed

# Parameters with marginals, pairs and chains; with a column of a table; with a row that is open; minima that are listed.
MOST_PARAMETERS, MOST_COLUMNS, MOST_ROWS, MOST_MINIMA = 6, 3, 12, 10

# Posterior over prior standard deviation of a parameter that the data do not inform.
_UNINFORMED = 0.95

# Of the prior, that the origin of a report names.
_MOST_LAWS = 8


def write_report(path: Path, inversion: InversionResult, command: str) -> None:
    """Write the report of an inversion; `command` is what to type to get the same again, empty for none."""
    columns, checks = figures.best_informed(inversion, MOST_COLUMNS), inversion.checks()
    page = render(
        __package__, heading=inversion.title, inversion=inversion, verdict=verdict(checks), mark=worst(checks),
        checks=checks, answer=answer(inversion), headlines=headlines(inversion), parameters=parameters(inversion),
        most_rows=MOST_ROWS, shown=[inversion.names[j] for j in columns],
        minima=[minimum(inversion, local, columns) for local in inversion.minima[:MOST_MINIMA]],
        corrected=None if inversion.corrected is None else minimum(inversion, inversion.corrected, columns),
        correction=correction(inversion), pictures=_pictures(inversion), costs=costs(inversion),
        shifts=shifts(inversion, columns), notes=notes(inversion), command=command, origin=_origin(inversion),
    )  # fmt: skip
    path.write_text(page, encoding="utf-8")


def answer(inversion: InversionResult) -> list[str]:
    """The parameters with their uncertainty, in words: those that the data inform best, in their order."""
    space, credible, deviations = inversion.density.prior.space, interval(inversion), figures.spread(inversion)
    sentences = []
    for j in figures.best_informed(inversion, MOST_PARAMETERS):
        deviation, chains = float(deviations[j]), inversion.best_chains
        value = float(inversion.map.parameters[j] if chains is None else chains.mean[j])
        low, high = (rounded(float(end), deviation) for end in credible[j])
        number = f"{rounded(value, deviation)} ± {deviation:.2g}"
        known = f"{space.names[j]} is {with_unit(number, space.unit(j))}, with 95 % probability {low} to {high}"
        ratio = relative_spread(inversion)[j]
        sentences.append(known + "; the data say next to nothing of it" * bool(ratio > _UNINFORMED))
    if more := int(inversion.density.prior.n_free) - len(sentences):
        sentences.append(f"{more} more, which the data inform less, are in the table")
    fixed = [name for name, free in zip(inversion.names, inversion.density.prior.free, strict=True) if not free]
    if fixed:
        sentences.append(f"fixed: {listed(fixed)}")
    return sentences


def _pictures(inversion: InversionResult) -> list[dict[str, str]]:
    shown = figures.best_informed(inversion, MOST_PARAMETERS)
    drawn: list[tuple[str, Figure, str]] = []
    if body.body_problem(inversion) is not None:
        caption = "Outlines of the body. The section is the vertical plane through its centre along the dotted line."
        drawn.append(("The body in the ground", body.body(inversion), caption))
    elif views := views_of(inversion.problem, inversion.map.parameters):
        caption = f"At the most probable point, observables by {inversion.fitted_by}."
        observables = inversion.density.solves.observables
        drawn.append(("The problem", domain(views, observables, inversion.fitted), caption))
    drawn += _field_pictures(inversion)
    if shown:
        caption = (
            "Left: 95 % intervals by every route within that of the prior, in its standard deviations. Right: the "
            "posterior's standard deviation relative to the prior's; near one the data say nothing of a parameter."
        )
        drawn.append(("What the data say of each parameter", figures.in_prior(inversion), caption))
    if inversion.chains:
        n_free = inversion.density.prior.n_free
        some = f"The {len(shown)} of {n_free} parameters that the data inform best. "
        caption = some * (len(shown) < n_free) + (
            "Marginals as densities, pairs by the contours around 50 % and 95 % of the draws. Axes span the draws; the range "
            "of the prior is above each marginal."
        )
        drawn.append(("Posterior", figures.pairs(inversion, shown), caption))
    drawn += _fit_pictures(inversion)
    if inversion.chains:
        caption = (
            "Colours are chains; red, where known, is the truth. Chains that agree look alike and show no trend. Split R-hat "
            "is rank-normalised; effective samples are the fewer of those of the mean and the tails."
        )
        drawn.append(("Chains", figures.traces(inversion, shown), caption))
    return pictures(drawn)


def _field_pictures(inversion: InversionResult) -> list[tuple[str, Figure, str]]:
    """Of every random field in the plane or on a line that the problem says its parameters are coefficients of."""
    drawn, chains, names = [], inversion.best_chains, inversion.names
    for name, field in (getattr(inversion.problem, "fields", None) or {}).items():
        modes = field.modes
        if missing := sorted(set(modes.names(name)) - set(names)):
            raise UsageError(
                f"fields[{name!r}] of the problem: expected its coefficients as parameters, got no {missing[0]}"
            )
        if chains is None or modes.nodes.shape[1] == 3:
            continue
        columns = [names.index(coefficient) for coefficient in modes.names(name)]
        truth = None if inversion.truth is None else inversion.truth[columns]
        captured = f"{modes.n_modes} modes, {modes.captured:.1%} of the variance of its prior. "
        caption = captured + f"Mean and standard deviation of the draws by {chains.route}."
        figure = styled(modes.picture)(chains.draws[..., columns], truth)
        drawn.append((f"The field {name}", figure, caption))
    return drawn


def _fit_pictures(inversion: InversionResult) -> list[tuple[str, Figure, str]]:
    space = inversion.density.solves.observables
    where = f"At the most probable point, by {inversion.fitted_by}. "
    correlated = " The noise is correlated: the histogram is of residuals that were decorrelated first."
    caption = (
        f"Chi-squared {inversion.chi_squared:.4g} per observation. Left: the band is two standard deviations of the noise. "
        "Right: the residuals beside the law they have if the model fits and the noise is as it was stated."
    )
    residuals = fit_figures.residuals(inversion), caption + correlated * inversion.density.noise.correlated
    if not images.are_images(space):
        text = "Dots are observations with one standard deviation of their noise, lines the fitted model."
        return [("Data fit", fit_figures.curves(inversion), where + text), ("Residuals", *residuals)]
    shown, n_images = fit_figures.largest_residuals(inversion), len(images.image_names(space))
    text = (
        "Absolute values on a logarithmic scale of four decades; dark lines are changes of sign. A pattern in the "
        "residuals is what the model does not explain. Grey is where nothing was observed."
    )
    some = f" The {len(shown)} images of {n_images} with the largest residuals." * (len(shown) < n_images)
    return [("Data fit", fit_figures.images(inversion), where + text + some), ("Residuals", *residuals)]


def _origin(inversion: InversionResult) -> list[tuple[str, str]]:
    density = inversion.density
    prior = density.prior.to_dict()
    laws = [f"{name} normal, {law['mean']:g} ± {law['standard_deviation']:g}" for name, law in prior["normal"].items()]
    others = [f"{name} {law_of(law).in_words()}" for name, law in prior.get("laws", {}).items()]
    laws += others[:_MOST_LAWS] + [f"{len(others) - _MOST_LAWS} laws more"] * (len(others) > _MOST_LAWS)
    laws += [prior["law"]] * (density.prior.simplex or bool(density.prior.bounded.any()))
    scales = density.noise_of_data.scales
    size = "scales" if density.noise.heavy_tailed else "standard deviations"
    return [
        ("model", inversion.model),
        ("PDE", "none at hand" if inversion.problem is None else inversion.problem.name),
        ("observations", inversion.observations_in_words()),
        ("noise", f"{density.noise.law}, {size} {scales.min():.3g} to {scales.max():.3g}"),
        ("prior", "; ".join(laws)),
        *origin_rows(),
    ]


def headlines(inversion: InversionResult) -> list[tuple[str, str]]:
    """A value and what it says, for the cards on top."""
    n, chains, adequacy = inversion.density.n_data, inversion.best_chains, inversion.adequacy
    few = f"{n:,} observation{'s' * (n > 1)}"
    usual = f"1 ± {2 * np.sqrt(2 / n):.2g} is usual of {few} with noise of this size"
    fit = f"chi-squared per observation at the most probable point, by {inversion.fitted_by}; {usual}"
    cards = [(f"{inversion.chi_squared:.3g}", fit)]
    if chains is not None:
        worst = float(chains.split_rhat.max())
        verdict = f"below {RHAT}, the chains agree"
        if not chains.converged:
            verdict = f"not below {RHAT}, draw more before relying on it"
        cards.append((f"{worst:.3f}", f"largest split R-hat of {chains.route}: {verdict}"))
        cards.append((f"{chains.effective.min():,.0f}", "effective samples of the parameter that has fewest"))
    if adequacy is not None:
        verdict = "fit" if adequacy.adequate else "not fit" if adequacy.refused else "doubtful"
        cards.append((verdict, f"the surrogate has an {adequacy}"))
    if inversion.truth is not None:
        free = inversion.density.prior.free
        low, high = interval(inversion)[free].T
        inside = int(((inversion.truth[free] >= low) & (inversion.truth[free] <= high)).sum())
        cards.append((f"{inside} of {len(low)}", "parameters have the truth in their 95 % interval"))
    return [*cards, (seconds(inversion.seconds), "in all")]


def parameters(inversion: InversionResult) -> list[dict[str, Any]]:
    """Rows of the table of parameters, those that the data inform best first."""
    prior, best, chains = inversion.density.prior, inversion.map, inversion.best_chains
    ratios, credible, deviations = relative_spread(inversion), interval(inversion), figures.spread(inversion)
    before = figures.prior_interval(prior)
    box = prior.bounded
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
        if not prior.free[j]:
            row |= dict(best=f"{low:.5g} (fixed)", deviation="0", interval="–", prior=f"{low:.5g}", learned="–")
        if chains is not None and prior.free[j]:
            row |= dict(rhat=f"{chains.split_rhat[j]:.3f}", effective=f"{chains.effective[j]:,.0f}")
        elif chains is not None:
            row |= dict(rhat="–", effective="–")
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
    deviations = local.standard_deviations
    return dict(
        higher=f"{local.value - lowest.value:.3g}", apart=f"{np.abs(distance).max(initial=0):.2g}",
        chi_squared=f"{2 * local.misfit / inversion.density.n_data:.4g}", starts=local.starts,
        iterations=local.iterations, converged="yes" if local.converged else "no",
        values=[f"{rounded(local.parameters[j], deviations[j])} ± {deviations[j]:.2g}" for j in shown],
    )  # fmt: skip


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
    rows, routes = [], list(inversion.chains.values())
    for chains in routes[1:]:
        best = routes[0]
        means, ratios = shift(chains, best)
        # What two sets of draws of one posterior differ by.
        moved = best.standard_deviation > 0
        errors = np.hypot(chains.monte_carlo_error, best.monte_carlo_error)
        chance = np.max(errors[moved] / best.standard_deviation[moved], initial=0.0)
        values = [f"{means[j]:+.2g}; {ratios[j]:.2f}" for j in shown]
        largest = f"{np.abs(means).max():.2g}"
        rows.append(dict(route=chains.route, largest=largest, values=values, noise=f"{chance:.1g}"))
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
    if len(inversion.modes) > 1 and (doubt := inversion.doubt()) is not None:
        notes.append(doubt)
    return notes + [f"{subject}: {remark}" for subject, remark in inversion.remarks.items()]
