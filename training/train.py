"""From a split of samples to a surrogate: the entry point of training."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from surrogate.module_network import ModuleNetwork
from surrogate.samples import Split
from training.outcome import Progress, Training, mean_relative_error
from training.runner import Runner
from training.settings import TrainSettings

__all__ = ["Progress", "TrainSettings", "Training", "mean_relative_error", "train"]


def train(
    split: Split,
    settings: TrainSettings | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    module: nn.Module | None = None,
) -> Training:
    """Fit a surrogate to `split.train`, chosen on `split.validation`; `split.test` is only reported.

    The same seed on the same machine gives the same weights: no stopping rule reads a clock. Ctrl-C ends the
    training with the best surrogate so far and status `interrupted`.

    Parameters
    ----------
    module
        Feature network as a torch module with `n_in` inputs, in place of the built-in ones.

    Raises
    ------
    ValueError
        A device or setting that does not exist or fit, or an objective that is not finite at the start.
    """
    settings = settings or TrainSettings()
    threads = torch.get_num_threads()
    torch.set_num_threads(settings.threads)
    try:
        runner = Runner(split, settings, on_progress)
        if module is not None:
            return runner.single(ModuleNetwork(module, split.train.parameters.shape[1]))
        if settings.network == "auto":
            return runner.auto()
        return runner.paper() if settings.network == "paper" else runner.residual()
    finally:
        torch.set_num_threads(threads)
