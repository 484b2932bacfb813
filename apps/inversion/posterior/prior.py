"""Priors: maps from independent standard normal variables to parameters.

In the normal variables every prior is the same, nothing has a bound, and samplers need no special cases; a density on
the simplex or in a box needs no Jacobian. Points of the parameter space have one or more such variables behind them; a
parameter that is fixed, its bounds being equal, has none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from numbers import Real
from typing import Any

import numpy as np
from scipy.special import ndtri
from scipy.stats import qmc

from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.laws.discrete import DiscreteLaw
from gnvpro.surrogate.laws.joint import Dirichlet
from gnvpro.surrogate.laws.law import LEAST, Law
from gnvpro.surrogate.laws.plain import law_of
from gnvpro.surrogate.laws.scalar import TruncatedNormal, Uniform
from gnvpro.surrogate.laws.transport import Coordinates, Transport
from gnvpro.surrogate.names import did_you_mean, find_names
from gnvpro.surrogate.spaces import Array, Space

# Points of the quadrature for moments.
_QUADRATURE = 1 << 14


@dataclass(frozen=True, eq=False)
class Prior:
    """The law of the parameters of a space before anything was measured.

    Attributes
    ----------
    transport
        That of the space, but for parameters that were given laws of their own here; uniform between bounds where the
        space has no law, and on a simplex without one uniform on it.
    changed
        Names of parameters that were given laws here.
    """

    space: Space
    transport: Transport
    changed: tuple[str, ...] = ()

    @classmethod
    def of(cls, space: Space, laws: Mapping[str, Any] | None = None) -> Prior:
        """The law of a space, with other laws for some of its parameters by name.

        A pair is the mean and standard deviation of a normal law, which is cut off at the bounds of the space; else what
        `gnvpro.surrogate.laws.law_of` takes, a law within these bounds.

        Refuses an unknown name, no positive standard deviation, a parameter with neither bounds nor a law, other laws for
        parameters that have one together, and a law that leaves the space.
        """
        places = find_names(list(map(str, laws or {})), space.names, "the prior")
        given: dict[int, Law] = {}
        for (name, law), j in zip((laws or {}).items(), places, strict=True):
            if j is None:
                hint = did_you_mean(name, space.names)
                raise UsageError(
                    f"no parameter {name!r} to give a prior to; {hint}the names are {', '.join(space.names)}"
                )
            given[j] = _law_within(space, j, name, law)
        if space.constraint == "simplex":
            return cls(space, _on_simplex(space))
        found: list[Law] = []
        for columns, law in _laws_of_space(space):
            here = [given.get(j) for j in range(columns.start, columns.stop)]
            if law is not None and law.size > 1 and any(here):
                name = space.names[columns.start + next(i for i, one in enumerate(here) if one)]
                raise UsageError(f"{name} has its law together with others; leave out its prior")
            chosen = here[0] or law
            if chosen is None:
                name = space.names[columns.start]
                raise UsageError(f"{name} has no bounds, so it needs a prior: give its mean and standard deviation")
            found.append(chosen)
        return cls(space, Transport(tuple(found)), tuple(space.names[j] for j in given))

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
        """Ranges between the bounds (n_in,), or what stands for them where there are none, in the unit of the parameters."""
        width, usual = self.upper - self.lower, np.concatenate([law.usual_changes for law in self.transport.laws])
        return np.where(np.isfinite(width), width, usual)

    @property
    def coordinates(self) -> Coordinates:
        """In which every law is flat or normal (see `Transport`): those of the maximum a posteriori point."""
        return self.transport.coordinates

    @property
    def simplex(self) -> bool:
        """Whether the parameters sum to one."""
        return self.space.constraint == "simplex"

    @cached_property
    def bounded(self) -> np.ndarray:
        """Which parameters (n_in,) are uniform between the bounds of the space, which then say all of the law."""
        uniform = np.array([isinstance(law, Uniform) for law in self.transport.laws for _ in range(law.size)])
        lower, upper = self.transport.support
        return uniform & (lower == self.lower) & (upper == self.upper)

    @cached_property
    def single(self) -> np.ndarray:
        """Which normal variables (n_free,) are of parameters that have single values."""
        return self.transport.discrete[self.free]

    def parameters(self, z: Array) -> Array:
        """Parameters (n, n_in) of normal variables (n, n_free)."""
        return np.clip(self.transport.of_normal(self._all(z)), self.lower, self.upper)  # rounding may leave them

    def pull_back(self, z: Array, gradient: Array) -> Array:
        """Gradient by the normal variables, (n, n_free), of a function from its gradient by the parameters (n, n_in)."""
        return self.transport.pull_back(self._all(z), gradient)[:, self.free]

    def latent(self, y: Array) -> Array:
        """Normal variables (n, n_free) behind parameters (n, n_in); on a simplex one of many."""
        return self.transport.to_normal(y)[:, self.free]

    def density(self, parameter: int, at: Array) -> Array | None:
        """Of one parameter alone, at values (n,); None where it has its law together with others."""
        of_one = next(law for columns, law in self.transport.columns if columns.start <= parameter < columns.stop)
        return of_one.density(at) if of_one.size == 1 else None

    def _all(self, z: Array) -> Array:
        if self.n_free == self.size:
            return z
        of_all = np.zeros((len(z), self.size))
        of_all[:, self.free] = z
        return of_all

    def draw(self, rng: np.random.Generator, n: int) -> Array:
        """Parameters (n, n_in) by the law."""
        return self.parameters(rng.standard_normal((n, self.n_free)))

    def design(self, n: int, seed: int, tail: float) -> Array:
        """Points (n, n_in) of a Sobol design by the law, none in its outermost `tail`; one point where all are fixed."""
        if not self.n_free:
            return self.lower[None]
        return self.parameters(self.normal_design(n, seed, tail)[0])

    def normal_design(self, n: int, seed: int | Sequence[int], tail: float = LEAST, sets: int = 1) -> Array:
        """Normal variables (sets, n, n_free) of a Sobol design, its points side by side; none in the outermost `tail`."""
        u = qmc.Sobol(sets * self.n_free, rng=np.random.default_rng(seed)).random_base2((n - 1).bit_length())[:n]
        z = ndtri(np.clip(u, tail, 1 - max(tail, 2.0**-53)))  # above, rounding is to one
        return z.reshape(n, sets, self.n_free).swapaxes(0, 1)

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
        names, normal, laws = self.space.names, {}, {}
        for columns, law in self.transport.columns:
            of = names[columns.start] if law.size == 1 else ", ".join(names[columns])
            whole = all(map(np.array_equal, law.support, (self.lower[columns], self.upper[columns])))
            if isinstance(law, TruncatedNormal) and whole:
                normal[of] = {"mean": law.mean, "standard_deviation": law.standard_deviation}
            elif not ((isinstance(law, Uniform) and whole) or self.simplex):
                laws[of] = law.to_dict()
        flat = "uniform on the simplex" if self.simplex else "uniform between the bounds"
        law = "independent uniforms over their sum" if self.space.law == "normalised_uniform" else flat
        if self.simplex and self.space.laws:
            law = self.transport.laws[0].in_words()
        elif laws and not self.simplex:
            law = "that of `laws` and `normal`, else uniform between the bounds"
        fixed = {name: value for name, value, f in zip(names, self.lower.tolist(), ~self.free, strict=True) if f}
        return {"law": law, "normal": normal, **({"laws": laws} if laws else {}), **({"fixed": fixed} if fixed else {})}


def _law_within(space: Space, j: int, name: str, law: Any) -> Law:
    """A law of parameter j, within the bounds of the space."""
    lower, upper = float(space.lower_bounds[j]), float(space.upper_bounds[j])
    if space.constraint == "simplex":
        raise UsageError("parameters that sum to one have the prior of their space; leave out `prior`")
    if space.fixed[j]:
        raise UsageError(f"{space.names[j]} is fixed at {lower:g}, so it has no other prior; leave that out")
    own = None
    if space.transport is not None:
        own = next(one for of, one in space.transport.columns if of.start <= j < of.stop)
    if isinstance(law, Mapping) or not isinstance(law, Sequence | np.ndarray):
        found = law_of(law) if not isinstance(law, Real | str) else None
        if found is None or found.size != 1:
            raise UsageError(_expected(name, law))
        low, high = found.support
        if low[0] == high[0]:
            raise UsageError(
                f"the prior of {name} is the number {low[0]:g}; fix it in the space of the problem instead"
            )
        if own is not None and own.discrete and not _among(found, own):
            raise UsageError(_single(name, own))
        if low[0] < lower or high[0] > upper:
            raise UsageError(
                f"the prior of {name} reaches from {low[0]:g} to {high[0]:g}, expected one within {lower:g} to {upper:g}"
            )
        return found
    if own is not None and own.discrete:
        raise UsageError(_single(name, own))
    try:
        centre, spread = map(float, law)
    except (TypeError, ValueError):
        raise UsageError(_expected(name, law)) from None
    if not (np.isfinite(centre) and 0 < spread < np.inf):
        expected = f"expected a mean and a positive standard deviation for the prior of {name}"
        raise UsageError(f"{expected}, got {centre:g} and {spread:g}")
    if not Coordinates.one(lower, upper, (centre, spread), False).possible[0]:
        raise UsageError(f"the prior of {name} has no mass between its bounds; widen it, or move its mean")
    return TruncatedNormal(centre, spread, lower, upper)


def _among(law: Law, own: Law) -> bool:
    """Whether all values of a law are single ones of another."""
    return (
        isinstance(law, DiscreteLaw) and bool(own.contains(law.values_in_order[:, None]).all())
        if law.discrete
        else False
    )


def _single(name: str, own: Law) -> str:
    return f"{name} has single values, {own.in_words()}; give its prior as integers or choices among them"


def _expected(name: str, law: Any) -> str:
    return f"expected a prior such as {name}=[0.5, 0.1], mean and standard deviation, or a law; got {law!r}"


def _on_simplex(space: Space) -> Transport:
    if not (np.all(space.lower_bounds <= 0) and np.all(space.upper_bounds > 0)):
        raise UsageError("parameters that sum to one need lower bounds of at most 0 and upper ones above")
    return space.transport or Transport((Dirichlet((1.0,) * space.size),))


def _laws_of_space(space: Space) -> list[tuple[slice, Law | None]]:
    """Columns and their law; uniform where there are bounds alone, None where there are none."""
    if space.transport is not None:
        return list(space.transport.columns)
    bounds = zip(space.lower_bounds.tolist(), space.upper_bounds.tolist(), strict=True)
    return [
        (slice(j, j + 1), Uniform(low, high) if np.isfinite([low, high]).all() else None)
        for j, (low, high) in enumerate(bounds)
    ]
