"""What is propagated: every observable, and scalars of them such as the largest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.names import did_you_mean, find_names, listed
from gnvpro.surrogate.spaces import Array, Space
from gnvpro.surrogate.trust.bands import Bands

_KINDS: dict[str, Callable[..., Any]] = {"max": np.max, "min": np.min, "mean": np.mean}
# More observables than this are propagated as scalars of them alone.
MOST_OBSERVABLES = 20_000


@dataclass(frozen=True, eq=False)
class Scalar:
    """The largest, the smallest or the mean of the observables: of all, or along an axis, for each place on the others."""

    kind: str
    space: Space
    axis: int | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Of what is left: () or the lengths of the other axes."""
        return () if self.axis is None else tuple(np.delete(self.space.shape, self.axis).tolist())

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Of what is left, such as `max over time, sensor 3`; `max` of all."""
        if self.axis is None:
            return (self.kind,)
        over = f"{self.kind} over {self.space.axes[self.axis].name}"
        others = self.space.axes[: self.axis] + self.space.axes[self.axis + 1 :]
        if len(others) == 1:
            return tuple(f"{over}, {others[0].name} {label}" for label in others[0].labels)
        return tuple(f"{over}, {name}" for name in Space(others).names) if others else (over,)

    def of(self, values: Array) -> Array:
        """(n, n_out) -> (n, number of names)."""
        shaped = values.reshape(len(values), *self.space.shape)
        along = None if self.axis is None else self.axis + 1
        reduced = _KINDS[self.kind](shaped, axis=along if along is not None else tuple(range(1, shaped.ndim)))
        return reduced.reshape(len(values), -1)

    def width(self, widths: Array) -> Array:
        """How far it may be off where all observables together are within half widths (n, n_out)."""
        return Scalar("mean" if self.kind == "mean" else "max", self.space, self.axis).of(widths)

    @classmethod
    def read(cls, text: str, space: Space) -> Scalar:
        """From `max`, or `max:time`, along the axis of that name.

        Raises UsageError: another kind or axis; observables in several units.
        """
        kind, colon, along = text.partition(":")
        expected = "expected `of` max, min or mean, of all observables, or along one of their axes, such as max:" + (
            space.axes[0].name
        )
        if (kind := kind.strip().casefold()) not in _KINDS:
            raise UsageError(f"{expected}; got {text!r}")
        if len(set(space.units)) > 1:
            raise UsageError(
                f"the observables have the units {listed(dict.fromkeys(space.units))}, so they have no {kind}; "
                "leave `of` out"
            )
        if not colon:
            return cls(kind, space)
        names = [axis.name for axis in space.axes]
        place = find_names([along], names, "`of`")[0]
        if place is None:
            raise UsageError(f"{expected}; {did_you_mean(along, names)}the axes are {listed(names)}, got {along!r}")
        return cls(kind, space, place)


@dataclass(frozen=True, eq=False)
class Quantities:
    """k quantities: the observables, where they are few enough, and then the scalars of them.

    Attributes
    ----------
    with_observables
        Whether the observables are among them.
    """

    space: Space
    scalars: tuple[Scalar, ...]
    with_observables: bool = True

    @classmethod
    def read(cls, space: Space, of: str | Sequence[str] | None) -> Quantities:
        """All observables, and what `of` names; raises UsageError as `Scalar.read`, and for too many observables."""
        texts = [of] if isinstance(of, str) else list(of or ())
        if not all(isinstance(text, str) for text in texts):
            raise UsageError(f"expected `of` as text such as 'max', got {of!r}")
        scalars = tuple(Scalar.read(text, space) for text in dict.fromkeys(texts))
        few = space.size <= MOST_OBSERVABLES
        if not few and not scalars:
            raise UsageError(
                f"{space.size} observables are more than the {MOST_OBSERVABLES} that are propagated one by one; say what "
                "of them is meant, such as of='max'"
            )
        return cls(space, scalars, few)

    @property
    def n_observables(self) -> int:
        """How many of the quantities are observables, which come first."""
        return self.space.size if self.with_observables else 0

    @cached_property
    def names(self) -> tuple[str, ...]:
        """(k,)."""
        own = tuple(self.space.names) if self.with_observables else ()
        return own + tuple(name for scalar in self.scalars for name in scalar.names)

    def unit(self, j: int) -> str:
        """Of quantity j."""
        return self.space.unit(j) if j < self.n_observables else self.space.units[0]

    def of(self, observables: Array) -> Array:
        """(n, n_out) -> (n, k)."""
        own = [observables] if self.with_observables else []
        return np.concatenate([*own, *(scalar.of(observables) for scalar in self.scalars)], axis=1)

    def widths(self, bands: Bands) -> Array:
        """How far quantities may be off at the levels of error bands: (n_levels, k).

        Of an observable its own band; of scalars that of all observables together, which bounds them.
        """
        together = np.array([bands.half_width(level, simultaneous=True) for level in bands.levels])
        own = [bands.marginal] if self.with_observables else []
        return np.concatenate([*own, *(scalar.width(together) for scalar in self.scalars)], axis=1)
