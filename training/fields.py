"""Training on fields: on the coefficients of their modes, with the modes behind the last layer in the end."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch

from gnvpro.surrogate.error_measure import ErrorMeasure
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.model.model import held_out
from gnvpro.surrogate.model.surrogate import Surrogate
from gnvpro.surrogate.modes import Modes, is_field
from gnvpro.surrogate.samples import Samples
from gnvpro.surrogate.spaces import Array
from gnvpro.training.fitting.outcome import Training

# Samples whose fields are worked on at a time.
_ROWS = 32
# Modes are left out in the end that would add less than this, squared, to the square of the error of a sample.
_HARMLESS = 0.1


def in_modes(sets: Sequence[Samples], error: float) -> tuple[list[Samples], Modes | None]:
    """Sets of samples of one field as coefficients of the same modes, and these; as they are where they are no fields.

    The modes are of all of them, left out or not: as a change of coordinates without a loss that matters, they tell a model
    nothing of a sample. What only one sample has, no model trained on the others can have either.

    Raises UsageError: some are coefficients already, and the others are not.
    """
    given = [samples.modes for samples in sets]
    if any(modes is not None for modes in given):
        if any(modes is not given[0] for modes in given):
            raise UsageError("some of the samples are coefficients of modes and others are not; give all as fields")
        return list(sets), given[0]
    first = sets[0]
    if not is_field(first.observable_space, sum(map(len, sets))):
        return list(sets), None

    modes, coefficients = Modes.of(lambda: _blocks(sets), first.observable_space, error, first.background)
    reduced, begin = [], 0
    for samples in sets:
        end = begin + len(samples) * (1 + samples.n_directions)
        reduced.append(_reduced(samples, modes, coefficients[begin:end]))
        begin = end
    return reduced, modes


def _blocks(sets: Sequence[Samples]) -> Iterator[Array]:
    """Fields of all sets less the background, and after those of a set their derivatives."""
    for samples in sets:
        for begin in range(0, len(samples), _ROWS):
            rows = samples.observables[begin : begin + _ROWS]
            yield rows if samples.background is None else rows - samples.background
        if samples.derivatives is not None:
            yield from samples.derivatives


def _reduced(samples: Samples, modes: Modes, coefficients: Array) -> Samples:
    """These samples as coefficients, those of the derivatives of each after those of all fields."""
    n, derivatives, background = len(samples), samples.derivatives, samples.background
    if background is not None:
        background = modes.coefficients(background[None])[0]
    return replace(
        samples,
        observables=coefficients[:n] if background is None else coefficients[:n] + background,
        observable_space=modes.coefficient_space,
        background=background,
        derivatives=None if derivatives is None else coefficients[n:].reshape(*derivatives.shape[:2], -1),
        modes=modes,
    )


def as_fields(samples: Samples, modes: Modes) -> Samples:
    """Inverse of `in_modes`, up to what is in no mode; without background and derivatives."""
    observables = modes.fields(samples.observables)
    plain = replace(samples.without_derivatives, background=None)
    return replace(plain, observables=observables, observable_space=modes.space, modes=None)


def of_fields(training: Training, modes: Modes | None, samples: Samples) -> Training:
    """The training of coefficients as that of fields; as it is where there are no modes.

    Parameters
    ----------
    samples
        Coefficients that the model was trained on.
    """
    if modes is None:
        return training
    surrogate = training.surrogate
    r, background = _modes_that_matter(surrogate, samples, modes.error), surrogate.background
    surrogate = replace(
        surrogate,
        weights=surrogate.weights[:r].contiguous(),
        background=None if background is None else background[:r].contiguous(),
        observables=modes.space,
        errors=_with_modes(surrogate.errors, modes),
        errors_anomalous=_with_modes(surrogate.errors_anomalous, modes),
        modes=torch.from_numpy(np.ascontiguousarray(modes.values[:r])),
        training={**surrogate.training, "modes": {**modes.to_dict(), "used": r}},
    )
    return replace(training, surrogate=surrogate, modes=modes)


def _with_modes(errors: dict[str, float], modes: Modes) -> dict[str, float]:
    """Errors of coefficients with what modes leave of a field, which is orthogonal to it."""
    return {kind: error if kind == "derivatives" else math.hypot(error, modes.error) for kind, error in errors.items()}


def _modes_that_matter(surrogate: Surrogate, samples: Samples, error: float) -> int:
    """How many of the first modes the model needs for its error: fewer make every evaluation cheaper."""
    stated = surrogate.errors_anomalous or surrogate.errors
    if (kind := held_out(stated)) is None or not np.isfinite(stated[kind]):
        return surrogate.observables.size
    predicted = surrogate.evaluate(samples.parameters)
    if surrogate.background is not None:
        predicted -= surrogate.background.numpy()
    shares = (predicted / ErrorMeasure.of(surrogate.training).norms(samples.anomalous)[:, None]) ** 2
    beyond = np.append(np.cumsum(shares.mean(axis=0)[::-1])[::-1], 0.0)
    harmless = _HARMLESS * math.hypot(stated[kind], error)
    # Mean and background are in the span of the first modes, whatever the anomaly is like.
    least = 1 if surrogate.background is None else min(2, surrogate.observables.size)
    return max(least, int(np.argmax(beyond <= harmless**2)))
