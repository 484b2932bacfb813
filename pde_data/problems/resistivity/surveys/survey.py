"""A direct-current survey: where current goes in, and between which electrodes potentials are measured.

All electrodes stand on the surface x3 = 0, positions are (x1, x2) in m, currents are 1 A, data are V per A. Here every
receiver is measured for every source, which is the shorter way to say images; `four_electrode_survey.py` lists measurements.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from gnvpro.pde_data.problems.resistivity.surveys.electrodes import (
    FAR,
    SAME_PLACE,
    Numbers,
    geometric_factors,
    measurement_axis,
)
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.spaces import Array, Axis, Coordinate, Space

Position = tuple[float, float]


@dataclass(frozen=True)
class Source:
    """A current of 1 A that enters at one electrode and leaves at another.

    Attributes
    ----------
    enters
        Position of the positive electrode.
    leaves
        Position of the negative one (a dipole); None for a pole, whose return electrode is too far to matter.
    """

    enters: Position
    leaves: Position | None = None

    def __post_init__(self) -> None:
        if not np.isfinite([p for p in (self.enters, self.leaves) if p is not None]).all():
            raise UsageError(f"expected finite positions of electrodes, got {self.enters} and {self.leaves}")
        if self.enters == self.leaves:
            raise UsageError(f"a source needs two different electrodes, got {self.enters} twice")

    def __str__(self) -> str:
        ends = ("far away" if p is None else f"({p[0]:.12g}, {p[1]:.12g})" for p in (self.enters, self.leaves))
        return " to ".join(ends)


@dataclass(frozen=True)
class ReceiverGrid:
    """Electrodes on a regular grid, and the differences of potential between neighbours in x1 and in x2.

    Of `shape` electrodes, (shape[0] - 1) × (shape[1] - 1) have a neighbour on both sides. Their differences to it,
    u(x1 + spacing, x2) - u(x1, x2) and u(x1, x2 + spacing) - u(x1, x2), are the data: two images.
    """

    first: Position = (-1.05, -1.05)
    spacing: float = 0.1
    shape: tuple[int, int] = (22, 22)

    def __post_init__(self) -> None:
        if min(self.shape) < 2 or not self.spacing > 0:
            raise UsageError(
                f"expected a grid of at least 2 × 2 electrodes with a positive spacing, got {self.shape} and {self.spacing}"
            )

    @cached_property
    def electrodes(self) -> Array:
        """Positions (n, 2), x2 varying fastest."""
        x1, x2 = (
            start + self.spacing * np.arange(n, dtype=float) for start, n in zip(self.first, self.shape, strict=True)
        )
        return np.stack(np.meshgrid(x1, x2, indexing="ij"), axis=-1).reshape(-1, 2)

    @cached_property
    def pairs(self) -> NDArray[np.intp]:
        """Electrodes (n_data, 2) of every difference: potential at the first less that at the second."""
        number = np.arange(len(self.electrodes)).reshape(self.shape)
        here = number[:-1, :-1].ravel()
        pairs = [np.stack([there.ravel(), here], axis=1) for there in (number[1:, :-1], number[:-1, 1:])]
        return np.concatenate(pairs)

    @cached_property
    def axes(self) -> tuple[Axis, ...]:
        """Axes of the data; x1 and x2 are those of the electrode with the smaller coordinates."""
        x1, x2 = (
            tuple(round(float(start + self.spacing * i), 12) for i in range(n - 1))
            for start, n in zip(self.first, self.shape, strict=True)
        )
        return (Axis("difference", ("x1", "x2")), Axis("x1", x1, "m"), Axis("x2", x2, "m"))


@dataclass(frozen=True)
class ReceiverPairs:
    """Differences of potential between electrodes anywhere: at the first less that at the second of each pair."""

    positions: tuple[tuple[Position, Position], ...]

    def __post_init__(self) -> None:
        if not self.positions:
            raise UsageError("expected at least one pair of receivers, got none")
        for a, b in self.positions:
            if a == b:
                raise UsageError(f"a receiver needs two different electrodes, got {a} twice")

    @cached_property
    def _numbered(self) -> tuple[Array, NDArray[np.intp]]:
        flat = np.asarray(self.positions, dtype=float).reshape(-1, 2)
        electrodes, number = np.unique(flat, axis=0, return_inverse=True)
        return electrodes, number.reshape(-1, 2)

    @property
    def electrodes(self) -> Array:
        """Positions (n, 2), each once."""
        return self._numbered[0]

    @property
    def pairs(self) -> NDArray[np.intp]:
        """Electrodes (n_data, 2) of every difference."""
        return self._numbered[1]

    @cached_property
    def axes(self) -> tuple[Axis, ...]:
        """One axis, with the positions of both electrodes as coordinates."""
        ends = np.asarray(self.positions, dtype=float)
        coordinates = tuple(
            Coordinate(f"{end}_{x}", tuple(ends[:, i, j].tolist()), "m")
            for i, end in enumerate(("receiver_m", "receiver_n"))
            for j, x in enumerate(("x1", "x2"))
        )
        return (Axis("receiver", tuple(f"r{k}" for k in range(len(ends))), coordinates=coordinates),)


@dataclass(frozen=True)
class Survey:
    """Sources and receivers; by default one dipole along x1 and two images of 21 × 21 differences, 882 data.

    Pairs of receivers that touch an electrode of a source are not measured for that source, since the potential is infinite
    there: the data are then a list of the measurements that are left.

    Raises UsageError: no source, a grid of receivers where current enters, or nothing that can be measured.
    """

    sources: tuple[Source, ...] = (Source((-1.5, 0.0), (1.5, 0.0)),)
    receivers: ReceiverGrid | ReceiverPairs = field(default_factory=ReceiverGrid)

    def __post_init__(self) -> None:
        if not self.sources:
            raise UsageError("expected at least one source, got none")
        if len({str(source) for source in self.sources}) < len(self.sources):
            raise UsageError("expected different sources, got one of them twice")
        if self._measured.all():
            return
        if isinstance(self.receivers, ReceiverGrid):
            places = self.receivers.electrodes
            i = int(np.argmin(np.linalg.norm(self.electrodes[:, None] - places, axis=2).min(axis=0)))
            raise UsageError(
                f"an electrode of the grid of receivers stands where current enters, at {tuple(places[i].tolist())}, where "
                "the potential is infinite, and images have no gaps: move the grid or the source, or list receivers as "
                "pairs (`positions`), of which those at a source are left out"
            )
        if not self._measured.any():
            raise UsageError(
                "every pair of receivers has an electrode where current enters; expected one that stands elsewhere"
            )

    @cached_property
    def electrodes(self) -> Array:
        """Positions (n_electrodes, 2) where current enters or leaves, each once."""
        return np.unique(np.array([p for s in self.sources for p in (s.enters, s.leaves) if p is not None]), axis=0)

    @property
    def current_electrodes(self) -> Array:
        """The same, under the name that it has in all surveys."""
        return self.electrodes

    @property
    def potential_electrodes(self) -> Array:
        """Positions (n_receiver_electrodes, 2) of the receivers."""
        return self.receivers.electrodes

    @cached_property
    def currents(self) -> Array:
        """Current in A that each source puts into each electrode: (n_sources, n_electrodes)."""
        currents = np.zeros((len(self.sources), len(self.electrodes)))
        for row, source in zip(currents, self.sources, strict=True):
            for place, current in ((source.enters, 1.0), (source.leaves, -1.0)):
                if place is not None:
                    row[(self.electrodes == np.asarray(place)).all(axis=1)] += current
        return currents

    @cached_property
    def _measured(self) -> NDArray[np.bool_]:
        """Which receivers (n_sources, n_pairs) touch no electrode of the source."""
        gaps = np.linalg.norm(self.electrodes[:, None] - self.receivers.electrodes[None], axis=2)
        touched = (self.currents != 0).astype(float) @ (gaps < SAME_PLACE) > 0
        return ~touched[:, self.receivers.pairs].any(axis=2)

    @cached_property
    def _numbered(self) -> tuple[Array, Numbers]:
        """Positions of all electrodes, and A, B, M, N (n_sources, n_pairs, 4) of every source and receiver."""
        both = np.concatenate([self.electrodes, self.receivers.electrodes])
        positions, number = np.unique(both, axis=0, return_inverse=True)
        number = number.reshape(-1) + 1
        of_current, of_potential = np.split(number, [len(self.electrodes)])
        abmn = np.full((*self._measured.shape, 4), FAR)
        for column, current in ((0, 1.0), (1, -1.0)):
            carries = self.currents == current
            abmn[:, :, column] = np.where(carries.any(axis=1), of_current[carries.argmax(axis=1)], FAR)[:, None]
        abmn[:, :, 2:] = of_potential[self.receivers.pairs]
        return positions, abmn

    @cached_property
    def geometric_factors(self) -> Array:
        """Apparent resistivity (Ω·m) over resistance (Ω), (n_out,) in m; infinite where there is no signal."""
        positions, abmn = self._numbered
        return geometric_factors(positions, abmn[self._measured])

    @cached_property
    def observables(self) -> Space:
        """Differences of potential; an axis `source` in front where there are several, or a list of measurements."""
        if not self._measured.all():
            positions, abmn = self._numbered
            return Space((measurement_axis(positions, abmn[self._measured]),), units=("V/A",))
        axes = self.receivers.axes
        if len(self.sources) > 1:
            axes = (Axis("source", tuple(str(source) for source in self.sources)), *axes)
        return Space(axes, units=("V/A",))

    def data(self, potentials: Array) -> Array:
        """Differences between receivers: potentials (n_sources, n_receiver_electrodes, …) -> (n_out, …)."""
        first, second = self.receivers.pairs.T
        differences = potentials[:, first] - potentials[:, second]
        if not self._measured.all():
            return differences[self._measured]
        return differences.reshape(-1, *potentials.shape[2:])
