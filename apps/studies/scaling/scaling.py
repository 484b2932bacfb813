"""How cost grows with samples, width, outputs and depth: per step, and to a fixed validation error.

Data are synthetic (`gnvpro.apps.studies.scaling.teacher`), since no PDE at hand has 100,000 solves; one factor is varied
at a time.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any, NamedTuple

import torch
from rich.table import Table

from gnvpro.apps.studies.result import StudyResult, study_table
from gnvpro.apps.studies.scaling.cost_figure import FACTORS, cost_figure, slope
from gnvpro.apps.studies.scaling.teacher import Teacher
from gnvpro.apps.studies.settings import StudySettings
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.formatting import seconds
from gnvpro.surrogate.networks.dense import DenseNetwork
from gnvpro.surrogate.objectives.reduced import reduced_least_squares
from gnvpro.surrogate.progress import Report
from gnvpro.training.device import device_named
from gnvpro.training.fitting.methods import Setting, TrainingTask, fit_by
from gnvpro.training.fitting.validation import ValidationSet
from gnvpro.training.solvers.protocol import Status

# Work units between two checks whether the goal is reached.
CHUNK = 10.0
N_VALIDATION = 1000

# The methods' settings, the same for every size. A step of Adam is an epoch; W of its start is solved for.
SETTINGS: dict[str, Setting] = {
    "varpro-kf-lbfgs": {"memory": 30},
    "varpro-lbfgs": {"memory": 30},
    "varpro-kf-krylov": {"size": 40},
    "varpro-krylov": {"size": 20},
    "adam": {"rate": 1e-2, "batch": 32, "solved": 1},
}
# One row of what was measured: factor, value, method, and costs.
Row = dict[str, Any]


class Case(NamedTuple):
    """One problem: sizes of the data and of the network."""

    samples: int
    width: int
    outputs: int
    depth: int


@dataclass(frozen=True)
class Settings:
    """What is varied, and around which problem.

    Attributes
    ----------
    samples, width, outputs, depth
        Values of each factor.
    base
        Samples, width, outputs and depth while another factor is varied.
    methods
        Of `SETTINGS`.
    goal
        Validation error, mean relative L2, to which cost is measured.
    budget
        Work units after which a method that has not reached the goal is given up.
    compression
        Directions of the targets below this fraction of the largest are noise, and dropped.
    uncompressed
        Vary the outputs a second time with every direction kept.
    gain, noise
        Of the teacher: how rough its field is in the parameters, and the error of a sensor.
    """

    samples: tuple[int, ...] = (400, 1_600, 6_400, 25_600, 100_000)
    width: tuple[int, ...] = (8, 16, 32, 64, 128)
    outputs: tuple[int, ...] = (72, 300, 1_000, 3_000, 10_000)
    depth: tuple[int, ...] = (1, 2, 4, 8)
    base: tuple[int, int, int, int] = (1_600, 16, 72, 2)
    methods: tuple[str, ...] = tuple(SETTINGS)
    goal: float = 0.05
    budget: float = 600.0
    compression: float = 1e-3
    uncompressed: bool = True
    gain: float = 0.5
    noise: float = 1e-3

    def __post_init__(self) -> None:
        unknown = sorted(set(self.methods) - set(SETTINGS))
        if unknown or not self.methods:
            raise UsageError(f"expected methods among {', '.join(SETTINGS)}, got {', '.join(unknown) or 'none'}")
        if not (self.goal > 0 and self.budget > 0):
            raise UsageError(f"expected goal and budget > 0, got {self.goal} and {self.budget}")


QUICK = dict(
    samples=(200, 400, 800),
    width=(8, 16),
    outputs=(72, 300, 900),
    depth=(1, 2),
    base=(300, 8, 72, 2),
    goal=0.2,
    budget=60.0,
)


def run(options: StudySettings, report: Report) -> StudyResult:
    """Every factor with every method, the median over the seeds of the initial weights."""
    settings, device = options.own(Settings, QUICK), device_named(options.device)
    seeds, plan = options.seeds_from(1 if options.quick else 3), _plan(settings)
    measured: list[Row] = []
    for i, (factor, case, compression) in enumerate(plan):
        data = _Data(case, settings, compression, device)
        for method in settings.methods:
            report(i, len(plan), f"{factor} {getattr(case, factor)}, {method}")
            costs = [data.cost(method, seed) for seed in seeds]
            measured.append(
                dict(
                    factor=factor, value=getattr(case, factor), method=method, compressed=compression > 0,
                    n_theta=data.network.n_theta, n_targets=data.n_targets, **_medians(costs),
                )
            )  # fmt: skip
    unit = "wall seconds" if device.type == "cuda" else "CPU seconds"
    slopes = {
        f"{factor}, {method}": slope(_rows(measured, factor, method), "seconds_per_step")
        for factor in FACTORS
        for method in settings.methods
    }
    numbers = {"measured": measured, "slopes": slopes, "study_settings": asdict(settings), "seconds_are": unit}
    tables = [_table(factor, _rows(measured, factor), settings, unit) for factor in FACTORS]
    uncompressed = _rows(measured, "outputs", compressed=False)
    if uncompressed:
        tables.append(_table("outputs, all directions kept", uncompressed, settings, unit))
    return StudyResult(numbers, tables, {"scaling": cost_figure(measured, settings.goal, unit)})


def _plan(settings: Settings) -> list[tuple[str, Case, float]]:
    """(factor, case, compression): one factor at a time."""
    base, plan = Case(*settings.base), []
    for factor in FACTORS:
        plan += [(factor, base._replace(**{factor: v}), settings.compression) for v in getattr(settings, factor)]
    if settings.uncompressed:
        plan += [("outputs", base._replace(outputs=v), 0.0) for v in settings.outputs]
    return plan


class _Cost(NamedTuple):
    """Of one fit; None where the goal was not reached within the budget."""

    seconds_per_step: float
    units_per_step: float
    seconds_to_goal: float | None
    units_to_goal: float | None
    validation_error: float


class _Data:
    """Data of one case, its targets compressed once for all methods and seeds."""

    def __init__(self, case: Case, settings: Settings, compression: float, device: torch.device) -> None:
        teacher = Teacher(gain=settings.gain, noise=settings.noise)
        self._settings, self._device = settings, device
        self.network = DenseNetwork(teacher.n_inputs, (case.width,) * case.depth)
        inputs, targets = (x.to(device) for x in teacher.draw(case.samples, case.outputs, seed=1))
        held_out, expected = (x.to(device) for x in teacher.draw(N_VALIDATION, case.outputs, seed=2))
        self._objective = reduced_least_squares(self.network, inputs, targets, compression=compression)
        self._validation = ValidationSet(self._objective, held_out, expected, targets.new_ones(N_VALIDATION))

    @property
    def n_targets(self) -> int:
        """Targets that a step sees."""
        return len(self._objective.rotation)

    def cost(self, method: str, seed: int) -> _Cost:
        """One fit from the initial weights of this seed, to the goal or the end of the budget."""
        settings = self._settings
        task = TrainingTask(self._objective, self.network.initial(seed).to(self._device), lambda _: self._validation)
        fit = fit_by(method, task, settings.budget, SETTINGS[method], seed, time_validation=False)
        meter = fit.objective.meter
        while fit.best.validation_error > settings.goal and meter.total < settings.budget:
            if fit.advance(CHUNK) is not Status.budget_spent:
                break
        spent = fit.wall_seconds if self._device.type == "cuda" else fit.cpu_seconds
        steps = max(1, sum(record.accepted for record in fit.history[1:]))
        error, work = fit.best.validation_error, meter.total
        seconds_to, units_to = (spent, work) if error <= settings.goal else (None, None)
        return _Cost(spent / steps, work / steps, seconds_to, units_to, error)


def _medians(costs: list[_Cost]) -> dict[str, float | None]:
    """Of every cost; a median to the goal is one where most seeds reached it."""

    def middle(values: list[float | None]) -> float | None:
        value = median(math.inf if v is None else v for v in values)
        return value if math.isfinite(value) else None

    return {name: middle([getattr(cost, name) for cost in costs]) for name in _Cost._fields}


def _rows(measured: list[Row], factor: str, method: str | None = None, compressed: bool = True) -> list[Row]:
    return [
        row
        for row in measured
        if row["factor"] == factor and method in (None, row["method"]) and row["compressed"] == compressed
    ]


def _table(title: str, rows: list[Row], settings: Settings, unit: str) -> Table:
    """A row per value, a column per method: the cost of a step, then what it took to the goal."""
    methods = (method.replace("varpro-", "varpro-\n") for method in settings.methods)
    heading = f"{title}: {unit} a step; work units and seconds to error {settings.goal:g}"
    table = study_table(heading, title.split(",")[0], "targets", *methods, show_lines=True)
    table.columns[0].justify = "right"
    for value in dict.fromkeys(row["value"] for row in rows):
        here = {row["method"]: row for row in rows if row["value"] == value}
        n_targets = next(iter(here.values()))["n_targets"]
        table.add_row(f"{value:,}", str(n_targets), *(_cell(here[method]) for method in settings.methods))
    return table


def _cell(row: Row) -> str:
    reached = f"ends at {row['validation_error']:.2g}"
    if row["seconds_to_goal"] is not None:
        reached = f"{row['units_to_goal']:.0f}, {seconds(row['seconds_to_goal'])}"
    return f"{seconds(row['seconds_per_step'])}\n{reached}"
