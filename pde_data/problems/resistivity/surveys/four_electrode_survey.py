"""A survey as it is measured in the field: a list of measurements, each with four electrodes of its own.

An electrode may carry current in one measurement and be one of the potential in another.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from gnvpro.pde_data.problems.resistivity.surveys.electrodes import (
    FAR,
    Numbers,
    geometric_factors,
    measurement_axis,
    require_measurable,
)
from gnvpro.surrogate.checks import numbers
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.spaces import Array, Space


@dataclass(frozen=True)
class FourElectrodeSurvey:
    """Electrodes on the surface, and measurements with four of them.

    Attributes
    ----------
    electrodes
        Positions (n, 2) in m: (x1, x2) of electrodes 1 to n.
    measurements
        Numbers (k, 4) of the electrodes A, B, M, N: 1 A enters at A and leaves at B, the datum is the potential at M less
        that at N. 0: an electrode too far away to matter (a pole).

    Raises UsageError: a measurement that is infinite (a current electrode is one of the potential's) or always zero, that is
    there twice, or of electrodes that are not.
    """

    electrodes: tuple[tuple[float, float], ...]
    measurements: tuple[tuple[int, int, int, int], ...]

    def __post_init__(self) -> None:
        positions = numbers(self.electrodes, "electrodes")
        if positions.ndim != 2 or positions.shape[1] != 2 or not np.isfinite(positions).all():
            raise UsageError(f"expected finite positions (n, 2) of electrodes in m, got {positions.shape}")
        abmn = numbers(self.measurements, "measurements")
        if abmn.ndim != 2 or abmn.shape[1] != 4 or not (abmn == np.rint(abmn)).all():
            raise UsageError(
                f"expected measurements (k, 4) of electrode numbers A, B, M, N from 1, 0 for far away; got {abmn.shape}"
            )
        # Arrays are taken too, and kept as what compares and is written as JSON.
        object.__setattr__(self, "electrodes", tuple(map(tuple, positions.tolist())))
        object.__setattr__(self, "measurements", tuple(map(tuple, abmn.astype(int).tolist())))
        require_measurable(positions, self.abmn)
        counts = Counter(self.measurements)
        if len(counts) < len(self.measurements):
            twice = next(row for row, count in counts.items() if count > 1)
            raise UsageError(f"measurement {list(twice)} is there {counts[twice]} times; a survey has each once")

    @cached_property
    def positions(self) -> Array:
        """Of all electrodes (n, 2)."""
        return np.array(self.electrodes, dtype=float).reshape(-1, 2)

    @cached_property
    def abmn(self) -> Numbers:
        """The measurements as an array (k, 4)."""
        return np.array(self.measurements, dtype=np.intp).reshape(-1, 4)

    @cached_property
    def geometric_factors(self) -> Array:
        """Apparent resistivity (Ω·m) over resistance (Ω), (k,) in m; infinite where homogeneous ground gives no signal."""
        return geometric_factors(self.positions, self.abmn)

    @cached_property
    def _current(self) -> tuple[Numbers, Numbers, Numbers]:
        """Electrodes that carry current, the pairs of them (n_sources, 2), and which pair each measurement has."""
        pairs, source = np.unique(self.abmn[:, :2], axis=0, return_inverse=True)
        used = np.unique(pairs)
        return used[used != FAR], pairs, source.reshape(-1)

    @cached_property
    def _potential(self) -> Numbers:
        used = np.unique(self.abmn[:, 2:])
        return used[used != FAR]

    @property
    def current_electrodes(self) -> Array:
        """Positions (n_current, 2) where current enters or leaves in some measurement."""
        return self.positions[self._current[0] - 1]

    @property
    def potential_electrodes(self) -> Array:
        """Positions (n_potential, 2) where the potential is taken in some measurement."""
        return self.positions[self._potential - 1]

    @cached_property
    def currents(self) -> Array:
        """Current in A that each pair of current electrodes puts into each: (n_sources, n_current)."""
        used, pairs, _ = self._current
        return (pairs[:, :1] == used).astype(float) - (pairs[:, 1:] == used)

    @cached_property
    def observables(self) -> Space:
        """One datum a measurement."""
        return Space((measurement_axis(self.positions, self.abmn),), units=("V/A",))

    def data(self, potentials: Array) -> Array:
        """The measurements: potentials (n_sources, n_potential, …) -> (n_out, …)."""
        _, _, source = self._current
        # A column of zeros for electrodes that are far away.
        potentials = np.concatenate([np.zeros_like(potentials[:, :1]), potentials], axis=1)
        place = np.zeros(len(self.positions) + 1, dtype=np.intp)
        place[self._potential] = 1 + np.arange(len(self._potential))
        m, n = place[self.abmn[:, 2:]].T
        return potentials[source, m] - potentials[source, n]
