"""From samples to a surrogate: the entry point of training."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import nn

from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.networks.module import ModuleNetwork
from gnvpro.surrogate.samples import Samples, Split
from gnvpro.training.device import torch_threads
from gnvpro.training.fit_settings import settings_of
from gnvpro.training.fitting.checkpoint import EVERY, Checkpoint, CheckpointError, identity_of
from gnvpro.training.fitting.outcome import Training, mean_relative_error
from gnvpro.training.fitting.run import Progress
from gnvpro.training.regression import SurrogateTraining
from gnvpro.training.settings import TrainSettings

__all__ = ["CheckpointError", "Progress", "TrainSettings", "Training", "mean_relative_error", "train"]


def train(
    samples: Samples | Split,
    settings: TrainSettings | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    module: nn.Module | None = None,
    *,
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
        choose; otherwise cross-validation does.
    settings
        How to train; instead, its fields may be given one by one, as in `train(samples, seed=1, quick=True)`.
    module
        Feature network as a torch module with `n_in` inputs, in place of the built-in ones.
    train, validation, calibration, test
        Sizes of the sets. Without those of `train` and `validation`, all samples but those for calibration and test train,
        and cross-validation chooses and states the error. With one of them, and where the settings ask for networks, as
        `gnvpro.surrogate.samples.Samples.split` takes them: a half, a quarter, none and a quarter.
    checkpoint
        Folder in which the state of the run is saved after `every` further work units. Where it holds a checkpoint of
        the same data, settings and versions, the run goes on from there and ends with the same bits (seconds apart).

    Raises
    ------
    CheckpointError
        The folder's checkpoint is damaged or of another training.
    UsageError
        A device or setting that does not exist or fit, sizes of sets that do not fit, or an objective that is not finite at
        the start.
    """
    settings = _settings(settings, fields)
    sizes = dict(train=train, validation=validation, calibration=calibration, test=test)
    split = _split(samples, settings, sizes, cross_validated=module is None and not settings.asks_for_networks)
    with torch_threads(settings.threads):
        kept = None if checkpoint is None else Checkpoint(checkpoint, every, identity_of(split, settings, module))
        training_run = SurrogateTraining(split, settings, on_progress, kept)
        if module is not None:
            return training_run.single(ModuleNetwork(module, split.train.parameters.shape[1]))
        if settings.network == "auto":
            return training_run.networks() if settings.asks_for_networks else training_run.contest()
        return training_run.paper() if settings.network == "paper" else training_run.residual()


def _settings(settings: TrainSettings | None, fields: dict[str, Any]) -> TrainSettings:
    if settings is not None and fields:
        raise UsageError(
            f"expected settings or {', '.join(fields)} by themselves, got both; replace them in the settings"
        )
    if settings is not None and not isinstance(settings, TrainSettings):
        raise UsageError(f"expected settings a TrainSettings, got {settings!r}")
    return settings or settings_of(TrainSettings, fields)


def _split(
    samples: Samples | Split, settings: TrainSettings, sizes: dict[str, int | None], cross_validated: bool
) -> Split:
    if isinstance(samples, Samples):
        if cross_validated and sizes["train"] is None and not sizes["validation"]:
            return samples.split_off(settings.seed, calibration=sizes["calibration"] or 0, test=sizes["test"] or 0)
        return samples.split(settings.seed, **sizes)
    if sizes_set := [name for name, size in sizes.items() if size is not None]:
        raise UsageError(
            f"the samples are split already; leave the size of {' and '.join(sizes_set)} out, or give Samples"
        )
    return samples
