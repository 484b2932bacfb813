"""From samples to a surrogate: the entry point of training."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from gnvpro.surrogate.checks import path_of
from gnvpro.surrogate.coupling import ALONE, Coupling
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.modes import Modes, is_field
from gnvpro.surrogate.sample_source import SamplesInMemory, SampleSource
from gnvpro.surrogate.samples import Samples, Split
from gnvpro.training.choice.large import MANY_SAMPLES, METHOD, WIDTHS
from gnvpro.training.device import threads_for, torch_threads
from gnvpro.training.distributed import device_of_process, together
from gnvpro.training.fidelities.contest import CoarseLevel
from gnvpro.training.fidelities.levels import coarse_levels, fidelities_record
from gnvpro.training.fields import as_fields, in_modes, of_fields
from gnvpro.training.fit_settings import settings_of
from gnvpro.training.fitting.checkpoint import EVERY, Checkpoint, CheckpointError, identity_of
from gnvpro.training.fitting.methods import METHODS
from gnvpro.training.fitting.outcome import Training, mean_relative_error
from gnvpro.training.fitting.run import Progress
from gnvpro.training.large.train import LargeTraining
from gnvpro.training.regression import SurrogateTraining
from gnvpro.training.settings import QUICK_WIDTHS, TrainSettings

__all__ = ["CheckpointError", "Progress", "TrainSettings", "Training", "mean_relative_error", "train"]

_NO_SIZES: dict[str, int | None] = dict(train=None, validation=None, calibration=None, test=None)


def train(
    samples: Samples | Split | SampleSource,
    settings: TrainSettings | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    module: nn.Module | None = None,
    *,
    coarse: Samples | Sequence[Samples] | CoarseLevel | None = None,
    train: int | None = None,
    validation: int | None = None,
    calibration: int | None = None,
    test: int | None = None,
    checkpoint: str | Path | None = None,
    every: float = EVERY,
    **fields: Any,
) -> Training:
    """Fit a surrogate to the training samples, chosen on those of validation; test samples are only reported.

    The same seed on the same machine gives the same weights: no stopping rule reads a clock. Ctrl-C ends the
    training with the best surrogate so far and status `interrupted`.

    Parameters
    ----------
    samples
        Split already, or to be split at random by the seed of the settings. Where a `Split` has validation samples, they
        choose; otherwise cross-validation does. A source of samples is read some at a time.
    settings
        How to train; instead, its fields may be given one by one, as in `train(samples, seed=1, quick=True)`.
    module
        Feature network as a torch module with `n_in` inputs, in place of the built-in ones.
    coarse
        Samples of the same parameters and observables from cheaper solves, or several such sets, cheapest first. Features
        are learned from the cheapest, and each further set corrects the model of the one before; the samples themselves
        last, and errors are of their observables. Points need not be shared. Where coarse samples do not help, the record
        says so, and the model stands on the fine ones alone. What `coarse_level` made of the coarse samples may stand for
        them, where fine samples are added one by one.
    train, validation, calibration, test
        Sizes of the sets. Without those of `train` and `validation`, all samples but those for calibration and test train,
        and cross-validation chooses and states the error. With one of them, and where the settings ask for networks, as
        `gnvpro.surrogate.samples.Samples.split` takes them: a half, a quarter, none and a quarter. Above 20,000 samples each
        set is in the order of the samples.
    checkpoint
        Folder in which the state of the run is saved after `every` further work units. Where it holds a checkpoint of
        the same data, settings and versions, the run goes on from there and ends with the same bits (seconds apart).

    Raises
    ------
    CheckpointError
        The folder's checkpoint is damaged or of another training.
    UsageError
        A device or setting that does not exist or fit, sizes of sets that do not fit, an objective that is not finite at
        the start, or coarse samples of other parameters or observables.
    """
    settings = _settings(settings, fields)
    with together() as coupling:
        settings = replace(settings, device=device_of_process(settings.device))
        if coupling.size > 1:
            on_progress = on_progress if coupling.is_first else None
        return _trained(
            samples, settings, on_progress, module, coarse, checkpoint, every, coupling,
            dict(train=train, validation=validation, calibration=calibration, test=test),
        )  # fmt: skip


def _trained(
    samples: Samples | Split | SampleSource,
    settings: TrainSettings,
    on_progress: Callable[[Progress], None] | None,
    module: nn.Module | None,
    coarse: Samples | Sequence[Samples] | CoarseLevel | None,
    checkpoint: str | Path | None,
    every: float,
    coupling: Coupling,
    sizes: dict[str, int | None],
) -> Training:
    """The training of this process with those that it is coupled with."""
    _require_same(samples, settings, sizes, coupling)
    if isinstance(samples, Samples) and coupling.size > 1 and len(samples) > MANY_SAMPLES:
        if samples.modes is not None or is_field(samples.observable_space, len(samples)):
            raise UsageError("fields are trained on by their modes, in one process; start it without torchrun")
        samples.require_complete(f"training on more than {MANY_SAMPLES} samples by several processes")
        samples = SamplesInMemory(samples)
    elif isinstance(samples, Samples | Split) and settings.memory is not None:
        raise UsageError(
            "memory is for data sets that are read in parts, zarr or NetCDF, and these samples are in memory; leave it out"
        )
    if not isinstance(samples, Samples | Split):
        return _large(samples, settings, on_progress, module, coarse, checkpoint, every, coupling, sizes)
    below = coarse if isinstance(coarse, CoarseLevel) else None
    fine = samples.train if isinstance(samples, Split) else samples
    levels = coarse_levels(coarse.samples if isinstance(coarse, CoarseLevel) else coarse, fine)
    if levels and module is not None:
        raise UsageError(
            "a module cannot be trained on coarse samples and corrected by fine ones; leave one of both out"
        )
    _require_suitable(samples, levels, settings)
    samples, levels, modes = _in_modes(samples, levels, settings)
    if modes is not None:
        below = None  # it has modes of its own: the coarse samples are trained on again, in those that all share
    cross_validated = module is None and (bool(levels) or not settings.asks_for_networks)
    split = _split(samples, settings, sizes, cross_validated)
    settings, threads = _with_threads(settings, [split.train, *levels])
    with torch_threads(threads):
        if levels:
            trained = _train_levels(levels, split, settings, on_progress, checkpoint, every, below, coupling)
        else:
            training = _one_training(split, settings, on_progress, checkpoint, every, module, coupling)
            trained = training.strategy(module)
        return of_fields(trained, modes, split.train)


def _require_suitable(samples: Samples | Split, levels: Sequence[Samples], settings: TrainSettings) -> None:
    """UsageError where observables are missing, and what is to be done takes whole samples."""
    sets = [samples] if isinstance(samples, Samples) else list(vars(samples).values())
    fine, n = sets[0], sum(map(len, sets))
    for level in levels:
        level.require_complete("training on coarse samples")
    for of_set in sets:
        if levels:
            of_set.require_complete("training beside coarse samples")
        if is_field(fine.observable_space, n) or fine.modes is not None:
            of_set.require_complete("training on fields, by their modes,")
        if fine.n_directions and settings.derivatives != "off":
            of_set.require_complete('training on derivatives (without them: derivatives="off")')
        if n > MANY_SAMPLES and not settings.asks_for_networks:
            of_set.require_complete(f"training on more than {MANY_SAMPLES} samples, by batches,")


def _in_modes(
    samples: Samples | Split, levels: Sequence[Samples], settings: TrainSettings
) -> tuple[Samples | Split, list[Samples], Modes | None]:
    """Samples and coarse levels of a field as coefficients of modes that they share."""
    sets = [samples] if isinstance(samples, Samples) else list(vars(samples).values())
    reduced, modes = in_modes([*sets, *levels], settings.field_error)
    fine, coarse = reduced[: len(sets)], reduced[len(sets) :]
    return fine[0] if isinstance(samples, Samples) else Split(*fine), coarse, modes


def _one_training(
    split: Split,
    settings: TrainSettings,
    on_progress: Callable[[Progress], None] | None,
    checkpoint: str | Path | None,
    every: float,
    module: nn.Module | None = None,
    coupling: Coupling = ALONE,
) -> SurrogateTraining:
    kept = _checkpoint(split, settings, checkpoint, every, module, coupling)
    return SurrogateTraining(split, settings, on_progress, kept, coupling)


def _checkpoint(
    split: Split,
    settings: TrainSettings,
    place: str | Path | None,
    every: float,
    module: nn.Module | None,
    coupling: Coupling,
) -> Checkpoint | None:
    if place is None:
        return None
    # Processes have devices of their own number.
    same = replace(settings, device=settings.device.split(":")[0]) if coupling.size > 1 else settings
    kept = Checkpoint(place, every, identity_of(split, same, module), coupling.is_first)
    coupling.any(False)  # none is written before all have read what there is
    return kept


def _require_same(samples: Any, settings: TrainSettings, sizes: dict[str, int | None], coupling: Coupling) -> None:
    """UsageError where processes that train together have other samples or settings: one training takes the same in all."""
    if coupling.size == 1:
        return
    seen = samples.train if isinstance(samples, Split) else samples
    some = seen.read(np.arange(min(len(seen), 8))) if not isinstance(seen, Samples) else seen
    stride = max(1, len(some) // 1000)
    content = some.parameters[::stride].tobytes(), some.observables[::stride].tobytes(), len(seen)
    told = hashlib.sha256(repr((content, replace(settings, device=""), sizes)).encode()).hexdigest()
    if len(set(coupling.gathered(told))) > 1:
        raise UsageError("the processes have different samples or settings; one training takes the same in all of them")


def _threads_of_large(source: SampleSource, settings: TrainSettings, coupling: Coupling) -> int:
    """As `threads_for` says of the rows that are worked on together."""
    if settings.device.split(":")[0] != "cpu":
        return 1
    if settings.asks_for_networks:
        return threads_for(len(source) // coupling.size, sum(settings.widths or QUICK_WIDTHS))
    return threads_for(int(METHODS[METHOD].usual["batch"]), sum(WIDTHS))


def _large(
    source: SampleSource,
    settings: TrainSettings,
    on_progress: Callable[[Progress], None] | None,
    module: nn.Module | None,
    coarse: Any,
    checkpoint: str | Path | None,
    every: float,
    coupling: Coupling,
    sizes: dict[str, int | None],
) -> Training:
    """Of samples of which each process has a share, or that are read some at a time."""
    if module is not None or coarse is not None:
        raise UsageError("modules and coarse samples are for samples in the memory of one process; leave them out")

    def kept(split: Split) -> Checkpoint | None:
        return _checkpoint(split, settings, checkpoint, every, None, coupling)

    if settings.threads is None:
        settings = replace(settings, threads=_threads_of_large(source, settings, coupling))
    with torch_threads(settings.threads or 1):
        training = LargeTraining(source, settings, sizes, coupling, on_progress, kept)
        return training.strategy()


def coarse_level(
    samples: Samples, settings: TrainSettings | None = None, on_progress: Callable[[Progress], None] | None = None
) -> CoarseLevel:
    """A model of samples from cheaper solves, for `coarse` of `train`: trained once for several sets of fine samples.

    Raises UsageError: settings that `train` refuses.
    """
    settings = settings or TrainSettings()
    (reduced,), modes = in_modes([samples], settings.field_error)
    settings, threads = _with_threads(settings, [reduced])
    with torch_threads(threads):
        trained, level = _level(reduced, None, settings, _naming("level-1", on_progress), None, EVERY)
    if modes is None:
        return level
    trained = of_fields(trained, modes, level.samples)
    seen, left_out = as_fields(level.samples, modes), modes.fields(level.left_out)
    return CoarseLevel(trained.surrogate, seen, left_out, level.parameters)


def _train_levels(
    levels: Sequence[Samples],
    split: Split,
    settings: TrainSettings,
    on_progress: Callable[[Progress], None] | None,
    checkpoint: str | Path | None,
    every: float,
    below: CoarseLevel | None,
    coupling: Coupling,
) -> Training:
    """A model of the cheapest level, corrected by one level after the other; each has a folder in the checkpoint.

    `below`: the model of the only coarse level, where there is one already.
    """
    models = [] if below is None else [below.surrogate]
    for number, samples in enumerate(levels[len(models) :], len(models) + 1):
        name = f"level-{number}"
        place = None if checkpoint is None else path_of(checkpoint) / name
        trained, below = _level(samples, below, settings, _naming(name, on_progress), place, every, coupling)
        models.append(trained.surrogate)
    assert below is not None
    place = None if checkpoint is None else path_of(checkpoint) / "fine"
    trained = _one_training(split, settings, _naming("fine", on_progress), place, every, None, coupling).beside(below)
    fine = split.train.joined(split.validation)
    return trained.with_fidelities(fidelities_record([*levels, fine], [*models, trained.surrogate]), models)


def _level(
    samples: Samples,
    below: CoarseLevel | None,
    settings: TrainSettings,
    on_progress: Callable[[Progress], None] | None,
    place: Path | None,
    every: float,
    coupling: Coupling = ALONE,
) -> tuple[Training, CoarseLevel]:
    """One coarse level, by itself or as the correction of the one below."""
    of_level = _split(samples, settings, _NO_SIZES, below is not None or not settings.asks_for_networks)
    training = _one_training(of_level, settings, on_progress, place, every, None, coupling)
    trained = training.strategy() if below is None else training.beside(below)
    seen, others = of_level.train.joined(of_level.validation), [] if below is None else [below.parameters]
    parameters = np.concatenate([seen.parameters, *others])
    return trained, CoarseLevel(trained.surrogate, seen, training.left_out, parameters)


def _settings(settings: TrainSettings | None, fields: dict[str, Any]) -> TrainSettings:
    if settings is not None and fields:
        raise UsageError(
            f"expected settings or {', '.join(fields)} by themselves, got both; replace them in the settings"
        )
    if settings is not None and not isinstance(settings, TrainSettings):
        raise UsageError(f"expected settings a TrainSettings, got {settings!r}")
    return settings or settings_of(TrainSettings, fields)


def _with_threads(settings: TrainSettings, sets: Sequence[Samples]) -> tuple[TrainSettings, int]:
    """Settings that say on how many threads the largest of these sets is trained, and that number."""
    threads = settings.threads
    if threads is None:
        rows = max(len(samples) * (1 + samples.n_directions) for samples in sets)
        widths = settings.widths or QUICK_WIDTHS  # a typical shape of those that are raced
        if rows > MANY_SAMPLES and not settings.asks_for_networks:
            rows, widths = int(METHODS[METHOD].usual["batch"]), WIDTHS
        threads = 1 if settings.device != "cpu" else threads_for(rows, sum(widths))
    return replace(settings, threads=threads), threads


def _split(
    samples: Samples | Split, settings: TrainSettings, sizes: dict[str, int | None], cross_validated: bool
) -> Split:
    if isinstance(samples, Samples):
        if cross_validated and sizes["train"] is None and not sizes["validation"]:
            return samples.split_off(settings.seed, calibration=sizes["calibration"] or 0, test=sizes["test"] or 0)
        # As processes that share so many read them: random signs and batches go by a sample's place in its set.
        return samples.split(settings.seed, len(samples) > MANY_SAMPLES, **sizes)
    if sizes_set := [name for name, size in sizes.items() if size is not None]:
        raise UsageError(
            f"the samples are split already; leave the size of {' and '.join(sizes_set)} out, or give Samples"
        )
    return samples


def _naming(level: str, on_progress: Callable[[Progress], None] | None) -> Callable[[Progress], None] | None:
    """Progress whose stage names the level."""
    if on_progress is None:
        return None
    return lambda now: on_progress(replace(now, stage=f"{level}: {now.stage}"))
