"""Where to solve next, by the errors of samples that were left out: far from samples, and where errors near by are large.

Each point is the candidate with the largest product of the error expected there, the geometric mean of those of the nearest
samples, and the distance to the nearest sample, that may have been chosen just before. Distances are in ranks of the
parameters under their law, each weighted by the root of how much the model changes when that parameter alone is another one's
(the total index of Sobol, by Jansen's estimator), so that what does not matter is filled less.

docs/build.md compares it with points drawn by the law. In many parameters all points are as far from each other, and it says
nothing.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gnvpro.surrogate.error_measure import ErrorMeasure
from gnvpro.surrogate.model.surrogate import Surrogate
from gnvpro.surrogate.spaces import Array

# Beyond so many parameters distances between points say nothing.
MOST_PARAMETERS = 20
# Samples near by whose errors count, and the fewest that say something.
_NEAREST, _FEWEST = 6, 12
# Of the largest weight of a parameter: no parameter is left out.
_LEAST_WEIGHT = 0.1
# Candidates at which the model tells what a parameter does.
_PROBED = 200


def placed_by_errors(
    model: Surrogate, n: int, candidates: Array, existing: Array, errors: Array
) -> NDArray[np.intp] | None:
    """Numbers (n,) of the candidates to solve at next; None where that says nothing, and draws by the law are as good.

    Parameters
    ----------
    candidates : (N, n_in)
        Drawn by the law of the parameters.
    existing, errors : (m, n_in), (m,)
        Samples, and their errors when they are left out; NaN where that is not known.
    """
    known = np.isfinite(errors)
    varies = np.ptp(candidates, axis=0) > 0
    if varies.sum() > MOST_PARAMETERS or known.sum() < _FEWEST or not varies.any() or n >= len(candidates):
        return None
    weights = _sensitivities(model, candidates[:_PROBED])[varies]
    if not weights.max():
        return None
    weights = np.maximum(np.sqrt(weights / weights.max()), _LEAST_WEIGHT)
    order = np.sort(candidates[:, varies], axis=0)
    points, samples = (_ranks(order, y[:, varies]) * weights for y in (candidates, existing))
    to_samples = _distances(points, samples)
    nearest = np.argsort(to_samples[:, known], axis=1)[:, :_NEAREST]
    least = errors[known].max() * np.finfo(float).eps or 1.0
    expected = np.exp(np.log(np.maximum(errors[known], least))[nearest].mean(axis=1))
    distance, chosen = to_samples.min(axis=1), list[int]()
    for _ in range(n):
        j = int((expected * distance).argmax())
        chosen.append(j)
        distance = np.minimum(distance, _distances(points, points[j : j + 1])[:, 0])
        distance[chosen] = -1.0
    return np.array(chosen, dtype=np.intp)


def _sensitivities(model: Surrogate, y: Array) -> Array:
    """Root mean square change of the observables when one parameter alone is another one's (n_in,)."""
    scale = ErrorMeasure.of(model.training).output_scale
    others, values = np.roll(y, 1, axis=0), model.evaluate(y)
    changes = np.empty(y.shape[1])
    for j in range(y.shape[1]):
        changed = y.copy()
        changed[:, j] = others[:, j]
        change = model.evaluate(changed) - values
        changes[j] = np.sqrt(((change if scale is None else change / scale) ** 2).sum(axis=1).mean())
    return changes


def _ranks(order: Array, y: Array) -> Array:
    """Of values (n, d) among sorted ones (N, d), between 0 and 1, by interpolation."""
    at = (np.arange(len(order)) + 0.5) / len(order)
    return np.stack([np.interp(column, of_law, at) for column, of_law in zip(y.T, order.T, strict=True)], axis=1)


def _distances(a: Array, b: Array) -> Array:
    squares = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1) - 2 * a @ b.T
    return np.sqrt(np.maximum(squares, 0.0))
