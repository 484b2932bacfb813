"""Mixtures of Student's t laws: what importance sampling draws from, at modes at first and then where the draws are."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy.special import gammaln, logsumexp
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

from gnvpro.apps.inversion.posterior.posterior import Whitening
from gnvpro.surrogate.spaces import Array

# Degrees of freedom: tails heavier than those of any posterior with a normal prior, so that no weight is without bound.
_FREEDOM = 5.0
# Steps of expectation and maximisation, and what is added to a variance, relative to that of all draws.
_STEPS, _LEAST_VARIANCE = 40, 1e-10
# Draws for each dimension of a component, at least; gain in the mean log density that is worth twice as many components.
_DRAWS_EACH, _GAIN = 6, 0.03
# Of the whole covariance of the draws, a component that keeps far draws from having hardly any density.
_WIDE_SHARE, _WIDE = 0.1, 2.0
# Of every fitted component: a little too wide costs some points, a little too narrow makes weights uneven.
_WIDER = 1.15


def _normal_laws(white: Array, components: int, rng: np.random.Generator) -> Any:
    found = GaussianMixture(
        components, max_iter=_STEPS, reg_covar=_LEAST_VARIANCE, tol=1e-2, random_state=int(rng.integers(2**31)),
        init_params="kmeans",
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # so near is near enough
        return found.fit(white)


@dataclass(frozen=True, eq=False)
class Mixture:
    """Laws of centre + factor t, with t of Student's law: centres (k, n), lower triangular factors (k, n, n), shares (k,)."""

    centres: Array
    factors: Array
    shares: Array

    @classmethod
    def at_modes(cls, modes: Sequence[Whitening], heights: Array) -> Mixture:
        """Laplace's approximations at modes whose log densities are `heights` (k,), each with a wide one; and the prior."""
        n = len(modes[0].centre)
        volumes = np.array([np.log(np.diagonal(mode.factor)).sum() for mode in modes]) + heights
        # A mode that is thought to hold hardly anything may hold more: it is a normal law only nearly.
        shares = 0.9 * np.exp(volumes - logsumexp(volumes)) + 0.1 / len(modes)
        centres = [mode.centre for mode in modes]
        factors = [mode.factor for mode in modes]
        return cls(
            np.array([*centres, *centres, np.zeros(n)]),
            np.array([*factors, *(3.0 * factor for factor in factors), np.eye(n)]),
            np.concatenate([0.6 * shares, 0.2 * shares, [0.2]]),
        )

    @classmethod
    def prior(cls, n: int) -> Mixture:
        """About that of the normal variables, and so flat enough to begin by."""
        return cls(np.zeros((1, n)), np.eye(n)[None], np.ones(1))

    @classmethod
    def fitted(cls, draws: Array, rng: np.random.Generator) -> Mixture:
        """To draws (n_draws, n): normal laws by expectation and maximisation, their tails made heavier, and a wide one.

        Components are doubled as long as draws that were left out become more probable by it.
        """
        mean, covariance = draws.mean(axis=0), np.atleast_2d(np.cov(draws.T))
        n = len(mean)
        root = np.linalg.cholesky(covariance + 1e-14 * np.trace(covariance) * np.eye(n))
        white = np.linalg.solve(root, (draws - mean).T).T
        kept, aside = white[::2], white[1::2]
        components, found = 1, _normal_laws(kept, 1, rng)
        while 2 * components * _DRAWS_EACH * n <= len(kept):
            more = _normal_laws(kept, 2 * components, rng)
            if more.score(aside) < found.score(aside) + _GAIN:
                break
            components, found = 2 * components, more
        found = _normal_laws(white, components, rng)
        factors = _WIDER * root @ np.linalg.cholesky(found.covariances_)
        return cls(
            np.concatenate([mean + found.means_ @ root.T, mean[None]]),
            np.concatenate([factors, _WIDE * root[None]]),
            np.append((1 - _WIDE_SHARE) * found.weights_, _WIDE_SHARE),
        )

    @cached_property
    def _inverses(self) -> Array:
        return np.linalg.inv(self.factors)

    def draw(self, n: int, rng: np.random.Generator) -> Array:
        """Points (n, n_free)."""
        which = rng.choice(len(self.shares), n, p=self.shares / self.shares.sum())
        normal = rng.standard_normal((n, self.centres.shape[1]))
        t = normal * np.sqrt(_FREEDOM / rng.chisquare(_FREEDOM, n))[:, None]
        points = np.empty_like(t)
        for k in np.unique(which):
            points[which == k] = self.centres[k] + t[which == k] @ self.factors[k].T
        return points

    def log_density(self, x: Array) -> Array:
        """At points (n, n_free), (n,)."""
        n = x.shape[1]
        constant = gammaln((_FREEDOM + n) / 2) - gammaln(_FREEDOM / 2) - n / 2 * np.log(_FREEDOM * np.pi)
        parts = np.empty((len(self.shares), len(x)))
        for k, (centre, inverse) in enumerate(zip(self.centres, self._inverses, strict=True)):
            squares = (((x - centre) @ inverse.T) ** 2).sum(axis=1)
            volume = np.log(np.diagonal(inverse)).sum()
            parts[k] = volume - (_FREEDOM + n) / 2 * np.log1p(squares / _FREEDOM) + np.log(self.shares[k])
        return constant + logsumexp(parts, axis=0)
