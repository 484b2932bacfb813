"""Study `build`: solves until an error is confirmed, over the fewest with which the default reaches it, on cheap problems.

For every problem and seed `gnvpro.build` runs until the error is confirmed; the true error of its model is that at many fresh
points. The fewest solves are those of the plain design from which on the model that `gnvpro.train` makes has a true error
below the target: nobody knows them beforehand, nor that the target is reached.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Literal, NamedTuple

import numpy as np
from matplotlib.figure import Figure
from rich.table import Table

from gnvpro.apps.build.build import build
from gnvpro.apps.build.models import errors_of
from gnvpro.apps.reports.figure_style import COLOURS, RED, styled
from gnvpro.apps.studies.build.problems import LITERATURE
from gnvpro.apps.studies.few_solves.curves import geometric_mean
from gnvpro.apps.studies.kept_runs import KeptRuns, Row
from gnvpro.apps.studies.result import StudyResult, study_table
from gnvpro.apps.studies.settings import StudySettings
from gnvpro.pde_data.problems.contract import Problem
from gnvpro.pde_data.problems.loading import load_problem
from gnvpro.pde_data.sampling import default_design, draw, place
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.formatting import percent
from gnvpro.surrogate.model.surrogate import Surrogate
from gnvpro.surrogate.progress import Report
from gnvpro.surrogate.samples import Samples
from gnvpro.surrogate.spaces import Array
from gnvpro.surrogate.stopwatch import Stopwatch
from gnvpro.training.train import train

# Of the points that measure, which are in no data set.
_TEST_SEED = 1_000_003
# Numbers of samples that are tried for the fewest: from, ratio, at most; and how many in a row have to be below.
_FROM, _RATIO, _MOST, _IN_A_ROW = 12, 1.15, 600, 2


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Which problems, and to which error.

    Attributes
    ----------
    problems
        Names in `gnvpro.apps.studies.build.problems`.
    error
        Asked for.
    max_solves
        Of a build.
    test
        Fresh points that measure; of a field a tenth.
    placement
        As `build` takes it.
    runs
        File to which every run is appended; what stands there is not run again.
    """

    problems: tuple[str, ...] = LITERATURE
    error: float = 0.01
    max_solves: int = 1000
    test: int = 5000
    placement: Literal["auto", "plain", "adaptive"] = "auto"
    runs: Path | None = None

    def __post_init__(self) -> None:
        if unknown := [name for name in self.problems if name not in LITERATURE]:
            raise UsageError(f"expected problems among {', '.join(LITERATURE)}, got {', '.join(unknown)}")


QUICK: dict[str, Any] = dict(problems=["otl"], error=0.1, test=500)


class Run(NamedTuple):
    """One build, or one search for the fewest."""

    problem: str
    what: str
    seed: int


def run(options: StudySettings, report: Report) -> StudyResult:
    """Every problem and seed."""
    settings = options.own(Settings, QUICK)
    seeds = options.seeds_from(1 if options.quick else 5)
    # Three seeds tell the median of the fewest.
    plan = [Run(name, "fewest", seed) for name in settings.problems for seed in seeds[:3]]
    plan += [Run(name, "build", seed) for name in settings.problems for seed in seeds]
    rows = KeptRuns(Run, settings.runs).measured(plan, lambda one: _measured(one, settings), _in_words, report)
    summaries = [_summary(name, rows, settings.error) for name in settings.problems]
    ratios = [one["ratio"] for one in summaries if one["ratio"] is not None]
    numbers = {
        "problems": {one["problem"]: one for one in summaries},
        "ratio": geometric_mean(ratios) if ratios else None,
        "builds": sum(one["builds"] for one in summaries),
        "confirmed": sum(one["confirmed"] for one in summaries),
        "wrong": sum(one["wrong"] for one in summaries),
        "runs": rows,
    }
    return StudyResult(
        numbers, [_table(summaries, numbers, settings.error)], {"build": _figure(rows, summaries, settings.error)}
    )


def _in_words(run: Run) -> str:
    return f"{run.problem}, {'fewest solves' if run.what == 'fewest' else 'build'}, seed {run.seed}"


def _measured(run: Run, settings: Settings) -> Row:
    problem = load_problem(f"gnvpro.apps.studies.build.problems:{run.problem}")
    n_test = settings.test if problem.observables.size < 100 else settings.test // 10
    test = _solved(problem, draw(problem.parameters, _TEST_SEED, np.arange(n_test)))
    if run.what == "fewest":
        return _fewest(problem, test, run.seed, settings.error)
    stopwatch = Stopwatch()
    with tempfile.TemporaryDirectory() as folder, stopwatch:
        built = build(
            problem, Path(folder) / "model", settings.error, seed=run.seed,
            max_solves=settings.max_solves, placement=settings.placement,
        )  # fmt: skip
    judged = [one["judged"] for one in built.record["rounds"] if one["judged"] is not None]
    return {
        "solves": built.solves,
        "judges": built.judged["n_drawn"] if built.judged else 0,
        "status": built.record["status"],
        "stated": built.error,
        "upper": built.judged["upper"] if built.judged else None,
        "true": _error(built.surrogate, test),
        "tests": sum(one["tests"] for one in judged),
        "rounds": len(built.record["rounds"]),
        "cpu_seconds": stopwatch.cpu_seconds,
    }


def _fewest(problem: Problem, test: Samples, seed: int, error: float) -> Row:
    """The first of some numbers of samples in a row with a true error below the target; None for more than most."""
    errors, n, k = dict[str, float](), _FROM, 0
    space, below = problem.parameters, list[int]()
    while n <= _MOST and len(below) < _IN_A_ROW:
        samples = _solved(problem, place(space, default_design(space), seed, np.arange(n)))
        errors[str(n)] = _error(train(samples, seed=seed).surrogate, test)
        below = [*below, n] if errors[str(n)] <= error else []
        k += 1
        n = round(_FROM * _RATIO**k)
    return {"fewest": below[0] if len(below) == _IN_A_ROW else None, "errors": errors}


def _solved(problem: Problem, y: Array) -> Samples:
    return Samples(y, problem.solve(y)[0], problem.parameters, problem.observables)


def _error(surrogate: Surrogate, test: Samples) -> float:
    return float(errors_of(surrogate.evaluate(test.parameters), test, surrogate).mean())


def _summary(name: str, rows: Sequence[Row], error: float) -> dict[str, Any]:
    here = [row for row in rows if row["problem"] == name]
    builds, searches = ([row for row in here if row["what"] == what] for what in ("build", "fewest"))
    found = [row["fewest"] for row in searches if row["fewest"] is not None]
    fewest = median(found) if len(found) == len(searches) else None
    confirmed = [row for row in builds if row["status"] == "confirmed"]
    ratio = None
    if fewest is not None and confirmed:
        ratio = geometric_mean([row["solves"] / fewest for row in confirmed])
    return {
        "problem": name,
        "fewest": fewest,
        "solves": [row["solves"] for row in builds],
        "ratio": ratio,
        "builds": len(builds),
        "confirmed": len(confirmed),
        "wrong": sum(row["true"] > error for row in confirmed),
        "true": median(row["true"] for row in builds),
        "judges": median(row["judges"] for row in builds),
        "cpu_seconds": median(row["cpu_seconds"] for row in builds),
    }


def _table(summaries: Sequence[dict[str, Any]], numbers: dict[str, Any], error: float) -> Table:
    ratio = "" if numbers["ratio"] is None else f"; solves over the fewest {numbers['ratio']:.2f} in the geometric mean"
    confirmed = f"{numbers['confirmed']} of {numbers['builds']} confirmed, {numbers['wrong']} wrongly"
    table = study_table(
        f"built to {percent(error)}: {confirmed}{ratio}",
        "problem", "fewest solves", "solves of the builds", "ratio", "of these judged last", "confirmed", "true error",
        "CPU s", box=None,
    )  # fmt: skip
    for one in summaries:
        table.add_row(
            one["problem"],
            "more" if one["fewest"] is None else f"{one['fewest']:g}",
            ", ".join(map(str, one["solves"])),
            "" if one["ratio"] is None else f"{one['ratio']:.2f}",
            f"{one['judges']:g}",
            f"{one['confirmed']} of {one['builds']}",
            percent(one["true"]),
            f"{one['cpu_seconds']:.0f}",
        )
    return table


@styled
def _figure(rows: Sequence[Row], summaries: Sequence[dict[str, Any]], error: float) -> Figure:
    """True errors of the models over the target, against the solves of their builds over the fewest."""
    figure = Figure(figsize=(6.4, 4.0), layout="constrained")
    axes = figure.subplots()
    for number, one in enumerate(summaries):
        builds = [row for row in rows if row["problem"] == one["problem"] and row["what"] == "build"]
        if one["fewest"] is None:
            continue
        solves = [row["solves"] / one["fewest"] for row in builds]
        marker = "osD^"[number // len(COLOURS)]
        colour = COLOURS[number % len(COLOURS)]
        axes.plot(
            solves, [row["true"] / error for row in builds], marker, color=colour, markersize=5, label=one["problem"]
        )
    axes.axhline(1, color=RED, linewidth=1)
    axes.set(
        yscale="log", xlabel="solves of the build over the fewest that would have done",
        ylabel="true error over the one asked for",
    )  # fmt: skip
    axes.yaxis.set_major_formatter("{x:g}")
    axes.legend(loc="lower right", ncols=2)
    return figure
