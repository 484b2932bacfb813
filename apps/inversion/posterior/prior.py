"""Priors: maps from independent standard normal variables to parameters.

In the normal variables every prior is the same, nothing has a bound, and samplers need no special cases; a density on
the simplex or in a box needs no Jacobian. Points of the parameter space have one or more such variables behind them; a
parameter that is fixed, its bounds being equal, has none.
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
# Points of the quadrature for moments.
_QUADRATURE = 1 << 14


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
        if (space.fixed & normal).any():
            j = int(np.argmax(space.fixed & normal))
            raise UsageError(
                f"{space.names[j]} is fixed at {self.lower[j]:g}, so it has no other prior; leave that out"
            )
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
        """Number of parameters."""
        return self.space.size

    @cached_property
    def free(self) -> np.ndarray:
        """Which parameters (n_in,) vary; each has a normal variable behind it."""
        return ~self.space.fixed

    @cached_property
    def n_free(self) -> int:
        """Number of parameters that vary, and of normal variables."""
        return int(self.free.sum())

    @property
    def lower(self) -> Array:
        """Lower bounds (n_in,); -inf where there is none."""
        return self.space.lower_bounds

    @property
    def upper(self) -> Array:
        """Upper bounds (n_in,); inf where there is none."""
        return self.space.upper_bounds

    @property
    def scale(self) -> Array:
        """Ranges between the bounds (n_in,), or standard deviations of parameters without bounds."""
        width = self.upper - self.lower
        return np.where(np.isfinite(width), width, self.standard_deviation)

    @property
    def simplex(self) -> bool:
        """Whether the parameters sum to one."""
        return self.space.constraint == "simplex"

    @cached_property
    def normal(self) -> np.ndarray:
        """Which parameters (n_in,) have a normal law."""
        return ~np.isnan(self.standard_deviation)

    def parameters(self, z: Array) -> Array:
        """Parameters (n, n_in) of normal variables (n, n_free)."""
        if self.simplex:
            parts, _ = self._parts(z)
            return parts / parts.sum(axis=1, keepdims=True)
        y = np.tile(self.lower, (len(z), 1))
        flat, cut = self._flat, self.normal
        y[:, flat] = self.lower[flat] + (self.upper - self.lower)[flat] * ndtr(z[:, flat[self.free]])
        if cut.any():
            y[:, cut] = self._cut(z[:, cut[self.free]])[0]
        return np.clip(y, self.lower, self.upper)  # rounding may leave them

    def pull_back(self, z: Array, gradient: Array) -> Array:
        """Gradient by the normal variables, (n, n_free), of a function from its gradient by the parameters (n, n_in)."""
        if self.simplex:
            parts, slopes = self._parts(z)
            total = parts.sum(axis=1, keepdims=True)
            along = (gradient * parts).sum(axis=1, keepdims=True) / total
            return slopes * (gradient - along) / total
        slopes = np.empty_like(z)
        flat, cut = self._flat[self.free], self.normal[self.free]
        slopes[:, flat] = (self.upper - self.lower)[self._flat] * _density(z[:, flat])
        if cut.any():
            slopes[:, cut] = self._cut(z[:, cut])[1]
        return gradient[:, self.free] * slopes

    def latent(self, y: Array) -> Array:
        """Normal variables (n, n_free) behind parameters (n, n_in); on a simplex one of many."""
        if self.simplex:
            # Of uniforms, the most likely total that makes none exceed one.
            total = np.minimum(self.size / 2, 0.98 / y.max(axis=1, keepdims=True))
            u = y * total if self.space.law == "normalised_uniform" else -np.expm1(-y * self.size)
            return np.clip(ndtri(u), -_FAR, _FAR)
        z = np.empty((len(y), self.n_free))
        flat, cut = self._flat, self.normal
        u = (y - self.lower)[:, flat] / (self.upper - self.lower)[flat]
        z[:, flat[self.free]] = ndtri(np.clip(u, 0, 1))
        if cut.any():
            mean, deviation, below, above, between = self._truncated
            x = (y[:, cut] - mean) / deviation
            z[:, cut[self.free]] = _quantile((ndtr(x) - below) / between, (ndtr(-x) - above) / between)
        return np.clip(z, -_FAR, _FAR)

    def draw(self, rng: np.random.Generator, n: int) -> Array:
        """Parameters (n, n_in) by the law."""
        return self.parameters(rng.standard_normal((n, self.n_free)))

    def design(self, n: int, seed: int, tail: float) -> Array:
        """Points (n, n_in) of a Sobol design by the law, none in its outermost `tail`; one point where all are fixed."""
        if not self.n_free:
            return self.lower[None]
        u = qmc.Sobol(self.n_free, rng=seed).random_base2((n - 1).bit_length())[:n]
        return self.parameters(ndtri(np.clip(u, tail, 1 - tail)))

    @cached_property
    def moments(self) -> tuple[Array, Array]:
        """Mean (n_in,) and covariance (n_in, n_in), by quasi-random quadrature with a fixed seed.

        They stand for the law where it is approximated by a normal one: for the maximum a posteriori point and its
        Laplace approximation, of parameters on a simplex.
        """
        if not self.n_free:
            return self.lower, np.zeros((self.size, self.size))
        y = self.design(_QUADRATURE, 0, 1e-12)
        if self.simplex and (self.upper == self.upper[0]).all() and (self.lower == self.lower[0]).all():
            # All alike: only two numbers are to be found.
            n, variance = self.size, float(y.var(axis=0).mean())
            return np.full(n, 1 / n), variance * (np.eye(n) * n - 1) / (n - 1)
        return y.mean(axis=0), np.cov(y.T).reshape(self.size, self.size)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able, in words: the law of every parameter that is not uniform, and the values of those that are fixed."""
        names = [name for name, cut in zip(self.space.names, self.normal, strict=True) if cut]
        laws = zip(names, self.mean[self.normal].tolist(), self.standard_deviation[self.normal].tolist(), strict=True)
        flat = "uniform on the simplex" if self.simplex else "uniform between the bounds"
        law = "independent uniforms over their sum" if self.space.law == "normalised_uniform" else flat
        fixed = {
            name: value for name, value, f in zip(self.space.names, self.lower.tolist(), ~self.free, strict=True) if f
        }
        normal = {name: {"mean": m, "standard_deviation": s} for name, m, s in laws}
        return {"law": law, "normal": normal, **({"fixed": fixed} if fixed else {})}

    @cached_property
    def _flat(self) -> np.ndarray:
        """Which parameters (n_in,) have a uniform law."""
        return self.free & ~self.normal

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
