"""What each part of the method is worth: one factor at a time around the default, on the CDR data.

Beside the factors (`gnvpro.apps.studies.ablation.variants`): the condition of the Gauss-Newton matrix with and without
elimination, how far apart trainings from different initial weights end, and variable projection on small batches.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from matplotlib.figure import Figure
from rich.table import Table

from gnvpro.apps.reports.figure_style import BLUE, PERCENT, RED, styled
from gnvpro.apps.studies.ablation.batches import batch_figure, batch_table, measure_batches
from gnvpro.apps.studies.ablation.goals import goal_figure, goal_table, measure_goals
from gnvpro.apps.studies.ablation.last_layer import (
    condition_table,
    initialisation_table,
    last_layer_figure,
    measure_conditions,
)
from gnvpro.apps.studies.ablation.variants import FACTORS, Measured, Variant, measure
from gnvpro.apps.studies.data import cdr_samples, sizes_for
from gnvpro.apps.studies.result import StudyResult, spread_of_errors, study_table
from gnvpro.apps.studies.settings import StudySettings
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.formatting import percent, seconds
from gnvpro.surrogate.progress import Report
from gnvpro.surrogate.samples import Split
from gnvpro.training.fitting.methods import METHODS

# By factor and label, and then by field of `Measured`: one number a training.
ByVariant = dict[str, dict[str, dict[str, Any]]]

# Who is timed on the way to an error: all that see the whole gradient. Levenberg-Marquardt, whose matrix of these 2,500
# weights takes a second to factorise, by name only; stochastic methods are compared by `cdr`, where their rates are tuned.
GOAL_METHODS = tuple(name for name in METHODS if "batches" not in METHODS[name].objective and name != "varpro-lm")


@dataclass(frozen=True)
class Settings:
    """How much is spent.

    Attributes
    ----------
    budget
        Work units of every training.
    factors
        Of `gnvpro.apps.studies.ablation.variants.FACTORS`.
    initialisations
        Initial weights whose ends are compared, on the first split, with W eliminated and kept.
    condition_widths
        Of the small network whose matrices are made.
    goals, goal_budget, goal_methods, goal_initialisations, goal_splits
        Validation errors; what is spent on the way; who goes there, of
        `gnvpro.training.fitting.methods.METHODS`; and from how many initial weights on how many of the splits.
    batches, batch_budget, batch_rate
        Sizes, work units and rate of Adam for variable projection on minibatches.
    """

    budget: float = 1_000.0
    factors: tuple[str, ...] = tuple(FACTORS)
    initialisations: int = 15
    condition_widths: tuple[int, ...] = (4, 8)
    goals: tuple[float, ...] = (0.0025, 0.001, 0.0006)
    goal_budget: float = 3_000.0
    goal_methods: tuple[str, ...] = GOAL_METHODS
    goal_initialisations: int = 3
    goal_splits: int = 3
    batches: tuple[int, ...] = (25, 50, 100, 200, 400)
    batch_budget: float = 400.0
    batch_rate: float = 3e-3

    def __post_init__(self) -> None:
        unknown = [name for name in self.factors if name not in FACTORS]
        if unknown:
            raise UsageError(f"expected factors among {', '.join(FACTORS)}; got {unknown[0]}")
        unknown = [name for name in self.goal_methods if name not in METHODS]
        if unknown:
            raise UsageError(f"expected goal_methods among {', '.join(METHODS)}; got {unknown[0]}")
        numbers = self.budget, self.batch_budget, self.batch_rate, *self.batches, self.initialisations, *self.goals
        if min(*numbers, self.goal_budget, self.goal_initialisations, self.goal_splits) <= 0:
            raise UsageError("expected budgets, goals, rate, batch sizes and numbers of initialisations and splits > 0")


QUICK = dict(
    budget=50.0, initialisations=3, condition_widths=(3, 4), batches=(25, 100, 400), batch_budget=20.0,
    goals=(0.5, 0.1), goal_budget=40.0, goal_methods=("varpro-kf-lbfgs", "varpro-lbfgs"), goal_initialisations=1,
)  # fmt: skip


def run(options: StudySettings, report: Report) -> StudyResult:
    """A seed chooses the split and the initial weights."""
    settings = options.own(Settings, QUICK)
    if options.device != "cpu":
        raise UsageError(
            f"the ablation's networks are too small for a device; expected --device cpu, got {options.device}"
        )
    samples, source = cdr_samples(options.data, report)
    seeds = options.seeds_from(1 if options.quick else 5)
    splits = {seed: samples.split(seed, **sizes_for(samples)) for seed in seeds}
    factors = _factors(splits, settings, report)
    initial = _initialisations(splits[seeds[0]], settings, report)
    condition = measure_conditions(splits, settings.condition_widths)
    batches = measure_batches(splits, settings.batches, settings.batch_budget, settings.batch_rate, report)
    goals = measure_goals(
        dict(list(splits.items())[: settings.goal_splits]), settings.goal_methods, settings.goals,
        settings.goal_budget, settings.goal_initialisations, report,
    )  # fmt: skip
    numbers = {
        "data": source,
        "sizes": sizes_for(samples),
        "seeds": list(seeds),
        "factors": factors,
        "goals": goals,
        "initialisations": initial,
        "condition": condition,
        "batches": batches,
        "study_settings": asdict(settings),
    }
    tables = [
        _factor_table(factors, settings.budget),
        goal_table(goals),
        initialisation_table(initial),
        condition_table(condition),
        batch_table(batches, settings.batch_budget),
    ]
    figures = {
        "ablation": _factor_figure(factors),
        "ablation-goals": goal_figure(goals),
        "ablation-last-layer": last_layer_figure(initial, condition),
        "ablation-batches": batch_figure(batches),
    }
    return StudyResult(numbers, tables, figures)


def _factors(splits: dict[int, Split], settings: Settings, report: Report) -> ByVariant:
    """Errors and costs of every seed; a variant that stands in two factors is trained once."""
    done: dict[Variant, list[Measured]] = {}
    total = len({v for name in settings.factors for v in FACTORS[name].values()})
    for name in settings.factors:
        for label, variant in FACTORS[name].items():
            if variant not in done:
                report(len(done), total, f"{name}: {label}")
                done[variant] = [measure(split, variant, seed, settings.budget) for seed, split in splits.items()]
    return {
        name: {label: _by_field(done[variant]) for label, variant in FACTORS[name].items()} for name in settings.factors
    }


def _initialisations(split: Split, settings: Settings, report: Report) -> dict[str, dict[str, list[float]]]:
    """The last-layer variants, and their errors from different initial weights on one split."""
    by_label = {}
    for label, variant in FACTORS["last layer"].items():
        report(0, None, f"{settings.initialisations} initial weights, W {label}")
        seeds = range(100, 100 + settings.initialisations)
        by_label[label] = _by_field([measure(split, variant, seed, settings.budget) for seed in seeds])
    return by_label


def _by_field(measured: list[Measured]) -> dict[str, list[float]]:
    return {field: [getattr(m, field) for m in measured] for field in Measured._fields}


def _factor_table(factors: ByVariant, budget: float) -> Table:
    title = f"One factor at a time, {budget:g} work units: median over seeds"
    table = study_table(title, "", "validation", "range", "test", "CPU time")
    for name, labels in factors.items():
        table.add_section()
        table.add_row(f"[bold]{name}[/bold]")
        for label, measured in labels.items():
            errors = (*spread_of_errors(measured["validation_error"]), percent(median(measured["test_error"])))
            table.add_row(f"  {label}", *errors, seconds(median(measured["cpu_seconds"])))
    return table


@styled
def _factor_figure(factors: ByVariant) -> Figure:
    """A row per variant: validation error of every seed, their median, and the range between."""
    count = sum(len(labels) for labels in factors.values()) + 2 * len(factors)
    figure = Figure(figsize=(7.4, 0.8 + 0.19 * count), layout="constrained")
    axes = figure.subplots()
    ticks, names, at = [], [], 0.0
    for name, labels in factors.items():
        axes.text(0.005, at, name, transform=axes.get_yaxis_transform(), fontweight="bold", va="center", fontsize=8.5)
        at += 1
        for i, (label, measured) in enumerate(labels.items()):
            errors = measured["validation_error"]
            colour = BLUE if i == 0 else RED
            axes.plot([min(errors), max(errors)], [at, at], color=colour, linewidth=1.4, alpha=0.5)
            axes.plot(errors, [at] * len(errors), "|", color=colour, markersize=5, alpha=0.7)
            axes.plot(median(errors), at, "o", color=colour, markersize=5)
            ticks.append(at)
            names.append(label)
            at += 1
        at += 0.6
    axes.set_xscale("log")
    axes.set_yticks(ticks, names)
    axes.set_ylim(at, -0.9)
    axes.tick_params(axis="y", length=0)
    axes.xaxis.set_major_formatter(PERCENT)
    axes.set_xlabel(
        "validation error, mean relative L2: median and range over seeds\n(blue: what the others of a factor differ from)"
    )
    return figure
