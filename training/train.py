"""From a split of samples to a surrogate: the entry point of training."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from torch import nn

from gnvpro.surrogate.networks.module import ModuleNetwork
from gnvpro.surrogate.samples import Split
from gnvpro.training.device import torch_threads
from gnvpro.training.fitting.checkpoint import EVERY, Checkpoint, CheckpointError, identity_of
from gnvpro.training.fitting.outcome import Training, mean_relative_error
from gnvpro.training.fitting.run import Progress
from gnvpro.training.regression import Regression
from gnvpro.training.settings import TrainSettings

__all__ = ["CheckpointError", "Progress", "TrainSettings", "Training", "mean_relative_error", "train"]


def train(
    split: Split,
    settings: TrainSettings | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    module: nn.Module | None = None,
    *,
    checkpoint: str | Path | None = None,
    every: float = EVERY,
) -> Training:
    """Fit a surrogate to `split.train`, chosen on `split.validation`; `split.test` is only reported.

    The same seed on the same machine gives the same weights: no stopping rule reads a clock. Ctrl-C ends the
    training with the best surrogate so far and status `interrupted`.

    Parameters
    ----------
    module
        Feature network as a torch module with `n_in` inputs, in place of the built-in ones.
    checkpoint
        Folder in which the run is put aside after `every` further work units. Where it holds a checkpoint of the same data,
        settings and versions, the run goes on from there and ends with the same bits (seconds apart).

    Raises
    ------
    CheckpointError
        The folder's checkpoint is damaged or of another training.
    ValueError
        A device or setting that does not exist or fit, or an objective that is not finite at the start.
    """
    settings = settings or TrainSettings()
    with torch_threads(settings.threads):
        kept = None if checkpoint is None else Checkpoint(checkpoint, every, identity_of(split, settings, module))
        regression = Regression(split, settings, on_progress, kept)
        if module is not None:
            return regression.single(ModuleNetwork(module, split.train.parameters.shape[1]))
        if settings.network == "auto":
            return regression.auto()
        return regression.paper() if settings.network == "paper" else regression.residual()
