"""The report of a sensitivity analysis: one HTML file with everything in it, and its pictures beside it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from gnvpro.apps.reports.figure_style import save_png
from gnvpro.apps.reports.page import origin_rows, pictures, render
from gnvpro.apps.sensitivity import figures
from gnvpro.apps.sensitivity.result import SensitivityResult, beyond_it
from gnvpro.surrogate.formatting import percent

# Parameters that the answer names, and the share below which one hardly matters.
_MOST_TOLD, _LITTLE = 3, 0.01
# Observables of a map: of more, nothing is told apart.
_MOST_MAPPED = 2000


def write_report(folder: Path, result: SensitivityResult, command: str) -> None:
    """Write report.html and its pictures; `command` is what to type to get the same again, empty for none."""
    drawn = _pictures(result)
    for file, _, figure, _ in drawn:
        save_png(figure, folder / f"{file}.png")
    page = render(
        __package__, heading=f"Sensitivity of {result.model}", answer=answer(result), result=result,
        headlines=headlines(result), rows=table_rows(result), notes=notes(result),
        pictures=pictures((title, figure, caption) for _, title, figure, caption in drawn),
        directions=_direction_rows(result), command=command,
        origin=[("computed", result.about["computed"]), *origin_rows()],
    )  # fmt: skip
    (folder / "report.html").write_text(page, encoding="utf-8")


def _pictures(result: SensitivityResult) -> list[tuple[str, str, Figure, str]]:
    held = "sampling and the error of the model" if result.error is not None else "sampling"
    drawn = [
        ("indices", "Which parameters matter", figures.bars(result), f"Lines are 95 % intervals, which hold {held}.")
    ]
    size = result.groups.space.size
    if 1 < size <= _MOST_MAPPED and np.isfinite(result.leading.estimate[1:]).any():
        of_axis = "Along each axis, all observables of a label together." if result.groups.axes else "By observable."
        drawn.append(("observables", "Where they matter", figures.maps(result), of_axis))
    if result.directions is not None:
        caption = (
            "Of the mean square of the derivative by the standard normal variables behind the parameters. Grey at the left: "
            "95 % intervals by bootstrap."
        )
        drawn.append(("directions", "Directions", figures.decay(result.directions), caption))
    return drawn


def answer(result: SensitivityResult) -> list[str]:
    """Which parameters matter most, how much, and which hardly do."""
    what = list(result.shares)[-1]
    varying = [int(j) for j in result.order if np.isfinite(result.leading.estimate[0, j])]
    if not varying:
        return ["Nothing varies with the parameters: no parameter has a share."]
    told = [f"{result.names[j]} {result.in_words(result.leading, 0, j)}" for j in varying[:_MOST_TOLD]]
    first = f"What matters most is {told[0]}" + (f", then {' and '.join(told[1:])}" if told[1:] else "")
    small = int((result.leading.upper[0] < _LITTLE).sum())
    what = "total index" if what == "total" else what
    sentences = [f"{first}: the {what}, a share of the variance, with its 95 % interval."]
    if small:
        sentences.append(
            f"Of {len(result.names)} parameters {small} {'has' if small == 1 else 'have'} less than {_LITTLE:g}."
        )
    return sentences


def headlines(result: SensitivityResult) -> list[tuple[str, str]]:
    """A few numbers with what they are."""
    first = result.order[0]
    what = list(result.shares)[-1]
    value = result.leading.estimate[0, first]
    told = [(f"{value:.2g}" if np.isfinite(value) else "–", f"{what} of {result.names[first]}, the largest")]
    if "first order" in result.shares:
        alone = float(np.nansum(result.shares["first order"].estimate[0]))
        told.append(
            (percent(min(alone, 1.0)), "of the variance by parameters one at a time; the rest by several together")
        )
    small = int((result.leading.upper[0] < _LITTLE).sum())
    told.append((f"{small} of {len(result.names)}", f"parameters with a {what} below .01"))
    if result.directions is not None:
        needed = int(np.argmax(result.directions.remainders <= 0.05))
        which = beyond_it(result.directions, "which")
        told.append(
            (str(needed), f"direction{'s' * (needed != 1)} beyond {which} there are at most 5 % of the variance")
        )
    return told


def table_rows(result: SensitivityResult) -> list[dict[str, object]]:
    """A row for every parameter, those that matter most first."""
    bounds = (
        {} if result.directions is None else dict(zip(result.directions.names, result.directions.bounds, strict=True))
    )
    return [
        dict(
            name=result.names[j],
            shares=[result.in_words(share, 0, int(j)) for share in result.shares.values()],
            bound=f"{bounds[result.names[j]]:.3g}" if result.names[j] in bounds else "–",
        )
        for j in result.order
    ]


def _direction_rows(result: SensitivityResult) -> list[tuple[str, str]]:
    return [] if result.directions is None else result._direction_rows(result.directions)


def notes(result: SensitivityResult) -> list[str]:
    """Reasons not to rely on the numbers."""
    doubt = result.doubt()
    return ([] if doubt is None else [doubt]) + [f"{what}: {remark}" for what, remark in result.remarks.items()]
