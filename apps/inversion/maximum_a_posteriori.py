"""Maximum a posteriori points by Gauss-Newton from several starts, within bounds or on the simplex.

Minimised is half the squared residuals in units of the noise plus that of the prior, over coordinates in which the prior is
uniform, which adds nothing, or normal, which adds its residual: the parameter itself, its logarithm, or else the normal
variable behind it (`gnvpro.surrogate.laws.transport`). The law of parameters on a simplex counts as the normal one of the
same mean and covariance. Residuals of Student's law are those half of whose squares are minus its logarithm. A parameter that
has single values stays at that of its start. Every step is a linear least-squares problem with bounds, damped as Levenberg
and Marquardt do.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from scipy.optimize import lsq_linear

from gnvpro.apps.inversion.posterior.posterior import Posterior
from gnvpro.surrogate.errors import NumericalFailure, UsageError
from gnvpro.surrogate.spaces import Array

_MAX_ITERATIONS = 60
# The search ends where the quadratic model predicts less than this: an objective of 1/2 is one standard deviation.
_TOLERANCE = 1e-10
_FIRST_DAMPING, _LEAST_DAMPING, _LARGEST_DAMPING = 1e-3, 1e-12, 1e12
# A predicted reduction below this may be lost in the rounding of a forward model.
_ROUNDING = 1e-4
# Weight of "the step keeps the sum" beside the other equations, relative to the largest of them.
_SUM_WEIGHT = 1e5
# Standard deviation, in ranges, of a parameter that neither observations nor prior inform.
_UNINFORMED = 1e3
# Minima nearer than this, in posterior standard deviations, are the same.
_SAME = 0.1


@dataclass(frozen=True, eq=False)
class Minimum:
    """A local minimum of misfit and prior together.

    Attributes
    ----------
    parameters, at_bound : (n_in,)
        Where it is, and which parameters are held by a bound.
    value, misfit
        Of the objective; and half the squared residuals in units of the noise, about half the number of observations for
        a good fit.
    covariance : (n_in, n_in)
        Laplace's: the inverse Gauss-Newton Hessian, bounds not considered, but along the simplex. What is not informed
        at all has a thousand ranges as standard deviation, what is fixed none.
    starts, iterations, converged
        How many starts led here; of that which got lowest, its iterations and whether it ended by its tolerance.
    """

    parameters: Array
    value: float
    misfit: float
    covariance: Array
    at_bound: np.ndarray
    starts: int
    iterations: int
    converged: bool

    @property
    def standard_deviations(self) -> Array:
        """Laplace's (n_in,)."""
        return np.sqrt(np.diagonal(self.covariance))


def find_minima(posterior: Posterior, n_starts: int, seed: int, at: Array | None = None) -> list[Minimum]:
    """All minima that were reached from so many points of a Sobol design by the prior and from `at` (k, n_in), lowest first.

    Raises
    ------
    NumericalFailure
        The forward model could be solved at no start, or the equations of a step nowhere.
    """
    starts = np.zeros((0, posterior.prior.size)) if at is None else at
    if n_starts:
        starts = np.concatenate([starts, posterior.prior.design(n_starts, seed, 1e-6)])
    if not len(starts):
        raise UsageError("expected at least one start")
    try:
        minima = [minimum for start in starts if (minimum := _descend(posterior, start)) is not None]
    except np.linalg.LinAlgError as error:
        raise NumericalFailure(
            f"expected equations that can be solved, got numbers that are too large or too small ({error}); check the units "
            "of the observations and their noise"
        ) from None
    if not minima:
        raise NumericalFailure(f"the forward model could be solved at none of {len(starts)} starts")
    return _distinct(minima)


def _distinct(minima: list[Minimum]) -> list[Minimum]:
    """One for each place, with the number of starts that led there."""
    kept: list[Minimum] = []
    for minimum in sorted(minima, key=lambda minimum: minimum.value):
        for i, lower in enumerate(kept):
            distance = (minimum.parameters - lower.parameters) / np.maximum(lower.standard_deviations, 1e-300)
            if np.abs(distance).max() < _SAME:
                kept[i] = replace(lower, starts=lower.starts + 1)
                break
        else:
            kept.append(minimum)
    return kept


class _Equations:
    """Residuals of observations and prior, stacked, and their derivative by the coordinates that are searched.

    Attributes
    ----------
    lower, upper, unit : (n_in,)
        Bounds of the coordinates, and units of steps.
    searched : (n_in,)
        Which coordinates are neither fixed nor those of single values.
    """

    def __init__(self, posterior: Posterior) -> None:
        self._posterior, self.prior = posterior, posterior.prior
        prior = self.prior
        if prior.simplex:
            mean, covariance = prior.moments
            # The covariance is singular across the simplex, where no step goes.
            values, vectors = np.linalg.eigh(covariance)
            kept = values > 1e-10 * values.max()
            self._centre, self._rows = mean, (vectors[:, kept] / np.sqrt(values[kept])).T
            self.lower, self.upper, self.unit = prior.lower, prior.upper, np.full(prior.size, 1.0 / prior.size)
        else:
            c = prior.coordinates
            width = c.upper - c.lower
            self.lower, self.upper = c.lower, c.upper
            self.unit = np.where(np.isfinite(width), width, c.standard_deviation)
            normal = prior.coordinates.normal & ~prior.transport.discrete
            self._centre = np.where(normal, prior.coordinates.mean, 0.0)
            self._rows = np.diag(np.where(normal, 1 / prior.coordinates.standard_deviation, 0))[normal]

        self.searched = prior.free & ~prior.transport.discrete

    def coordinates(self, y: Array) -> Array:
        """Of parameters, both (n_in,)."""
        x = y if self.prior.simplex else self.prior.transport.to_coordinates(y[None])[0]
        return np.clip(x, self.lower, self.upper)

    def parameters(self, x: Array) -> Array:
        """Inverse of `coordinates`."""
        return x if self.prior.simplex else self.prior.transport.of_coordinates(x[None])[0]

    def by_coordinates(self, x: Array, derivative: Array) -> Array:
        """Derivatives (m, n_in) by the coordinates, of those by the parameters."""
        if self.prior.simplex:
            return derivative
        return self.prior.transport.by_coordinates(np.tile(x, (len(derivative), 1)), derivative)

    def at(self, x: Array) -> _Linearized | None:
        """The equations linearized; None where the model could not be solved."""
        observables, jacobian = self._posterior.solves.linearize(self.parameters(x)[None])
        if not (np.isfinite(observables).all() and np.isfinite(jacobian).all()):
            return None
        data = self._posterior.residuals(observables)[0]
        residuals = np.concatenate([data, self._rows @ (x - self._centre)])
        of_data = self._posterior.sensitivity(jacobian[0], observables[0])
        derivative = self._stacked(x, of_data)
        root = derivative
        if self._posterior.noise.heavy_tailed:
            root = self._stacked(x, self._posterior.curvature_root(jacobian[0], observables[0]))
        return _Linearized(residuals, derivative, float(0.5 * data @ data), root)

    def _stacked(self, x: Array, of_data: Array) -> Array:
        """Derivatives of observations by the parameters (n_data, n_in) and of the prior, by what is searched."""
        return np.concatenate([self.by_coordinates(x, of_data), self._rows])[:, self.searched]

    def value(self, x: Array) -> float:
        """Half the squared residuals at coordinates (n_in,)."""
        observables = self._posterior.solves.evaluate(self.parameters(x)[None])
        deviation = self._rows @ (x - self._centre)
        return float(self._posterior.misfit(observables)[0]) + 0.5 * float(deviation @ deviation)

    def of_single_values(self, y: Array) -> float:
        """What parameters with single values add: minus the logarithms of their probabilities."""
        prior = self.prior
        values = np.flatnonzero(prior.transport.discrete & prior.free)
        shares = [prior.density(int(j), y[j : j + 1]) for j in values]
        return -float(sum(np.log(np.maximum(share[0], 1e-300)) for share in shares if share is not None))


class _Linearized(NamedTuple):
    """Residuals (m,), their derivative (m, n_searched), the misfit, and a root (m, n_searched) of the Hessian.

    The root is the derivative but for Student's law, whose residuals are curved in those of the observations.
    """

    residuals: Array
    derivative: Array
    misfit: float
    root: Array


def _descend(posterior: Posterior, start: Array) -> Minimum | None:
    """Gauss-Newton from one start; None where the model cannot be solved there. Steps to where it cannot are shortened."""
    equations, prior = _Equations(posterior), posterior.prior
    x, searched = equations.coordinates(start), equations.searched
    if (linearized := equations.at(x)) is None:
        return None
    size, damping, converged, iterations = equations.unit[searched], _FIRST_DAMPING, False, 0
    while searched.any() and iterations < _MAX_ITERATIONS:
        iterations += 1
        # The equations brought to n_in rows: the observations are many.
        residuals = linearized.residuals
        q, r = np.linalg.qr(linearized.derivative * size)
        step = _accepted_step(equations, r, q.T @ residuals, x, 0.5 * float(residuals @ residuals), damping, size)
        if step.x is None:
            converged = step.converged
            break
        x, damping, linearized = step.x, step.damping, step.linearized or linearized
    covariance = np.zeros((prior.size, prior.size))
    covariance[np.ix_(searched, searched)] = _covariance(linearized.root, size, prior.simplex)
    slopes = equations.by_coordinates(x, np.eye(prior.size))
    y = equations.parameters(x)
    value = 0.5 * float(linearized.residuals @ linearized.residuals) + equations.of_single_values(y)
    converged = converged or not searched.any()
    held = _held(x, equations)
    return Minimum(y, value, linearized.misfit, slopes @ covariance @ slopes.T, held, 1, iterations, converged)


class _Step(NamedTuple):
    """A lower point, the next damping and the equations there (`_Equations.at`); or None, and whether it has converged."""

    x: Array | None
    damping: float
    converged: bool = False
    linearized: _Linearized | None = None


def _accepted_step(
    equations: _Equations, triangle: Array, reduced: Array, x: Array, value: float, damping: float, size: Array
) -> _Step:
    """Damp the step until the objective falls about as the linear equations predict."""
    prior, predicted, searched = equations.prior, np.inf, equations.searched
    lower, upper = equations.lower[searched], equations.upper[searched]
    while damping <= _LARGEST_DAMPING:
        low, high = (lower - x[searched]) / size, (upper - x[searched]) / size
        step = _bounded_step(triangle, reduced, damping, low, high, prior.simplex)
        change = triangle @ step
        predicted = -float(reduced @ change) - 0.5 * float(change @ change)
        if predicted <= _TOLERANCE * max(1.0, 1e-6 * value):
            return _Step(None, damping, True)
        trial = x.copy()
        trial[searched] = np.clip(x[searched] + size * step, lower, upper)
        if prior.simplex:
            trial /= trial.sum()
        reduction = value - equations.value(trial)
        if reduction > 1e-4 * predicted and (linearized := equations.at(trial)) is not None:
            damping = max(damping / (8 if reduction > 0.75 * predicted else 2), _LEAST_DAMPING)
            return _Step(trial, damping, linearized=linearized)
        damping *= 8
    return _Step(None, damping, predicted < _ROUNDING)  # the model's rounding hides so small a reduction


def _bounded_step(triangle: Array, reduced: Array, damping: float, low: Array, high: Array, simplex: bool) -> Array:
    """The step s between bounds that minimises |R s + q|² + damping |D s|², on the simplex with components that sum to 0."""
    columns = np.sqrt(damping) * np.maximum(np.linalg.norm(triangle, axis=0), 1e-12 * np.linalg.norm(triangle) + 1e-300)
    rows, right = [triangle, np.diag(columns)], [-reduced, np.zeros(len(columns))]
    if simplex:
        rows.append(np.full((1, len(columns)), _SUM_WEIGHT * np.linalg.norm(triangle)))
        right.append(np.zeros(1))
    # Bounds that meet leave no room; the solver wants some.
    low, high = np.minimum(low, 0.0), np.maximum(high, 0.0)
    high = np.maximum(high, low + 1e-14)
    return lsq_linear(np.concatenate(rows), np.concatenate(right), (low, high), method="bvls", tol=1e-14).x


def _held(x: Array, equations: _Equations) -> np.ndarray:
    room = np.where(equations.prior.free, 1e-9 * equations.unit, 0.0)
    return ((x <= equations.lower + room) | (x >= equations.upper - room)) & ~equations.prior.transport.discrete


def _covariance(derivative: Array, size: Array, simplex: bool) -> Array:
    """Inverse of the Gauss-Newton Hessian, in directions that keep the sum if they must."""
    n = derivative.shape[1]
    if not n:
        return np.zeros((0, 0))
    basis = np.linalg.svd(np.ones((1, n)))[2][1:].T if simplex else np.eye(n)
    _, values, rows = np.linalg.svd(np.linalg.qr((derivative * size) @ basis, mode="r"))
    known = np.pad(values, (0, len(rows) - len(values)))
    root = size[:, None] * (basis @ (rows.T / np.maximum(known, 1 / _UNINFORMED)))
    return root @ root.T
