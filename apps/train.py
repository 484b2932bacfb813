"""A surrogate from samples, wherever they are: the function `gnvpro.train`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gnvpro.apps.arguments import Data, Folder, has_variables, samples_of
from gnvpro.pde_data.storage.elsewhere import suffix_of
from gnvpro.pde_data.storage.rows import DataSetRows
from gnvpro.surrogate.checks import path_of
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.formatting import percent
from gnvpro.surrogate.launch import n_processes, rank
from gnvpro.surrogate.model.folder import SETTINGS, require_place
from gnvpro.surrogate.progress import Report, silent
from gnvpro.surrogate.sample_source import SampleSource
from gnvpro.surrogate.samples import Split
from gnvpro.training import train as training
from gnvpro.training.choice.large import MANY_SAMPLES
from gnvpro.training.fit_settings import settings_of
from gnvpro.training.fitting.checkpoint import EVERY
from gnvpro.training.large.train import bytes_of_training
from gnvpro.training.settings import TrainSettings

# Data sets of which some samples can be read.
CHUNKED = (".zarr", ".nc", ".nc4", ".netcdf")

if TYPE_CHECKING:
    from torch import nn


def train(
    data: Data | Split,
    settings: TrainSettings | None = None,
    *,
    coarse: Data | list[Data] | None = None,
    train: int | None = None,
    validation: int | None = None,
    calibration: int | None = None,
    test: int | None = None,
    transpose: bool = False,
    parameters: Sequence[str] | None = None,
    module: nn.Module | None = None,
    checkpoint: Folder | None = None,
    checkpoint_every: float = EVERY,
    out: Folder | None = None,
    overwrite: bool = False,
    record: dict[str, Any] | None = None,
    progress: Report = silent,
    **options: Any,
) -> training.Training:
    """Fit a surrogate to samples, with errors on those that did not train it, and with error bands.

    Parameters
    ----------
    data
        Samples, see `gnvpro.apps.arguments.samples_of`, or a `Split` of them.
    settings, options
        A `TrainSettings`, or its fields as keywords, such as `seed=1, budget=500`.
    coarse
        Samples of the same parameters and observables from cheaper solves, as `data`; a list of several sets, cheapest first.
        See `gnvpro.training.train.train`.
    train, validation, calibration, test
        Numbers of samples to fit on, to choose on, to calibrate error bands on, and to state the error on: half, a
        quarter, none, and a quarter of all. A `Split` has its own.
    transpose, parameters, module, checkpoint, checkpoint_every
        See `gnvpro.pde_data.storage.dataset.read_samples` and `gnvpro.training.train.train`.
    out, overwrite, record
        Folder to save the surrogate in, whether to replace one that stands there, and a JSON-able document to keep
        beside it as `settings.json`.

    Raises
    ------
    UsageError, OSError
        What does not fit, cannot be read or cannot be written; before anything is trained.
    """
    if out is not None:
        require_place(path_of(out, "the folder `out`"), overwrite)
    if parameters is not None and not (has_variables(data) or _is_file_of(data, (*CHUNKED, ".csv"))):
        raise UsageError(
            "`parameters` names the columns of a .csv, or the variables of a Dataset, that are parameters; leave it out for "
            "other data"
        )
    # Fields of several data sets have modes in common, which takes all of them.
    usual = getattr(settings, "field_error", TrainSettings().field_error)
    error = None if coarse is not None else options.get("field_error", usual)
    asked = settings_of(TrainSettings, options) if settings is None else settings
    source = _source(data, asked, parameters) if isinstance(asked, TrainSettings) else None
    if source is None and isinstance(asked, TrainSettings) and asked.memory is not None and _is_chunked(data):
        settings, options = replace(asked, memory=None), {}  # all of it is within the limit
    trained = training.train(
        source or (data if isinstance(data, Split) else samples_of(data, transpose, parameters, field_error=error)),
        settings,
        lambda now: progress(
            min(now.work_units, now.budget), now.budget, f"validation {percent(now.validation_error)}  {now.stage}"
        ),
        module,
        coarse=None if coarse is None else [samples_of(level) for level in _levels(coarse)],
        train=train,
        validation=validation,
        calibration=calibration,
        test=test,
        checkpoint=checkpoint,
        every=checkpoint_every,
        **options,
    )
    if out is not None and rank() == 0:
        trained.save(out, overwrite=overwrite, extra={} if record is None else {SETTINGS: record})
    return trained


def _source(data: Data | Split, settings: TrainSettings, parameters: Sequence[str] | None) -> SampleSource | None:
    """A data set that is read some at a time: by several processes, or as it is larger than may be in memory."""
    memory = settings.memory_bytes
    if not isinstance(data, str | Path) or not _is_chunked(data) or (n_processes() == 1 and memory is None):
        return None  # other data are refused by training with a limit of memory
    rows = DataSetRows(data, parameters)
    fits = memory is None or bytes_of_training(rows, settings) <= memory
    return None if fits and (n_processes() == 1 or len(rows) <= MANY_SAMPLES) else rows


def _is_chunked(data: Data | Split) -> bool:
    return _is_file_of(data, ("", *CHUNKED))


def _is_file_of(data: Data | Split, suffixes: tuple[str, ...]) -> bool:
    return isinstance(data, str | Path) and suffix_of(data) in suffixes


def _levels(coarse: Data | list[Data]) -> list[Data]:
    """One data set or several; a tuple is one, a pair of arrays."""
    return coarse if isinstance(coarse, list) else [coarse]
