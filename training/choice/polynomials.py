"""Choosing a polynomial basis by leave-one-out, in closed form.

For weighted least squares with orthonormal Q of the columns, leaving sample i out changes its residual from r_i to
r_i / (1 - h_i), h_i = ||row i of Q||² (the PRESS residual): every basis is judged by one factorisation and without
validation data. Bases of one anisotropy are nested, so a single QR serves all of their degrees. A sample with derivatives is
left out with all of its rows, (I - H_s)^-1 r_s with the block H_s of Q Q', and determines as many more terms.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from operator import itemgetter
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from gnvpro.surrogate.elimination.ridge_path import FULL_LEVERAGE
from gnvpro.surrogate.networks.polynomials import Amplitude, PolynomialBasis
from gnvpro.surrogate.rounding import spread_or_size, varies
from gnvpro.surrogate.samples import Samples
from gnvpro.surrogate.spaces import Array
from gnvpro.training.choice.filling import filled
from gnvpro.training.fitting.preparation import Preparation

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
# Of derivatives of polynomials: far below rounding of what is stepped from.
STEP = 2.0**-100
# Directions of the targets below this fraction of the largest do not enter the choice.
# Modes of a field beyond this share, in the root mean square, decide no powers.
_DECIDING = 1e-3
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


class Slopes(NamedTuple):
    """Derivatives (n, r, n_out) of observables along directions (n, r, n_parameters), none of them unknown.

    Directions are of the length at which a derivative counts like a value.
    """

    directions: Array
    derivatives: Array

    @classmethod
    def of(cls, parameters: Array, directions: Array | None, derivatives: Array | None) -> Slopes | None:
        """From directions of any length; None where there are none, or where one is not known."""
        if directions is None or derivatives is None:
            return None
        lengths = np.linalg.norm(directions / spread_or_size(parameters, parameters.std(0)), axis=2, keepdims=True)
        if not (lengths > 0).all():
            return None
        factors = math.sqrt(parameters.shape[1]) / lengths
        return cls(directions * factors, derivatives * factors)


def choose_polynomials(
    parameters: Array, anomalous: Array, row_weights: Array, slopes: Slopes | None = None
) -> PolynomialFeatures | None:
    """The basis of least leave-one-out error, with an amplitude where that lowers it.

    Anisotropy and degree are searched in full, powers of the parameters one after the other before. None where no basis
    fits: too few samples, too many parameters, a parameter that does not vary, or observables that are zero throughout.

    Parameters
    ----------
    anomalous : (n, n_out)
        Observables less the background.
    row_weights : (n,)
        Of the samples in the error, in the unit of the observables: 1 / ||anomalous|| when the error is relative.
    slopes
        Derivatives of the observables.
    """
    n_parameters = parameters.shape[1]
    if (
        n_parameters > MAX_PARAMETERS
        or len(parameters) < FEWEST_SAMPLES
        or not varies(parameters).all()
        or not anomalous.any()
    ):
        return None
    powers = _choose_powers(_Search(parameters, anomalous, row_weights, SAMPLES_FOR_POWERS, slopes))
    search = _Search(parameters, anomalous, row_weights, SAMPLES_LIMIT, slopes)
    return search.best(powers, search.prefers_amplitude(powers))


def polynomials_for(prepared: Preparation, samples: Samples) -> PolynomialFeatures | None:
    """`choose_polynomials` for samples as their training is prepared, with their derivatives."""
    derivatives = None if samples.derivatives is None else prepared.scaled(samples.derivatives)
    anomalous, weights = prepared.scaled(samples.anomalous), prepared.row_weights(samples)
    if samples.missing is not None:  # of a basis that all outputs share
        inputs = (samples.parameters - samples.parameters.mean(0)) / spread_or_size(
            samples.parameters, samples.parameters.std(0)
        )
        anomalous = filled(inputs / math.sqrt(inputs.shape[1]), anomalous, weights)
    if samples.modes is not None:  # by their share: what is beyond the first decides no power
        shares = ((anomalous * weights[:, None]) ** 2).sum(axis=0)
        first = int(np.argmax(shares[::-1].cumsum()[::-1] - shares <= _DECIDING**2 * shares.sum())) + 1
        anomalous, derivatives = anomalous[:, :first], None if derivatives is None else derivatives[..., :first]
    slopes = Slopes.of(samples.parameters, samples.directions, derivatives)
    return choose_polynomials(samples.parameters, anomalous, weights, slopes)


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

    def __init__(
        self, parameters: Array, anomalous: Array, row_weights: Array, limit: int, slopes: Slopes | None = None
    ) -> None:
        if slopes is not None:
            limit //= 1 + slopes.directions.shape[1]
        self.parameters, anomalous, row_weights = (x[:limit] for x in (parameters, anomalous, row_weights))
        self._norms = np.linalg.norm(anomalous, axis=1)
        left, singular, right = np.linalg.svd(anomalous, full_matrices=False)
        keep = singular > _COMPRESSION * singular[0]
        self._targets, self._slopes = left[:, keep] * singular[keep], None
        if slopes is not None:
            self._slopes = Slopes(slopes.directions[:limit], slopes.derivatives[:limit] @ right[keep].T)
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
        targets, weights, slopes = self._targets / size[:, None], self._row_weights * size, self._slopes
        if slopes is not None and amplitude is not None:
            relative = _along(amplitude.bind, self.parameters, slopes.directions) / size[:, None, None]
            derivatives = slopes.derivatives / size[:, None, None] - targets[:, None] * relative
            slopes = Slopes(slopes.directions, derivatives)
        bases = [
            basis_and_error
            for anisotropy in _anisotropies(len(powers))
            for basis_and_error in fitting_bases(self.parameters, targets, weights, anisotropy, powers, slopes)
        ]
        if not bases:
            return None
        basis, error = min(bases, key=itemgetter(1))
        return PolynomialFeatures(basis, amplitude, error)


def _along(bind: Callable[..., Callable[[Tensor], Tensor]], parameters: Array, directions: Array) -> Array:
    """Derivatives (n, r, m) of what is bound, along directions (n, r, d), by a complex step: exact to rounding."""
    at = torch.from_numpy(np.repeat(parameters[:, None], directions.shape[1], 1).reshape(-1, parameters.shape[1]))
    stepped = torch.complex(at, torch.from_numpy(directions.reshape(at.shape)) * STEP)
    values = bind(dtype=stepped.dtype)(stepped).imag.numpy() / STEP
    return values.reshape(*directions.shape[:2], -1)


def fitting_bases(
    parameters: Array,
    targets: Array,
    row_weights: Array,
    anisotropy: tuple[float, ...],
    powers: tuple[float, ...],
    slopes: Slopes | None = None,
) -> list[tuple[PolynomialBasis, float]]:
    """The bases of all degrees whose number of terms fits the samples, with their leave-one-out errors."""
    n = len(parameters) * (1 if slopes is None else 1 + slopes.directions.shape[1])
    fewest, most = FEWEST * min(n, TERMS_LIMIT / MOST), min(MOST * n, TERMS_LIMIT)
    largest = _largest_basis(parameters, anisotropy, powers, most)
    errors = leave_one_out_errors(largest, parameters, targets, row_weights, slopes)
    bases = [(replace(largest, degree=degree), error) for degree, error in errors.items()]
    return [(basis, error) for basis, error in bases if basis.n_terms > 0 and basis.n_terms + 1 >= fewest]


def leave_one_out_errors(
    basis: PolynomialBasis, parameters: Array, targets: Array, row_weights: Array, slopes: Slopes | None = None
) -> dict[float, float]:
    """Root-mean-square weighted leave-one-out error for every degree up to that of the basis, the constant included.

    It is that of the values, with derivatives too.
    """
    terms = basis(torch.from_numpy(parameters)).numpy()
    scale, columns = row_weights[:, None], np.concatenate([np.ones((len(terms), 1)), terms], 1)
    if slopes is not None:
        n, r, _ = slopes.directions.shape
        tangents = _along(basis.bind, parameters, slopes.directions)
        tangents = np.concatenate([np.zeros((n, r, 1)), tangents], 2)
        columns = np.concatenate([columns[:, None], tangents], 1).reshape(n * (1 + r), -1)
        targets = np.concatenate([targets[:, None], slopes.derivatives], 1).reshape(n * (1 + r), -1)
        relative = np.append(1.0, np.full(r, 1 / math.sqrt(r)))
        scale = (row_weights[:, None] * relative).reshape(-1, 1)
    orthonormal, _ = np.linalg.qr(columns * scale)
    levels = np.round(basis.exponents @ np.array(basis.weights), 6)
    residual, leverage, errors, done = targets * scale, np.zeros(len(columns)), {}, 0
    group = len(columns) // len(parameters)
    # I - H of every sample's rows; what is just above zero stands for full leverage.
    free = np.repeat((2 - FULL_LEVERAGE) * np.eye(group)[None], len(parameters), axis=0)
    for level in [0.0, *np.unique(levels)]:
        end = 1 + int((levels <= level).sum())
        block = orthonormal[:, done:end]
        residual = residual - block @ (block.T @ residual)
        done = end
        if slopes is not None:
            by_sample = block.reshape(len(free), free.shape[1], -1)
            free -= by_sample @ by_sample.transpose(0, 2, 1)
            # Of the inverse the value's row alone.
            first = np.linalg.solve(free, np.eye(free.shape[1])[:, :1])
            out = (first * residual.reshape(*first.shape[:2], -1)).sum(1)
            errors[float(level)] = math.sqrt(float((out**2).sum(1).mean()))
            continue
        leverage = leverage + (block**2).sum(1)
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
