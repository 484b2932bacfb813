"""Paired parameters and observables, and how they are split into sets."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnvpro.surrogate.checks import contiguous, integer
from gnvpro.surrogate.equality import ComparedByValue
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.missing import Lacking, lacking, missing_in
from gnvpro.surrogate.modes import Modes
from gnvpro.surrogate.spaces import Array, Space

# An observable that fewer training samples have says nothing of how it depends on the parameters.
FEWEST_WITH_AN_OBSERVABLE = 10
_MOST_NAMED = 3


@dataclass(frozen=True, eq=False)
class Samples(ComparedByValue):
    """Parameters (n, n_in) with their observables (n, n_out): finite, or NaN where an observable of a sample is missing.

    Every sample has an observable, and all of its parameters.

    Attributes
    ----------
    provenance
        What the source said of itself (definition, seed, versions, estimated error); JSON-able.
    n_failed
        Samples of the source that were left out because their solve failed.
    background : (n_out,)
        Observables without what the parameters describe, such as the potentials of the ground without the body;
        None where the problem names none. Errors are then stated relative to the difference from it too.
    directions, derivatives : (n, r, n_in), (n, r, n_out)
        Derivatives of the observables at every sample along r directions of the parameters; None where there are none.
        A direction of zeros stands for a derivative that is not known: it says nothing.
    modes
        Of a field whose coefficients the observables are, and the background and derivatives with them; None for
        observables as they are.
    """

    parameters: Array
    observables: Array
    parameter_space: Space
    observable_space: Space
    provenance: dict[str, Any] = field(default_factory=dict)
    n_failed: int = 0
    background: Array | None = None
    directions: Array | None = None
    derivatives: Array | None = None
    modes: Modes | None = None

    def __post_init__(self) -> None:
        y, c = self.parameter_space.rows(self.parameters), self.observable_space.rows(self.observables)
        if len(y) != len(c):
            raise UsageError(f"parameters and observables disagree on samples: {len(y)} and {len(c)}; check the source")
        unknown = np.isnan(c)
        some_missing = unknown.any()
        wrong = (
            (~np.isfinite(c) & ~unknown).any(axis=1) | unknown.all(axis=1)
            if some_missing
            else ~np.isfinite(c).all(axis=1)
        )
        for what, values, of in (("parameters", y, ~np.isfinite(y).all(axis=1)), ("observables", c, wrong)):
            bad = np.flatnonzero(of)
            if len(bad):
                raise UsageError(
                    f"{what} of sample {bad[0]} are not finite ({len(bad)} of {len(values)} samples in all); "
                    "remove these samples first"
                )
            object.__setattr__(self, what, contiguous(values))
        if self.background is not None:
            self.observable_space.require(np.asarray(self.background)[None])
        self._require_derivatives()

    def _require_derivatives(self) -> None:
        """UsageError for directions without derivatives, or either of another shape or not finite."""
        if self.directions is None and self.derivatives is None:
            return
        if self.directions is None or self.derivatives is None:
            raise UsageError("expected derivatives with the directions they are taken along, got one without the other")
        n, n_in, n_out = len(self), self.parameter_space.size, self.observable_space.size
        n_directions = np.shape(self.directions)[1] if np.ndim(self.directions) == 3 else 1
        for what, size in (("directions", n_in), ("derivatives", n_out)):
            values, expected = np.asarray(getattr(self, what), dtype=np.float64), (n, n_directions, size)
            if values.shape != expected:
                raise UsageError(f"expected {what} {expected} (samples, directions, components), got {values.shape}")
            if not np.isfinite(values).all():
                raise UsageError(f"{what} are not finite; set direction and derivative to zero where one is not known")
            object.__setattr__(self, what, contiguous(values))

    @cached_property
    def missing(self) -> NDArray[np.bool_] | None:
        """Which observables (n, n_out) are missing; None where none is."""
        return missing_in(self.observables)

    @property
    def lacking(self) -> Lacking | None:
        """How much is missing; None where nothing is."""
        return lacking(self.missing)

    @property
    def complete(self) -> Samples:
        """The samples that have all of their observables."""
        return self if self.missing is None else self.subset(np.flatnonzero(~self.missing.any(axis=1)))

    def require_complete(self, what: str) -> None:
        """UsageError where observables are missing, for what takes whole samples; `what` begins the message."""
        if (found := self.lacking) is not None:
            raise UsageError(
                f"{what} needs all observables of every sample, and {found.in_words}; leave these samples out: "
                f"samples.complete has {found.of_samples - found.samples}"
            )

    def require_observed(self) -> None:
        """UsageError where an observable is there in too few samples to be learned: it is named."""
        if self.missing is None:
            return
        there, least = (~self.missing).sum(axis=0), min(FEWEST_WITH_AN_OBSERVABLE, len(self))
        if len(few := np.flatnonzero(there < least)):
            named = ", ".join(f"{self.observable_space.names[j]} in {there[j]}" for j in few[:_MOST_NAMED])
            more = f" and {len(few) - _MOST_NAMED} more" if len(few) > _MOST_NAMED else ""
            raise UsageError(
                f"expected every observable in {least} samples at least, got {named}{more} of {len(self)}; "
                "leave such observables out, or solve more samples that have them"
            )

    @property
    def n_directions(self) -> int:
        """Derivatives at every sample."""
        return 0 if self.directions is None else self.directions.shape[1]

    def __len__(self) -> int:
        return len(self.parameters)

    @property
    def anomalous(self) -> Array:
        """Observables less the background, (n, n_out); the observables themselves where there is none."""
        return self.observables if self.background is None else self.observables - self.background

    def subset(self, index: NDArray[np.intp]) -> Samples:
        """The samples at `index`, in that order."""
        return replace(self, **{name: values[index] for name, values in self._by_sample().items()})

    def _by_sample(self) -> dict[str, Array]:
        """What has a row for every sample, by name."""
        names = ("parameters", "observables", "directions", "derivatives")
        return {name: values for name in names if (values := getattr(self, name)) is not None}

    @property
    def without_derivatives(self) -> Samples:
        """The same values alone."""
        return replace(self, directions=None, derivatives=None)

    def in_order_of(self, parameters: Space, observables: Space) -> Samples:
        """These samples with their columns in the order of these spaces, by name; UsageError for other columns."""
        y = self.parameter_space.order_of(parameters.names, "the samples")
        c = self.observable_space.order_of(observables.names, "the samples")
        if [*y, *c] == [*range(len(y)), *range(len(c))]:
            return self
        return replace(
            self,
            parameters=self.parameters[:, y],
            observables=self.observables[:, c],
            parameter_space=parameters,
            observable_space=observables,
            background=None if self.background is None else self.background[c],
            directions=None if self.directions is None else self.directions[:, :, y],
            derivatives=None if self.derivatives is None else self.derivatives[:, :, c],
        )

    def joined(self, other: Samples) -> Samples:
        """These samples, then those of `other`, a set of the same source."""
        of_both = self._by_sample(), other._by_sample()
        return replace(self, **{name: np.concatenate([of[name] for of in of_both]) for name in of_both[0]})

    def split_off(self, seed: int, *, calibration: int, test: int) -> Split:
        """All samples for training but so many, drawn at random; none for validation.

        Raises
        ------
        UsageError
            A size that is negative, or that leaves less than one sample to train on.
        """
        for name, size in (("calibration", calibration), ("test", test)):
            if integer(name, size, what="a number of samples (integer)") < 0:
                raise UsageError(f"expected a {name} set of at least 0 samples, got {size}")
        if (left := len(self) - calibration - test) < 1:
            raise UsageError(f"expected less than the {len(self)} samples there are, got sets of {calibration + test}")
        if not calibration + test:
            return Split.of(self)
        order = np.random.default_rng(seed).permutation(len(self))
        train, held, tested = np.split(order, [left, left + calibration])
        return Split(self.subset(np.sort(train)), self.subset(train[:0]), self.subset(held), self.subset(tested))

    def split(
        self,
        seed: int,
        ascending: bool = False,
        /,
        *,
        train: int | None = None,
        validation: int | None = None,
        calibration: int | None = None,
        test: int | None = None,
    ) -> Split:
        """Disjoint random sets: `default_rng(seed).permutation(n)`, taken in the order of the arguments.

        A size left out is a half, a quarter, none and a quarter of the samples, fewer where the sizes that
        were given leave less. A set is in the order of the permutation, or `ascending` in that of the samples.

        Raises
        ------
        UsageError
            A size that is negative, more samples than there are, or an empty training or validation set.
        """
        sizes = set_sizes(len(self), dict(train=train, validation=validation, calibration=calibration, test=test))
        order = np.random.default_rng(seed).permutation(len(self))
        ends = np.cumsum(list(sizes.values()))
        return Split(*(self.subset(np.sort(part) if ascending else part) for part in np.split(order, ends)[:-1]))


@dataclass(frozen=True)
class Split:
    """Disjoint sets: fit on `train`, choose on `validation`, calibrate error bands, report on `test`."""

    train: Samples
    validation: Samples
    calibration: Samples
    test: Samples

    @property
    def without_derivatives(self) -> Split:
        """The same values alone."""
        sets = self.train, self.validation, self.calibration, self.test
        return Split(*(samples.without_derivatives for samples in sets))

    @classmethod
    def of(cls, train: Samples, validation: Samples | None = None) -> Split:
        """Without samples for calibration and test, and for validation where none are given."""
        none = train.subset(np.arange(0))
        return cls(train, none if validation is None else validation, none, none)


def set_sizes(n: int, given: dict[str, int | None]) -> dict[str, int]:
    """The sizes that `Samples.split` takes where only some are given, by name, `train` first; or its `UsageError`."""
    for name, size in given.items():
        if size is not None and integer(name, size, what="a number of samples (integer)") < 0:
            raise UsageError(f"expected a {name} set of at least 0 samples, got {size}")
    asked = sum(size for size in given.values() if size is not None)
    if asked > n:
        raise UsageError(f"expected at most the {n} samples there are, got sets of {asked} in all; ask for fewer")
    if n < 2:
        raise UsageError(f"expected 2 samples at least, one to train on and one to validate on, got {n}")
    usual = dict(train=n // 2, validation=n // 4, calibration=0, test=n // 4)
    left, sizes = n - asked, {}
    for name, size in given.items():
        sizes[name] = min(usual[name], left) if size is None else size
        left -= sizes[name] if size is None else 0
    for name in ("train", "validation"):
        if sizes[name] == 0:
            raise UsageError(f"the {name} set is empty; give it samples, for example {name}={max(1, n // 4)}")
    return sizes
