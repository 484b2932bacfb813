"""What an error is relative to: the size of each sample, or how much samples differ; and which outputs share a scale.

Where observables of samples are missing (NaN), lengths are estimates of those of whole samples, of misfits as of sizes
(`gnvpro.surrogate.missing`): errors of samples are then comparable, whatever each of them has.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from gnvpro.surrogate.equality import ComparedByValue
from gnvpro.surrogate.missing import lengths_of_all, mean, missing_in, variance
from gnvpro.surrogate.rounding import varies
from gnvpro.surrogate.spaces import Array, Space

Goal = Literal["relative", "absolute"]

# Up to so many outputs without a unit are quantities of their own; more are the values of a field.
FEW_OUTPUTS = 20
# Of which there are copies at a time: 32 MiB.
_NUMBERS = 1 << 22
_NO_UNIT = ("unknown", "1")
# Relative errors mean something where no sample is so much smaller than the median of all, and, of a few outputs, where
# samples differ by more than this factor (5 % to 95 % quantile): below it one error in true units is what is asked for.
_SMALL, _SPREAD = 1e-3, 100.0


@dataclass(frozen=True, eq=False)
class ErrorMeasure(ComparedByValue):
    """Errors of samples: ||misfit / output_scale|| over a norm, that of the sample's observables or one for all.

    Attributes
    ----------
    output_scale : (n_out,)
        What outputs are divided by first, in their units; None where all have one unit.
    spread
        Root mean square over the training samples of ||(c - mean) / output_scale||: an error of one is that of a model
        which knows the mean alone. None for errors relative to the norm of each sample.
    """

    output_scale: Array | None = None
    spread: float | None = None

    @classmethod
    def of(cls, training: Mapping[str, Any]) -> ErrorMeasure:
        """That of a model, from the record of its training; relative to each sample where there is none."""
        record = training.get("error_measure")
        if not record:
            return cls()
        scale = record["output_scale"]
        return cls(None if scale is None else np.asarray(scale, float), record["spread"])

    def to_dict(self) -> dict[str, Any]:
        """JSON-able, read back by `of`."""
        return {
            "output_scale": None if self.output_scale is None else self.output_scale.tolist(),
            "spread": self.spread,
        }

    def norms(self, size: Array) -> Array:
        """What the errors of samples are divided by, (n,), after the scale of the outputs; never zero.

        `size`: observables, or observables less the background, (n, n_out). A sample of zeros counts as one of root mean
        square size; where all are zero, as one.
        """
        if self.spread is not None:
            return np.full(len(size), self.spread)
        norms = self.lengths(size, missing_in(size))
        if norms.all():
            return norms
        return np.where(norms > 0, norms, math.sqrt(float((norms**2).mean())) or 1.0)

    def errors(self, misfit: Array, size: Array) -> Array:
        """Errors (n,) of samples from misfit and size, both (n, n_out) in the unit of the observables.

        What is missing of the size is missing of the misfit; any other NaN of the misfit is one of the error.
        """
        return self.lengths(misfit, missing_in(size)) / self.norms(size)

    def output_sizes(self, size: Array) -> Array:
        """What the error of every output is divided by, (n_out,): root mean square of size, or of its deviations."""
        spread = np.sqrt(variance(size)) if self.spread is not None else np.zeros(size.shape[1])
        return np.where((spread > 0) & varies(size), spread, np.sqrt(mean(size**2)))

    def lengths(self, values: Array, missing: NDArray[np.bool_] | None = None) -> Array:
        """Norms (n,) of rows (n, n_out), after the scale of the outputs; estimates where some of a row is missing."""
        if missing is not None:
            scaled = values if self.output_scale is None else values / self.output_scale
            unknown = (np.isnan(scaled) & ~missing).any(axis=1)
            return np.where(unknown, np.nan, lengths_of_all(scaled, missing))
        scale, together = self.output_scale, max(1, _NUMBERS // max(1, values.shape[1]))
        blocks = [values[i : i + together] for i in range(0, max(len(values), 1), together)]
        return np.concatenate([np.linalg.norm(block if scale is None else block / scale, axis=1) for block in blocks])


def measure_for(anomalous: Array, space: Space, goal: Goal | None = None) -> tuple[ErrorMeasure, Goal, str]:
    """The measure of these observables less their background (n, n_out), the goal, and why it is that.

    Without a `goal` the data choose: errors are relative to each sample where no sample is near zero and, of a few outputs,
    none changes its sign and samples differ in size by far. A goal that is given is kept; the measure is relative where it
    is, or where the data are such.
    """
    groups = unit_groups(space)
    scale = None if groups is None else group_scales(anomalous, groups)
    suitable, why = _suits_relative(anomalous if scale is None else anomalous / scale, groups is not None)
    chosen: Goal = goal or ("relative" if suitable else "absolute")
    if suitable or chosen == "relative":
        return ErrorMeasure(scale), chosen, why if goal is None else "as asked for"
    if groups is not None:
        scale = group_scales(anomalous, groups, centred=True)
    deviations = anomalous - mean(anomalous)
    if not varies(anomalous).any():
        deviations = anomalous
    scaled = deviations if scale is None else deviations / scale
    squares = mean(scaled**2).sum() if np.isnan(scaled).any() else (scaled**2).sum(axis=1).mean()
    return ErrorMeasure(scale, math.sqrt(float(squares)) or 1.0), chosen, why if goal is None else "as asked for"


def unit_groups(space: Space) -> NDArray[np.intp] | None:
    """Which outputs share a scale, (n_out,) numbers of groups; None where all do.

    Outputs of one unit share one. Outputs without a unit ("1", "unknown") are apart where they are few, so that their sizes
    do not matter; as many as `FEW_OUTPUTS` + 1, or a space of several axes, are the values of a field.
    """
    if len(space.units) == 1 < space.size and (len(space.axes) > 1 or space.size > FEW_OUTPUTS):
        return None
    units = [space.unit(j) for j in range(space.size)]
    few = len(space.axes) == 1 and sum(unit in _NO_UNIT for unit in units) <= FEW_OUTPUTS
    keys = [unit if unit not in _NO_UNIT else f"{j}" if few else "" for j, unit in enumerate(units)]
    names = list(dict.fromkeys(keys))
    if len(names) == 1 and len(keys) > 1:
        return None
    return np.array([names.index(key) for key in keys])


def group_scales(values: Array, groups: NDArray[np.intp], *, centred: bool = False) -> Array:
    """Root mean square of every group of columns of values (n, n_out), one for each column; of deviations where `centred`.

    A group that is zero has the scale one; one that does not vary has its size in either case.
    """
    scale = np.ones(values.shape[1])
    moves = varies(values)
    for group in range(int(groups.max()) + 1):
        columns = np.flatnonzero(groups == group)
        moving = columns[moves[columns]]
        deviates = centred and len(moving) > 0
        squares = variance(values[:, moving]) if deviates else mean(values[:, columns] ** 2)
        scale[columns] = math.sqrt(float(squares.mean())) or 1.0
    return scale


def _suits_relative(values: Array, few: bool) -> tuple[bool, str]:
    norms = ErrorMeasure().lengths(values, missing_in(values))
    if norms.min() <= _SMALL * np.median(norms):
        return False, "some samples are zero or nearly so beside the others"
    if not few:
        return True, "no sample is near zero"
    if ((np.fmin.reduce(values) < 0) & (np.fmax.reduce(values) > 0)).any():
        return False, "outputs change their sign"
    low, high = np.quantile(norms, [0.05, 0.95])
    if high < _SPREAD * low:
        return False, f"the sizes of samples differ by less than {_SPREAD:g} times"
    return True, f"the sizes of samples differ by more than {_SPREAD:g} times, and no output changes its sign"
