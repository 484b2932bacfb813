"""Training methods compared on surrogates of PDE data: what the studies `cdr` and `dcr` share."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from gnvpro.apps.studies.optimisers.compare_methods import MethodComparison, compare_methods
from gnvpro.apps.studies.optimisers.grids import GRID
from gnvpro.apps.studies.optimisers.presentation import curves, tables
from gnvpro.apps.studies.result import StudyResult
from gnvpro.apps.studies.settings import StudySettings
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.model.surrogate import Surrogate
from gnvpro.surrogate.networks.dense import DenseNetwork
from gnvpro.surrogate.networks.in_time.residual import ResidualNetwork
from gnvpro.surrogate.networks.protocol import FeatureNetwork
from gnvpro.surrogate.progress import Report
from gnvpro.surrogate.samples import Samples, Split
from gnvpro.training.fitting.fit import Iterate
from gnvpro.training.fitting.methods import METHODS, TrainingTask
from gnvpro.training.fitting.preparation import Formulation, Preparation
from gnvpro.training.settings import TrainSettings


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Of one comparison.

    Attributes
    ----------
    network
        `paper`: the original study's residual network at its finest level, of `width` and `steps`; inputs as they are,
        all samples alike, both regularisations 1e-10. `dense`: our default for such data, tanh layers of `widths`,
        standardised inputs of this `gain`, samples weighted for relative errors, alpha_theta 1e-9.
    budget
        Work units of every training, tuning included.
    train, validation, test
        Samples; all of them are solved where no data are options.
    methods
        Names of `gnvpro.training.fitting.methods.METHODS`.
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


class SurrogateProblems:
    """The training task of a seed: a random split, and the network's weights drawn with the same seed."""

    def __init__(self, samples: Samples, settings: Settings, device: str = "cpu") -> None:
        self._samples, self._settings, self._device = samples, settings, device

    @cached_property
    def network(self) -> FeatureNetwork:
        """The same for all seeds."""
        n_inputs, settings = self._samples.parameters.shape[1], self._settings
        if settings.network == "paper":
            return ResidualNetwork(n_inputs, settings.width, settings.steps)
        return DenseNetwork(n_inputs, settings.widths)

    def split(self, seed: int) -> Split:
        """The samples of one seed."""
        return self._samples.split(seed, **self._settings.sizes)

    def __call__(self, seed: int) -> TrainingTask:
        """The training task of one seed."""
        prepared, formulation = self._prepared(seed)
        return prepared.task(self.network, formulation)

    def surrogate(self, seed: int, iterate: Iterate) -> Surrogate:
        """The model that an iterate of a seed's training is."""
        prepared, formulation = self._prepared(seed)
        return prepared.surrogate(self.network, iterate.theta, iterate.weights, formulation)

    def _prepared(self, seed: int) -> tuple[Preparation, Formulation]:
        paper = self._settings.network == "paper"
        settings = TrainSettings(
            network="paper" if paper else "auto",
            alpha_theta=1e-10 if paper else 1e-9,
            seed=seed,
            device=self._device,
        )
        prepared = Preparation(self.split(seed), settings)
        return prepared, prepared.raw() if paper else prepared.standardised(self._settings.gain)


def compare_on_surrogates(
    settings: Settings, samples: Samples, source: str, options: StudySettings, report: Report
) -> tuple[StudyResult, MethodComparison, SurrogateProblems]:
    """Tune and train every method: numbers with tables and curves, all trials, and the problems they were made on.

    Raises
    ------
    UsageError
        Fewer samples than the split asks for.
    """
    problems = SurrogateProblems(samples, settings, options.device)
    comparison = compare_methods(
        problems, settings.methods, budget=settings.budget, seeds=options.seeds_from(settings.seeds),
        settings_tried=settings.grid, report=report,
    )  # fmt: skip
    network = problems.network
    numbers: dict[str, Any] = {"data": source, "network": network.to_dict(), "n_theta": network.n_theta}
    numbers |= {"samples": settings.sizes, "tuned_over": settings.grid, **comparison.numbers()}
    return StudyResult(numbers, tables(comparison), {"curves": curves(comparison)}), comparison, problems
