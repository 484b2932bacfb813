"""Study `derivatives`: what derivatives along directions buy, in errors of values and of derivatives, at equal cost.

Every sample comes with up to `most` derivatives along random directions; the default is trained on the first r of them.
Costs are counted in solves, a derivative as it was measured. Where asked for, posteriors of synthetic observations are
found with surrogates of about equal cost, with and without derivatives, and confirmed by the PDE.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure
from rich.table import Table

from gnvpro.apps.build.costs import SolveCost, solve_cost
from gnvpro.apps.inversion.invert import invert
from gnvpro.apps.studies.few_solves.curves import Curve, drawn, geometric_mean
from gnvpro.apps.studies.few_solves.solves import (
    derivative_error,
    file_name,
    solved,
    tested,
    value_error,
    with_directions,
)
from gnvpro.apps.studies.inversion.cases import observed, truths
from gnvpro.apps.studies.kept_runs import KeptRuns, Row
from gnvpro.apps.studies.result import StudyResult, study_table
from gnvpro.apps.studies.settings import StudySettings
from gnvpro.pde_data.problems.contract import Problem
from gnvpro.pde_data.problems.loading import load_problem
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.formatting import percent
from gnvpro.surrogate.progress import Report
from gnvpro.surrogate.samples import Samples
from gnvpro.surrogate.stopwatch import Stopwatch
from gnvpro.training.train import train

# Numbers of samples and errors to reach, by problem.
SIZES = {
    "cdr": (25, 35, 50, 70, 100, 140, 200),
    "dcr": (40, 70, 110, 160, 288),
    "nonlinear-diffusion": (10, 20, 40, 80, 160, 320),
}
TARGETS = {"cdr": 6e-4, "dcr": 2e-5, "nonlinear-diffusion": 1e-2}
# Of a problem that is not among them.
_SIZES, _TARGET = (10, 20, 40, 80), 1e-3


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Which problems, how many samples and directions.

    Attributes
    ----------
    problems
        Registered names or package.module:factory; each needs `jvp` or `tangents`.
    sizes
        Numbers of samples; those of each problem without.
    directions
        Derivatives at every sample.
    test
        Samples that measure.
    invert
        Observations that are inverted with surrogates of equal cost, for the first of the problems; none with 0.
    cache
        Folder for the data sets; a temporary one without.
    runs
        File to which every run is appended; what stands there is not run again.
    """

    problems: tuple[str, ...] = ("cdr", "dcr", "nonlinear-diffusion")
    sizes: tuple[int, ...] | None = None
    directions: tuple[int, ...] = (0, 1, 2, 3)
    test: int = 400
    invert: int = 4
    cache: Path | None = None
    runs: Path | None = None

    def __post_init__(self) -> None:
        if not self.problems or not self.directions or min(self.directions) < 0:
            raise UsageError("expected a problem at least, and numbers of directions of 0 and more")
        if self.sizes is not None and min(self.sizes, default=0) < 3:
            raise UsageError(f"expected numbers of samples of 3 and more, got {list(self.sizes)}")


QUICK: dict[str, Any] = dict(problems=["cdr"], sizes=[30, 60], directions=[0, 3], test=40, invert=0)


class Run(NamedTuple):
    """One training, or where `truth` is not negative, one posterior."""

    problem: str
    n: int
    directions: int
    seed: int
    truth: int = -1


@dataclass(frozen=True, eq=False)
class _Bench:
    """A problem with its data sets and costs."""

    problem: Problem
    folder: Path
    cost: SolveCost
    most: int
    n_most: int
    n_test: int
    report: Report

    def samples(self, run: Run) -> Samples:
        file = self.folder / f"{file_name(self.problem)}-{run.seed}.zarr"
        samples = solved(self.problem, file, self.n_most, run.seed, self.most, self.report)
        return with_directions(samples.subset(np.arange(run.n)), run.directions)

    def cost_in_solves(self, run: Run) -> float:
        return self.cost.of(run.n, run.directions) / self.cost.solve

    def measured(self, run: Run) -> Row:
        samples, stopwatch = self.samples(run), Stopwatch()
        with stopwatch:
            training = train(samples, seed=run.seed)
        surrogate = training.surrogate
        test = tested(self.problem, self.folder, self.n_test, self.report)
        return {
            "cost": self.cost_in_solves(run),
            "error": value_error(surrogate, test),
            "derivative_error": derivative_error(surrogate, test),
            "stated": training.errors,
            "chosen": surrogate.training["choice"]["reason"],
            "cpu_seconds": stopwatch.cpu_seconds,
        }

    def inverted(self, run: Run) -> Row:
        surrogate = train(self.samples(run), seed=run.seed).surrogate
        at = truths(self.problem, run.truth + 1, run.seed)[run.truth :]
        case = observed(self.problem.evaluate, at, "2%", run.seed + run.truth)[0]
        inversion = invert(
            surrogate, case.data, case.noise, problem=self.problem, routes=("surrogate",), draws=400, chains=2,
            seed=run.seed, force=True,
        )  # fmt: skip
        assert inversion.adequacy is not None
        correction = inversion.correction()
        moved = float("nan") if correction is None else float(np.sqrt((correction**2).mean()))
        return {
            "cost": self.cost_in_solves(run),
            "map_moved": moved,
            "error_in_noise": inversion.adequacy.error_in_noise,
            "mean_moved": inversion.adequacy.shift,
        }


def run(options: StudySettings, report: Report) -> StudyResult:
    """Every number of samples with every number of directions, for every seed."""
    settings = options.own(Settings, QUICK)
    with tempfile.TemporaryDirectory() as temporary:
        folder = settings.cache or Path(temporary)
        kept, most = KeptRuns(Run, settings.runs), max(1, *settings.directions)
        numbers: dict[str, Any] = {}
        tables, figures = [], {}
        for number, name in enumerate(settings.problems):
            problem, sizes = load_problem(name), settings.sizes or SIZES.get(name, _SIZES)
            bench = _Bench(problem, folder, solve_cost(problem, most), most, max(sizes), settings.test, report)
            plan = [
                Run(name, n, r, seed)
                for n in sizes
                for r in settings.directions
                for seed in options.seeds_from(1 if options.quick else 2)
            ]
            rows = kept.measured(plan, bench.measured, _in_words, report)
            posteriors: list[Row] = []
            if settings.invert and number == 0:
                pair = _of_equal_cost(plan, bench)
                asked = [run._replace(truth=truth) for truth in range(settings.invert) for run in pair]
                posteriors = kept.measured(asked, bench.inverted, _in_words, report)
            numbers[name] = {**_numbers(rows, name, bench.cost), "posteriors": posteriors}
            tables += _tables(name, rows, numbers[name], posteriors)
            figures |= _figures(name, rows)
    return StudyResult({"problems": numbers}, tables, figures)


def _of_equal_cost(plan: Sequence[Run], bench: _Bench) -> list[Run]:
    """Of the first seed: values alone and most derivatives at the nearest costs, not the largest ones."""
    seed, most = plan[0].seed, max(run.directions for run in plan)
    alone, informed = ([run for run in plan if run.seed == seed and run.directions == r] for r in (0, most))
    middle = informed[(len(informed) - 1) // 2]
    wanted = bench.cost_in_solves(middle)
    return [min(alone, key=lambda run: abs(bench.cost_in_solves(run) - wanted)), middle]


def _in_words(run: Run) -> str:
    what = "" if run.truth < 0 else f", posterior {run.truth + 1}"
    return f"{run.problem}: {run.n} samples, {run.directions} directions, seed {run.seed}{what}"


def _curves(rows: Sequence[Row], error: str, by: str = "cost") -> list[Curve]:
    curves = []
    for r in sorted({row["directions"] for row in rows}):
        here = [row for row in rows if row["directions"] == r]
        points = []
        for n in sorted({row["n"] for row in here}):
            at = [row for row in here if row["n"] == n]
            points.append((float(at[0][by]), tuple(row[error] for row in at)))
        label = "values alone" if r == 0 else f"{r} derivative{'s' if r > 1 else ''} a sample"
        curves.append(Curve(label, tuple(points)))
    return curves


def _numbers(rows: Sequence[Row], name: str, cost: SolveCost) -> dict[str, Any]:
    target = TARGETS.get(name, _TARGET)

    def reached(by: str) -> dict[str, float | None]:
        return {curve.label: curve.cost_to(target) for curve in _curves(rows, "error", by)}

    return {
        "runs": list(rows),
        "seconds_of_a_solve": cost.solve,
        "derivative_in_solves": cost.derivative / cost.solve,
        "target": target,
        "cost_to_target": reached("cost"),
        "samples_to_target": reached("n"),
    }


def _tables(name: str, rows: Sequence[Row], numbers: dict[str, Any], posteriors: Sequence[Row]) -> list[Table]:
    title = f"{name}: error of values | of derivatives (geometric mean over seeds); a derivative costs "
    title += f"{numbers['derivative_in_solves']:.2g} solves"
    directions = sorted({row["directions"] for row in rows})
    table = study_table(title, "samples", *(f"{r} directions" for r in directions), "CPU s", box=None)
    for n in sorted({row["n"] for row in rows}):
        cells, seconds = [], []
        for r in directions:
            here = [row for row in rows if (row["n"], row["directions"]) == (n, r)]
            value, derivative = (geometric_mean([row[e] for row in here]) for e in ("error", "derivative_error"))
            cells.append(f"{percent(value)} | {percent(derivative)}")
            seconds.append(f"{np.mean([row['cpu_seconds'] for row in here]):.1f}")
        table.add_row(str(n), *cells, " ".join(seconds))
    reached = study_table(
        f"{name}: to a mean error of {percent(numbers['target'])}", "trained on", "samples", "cost in solves", box=None
    )
    for label, cost in numbers["cost_to_target"].items():
        reached.add_row(label, _or_dash(numbers["samples_to_target"][label]), _or_dash(cost))
    tables = [table, reached]
    if posteriors:
        posterior = study_table(
            f"{name}: posteriors by surrogates of about equal cost (root mean squares, mean over observations)",
            "trained on", "cost in solves", "error in noise", "mean moved, sd", "MAP moved by the PDE, sd", box=None,
        )  # fmt: skip
        for r in sorted({row["directions"] for row in posteriors}):
            here = [row for row in posteriors if row["directions"] == r]
            means = (np.mean([row[what] for row in here]) for what in ("error_in_noise", "mean_moved", "map_moved"))
            posterior.add_row(
                f"{here[0]['n']} samples, {r} directions", f"{here[0]['cost']:.0f}", *(f"{mean:.2g}" for mean in means)
            )
        tables.append(posterior)
    return tables


def _or_dash(cost: float | None) -> str:
    return "–" if cost is None else f"{cost:.0f}"


def _figures(name: str, rows: Sequence[Row]) -> dict[str, Figure]:
    stem = name.replace(":", "-")
    return {
        f"{stem}-values": drawn(_curves(rows, "error"), "error of values", TARGETS.get(name, _TARGET)),
        f"{stem}-derivatives": drawn(_curves(rows, "derivative_error"), "error of derivatives"),
    }
