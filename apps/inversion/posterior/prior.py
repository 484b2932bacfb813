"""Priors: maps from independent standard normal variables to parameters.

In the normal variables every prior is the same, nothing has a bound, and samplers need no special cases; a density on
the simplex or in a box needs no Jacobian. Points of the parameter space have one or more such variables behind them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy.special import log_ndtr, ndtr, ndtri
from scipy.stats import qmc

from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.names import find_names
from gnvpro.surrogate.spaces import Array, Space

# Normal variables beyond this are on the bound in double precision.
_FAR = 8.0


@dataclass(frozen=True, eq=False)
class Prior:
    """The law of the parameters of a space before anything was measured.

    Uniform between bounds, or normal and cut off there; on a simplex, independent uniforms over their sum where the
    space says so, else uniform on it. Mean and standard deviation (n_in,) of a normal law are NaN where it is uniform.
    """

    space: Space
    mean: Array
    standard_deviation: Array

    def __post_init__(self) -> None:
        space, normal = self.space, self.normal
        if space.constraint == "simplex":
            if normal.any():
                raise UsageError("parameters that sum to one have the prior of their space; leave out `prior`")
            if not (np.all(self.lower <= 0) and np.all(self.upper > 0)):
                raise UsageError("parameters that sum to one need lower bounds of at most 0 and upper ones above")
            return
        bounded = np.isfinite(self.lower) & np.isfinite(self.upper)
        if not (bounded | normal).all():
            name = space.names[int(np.argmin(bounded | normal))]
            raise UsageError(f"{name} has no bounds, so it needs a prior: give its mean and standard deviation")
        if not (possible := self._truncated[-1] > 0).all():
            name = np.array(space.names)[normal][int(np.argmin(possible))]
            raise UsageError(f"the prior of {name} has no mass between its bounds; widen it, or move its mean")

    @classmethod
    def of(cls, space: Space, normal: Mapping[str, Sequence[float]] | None = None) -> Prior:
        """The law of a space, with normal laws (mean, standard deviation) for some of its parameters by name.

        Refuses an unknown name, no positive standard deviation, and a parameter with neither bounds nor a normal law.
        """
        mean, deviation = np.full(space.size, np.nan), np.full(space.size, np.nan)
        normal = normal or {}
        places = find_names(list(map(str, normal)), space.names, "the prior")
        for (name, law), j in zip(normal.items(), places, strict=True):
            if j is None:
                raise UsageError(f"no parameter {name!r} to give a prior to; the names are {', '.join(space.names)}")
            try:
                centre, spread = map(float, law)
            except (TypeError, ValueError):
                raise UsageError(
                    f"expected a prior such as {name}=[0.5, 0.1], mean and standard deviation; got {law!r}"
                ) from None
            if not (np.isfinite(centre) and 0 < spread < np.inf):
                expected = f"expected a mean and a positive standard deviation for the prior of {name}"
                raise UsageError(f"{expected}, got {centre:g} and {spread:g}")
            mean[j], deviation[j] = centre, spread
        return cls(space, mean, deviation)

    @property
    def size(self) -> int:
        """Number of parameters, and of normal variables."""
        return self.space.size

    @property
    def lower(self) -> Array:
        """Lower bounds (n_in,); -inf where there is none."""
        return self.space.lower_bounds

    @property
    def upper(self) -> Array:
        """Upper bounds (n_in,); inf where there is none."""
        return self.space.upper_bounds

    @property
    def simplex(self) -> bool:
        """Whether the parameters sum to one."""
        return self.space.constraint == "simplex"

    @cached_property
    def normal(self) -> np.ndarray:
        """Which parameters (n_in,) have a normal law."""
        return ~np.isnan(self.standard_deviation)

    def parameters(self, z: Array) -> Array:
        """Parameters (n, n_in) of normal variables (n, n_in)."""
        if self.simplex:
            parts, _ = self._parts(z)
            return parts / parts.sum(axis=1, keepdims=True)
        y = np.empty_like(z)
        flat, cut = ~self.normal, self.normal
        y[:, flat] = self.lower[flat] + (self.upper - self.lower)[flat] * ndtr(z[:, flat])
        if cut.any():
            y[:, cut] = self._cut(z[:, cut])[0]
        return np.clip(y, self.lower, self.upper)  # rounding may leave them

    def pull_back(self, z: Array, gradient: Array) -> Array:
        """Gradient by the normal variables, (n, n_in), of a function whose gradient by the parameters is given."""
        if self.simplex:
            parts, slopes = self._parts(z)
            total = parts.sum(axis=1, keepdims=True)
            along = (gradient * parts).sum(axis=1, keepdims=True) / total
            return slopes * (gradient - along) / total
        slopes = np.empty_like(z)
        flat, cut = ~self.normal, self.normal
        slopes[:, flat] = (self.upper - self.lower)[flat] * _density(z[:, flat])
        if cut.any():
            slopes[:, cut] = self._cut(z[:, cut])[1]
        return gradient * slopes

    def latent(self, y: Array) -> Array:
        """Normal variables (n, n_in) behind parameters (n, n_in); on a simplex one of many."""
        if self.simplex:
            # Of uniforms, the most likely total that makes none exceed one.
            total = np.minimum(self.size / 2, 0.98 / y.max(axis=1, keepdims=True))
            u = y * total if self.space.law == "normalised_uniform" else -np.expm1(-y * self.size)
            return np.clip(ndtri(u), -_FAR, _FAR)
        u = np.empty_like(y)
        flat, cut = ~self.normal, self.normal
        width = (self.upper - self.lower)[flat]
        u[:, flat] = np.where(width > 0, (y - self.lower)[:, flat] / np.where(width > 0, width, 1), 0.5)
        z = ndtri(np.clip(u, 0, 1))
        if cut.any():
            mean, deviation, below, above, between = self._truncated
            x = (y[:, cut] - mean) / deviation
            z[:, cut] = _quantile((ndtr(x) - below) / between, (ndtr(-x) - above) / between)
        return np.clip(z, -_FAR, _FAR)

    def draw(self, rng: np.random.Generator, n: int) -> Array:
        """Parameters (n, n_in) by the law."""
        return self.parameters(rng.standard_normal((n, self.size)))

    @cached_property
    def moments(self) -> tuple[Array, Array]:
        """Mean (n_in,) and covariance (n_in, n_in), by quasi-random quadrature with a fixed seed.

        They stand for the law where it is approximated by a normal one: for the maximum a posteriori point and its
        Laplace approximation, of parameters on a simplex.
        """
        u = qmc.Sobol(self.size, rng=0).random_base2(14)
        y = self.parameters(ndtri(np.clip(u, 1e-12, 1 - 1e-12)))
        if self.simplex and (self.upper == self.upper[0]).all() and (self.lower == self.lower[0]).all():
            # All alike: only two numbers are to be found.
            n, variance = self.size, float(y.var(axis=0).mean())
            return np.full(n, 1 / n), variance * (np.eye(n) * n - 1) / (n - 1)
        return y.mean(axis=0), np.cov(y.T).reshape(self.size, self.size)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able, in words: the law of every parameter that is not uniform."""
        names = [name for name, cut in zip(self.space.names, self.normal, strict=True) if cut]
        laws = zip(names, self.mean[self.normal].tolist(), self.standard_deviation[self.normal].tolist(), strict=True)
        flat = "uniform on the simplex" if self.simplex else "uniform between the bounds"
        law = "independent uniforms over their sum" if self.space.law == "normalised_uniform" else flat
        return {"law": law, "normal": {name: {"mean": m, "standard_deviation": s} for name, m, s in laws}}

    @cached_property
    def _truncated(self) -> tuple[Array, Array, Array, Array, Array]:
        """Mean and deviation of the normal laws, and their probabilities below, above and between the bounds.

        The last without cancellation where both bounds are on one side of the mean.
        """
        mean, deviation = self.mean[self.normal], self.standard_deviation[self.normal]
        low, high = ((bound[self.normal] - mean) / deviation for bound in (self.lower, self.upper))
        between = np.where(low > 0, ndtr(-low) - ndtr(-high), ndtr(high) - ndtr(low))
        return mean, deviation, ndtr(low), ndtr(-high), between

    def _cut(self, z: Array) -> tuple[Array, Array]:
        """Values of normal laws cut off at the bounds, and their slopes by z."""
        mean, deviation, below, above, between = self._truncated
        x = _quantile(below + between * ndtr(z), above + between * ndtr(-z))
        return mean + deviation * x, deviation * (between * np.exp(0.5 * (x**2 - z**2)))

    def _parts(self, z: Array) -> tuple[Array, Array]:
        """Positive parts that are divided by their sum, and their slopes by z."""
        if self.space.law == "normalised_uniform":
            return ndtr(z), _density(z)
        # Standard exponential variables make the uniform law on the simplex.
        survival = log_ndtr(-z)
        return -survival, np.exp(-0.5 * z**2 - survival) / np.sqrt(2 * np.pi)


def _quantile(below: Array, above: Array) -> Array:
    """Standard normal quantile of a probability `below`, by `above` = 1 - below where that is the smaller one."""
    least = np.clip(np.minimum(below, above), 1e-300, 0.5)
    return np.where(below < above, 1, -1) * ndtri(least)


def _density(z: Array) -> Array:
    return np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi)
