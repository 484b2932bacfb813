"""The report of an inversion: one HTML file with everything in it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from gnvpro.apps.inversion.report import body, figures, fit_figures, tables
from gnvpro.apps.inversion.report.marginals import best_informed
from gnvpro.apps.inversion.result import InversionResult
from gnvpro.apps.reports import images
from gnvpro.apps.reports.page import origin_rows, pictures, render

# Parameters with marginals, pairs and chains; with a column of a table; with a row that is open; minima that are listed.
MOST_PARAMETERS, MOST_COLUMNS, MOST_ROWS, MOST_MINIMA = 6, 3, 12, 10


def write_report(path: Path, inversion: InversionResult, command: str) -> None:
    """Write the report of an inversion; `command` is what to type to get the same again, empty for none."""
    shown, columns = best_informed(inversion, MOST_PARAMETERS), best_informed(inversion, MOST_COLUMNS)
    page = render(
        __package__,
        inversion=inversion,
        headlines=tables.headlines(inversion),
        parameters=tables.parameters(inversion),
        most_rows=MOST_ROWS,
        shown=[inversion.names[j] for j in columns],
        minima=[tables.minimum(inversion, local, columns) for local in inversion.minima[:MOST_MINIMA]],
        corrected=None if inversion.corrected is None else tables.minimum(inversion, inversion.corrected, columns),
        correction=tables.correction(inversion),
        pictures=_pictures(inversion, shown),
        costs=tables.costs(inversion),
        shifts=tables.shifts(inversion, columns),
        notes=tables.notes(inversion),
        command=command,
        origin=_origin(inversion),
    )
    path.write_text(page, encoding="utf-8")


def _pictures(inversion: InversionResult, shown: Sequence[int]) -> list[dict[str, str]]:
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
    return pictures(drawn)


def _pairs_caption(inversion: InversionResult, shown: Sequence[int]) -> str:
    some = f"The {len(shown)} of {len(inversion.names)} parameters that the data inform best. "
    return some * (len(shown) < len(inversion.names)) + (
        "Marginals as densities, pairs by the contours around 50 % and 95 % of the draws. Axes span the draws; the range "
        "of the prior is above each marginal."
    )


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
    laws += [prior["law"]] * (len(laws) < density.prior.size)
    deviations = density.noise.standard_deviations[density.measured]
    correlated = ", correlated" * density.noise.correlated
    return [
        ("model", inversion.model),
        ("PDE", "none at hand" if inversion.problem is None else inversion.problem.name),
        ("observations", f"{density.n_data:,} of {len(density.data):,}"),
        ("noise", f"normal, standard deviations {deviations.min():.3g} to {deviations.max():.3g}{correlated}"),
        ("prior", "; ".join(laws)),
        *origin_rows(),
    ]
