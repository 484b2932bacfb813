"""Where in the space of the parameters the error of a model sits: which parameter tells, if any does."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.stats import rankdata

from gnvpro.surrogate.spaces import Array, Space

# Of a parameter, in ranks between 0 and 1: along what errors may grow.
_ALONG = {
    "large": lambda u: u,
    "small": lambda u: 1 - u,
    "at either end": lambda u: np.abs(u - 0.5),
    "in the middle": lambda u: -np.abs(u - 0.5),
}
# Shuffles of the errors; a parameter tells where fewer than one in twenty shows as much, and fewer samples say nothing.
_SHUFFLES, _CHANCE, _FEWEST = 400, 0.05, 16
_THIRD = 1 / 3


@dataclass(frozen=True)
class ErrorMap:
    """Where errors are largest.

    Attributes
    ----------
    parameter, where
        The parameter that tells most, and where on its range errors are large; None where none tells.
    ratio
        Mean error in that third of the samples over the mean error of the others.
    correlation
        Of ranks, between errors and the place along the parameter.
    """

    parameter: str | None
    where: str | None = None
    ratio: float = 1.0
    correlation: float = 0.0

    def in_words(self) -> str:
        """A sentence without its full stop."""
        if self.parameter is None:
            return "nowhere in particular: no single parameter tells"
        return (
            f"largest where {self.parameter} is {self.where}: in that third {self.ratio:.2g} times the error elsewhere"
        )

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return asdict(self)


def error_map(space: Space, points: Array, errors: Array) -> ErrorMap:
    """Of errors (n,) at points (n, n_in); by chance alone it names a parameter once in twenty times."""
    varies = np.ptp(points, axis=0) > 0 if len(points) else np.zeros(space.size, bool)
    if len(errors) < _FEWEST or not varies.any() or not np.ptp(errors):
        return ErrorMap(None)
    columns = np.flatnonzero(varies)
    places = (rankdata(points[:, columns], axis=0) - 0.5) / len(points)
    along = np.stack([_standardised(measure(places)) for measure in _ALONG.values()])  # (4, n, columns)
    ranks = _standardised(rankdata(errors)[:, None])[:, 0]
    found = np.einsum("knj,n->kj", along, ranks) / len(ranks)
    rng = np.random.default_rng(0)
    shuffled = np.stack([rng.permutation(ranks) for _ in range(_SHUFFLES)])
    most = (np.einsum("knj,sn->skj", along, shuffled) / len(ranks)).max(axis=(1, 2))
    how, column = np.unravel_index(int(found.argmax()), found.shape)
    if (most >= found.max()).mean() > _CHANCE:
        return ErrorMap(None)
    place = along[how, :, column]
    there = place >= np.quantile(place, 1 - _THIRD)
    ratio = float(errors[there].mean() / errors[~there].mean()) if errors[~there].any() else np.inf
    return ErrorMap(space.names[columns[column]], list(_ALONG)[how], ratio, float(found.max()))


def _standardised(values: Array) -> Array:
    centred = values - values.mean(axis=0)
    spread = centred.std(axis=0)
    return centred / np.where(spread > 0, spread, 1.0)
