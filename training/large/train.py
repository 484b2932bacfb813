"""Training on a source of samples, over processes and within a memory: the same strategies, for one network at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, override

import numpy as np
from numpy.typing import NDArray

from gnvpro.surrogate.coupling import Coupling
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.sample_source import SampleSource
from gnvpro.surrogate.samples import Split, set_sizes
from gnvpro.surrogate.spaces import Array
from gnvpro.training.choice.contest import Decision
from gnvpro.training.choice.folds import held_out
from gnvpro.training.choice.large import train_many
from gnvpro.training.choice.polynomials import PolynomialFeatures
from gnvpro.training.fitting.checkpoint import Checkpoint
from gnvpro.training.fitting.fit import Fit
from gnvpro.training.fitting.memory import bytes_of_fit
from gnvpro.training.fitting.outcome import Training
from gnvpro.training.fitting.run import Progress
from gnvpro.training.large.preparation import LargePreparation
from gnvpro.training.regression import SurrogateTraining
from gnvpro.training.settings import QUICK_WIDTHS, TrainSettings

# Samples that every process has: some of those that train, and validation and test samples where their number is not given.
_PILOT, _HELD_OUT, _PILOT_BYTES = 20_000, 20_000, 64 * 2**20
_SETS = "train", "validation", "calibration", "test"


def set_numbers(n: int, settings: TrainSettings, sizes: dict[str, int | None]) -> dict[str, NDArray[np.intp]]:
    """Which samples train and which are held out for what, drawn by the seed; ascending.

    They are those of a training in one process that has all samples. Of more than four times 20,000, those held out for
    validation and test where no size is given are fewer, and all others train.
    """
    given = {name: size for name, size in sizes.items() if size is not None}
    order = np.random.default_rng(settings.seed).permutation(n)
    if not settings.asks_for_networks and not {"train", "validation"} & given.keys():
        return _with_judges(order, given, settings.seed)
    if n // 4 <= _HELD_OUT:
        found = set_sizes(n, {name: sizes[name] for name in _SETS})
    else:
        found = dict(train=0, validation=_HELD_OUT, calibration=0, test=_HELD_OUT) | given
        found["train"] = given.get("train", n - sum(found.values()))
        if min(found.values()) < 0 or sum(found.values()) > n or not found["train"] or not found["validation"]:
            raise UsageError(
                f"expected sets of at most the {n} samples there are, with some to train and to validate on, got {sizes}"
            )
    parts = np.split(order, np.cumsum(list(found.values())))
    return {name: np.sort(part) for name, part in zip(_SETS, parts, strict=False)}


def _with_judges(order: NDArray[np.intp], given: dict[str, int], seed: int) -> dict[str, NDArray[np.intp]]:
    """The sets of the default: a part of what is not kept for calibration and test judges."""
    calibration, test = (given.get(name, 0) for name in ("calibration", "test"))
    left = len(order) - calibration - test
    if min(calibration, test) < 0 or left < 2:
        raise UsageError(
            f"expected sets of at most the {len(order)} samples there are, with some to train and to validate on, got {given}"
        )
    fitted, kept, tested = np.split(order, [left, left + calibration])
    fitted, judges = np.sort(fitted), held_out(left, seed)
    sets = fitted[~judges], fitted[judges], np.sort(kept), np.sort(tested)
    return dict(zip(_SETS, sets, strict=True))


class LargeTraining(SurrogateTraining):
    """One training by the strategies of `SurrogateTraining`, of samples that each process has a share of.

    Polynomials beside the network, derivatives and the original study's network are for samples in the memory of one.
    """

    def __init__(
        self,
        source: SampleSource,
        settings: TrainSettings,
        sizes: dict[str, int | None],
        coupling: Coupling,
        on_progress: Callable[[Progress], None] | None = None,
        checkpoint: Callable[[Split], Checkpoint | None] = lambda _: None,
    ) -> None:
        if settings.polynomial == "on" or settings.network == "paper":
            raise UsageError(
                "polynomials and the paper's network are for samples in the memory of one process; leave them out"
            )
        if settings.solver == "lm" and settings.memory is not None:
            raise UsageError("Levenberg-Marquardt takes all samples in memory; leave its solver or the memory out")
        if settings.contender in ("kernel", "polynomial"):
            raise UsageError(
                f"the contender {settings.contender} takes all samples in the memory of one process; leave it out"
            )
        sets = set_numbers(len(source), settings, sizes)
        numbers = sets["train"]
        most = max(1000, min(_PILOT, _PILOT_BYTES // source.bytes_per_sample))
        pilot = source.read(numbers[:: max(1, -(-len(numbers) // most))])
        others = [
            source.read(sets[name]) if len(sets[name]) else pilot.subset(np.arange(0))
            for name in ("validation", "calibration", "test")
        ]
        split = Split(pilot, *others)
        # Each fit is one of all processes: none is spread.
        super().__init__(split, settings, on_progress, checkpoint(split))
        self._sizes = {name: len(found) for name, found in sets.items()}
        # With the sizes given, validation samples judge and are no more; else they are part of what all is trained on.
        self._is_default = sizes["validation"] is None and sizes["train"] is None
        mine, n_inputs = -(-len(numbers) // coupling.size), pilot.parameters.shape[1]
        self._in_memory = (
            settings.memory_bytes is None or _bytes(mine, source, n_inputs, settings) <= settings.memory_bytes
        )
        self._prepared: LargePreparation = LargePreparation(source, numbers, split, settings, coupling, self._in_memory)

    @override
    def contest(self) -> Training:
        """One wide network on batches, its last layer solved for on all samples in the end."""
        split, prepared, n = self._split, self._prepared, self._sizes["train"]
        trained = train_many(self._run, self._settings, prepared, n)
        best = trained.fit.best
        unrefitted = prepared.surrogate(trained.network, best.theta, best.weights, trained.formulation)
        predictions = np.full((len(split.train) + len(split.validation), split.train.observables.shape[1]), np.nan)
        predictions[len(split.train) :] = unrefitted.evaluate(split.validation.parameters)
        with self._run.outside:
            outer = prepared.outer_of_all(trained.network, trained.formulation, best.theta, split.validation)
        self._run.outside_work += 1 + len(split.validation) / n
        surrogate = prepared.surrogate(trained.network, best.theta, outer.weights, trained.formulation)
        return self._decided(
            Decision(surrogate, predictions, trained.fit, trained.choice), self._judged_samples.parameters
        )

    @property
    @override
    def _judged_as(self) -> str:
        return "cross-validated" if self._is_default else "validation"

    @property
    @override
    def _polynomials(self) -> PolynomialFeatures | None:  # pyright: ignore[reportIncompatibleVariableOverride]
        return None

    @override
    def _record(self, best: Fit | None, method: str, choice: dict[str, Any], fitted: Array) -> dict[str, Any]:
        record, moments = super()._record(best, method, choice, fitted), self._prepared.moments
        sizes = self._sizes
        if self._is_default and not self._settings.asks_for_networks:
            sizes = {**sizes, "train": sizes["train"] + sizes["validation"], "validation": 0}
        kept = "in memory" if self._in_memory else "in a file, a chunk in memory at a time"
        return {
            **record,
            "samples": sizes,
            "bounds": {"lower": moments.lower.tolist(), "upper": moments.upper.tolist()},
            "train_error_of": len(self._split.train),
            "processes": self._prepared.coupling.size,
            "samples_kept": kept,
        }


def bytes_of_training(source: SampleSource, settings: TrainSettings) -> int:
    """Of a training on all samples of a source in the memory of one process."""
    return _bytes(len(source), source, source.read(np.arange(1)).parameters.shape[1], settings)


def _bytes(n: int, source: SampleSource, n_inputs: int, settings: TrainSettings) -> int:
    held, n_outputs = n * source.bytes_per_sample, source.bytes_per_sample // 8 - n_inputs
    if not settings.asks_for_networks:
        return 3 * held  # of batches: what was read, and targets and inputs as they are trained on
    return held + bytes_of_fit(n, n_inputs, settings.widths or QUICK_WIDTHS, n_outputs).total
