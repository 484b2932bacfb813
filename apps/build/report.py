"""The report of a build: one HTML file, round by round."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gnvpro.apps.build.error_map import ErrorMap
from gnvpro.apps.build.figures import cost_by_kind, error_against_cost, errors_along
from gnvpro.apps.build.holding import Holding
from gnvpro.apps.build.result import Build
from gnvpro.apps.reports.page import origin_rows, pictures, render
from gnvpro.surrogate.formatting import in_unit, percent, seconds
from gnvpro.surrogate.spaces import Array
from gnvpro.surrogate.writing import whole_file


def write_report(path: Path, build: Build, where: ErrorMap, points: Array, errors: Array, command: str | None) -> None:
    """Write the report.

    Parameters
    ----------
    where, points, errors : (n, n_in), (n,)
        Where the error of the model sits, and the samples that say so.
    command
        What to type to get the same again.
    """
    record = build.record
    shown = [
        (
            "Error against cost",
            error_against_cost(record),
            "Mean errors, round by round, over what the samples of the model cost, judges apart. Limits of fresh solves hold "
            "at the level of a test; those of rounds that were not tested are shown at the level a test would have had.",
        ),
        ("What the cost went into", cost_by_kind(record), "Of the samples that every round's model is made of."),
    ]
    if where.parameter is not None:
        space = build.surrogate.parameters
        column = space.names.index(where.parameter)
        figure = errors_along(
            in_unit(where.parameter, space.unit(column)), points[:, column], errors, record["settings"]["error"]
        )
        shown.append(
            ("Where the error sits", figure, f"Samples left out and fresh ones. The error is {where.in_words()}.")
        )
    page = render(
        __package__,
        heading=build.title,
        answer=answer(build),
        rows=[*build.rows(), ("the error sits", where.in_words())],
        rounds=[_round(one) for one in record["rounds"]],
        pictures=pictures(shown),
        command=command,
        origin=origin_rows(torch=build.surrogate.training["torch"]),
    )
    with whole_file(path) as file:
        file.write_text(page, encoding="utf-8")


def answer(build: Build) -> list[str]:
    """Whether the model has the error that was asked for, by what, and what it cost."""
    told, asked = dict(build.rows()), percent(build.record["settings"]["error"])
    ended = "" if build.confirmed else f", because {build.record['reason']}"
    return [
        f"The error asked for, {asked}, is {'confirmed' if build.confirmed else 'not confirmed'}{ended}.",
        f"The model's error is {told['error']}.",
        f"It took {told['cost']}.",
    ]


def _round(one: dict[str, Any]) -> dict[str, str]:
    """A row of the table of rounds."""
    has, judged = Holding.of(one["has"]), one["judged"]
    of_fresh = ""
    if judged is not None:
        tested = "" if judged["tests"] else ", not tested"
        tail = f"; {judged['tail']}" if judged.get("tail") else ""
        of_fresh = f"{percent(judged['mean'])} (at most {percent(judged['upper'])}) of {judged['n']}{tested}{tail}"
    return {
        "number": str(one["number"]),
        "cost": f"{one['cost']:.3g}",
        "solves": str(has.solves),
        "coarse": str(has.coarse),
        "left_out": percent(one["estimate"]),
        "fresh": of_fresh,
        "next": one["next"],
        "cpu": f"{seconds(one['cpu_seconds']['solves'])}, {seconds(one['cpu_seconds']['training'])}",
    }
