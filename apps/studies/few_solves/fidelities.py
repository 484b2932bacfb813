"""Study `fidelities`: what solves of a coarser version buy beside a few fine ones.

For every case a surrogate of the fine observables is trained from so many coarse and fine samples, the fine ones drawn by the
law or placed by the features of the coarse model; beside it one from the fine samples alone and, on functions, SMT's
co-kriging on the same samples. Costs are counted in fine solves, as measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure
from rich.table import Table

from gnvpro.apps.studies.few_solves.curves import Curve, drawn, geometric_mean
from gnvpro.apps.studies.few_solves.functions import co_kriging
from gnvpro.apps.studies.few_solves.levels import LEVELS, measuring_samples
from gnvpro.apps.studies.kept_runs import KeptRuns, Row
from gnvpro.apps.studies.result import StudyResult, study_table
from gnvpro.apps.studies.settings import StudySettings
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.formatting import percent
from gnvpro.surrogate.placement import place_for
from gnvpro.surrogate.progress import Report
from gnvpro.surrogate.samples import Samples
from gnvpro.surrogate.stopwatch import Stopwatch
from gnvpro.training.train import train

METHODS = {
    "random": "fine ones by the law",
    "placed": "fine ones placed",
    "alone": "fine ones alone",
    "co-kriging": "co-kriging (SMT)",
}


_WITH_COARSE = ("random", "placed")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Which cases, and how many samples of each kind.

    Attributes
    ----------
    cases
        Names of `LEVELS`.
    coarse, fine
        Numbers of samples; those of each case without. On functions every number of coarse ones goes with its own of fine.
    methods
        random and placed say where the fine samples are, alone leaves the coarse ones out, co-kriging is of functions.
    directions
        Derivatives at every coarse sample, of cases that have them.
    runs
        File to which every run is appended; what stands there is not run again.
    """

    cases: tuple[str, ...] = ("cdr", "cdr-rough", "cdr-diffusion", "darcy", "borehole", "park")
    coarse: tuple[int, ...] | None = None
    fine: tuple[int, ...] | None = None
    methods: tuple[str, ...] = ("random", "placed", "alone", "co-kriging")
    directions: tuple[int, ...] = (0,)
    runs: Path | None = None

    def __post_init__(self) -> None:
        for what, known in (("cases", LEVELS), ("methods", METHODS)):
            if unknown := [name for name in getattr(self, what) if name not in known]:
                raise UsageError(f"expected {what} among {', '.join(known)}, got {', '.join(unknown)}")
        for what in ("coarse", "fine"):
            sizes = getattr(self, what)
            if sizes is not None and min(sizes, default=0) < 3:
                raise UsageError(f"expected numbers of {what} samples of 3 and more, got {list(sizes)}")


QUICK: dict[str, Any] = dict(cases=["park"], coarse=[60], fine=[8], methods=["random", "alone"])


class Run(NamedTuple):
    """One training."""

    case: str
    coarse: int
    directions: int
    fine: int
    method: str
    seed: int


def run(options: StudySettings, report: Report) -> StudyResult:
    """Every method on every case, for every seed."""
    settings = options.own(Settings, QUICK)
    seeds = options.seeds_from(1 if options.quick else 3)
    # A case with several numbers of coarse samples has the fine ones alone once.
    plan = list(dict.fromkeys(run for name in settings.cases for s in seeds for run in _plan(name, s, settings)))
    rows = KeptRuns(Run, settings.runs).measured(plan, _measured, _in_words, report)
    tables, figures, numbers = [], {}, {}
    for name in settings.cases:
        here = [row for row in rows if row["case"] == name]
        tables.append(_table(name, here))
        figures[name] = _figure(here)
        numbers[name] = {"runs": here, "coarse_in_fine_solves": LEVELS[name].costs().coarse}
    return StudyResult({"cases": numbers}, tables, figures)


def _plan(name: str, seed: int, settings: Settings) -> list[Run]:
    levels = LEVELS[name]
    coarse, fine = settings.coarse or levels.coarse_sizes, settings.fine or levels.fine_sizes
    sizes = list(zip(coarse, fine, strict=False)) if levels.paired else [(c, f) for c in coarse for f in fine]
    return [
        Run(name, n_coarse if method != "alone" else 0, directions, n_fine, method, seed)
        for n_coarse, n_fine in sizes
        for method in settings.methods
        for directions in settings.directions
        if method in levels.methods and (directions == 0 or (levels.has_derivatives and method in _WITH_COARSE))
    ]


def _measured(run: Run) -> Row:
    levels = LEVELS[run.case]
    coarse = levels.coarse(run.coarse, run.seed, run.directions) if run.coarse else None
    placing, stopwatch = Stopwatch(), Stopwatch()
    with placing:
        y = levels.points(run.fine, run.seed, run.coarse)
        if run.method == "placed":
            assert coarse is not None
            y = place_for(train(coarse, seed=run.seed).surrogate, run.fine, seed=run.seed)
    fine, test, row = levels.fine_at(y), measuring_samples(run.case), {}
    with stopwatch:
        if run.method == "co-kriging":
            assert coarse is not None
            predict = co_kriging(coarse, fine, run.seed)
        else:
            training = train(fine, coarse=coarse, seed=run.seed)
            predict, record = training.surrogate.evaluate, training.surrogate.training
            row = {"stated": training.errors, "chosen": record["choice"]["reason"]}
    errors = _errors(predict(test.parameters), test)
    return {
        **errors,
        "cost": levels.costs().of(run.coarse, run.directions, run.fine),
        "cpu_seconds": stopwatch.cpu_seconds,
        "placing_cpu_seconds": placing.cpu_seconds,
        **row,
    }


def _errors(predicted: np.ndarray, test: Samples) -> dict[str, float]:
    """Mean relative L2 error of the anomalous part, and the root mean square error over the standard deviation."""
    misfit, size = predicted - test.observables, np.linalg.norm(test.anomalous, axis=1)
    spread = test.observables.std(0)
    moving = spread > 0
    return {
        "relative": float((np.linalg.norm(misfit, axis=1) / size).mean()),
        "nrmse": float((np.sqrt((misfit**2).mean(0))[moving] / spread[moving]).mean()),
    }


def _in_words(run: Run) -> str:
    beside = f" beside {run.coarse} coarse ones" if run.coarse else ""
    return f"{run.case}: {run.fine} fine samples{beside}, {METHODS[run.method]}, seed {run.seed}"


def _of(rows: Sequence[Row], **wanted: Any) -> list[Row]:
    return [row for row in rows if all(row[name] == value for name, value in wanted.items())]


def _series(rows: Sequence[Row]) -> list[tuple[str, int]]:
    """Methods and directions that were tried, in the order of `METHODS`."""
    tried = {(row["method"], row["directions"]) for row in rows}
    return sorted(tried, key=lambda pair: (list(METHODS).index(pair[0]), pair[1]))


def _label(method: str, directions: int) -> str:
    return METHODS[method] + (f", {directions} derivatives a coarse one" if directions else "")


def _table(name: str, rows: Sequence[Row]) -> Table:
    levels = LEVELS[name]
    table = study_table(
        f"{name}: error (geometric mean over seeds), CPU s of the fit; a coarse solve costs {levels.costs().coarse:.2g}",
        "coarse, fine", *(_label(*pair) for pair in _series(rows)), box=None,
    )  # fmt: skip
    coarse = sorted({row["coarse"] for row in rows} - {0}) or [0]
    for n_coarse in coarse:
        for n_fine in sorted({row["fine"] for row in rows}):
            cells = []
            for method, directions in _series(rows):
                wanted = dict(method=method, directions=directions, fine=n_fine)
                here = _of(rows, **wanted, coarse=0 if method == "alone" else n_coarse)
                error = geometric_mean([row[levels.measure] for row in here]) if here else None
                cells.append(
                    "" if error is None else f"{percent(error)} {np.mean([row['cpu_seconds'] for row in here]):.1f} s"
                )
            if any(cells):
                table.add_row(f"{n_coarse}, {n_fine}", *cells)
    return table


def _figure(rows: Sequence[Row]) -> Figure:
    measure = LEVELS[rows[0]["case"]].measure
    curves = []
    for method, directions in _series(rows):
        here = _of(rows, method=method, directions=directions)
        costs = sorted({row["cost"] for row in here})
        points = [(cost, tuple(row[measure] for row in _of(here, cost=cost))) for cost in costs]
        curves.append(Curve(_label(method, directions), tuple(points)))
    return drawn(curves, "error of the fine observables", unit="fine solves")
