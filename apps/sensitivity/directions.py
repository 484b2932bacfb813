"""Directions in which observables change most: active subspaces from exact derivatives.

C = E[J' M J] over the law, J (n_out, n_free) being the derivative by the standard normal variables behind the parameters and
M the norm of the observables (Constantine 2015; Zahm et al. 2020 for several outputs). By the Poincaré inequality of the
normal law, the variance that is no function of the leading k directions, and of the parameters with single values, is at
most the sum of the other eigenvalues, and the total index of a variable at most its diagonal entry over the variance.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from gnvpro.apps.sensitivity.analysed import Analysed
from gnvpro.apps.sensitivity.estimates import LEVEL
from gnvpro.pde_data.problems.solving import derivative_block
from gnvpro.surrogate.equality import ComparedByValue
from gnvpro.surrogate.forward_model import offers
from gnvpro.surrogate.spaces import Array

_RESAMPLES = 400
# Eigenvalues below this share of the largest are rounding.
_ROUNDING = 1e-14
# Derivatives that are held at a time: 256 MiB.
_NUMBERS = 1 << 25


@dataclass(frozen=True, eq=False)
class Directions(ComparedByValue):
    """Eigenvalues in descending order, over the variance of the observables, with the directions that are theirs.

    Attributes
    ----------
    names
        Of the normal variables that span the directions, those behind parameters that vary and have no single values. They
        are called like the parameter that is theirs alone; of a law that joins several they are numbered.
    single
        Parameters with single values: directions say nothing of them.
    eigenvalues, lower, upper : (d,)
        With 95 % intervals of bootstrap over the points.
    vectors : (d, d)
        A direction a row; its largest component is positive.
    bounds, bounds_lower, bounds_upper : (d,)
        Of the total index of each parameter: diagonal entries over the variance; NaN where a law joins several, as the
        variables behind these are none of their own.
    remainders : (d + 1,)
        At most this share of the variance is no function of the leading 0, 1, … directions and of what has single values.
    """

    names: tuple[str, ...]
    single: tuple[str, ...]
    eigenvalues: Array
    lower: Array
    upper: Array
    vectors: Array
    bounds: Array
    bounds_lower: Array
    bounds_upper: Array
    n_points: int

    @property
    def remainders(self) -> Array:
        """See above."""
        return np.minimum(np.append(np.cumsum(self.eigenvalues[::-1])[::-1], 0.0), 1.0)

    def to_dict(self) -> dict[str, object]:
        """JSON-able."""
        return {
            "variables": list(self.names),
            "single_valued": list(self.single),
            "eigenvalues_over_variance": {
                "estimate": self.eigenvalues.tolist(), "lower": self.lower.tolist(), "upper": self.upper.tolist(),
            },
            "vectors": self.vectors.tolist(),
            "variance_outside_these_and_single_valued_at_most": self.remainders.tolist(),
            "total_index_at_most": {
                "estimate": self.bounds.tolist(), "lower": self.bounds_lower.tolist(), "upper": self.bounds_upper.tolist(),
            },
            "points": self.n_points,
        }  # fmt: skip


def directions(found: Analysed, variance: float, n: int, seed: int) -> Directions | None:
    """Directions from derivatives at n points (a power of two); None where the model has none, or no parameter is continuous.

    Parameters
    ----------
    variance
        Of all observables together, in the norm of the groups.
    """
    smooth = ~found.prior.transport.discrete[found.prior.free]
    if not smooth.any() or not products(found):
        return None
    points = found.normal_points(n, [seed, 11])[0]
    held = found.space.size * found.prior.size
    together = max(1, _NUMBERS // held)
    squares = np.concatenate([_squares(found, points[i : i + together]) for i in range(0, n, together)])
    squares = squares[np.isfinite(squares).all(axis=(1, 2))][:, smooth][:, :, smooth] / variance
    if len(squares) < 2:
        return None
    mean = squares.mean(axis=0)
    values, vectors = _spectrum(mean)
    shares = np.random.default_rng([seed, 12]).multinomial(
        len(squares), np.full(len(squares), 1 / len(squares)), _RESAMPLES
    )
    again = np.tensordot(shares / len(squares), squares, 1)
    spectra = np.linalg.eigvalsh(again)[:, ::-1]
    low, high = _interval(values, spectra)
    least, largest = _interval(np.diag(mean), np.diagonal(again, axis1=1, axis2=2))
    names = tuple(name for name, one in zip(found.variables, smooth, strict=True) if one)
    single = tuple(name for name, one in zip(found.names, smooth, strict=True) if not one)
    own = np.array([variable == name for variable, name in zip(found.variables, found.names, strict=True)])[smooth]
    bounds = (np.where(own, of, np.nan) for of in (np.diag(mean), least, largest))
    return Directions(names, single, values, low, high, vectors, *bounds, n_points=len(squares))


def _interval(values: Array, again: Array) -> tuple[Array, Array]:
    """95 % interval of positive numbers by the spread of their logarithms; resampled eigenvalues themselves are too small."""
    tiny = np.finfo(float).tiny
    spread = np.log(np.maximum(again, tiny)).std(axis=0)
    factor = np.exp(ndtri((1 + LEVEL) / 2) * np.where(values > tiny, spread, 0.0))
    return values / factor, values * factor


def _spectrum(matrix: Array) -> tuple[Array, Array]:
    values, columns = np.linalg.eigh(matrix)
    vectors = columns.T[::-1]
    largest = np.abs(vectors).argmax(axis=1)
    signs = np.sign(vectors[np.arange(len(vectors)), largest])
    values = values[::-1]
    return np.where(values > _ROUNDING * values[0], values, 0.0), vectors * signs[:, None]


def _squares(found: Analysed, z: Array) -> Array:
    """J' M J (n, n_free, n_free) at normal variables (n, n_free)."""
    y, n = found.prior.parameters(z), len(z)
    jacobian = _jacobian(found, y) / found.groups.scale[:, None]  # (n, n_out, n_in)
    n_out = jacobian.shape[1]
    by_normal = found.prior.pull_back(np.repeat(z, n_out, axis=0), jacobian.reshape(n * n_out, -1))
    by_normal = by_normal.reshape(n, n_out, -1)
    return by_normal.swapaxes(1, 2) @ by_normal


def products(found: Analysed) -> int:
    """Products that a derivative at one point takes: one for each parameter that varies, or for each observable."""
    forward, backward = offers(found.model, "jvp"), offers(found.model, "vjp")
    by_way = found.prior.n_free if forward else 0, found.space.size if backward else 0
    return min((n for n in by_way if n), default=0)


def _jacobian(found: Analysed, y: Array) -> Array:
    """(n, n_out, n_in), by as few products as can be; NaN at points whose derivative fails."""
    model, n, n_out, n_in = found.model, len(y), found.space.size, y.shape[1]
    jacobian = np.zeros((n, n_out, n_in))
    free = np.flatnonzero(found.prior.free)
    if offers(model, "jvp") and products(found) == len(free):
        for j in free:
            along = np.zeros_like(y)
            along[:, j] = 1.0
            jacobian[:, :, j] = derivative_block(model.jvp, (y, along), n_out)
    else:
        for k in range(n_out):
            seed = np.zeros((n, n_out))
            seed[:, k] = 1.0
            jacobian[:, k] = derivative_block(model.vjp, (y, seed), n_in)
    return jacobian
