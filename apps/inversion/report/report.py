"""The report of an inversion: one HTML file with everything in it."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from matplotlib.figure import Figure

from gnvpro.apps.inversion.report import body, figures, fit_figures, tables
from gnvpro.apps.inversion.report.marginals import best_informed
from gnvpro.apps.inversion.result import Inversion
from gnvpro.apps.reports import images
from gnvpro.apps.reports.figure_style import as_data_uri
from gnvpro.apps.reports.page import render
from gnvpro.pde_data.storage.provenance import git_revision, library_versions

# Parameters with marginals, pairs and chains; with a column of a table; with a row that is open; minima that are listed.
MOST_PARAMETERS, MOST_COLUMNS, MOST_ROWS, MOST_MINIMA = 6, 3, 12, 10


def write_report(path: Path, inversion: Inversion, commands: Sequence[str]) -> None:
    """Write the report of an inversion.

    Parameters
    ----------
    commands
        What to type to get the same again.
    """
    shown, columns = best_informed(inversion, MOST_PARAMETERS), best_informed(inversion, MOST_COLUMNS)
    page = render(
        __package__,
        inversion=inversion,
        headlines=tables.headlines(inversion),
        parameters=tables.parameters(inversion),
        most_rows=MOST_ROWS,
        shown=[inversion.names[j] for j in columns],
        minima=[tables.minimum(inversion, one, columns) for one in inversion.minima[:MOST_MINIMA]],
        corrected=None if inversion.corrected is None else tables.minimum(inversion, inversion.corrected, columns),
        correction=tables.correction(inversion),
        pictures=_pictures(inversion, shown),
        costs=tables.costs(inversion),
        shifts=tables.shifts(inversion, columns),
        notes=tables.notes(inversion),
        commands=commands,
        origin=_origin(inversion),
    )
    path.write_text(page, encoding="utf-8")


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
