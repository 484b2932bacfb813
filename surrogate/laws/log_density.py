"""Logarithms of densities in the parameters themselves, with their derivatives: what samplers that know no law ask for."""

from __future__ import annotations

import numpy as np
from scipy.linalg import cho_solve, solve_triangular

from gnvpro.surrogate.laws.joint import JointNormal, Parts
from gnvpro.surrogate.laws.law import Array, Law
from gnvpro.surrogate.laws.of_scipy import OfScipy
from gnvpro.surrogate.laws.transport import Transport

_LOG_TWO_PI = float(np.log(2 * np.pi))
# Of a law of scipy.stats, which has no slope: central differences over this share of its usual changes.
_STEP = 1e-5


def without_density(law: Law) -> str | None:
    """Why parameters of a law have no density in themselves, by the usual measure; None where they have one."""
    if isinstance(law, Parts):
        return "sum to one, and have no density but on that plane"
    if law.discrete:
        return "have single values, and probabilities in place of a density"
    return None


class LogDensity:
    """The logarithm of the density of independent laws at parameters (n, d) of the support, its gradient and its Hessian.

    Density by the measure of length of every parameter; its integral is one. Every law has to vary, and to have a density
    (`without_density`).

    Attributes
    ----------
    curved
        Whether there is a Hessian: not of laws of scipy.stats.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport, self._x = transport, transport.coordinates
        self._others = [(of, law) for of, law in transport.columns if isinstance(law, JointNormal | OfScipy)]
        self._own = np.ones(len(self._x.lower), dtype=bool)
        for of, _ in self._others:
            self._own[of] = False
        self.curved = not any(isinstance(law, OfScipy) for _, law in self._others)
        x = self._x
        _, deviation, _, _, between = x.cut
        with np.errstate(invalid="ignore", divide="ignore"):  # of those that are not the one, or the other
            normal = -np.log(deviation * between) - 0.5 * _LOG_TWO_PI
            flat = -np.log(x.upper - x.lower)
        self._constant = float(np.where(x.normal, normal, flat)[self._own].sum())

    def value(self, y: Array) -> Array:
        """(n, d) -> (n,)."""
        x = self._coordinates(y)
        squares = np.where(self._x.normal, ((x - self._x.mean) / self._x.standard_deviation) ** 2, 0.0)
        logarithms = np.where(self._x.logarithmic, x, 0.0)
        value = self._constant - (0.5 * squares + logarithms)[:, self._own].sum(axis=1)
        for of, law in self._others:
            value = value + _value_of(law, y[:, of])
        return value

    def gradient(self, y: Array) -> Array:
        """(n, d) -> (n, d)."""
        slopes, logarithmic = self._slopes(y), self._x.logarithmic
        with np.errstate(divide="ignore", invalid="ignore"):
            # y = exp(x): the density by y is that by x over y.
            gradient = np.where(logarithmic, (slopes - 1) / y, slopes)
        for of, law in self._others:
            gradient[:, of] = _slope_of(law, y[:, of])
        return gradient

    def hessian_product(self, y: Array, dy: Array) -> Array:
        """Hessian at `y` times `dy`, row by row: (n, d), (n, d) -> (n, d). Raises NotImplementedError where not `curved`."""
        if not self.curved:
            raise NotImplementedError("laws of scipy.stats have no second derivatives here")
        bends = np.where(self._x.normal, -(self._x.standard_deviation**-2.0), 0.0)
        with np.errstate(divide="ignore", invalid="ignore"):
            diagonal = np.where(self._x.logarithmic, (bends - self._slopes(y) + 1) / y**2, bends)
        product = diagonal * dy
        for of, law in self._others:
            assert isinstance(law, JointNormal)
            product[:, of] = -cho_solve((law.factor, True), dy[:, of].T).T
        return product

    def _coordinates(self, y: Array) -> Array:
        x, logarithmic = np.array(y, float), self._x.logarithmic
        x[:, logarithmic] = np.log(x[:, logarithmic])
        return x

    def _slopes(self, y: Array) -> Array:
        """Of the logarithm of the density by the coordinates, at these."""
        x = self._x
        return np.where(x.normal, -(self._coordinates(y) - x.mean) / x.standard_deviation**2, 0.0)


def _value_of(law: JointNormal | OfScipy, y: Array) -> Array:
    if isinstance(law, OfScipy):
        return _logarithm(law, y[:, 0])
    rest = solve_triangular(law.factor, (y - np.array(law.mean)).T, lower=True)
    return -0.5 * (rest**2).sum(axis=0) - np.log(np.diagonal(law.factor)).sum() - 0.5 * law.size * _LOG_TWO_PI


def _slope_of(law: JointNormal | OfScipy, y: Array) -> Array:
    if not isinstance(law, OfScipy):
        return -cho_solve((law.factor, True), (y - np.array(law.mean)).T).T
    lower, upper = law.support
    step = _STEP * law.usual_changes
    below, above = np.maximum(y - step, lower), np.minimum(y + step, upper)
    with np.errstate(invalid="ignore"):
        slope = (_logarithm(law, above[:, 0]) - _logarithm(law, below[:, 0]))[:, None] / (above - below)
    return np.where(np.isfinite(slope), slope, 0.0)  # on a bound where the density is zero


def _logarithm(law: OfScipy, y: Array) -> Array:
    with np.errstate(divide="ignore"):
        return np.log(law.density(y))
