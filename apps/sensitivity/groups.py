"""Observables taken together: all of them, those of one label of an axis, and each alone."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.sparse import csr_array

from gnvpro.surrogate.spaces import Array, Space

ALL = "all observables"


@dataclass(frozen=True, eq=False)
class Groups:
    """Groups of observables, in the order all, by axis, each; of one observable the first alone.

    The index of a group is that of its observables as one vector, in a norm that divides each by `scale`: the mean of theirs
    weighted by their variances (Lamboni et al. 2011; Gamboa et al. 2014).

    Attributes
    ----------
    scale : (n_out,)
        What observables are divided by, in their units.
    """

    space: Space
    scale: Array

    @cached_property
    def weights(self) -> csr_array:
        """Of the observables in every group (n_groups, n_out): one over the square of the scale, or zero."""
        columns = np.arange(self.space.size)
        members = [np.zeros_like(columns)]  # number of the group within its kind, observable by observable
        if self.space.size > 1:
            if len(self.axes):
                members += list(np.indices(self.space.shape).reshape(len(self.space.axes), -1))
            members.append(columns)
        starts = np.cumsum([0, *(int(of.max()) + 1 for of in members)])
        rows = np.concatenate([of + start for of, start in zip(members, starts[:-1], strict=True)])
        values = np.tile(self.scale**-2.0, len(members))
        places = np.tile(columns, len(members))
        return csr_array((values, (rows, places)), shape=(int(starts[-1]), self.space.size))

    @property
    def axes(self) -> dict[str, slice]:
        """Which groups are those of an axis, by its name; none where there is one axis, whose labels are observables."""
        if len(self.space.axes) < 2:
            return {}
        ends = np.cumsum([1, *self.space.shape]).tolist()
        return {
            axis.name: slice(start, end) for axis, start, end in zip(self.space.axes, ends[:-1], ends[1:], strict=True)
        }

    @property
    def each(self) -> slice:
        """Which groups are single observables, in their order."""
        n = len(self.weights.indptr) - 1
        return slice(n - self.space.size, n)

    def sums(self, values: Array) -> Array:
        """Weighted sums over every group: (..., n_out) -> (..., n_groups)."""
        flat = values.reshape(-1, self.space.size)
        return (self.weights @ flat.T).T.reshape(*values.shape[:-1], -1)
