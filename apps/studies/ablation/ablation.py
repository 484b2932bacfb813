"""What each part of the method is worth: one factor at a time around the default, on the CDR data.

Beside the factors (`gnvpro.apps.studies.ablation.variants`): the condition of the Gauss-Newton matrix with and without
elimination, how far apart trainings from different initial weights end, and variable projection on small batches.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from rich.table import Table

from gnvpro.apps.progress import Report
from gnvpro.apps.studies.ablation import figure as figures
from gnvpro.apps.studies.ablation.batches import measure_batches
from gnvpro.apps.studies.ablation.conditioning import spectra
from gnvpro.apps.studies.ablation.goals import goal_figure, goal_table, measure_goals
from gnvpro.apps.studies.ablation.variants import ALPHA_THETA, DEFAULT, FACTORS, Measured, Problem, Variant, measure
from gnvpro.apps.studies.comparison.methods import METHODS
from gnvpro.apps.studies.data import cdr_samples, sizes_for
from gnvpro.apps.studies.result import StudyResult
from gnvpro.apps.studies.settings import StudySettings
from gnvpro.pde_data.problems.options import make
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.formatting import percent, seconds
from gnvpro.surrogate.networks.dense import DenseNetwork
from gnvpro.surrogate.samples import Split

# Who is timed on the way to an error: all that see the whole gradient. Levenberg-Marquardt, whose matrix of these 2,500
# weights takes a second to factorise, by name only; stochastic methods are compared by `cdr`, where their rates are tuned.
GOAL_METHODS = tuple(name for name in METHODS if METHODS[name].objective != "batches" and name != "varpro-lm")


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
        `gnvpro.apps.studies.comparison.methods.METHODS`; and from how many initial weights on how many of the splits.
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


def run(given: StudySettings, report: Report) -> StudyResult:
    """A seed chooses the split and the initial weights."""
    settings: Settings = make(Settings, {**(QUICK if given.quick else {}), **(given.set or {})})
    if given.device != "cpu":
        raise UsageError(
            f"the ablation's networks are too small for a device; expected --device cpu, got {given.device}"
        )
    samples, source = cdr_samples(given.data, report)
    seeds = list(range(given.seed, given.seed + (given.seeds or (1 if given.quick else 5))))
    splits = {seed: samples.split(seed, **sizes_for(samples)) for seed in seeds}
    factors = _factors(splits, settings, report)
    initial = _initialisations(splits[seeds[0]], settings, report)
    condition, drawn = _conditions(splits, settings)
    batches = _batches(splits, settings, report)
    goals = measure_goals(
        dict(list(splits.items())[: settings.goal_splits]), settings.goal_methods, settings.goals,
        settings.goal_budget, settings.goal_initialisations, report,
    )  # fmt: skip
    numbers = {
        "data": source,
        "sizes": sizes_for(samples),
        "seeds": seeds,
        "factors": factors,
        "goals": goals,
        "initialisations": initial,
        "condition": condition,
        "batches": batches,
        "study_settings": asdict(settings),
    }
    tables = [
        _factor_table(factors, settings),
        goal_table(goals),
        _initialisation_table(initial),
        _condition_table(condition),
        _batch_table(batches, settings),
    ]
    drawings = {
        "ablation": figures.factors(factors),
        "ablation-goals": goal_figure(goals),
        "ablation-last-layer": figures.last_layer(initial, drawn),
        "ablation-batches": figures.batches(batches),
    }
    return StudyResult(numbers, tables, drawings)


def _factors(splits: dict[int, Split], settings: Settings, report: Report) -> dict[str, dict[str, dict[str, Any]]]:
    """Factor -> label -> errors and costs of every seed; a variant that stands in two factors is trained once."""
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


def _by_field(measured: list[Measured]) -> dict[str, list[float]]:
    return {field: [getattr(m, field) for m in measured] for field in Measured._fields}


def _initialisations(split: Split, settings: Settings, report: Report) -> dict[str, dict[str, list[float]]]:
    """The last-layer variants, and their errors from different initial weights on one split."""
    found = {}
    for label, variant in FACTORS["last layer"].items():
        report(0, None, f"{settings.initialisations} initial weights, W {label}")
        found[label] = _by_field(
            [measure(split, variant, 100 + seed, settings.budget) for seed in range(settings.initialisations)]
        )
    return found


def _conditions(splits: dict[int, Split], settings: Settings) -> tuple[dict[str, Any], dict[str, list[float]]]:
    """Condition numbers by matrix and regularisation, and the spectra of the first seed."""
    conditions: dict[str, list[float]] = {}
    drawn: dict[str, list[float]] = {}
    for seed, split in splits.items():
        network = DenseNetwork(split.train.parameters.shape[1], settings.condition_widths)
        found = spectra(Problem(split, DEFAULT).reduced(network, ALPHA_THETA), network.initial(seed))
        drawn = drawn or {name: values.tolist() for name, values in found._asdict().items()}
        for name, value in found.conditions().items():
            conditions.setdefault(name, []).append(value)
    return {"widths": list(settings.condition_widths), "condition_numbers": conditions, "spectra": drawn}, drawn


def _batches(splits: dict[int, Split], settings: Settings, report: Report) -> list[dict[str, Any]]:
    found = []
    for batch in settings.batches:
        size = min(batch, len(next(iter(splits.values())).train))
        report(0, None, f"batches of {size}")
        measured = [
            measure_batches(split, size, seed, settings.batch_budget, settings.batch_rate)
            for seed, split in splits.items()
        ]
        fields = measured[0]._fields
        found.append({"batch": size, **{name: [getattr(m, name) for m in measured] for name in fields}})
    return found


def _spread(values: list[float]) -> tuple[str, str]:
    return percent(median(values)), f"{100 * min(values):.3g} to {100 * max(values):.3g}"


def _columns(table: Table, *names: str) -> Table:
    table.title_justify = "left"
    for i, name in enumerate(names):
        table.add_column(name, justify="left" if i == 0 else "right")
    return table


def _factor_table(factors: dict[str, dict[str, dict[str, Any]]], settings: Settings) -> Table:
    title = f"One factor at a time, {settings.budget:g} work units: median over seeds"
    table = _columns(Table(title=title), "", "validation", "range", "test", "CPU time")
    for name, labels in factors.items():
        table.add_section()
        table.add_row(f"[bold]{name}[/bold]")
        for label, found in labels.items():
            errors = (*_spread(found["validation_error"]), percent(median(found["test_error"])))
            table.add_row(f"  {label}", *errors, seconds(median(found["cpu_seconds"])))
    return table


def _initialisation_table(initial: dict[str, dict[str, list[float]]]) -> Table:
    n = len(next(iter(initial.values()))["validation_error"])
    table = _columns(
        Table(title=f"{n} initial weights, one split"), "last layer", "validation", "range", "highest / lowest"
    )
    for label, found in initial.items():
        errors = found["validation_error"]
        table.add_row(label, *_spread(errors), f"{max(errors) / min(errors):.2f}")
    return table


def _condition_table(condition: dict[str, Any]) -> Table:
    title = f"Condition number of the Gauss–Newton matrix at the initial weights, widths {condition['widths']}"
    table = _columns(Table(title=title), "matrix", "median", "lowest", "highest")
    for name, values in condition["condition_numbers"].items():
        table.add_row(figures.MATRICES[name], f"{median(values):.2e}", f"{min(values):.2e}", f"{max(values):.2e}")
    return table


def _batch_table(batches: list[dict[str, Any]], settings: Settings) -> Table:
    title = f"W solved on minibatches, Adam on the network, {settings.batch_budget:g} work units"
    table = _columns(Table(title=title), "batch", "error on the batch", "validation", "validation, W of all samples")
    for row in batches:
        table.add_row(
            str(row["batch"]), *(percent(median(row[f"{name}_error"])) for name in ("batch", "validation", "refitted"))
        )
    return table
