"""Choosing a polynomial basis by leave-one-out, in closed form.

For weighted least squares with orthonormal Q of the columns, leaving sample i out changes its residual from r_i to
r_i / (1 - h_i), h_i = ||row i of Q||² (the PRESS residual): every basis is judged by one factorisation and without
validation data. Bases of one anisotropy are nested, so a single QR serves all of their degrees.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace
from functools import cache
from operator import itemgetter
from typing import Any

import numpy as np
import torch

from gnvpro.surrogate.elimination.ridge_path import FULL_LEVERAGE
from gnvpro.surrogate.networks.polynomials import Amplitude, PolynomialBasis
from gnvpro.surrogate.rounding import varies
from gnvpro.surrogate.spaces import Array

# Polynomials of more parameters need more terms than there are samples.
MAX_PARAMETERS = 5
# Fewer samples say nothing about a basis.
FEWEST_SAMPLES = 20
# Terms, relative to the samples that determine them.
FEWEST, MOST = 0.05, 0.75
# More terms cost more than they bring; more samples do not change the choice.
TERMS_LIMIT, SAMPLES_LIMIT, SAMPLES_FOR_POWERS = 600, 2000, 300
ANISOTROPIES = (1.5, 2.0)
# Of parameters that stay away from zero. On DC resistivity (depth, volume, azimuth) 1/depth and the root of the volume
# lower the error of the polynomial from 288 samples five times.
POWERS = (1.0, 0.5, -0.5, -1.0)
_AWAY_FROM_ZERO = 0.02
AMPLITUDE_DEGREE = 3
# Directions of the targets below this fraction of the largest do not enter the choice.
_COMPRESSION = 1e-8
# Leave-one-out errors below this are all the same.
_ROUNDING = 1e-12


@dataclass(frozen=True)
class PolynomialFeatures:
    """A chosen basis, the amplitude it was chosen with, and its leave-one-out error (root mean square, relative)."""

    basis: PolynomialBasis
    amplitude: Amplitude | None
    leave_one_out: float

    def described(self) -> dict[str, Any]:
        """JSON-able."""
        return {
            "n_terms": self.basis.n_terms + 1,
            "degree": self.basis.degree,
            "weights": list(self.basis.weights),
            "powers": list(self.basis.powers),
            "amplitude": self.amplitude is not None,
            "leave_one_out_error": self.leave_one_out,
        }


def choose_polynomials(parameters: Array, anomalous: Array, row_weights: Array) -> PolynomialFeatures | None:
    """The basis of least leave-one-out error, with an amplitude where that lowers it.

    Anisotropy and degree are searched in full, powers of the parameters one after the other before. None where no basis
    fits: too few samples, too many parameters, a parameter that does not vary, or observables that are zero throughout.

    Parameters
    ----------
    anomalous : (n, n_out)
        Observables less the background.
    row_weights : (n,)
        Of the samples in the error, in the unit of the observables: 1 / ||anomalous|| when the error is relative.
    """
    n_parameters = parameters.shape[1]
    if (
        n_parameters > MAX_PARAMETERS
        or len(parameters) < FEWEST_SAMPLES
        or not varies(parameters).all()
        or not anomalous.any()
    ):
        return None
    powers = _choose_powers(_Search(parameters, anomalous, row_weights, SAMPLES_FOR_POWERS))
    search = _Search(parameters, anomalous, row_weights, SAMPLES_LIMIT)
    return search.best(powers, search.prefers_amplitude(powers))


def _choose_powers(search: _Search) -> tuple[float, ...]:
    """One parameter after the other, twice around, since the best power of one depends on the others."""
    parameters = search.parameters
    powers = (1.0,) * parameters.shape[1]
    with_amplitude = search.prefers_amplitude(powers)
    tried: dict[tuple[float, ...], float] = {}
    for j in [*range(len(powers))] * 2:
        away = parameters[:, j].min() > _AWAY_FROM_ZERO * parameters[:, j].max()
        for power in POWERS if away else (1.0,):
            trial = (*powers[:j], power, *powers[j + 1 :])
            if trial not in tried:
                # What is exact with several powers is so with the plainest, which is tried first.
                tried[trial] = max(search.error(trial, with_amplitude), _ROUNDING)
        powers = min(tried, key=lambda trial: tried[trial])
    return powers


class _Search:
    """Samples, and their targets compressed to what can be told apart."""

    def __init__(self, parameters: Array, anomalous: Array, row_weights: Array, limit: int) -> None:
        self.parameters, anomalous, row_weights = (x[:limit] for x in (parameters, anomalous, row_weights))
        self._norms = np.linalg.norm(anomalous, axis=1)
        left, singular, _ = np.linalg.svd(anomalous, full_matrices=False)
        keep = singular > _COMPRESSION * singular[0]
        self._targets = left[:, keep] * singular[keep]
        # So that the error is one when nothing is predicted.
        self._row_weights = row_weights / math.sqrt(float((row_weights**2 * self._norms**2).mean()))

    def prefers_amplitude(self, powers: tuple[float, ...]) -> bool:
        """Whether dividing by an amplitude lowers the error; where none can be fitted it does not."""
        return self.error(powers, with_amplitude=True) < self.error(powers, with_amplitude=False)

    def error(self, powers: tuple[float, ...], with_amplitude: bool) -> float:
        """The leave-one-out error of the best basis; infinite where none fits."""
        best = self.best(powers, with_amplitude)
        return math.inf if best is None else best.leave_one_out

    @cache  # noqa: B019 (a search lives as long as its choice)
    def best(self, powers: tuple[float, ...], with_amplitude: bool) -> PolynomialFeatures | None:
        """The best degree and anisotropy; without an amplitude also where none can be fitted."""
        amplitude = fit_amplitude(self.parameters, self._norms, powers) if with_amplitude else None
        size = np.ones(1) if amplitude is None else amplitude(torch.from_numpy(self.parameters)).numpy()[:, 0]
        targets, weights = self._targets / size[:, None], self._row_weights * size
        bases = [
            basis_and_error
            for anisotropy in _anisotropies(len(powers))
            for basis_and_error in fitting_bases(self.parameters, targets, weights, anisotropy, powers)
        ]
        if not bases:
            return None
        basis, error = min(bases, key=itemgetter(1))
        return PolynomialFeatures(basis, amplitude, error)


def fitting_bases(
    parameters: Array, targets: Array, row_weights: Array, anisotropy: tuple[float, ...], powers: tuple[float, ...]
) -> list[tuple[PolynomialBasis, float]]:
    """The bases of all degrees whose number of terms fits the samples, with their leave-one-out errors."""
    n = len(parameters)
    fewest, most = FEWEST * min(n, TERMS_LIMIT / MOST), min(MOST * n, TERMS_LIMIT)
    largest = _largest_basis(parameters, anisotropy, powers, most)
    errors = leave_one_out_errors(largest, parameters, targets, row_weights)
    bases = [(replace(largest, degree=degree), error) for degree, error in errors.items()]
    return [(basis, error) for basis, error in bases if basis.n_terms > 0 and basis.n_terms + 1 >= fewest]


def leave_one_out_errors(
    basis: PolynomialBasis, parameters: Array, targets: Array, row_weights: Array
) -> dict[float, float]:
    """Root-mean-square weighted leave-one-out error for every degree up to that of the basis, the constant included."""
    terms = basis(torch.from_numpy(parameters)).numpy()
    scale = row_weights[:, None]
    orthonormal, _ = np.linalg.qr(np.concatenate([np.ones((len(terms), 1)), terms], 1) * scale)
    levels = np.round(basis.exponents @ np.array(basis.weights), 6)
    residual, leverage, errors, done = targets * scale, np.zeros(len(terms)), {}, 0
    for level in [0.0, *np.unique(levels)]:
        end = 1 + int((levels <= level).sum())
        block = orthonormal[:, done:end]
        residual = residual - block @ (block.T @ residual)
        leverage, done = leverage + (block**2).sum(1), end
        squares = (residual**2).sum(1) / (1 - np.minimum(leverage, FULL_LEVERAGE)) ** 2
        errors[float(level)] = math.inf if leverage.max() >= FULL_LEVERAGE else math.sqrt(float(squares.mean()))
    return errors


def fit_amplitude(parameters: Array, norms: Array, powers: tuple[float, ...]) -> Amplitude | None:
    """exp of a cubic fitted to the logarithm of the norms; None where a norm is zero or samples are too few."""
    basis = PolynomialBasis(*_bounds(parameters), (1.0,) * parameters.shape[1], AMPLITUDE_DEGREE, powers)
    if not norms.all() or 5 * (basis.n_terms + 1) > len(parameters):
        return None
    columns = np.concatenate([np.ones((len(parameters), 1)), basis(torch.from_numpy(parameters)).numpy()], 1)
    return Amplitude(basis, tuple(np.linalg.lstsq(columns, np.log(norms), rcond=None)[0].tolist()))


def _bounds(parameters: Array) -> tuple[tuple[float, ...], tuple[float, ...]]:
    return tuple(parameters.min(0).tolist()), tuple(parameters.max(0).tolist())


def _anisotropies(n_parameters: int) -> list[tuple[float, ...]]:
    """All parameters alike, and every proper subset of them held to fewer degrees."""
    subsets = [s for size in range(1, n_parameters) for s in itertools.combinations(range(n_parameters), size)]
    return [(1.0,) * n_parameters] + [
        tuple(factor if j in subset else 1.0 for j in range(n_parameters))
        for factor in ANISOTROPIES
        for subset in subsets
    ]


def _largest_basis(
    parameters: Array, anisotropy: tuple[float, ...], powers: tuple[float, ...], most: float
) -> PolynomialBasis:
    basis = PolynomialBasis(*_bounds(parameters), anisotropy, 0.0, powers)
    while True:
        # Halves: the anisotropies are multiples of one half.
        larger = replace(basis, degree=basis.degree + 0.5)
        if larger.n_terms + 1 > most:
            return basis
        basis = larger
