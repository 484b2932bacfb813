"""What the studies `cdr` and `dcr` share: their settings, and a comparison of methods on surrogates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from gnvpro.apps.progress import Report
from gnvpro.apps.studies.comparison.comparison import Comparison, compare
from gnvpro.apps.studies.comparison.figure import curves
from gnvpro.apps.studies.comparison.methods import METHODS
from gnvpro.apps.studies.comparison.tables import tables
from gnvpro.apps.studies.comparison.tasks import Recipe, RegressionTasks
from gnvpro.apps.studies.comparison.trials import GRID, Metric
from gnvpro.apps.studies.result import StudyResult
from gnvpro.apps.studies.settings import StudySettings
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.samples import Samples

# The seed that methods are tuned on lies this far from the first one reported.
TUNING_SEED = 1000


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Of one comparison.

    Attributes
    ----------
    network, width, steps, widths, gain
        See `gnvpro.apps.studies.comparison.tasks.Recipe`.
    budget
        Work units of every training, tuning included.
    train, validation, test
        Samples; all of them are solved where no data are given.
    methods
        Names of `gnvpro.apps.studies.comparison.methods.METHODS`.
    grid
        Settings that every method is tuned over, of nine; stochastic baselines over twice as many.
    seeds
        Number of them.
    """

    budget: float
    train: int
    validation: int
    test: int
    seeds: int
    network: Literal["paper", "dense"] = "paper"
    width: int = 8
    steps: int = 4
    widths: tuple[int, ...] = (9, 24, 24, 48)
    gain: float = 0.1
    methods: tuple[str, ...] = tuple(METHODS)
    grid: int = GRID

    def __post_init__(self) -> None:
        if not self.budget > 0 or not 1 <= self.grid <= GRID:
            raise UsageError(f"expected a budget > 0 and a grid of 1 to {GRID}, got {self.budget} and {self.grid}")

    @property
    def sizes(self) -> dict[str, int]:
        """Of the split."""
        return dict(train=self.train, validation=self.validation, calibration=0, test=self.test)

    @property
    def n_samples(self) -> int:
        """In all."""
        return self.train + self.validation + self.test


@dataclass(frozen=True)
class Compared:
    """A comparison with the tasks it was made on."""

    comparison: Comparison
    tasks: RegressionTasks


def run_comparison(settings: Settings, samples: Samples, given: StudySettings, report: Report) -> Compared:
    """Tune and train every method.

    Raises
    ------
    ValueError
        Fewer samples than the split asks for.
    """
    recipe = Recipe(settings.network, settings.width, settings.steps, settings.widths, settings.gain)
    tasks = RegressionTasks(samples, recipe, settings.sizes, given.device)
    comparison = compare(
        tasks,
        settings.methods,
        budget=settings.budget,
        seeds=range(given.seed, given.seed + (given.seeds or settings.seeds)),
        tuning_seed=given.seed + TUNING_SEED,
        metric=Metric(),
        settings_tried=settings.grid,
        report=report,
    )
    return Compared(comparison, tasks)


def result(settings: Settings, compared: Compared, data: str) -> StudyResult:
    """Tables, figure and numbers."""
    comparison = compared.comparison
    network = compared.tasks.network
    numbers: dict[str, Any] = {"data": data, "network": network.to_dict(), "n_theta": network.n_theta}
    numbers |= {"samples": settings.sizes, "tuned_over": settings.grid, **comparison.numbers()}
    return StudyResult(numbers, tables(comparison), {"curves": curves(comparison)})
