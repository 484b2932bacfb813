"""Kernels as features: length scales and noise by marginal likelihood, the last layer in closed form.

The mean of a Gaussian process is separable: features k(x, x_j), last layer (K + noise)^-1 C. Beside them W acts on fixed
columns H (the constant, polynomials), whose coefficients are eliminated by generalised least squares (polynomial-chaos
Kriging: Schöbi, Sudret & Wiart 2015). With

    P = K^-1 - K^-1 H (H' K^-1 H)^-1 H' K^-1

the coefficients of the kernels are P C, the residual at a sample left out is (P C)_i / P_ii (Dubrule 1983), and the
restricted likelihood, with the variance of every output at its maximum, needs no more than P and two determinants.
A target that some samples M lack has P_KK - P_KM P_MM^-1 P_MK, K the others, in place of P, and a determinant more, that of
P_MM. Derivatives along directions are further rows of every sample, with the joint covariance of values and derivatives as K;
P_ii is then the block of a sample.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg import get_lapack_funcs, solve_triangular
from scipy.optimize import minimize

from gnvpro.surrogate.elimination.ridge_path import FULL_LEVERAGE
from gnvpro.surrogate.missing import missing_in
from gnvpro.surrogate.networks.kernel_tangents import covariances
from gnvpro.surrogate.networks.kernels import KERNELS
from gnvpro.surrogate.spaces import Array
from gnvpro.training.choice.partial_fits import fit_known, gap_determinants, imputed, of_few_patterns

# Length scales over the root of the number of inputs, in their standard deviations, and noise: where searches start.
_STARTS = ((3.0, 1e-4), (1.0, 1e-2))
# How far the logarithm of a length scale is drawn to the first start: where the data do not determine it, it runs away.
_SPREAD = 3.0
_LEAST_NOISE = 1e-10
_LENGTH_BOUNDS, _NOISE_BOUNDS = (-3.0, 6.0), (-22.0, 2.0)
_MEMORY = 20
# Of targets that lack different samples, so many decide the hyperparameters: each costs a small matrix.
_MOST_PATTERNS = 32
# Of what the process has to explain, of the squares of the targets.
_LEAST_MISFIT = 1e-30
# The likelihood at which a matrix that is not positive definite is rejected.
_REJECTED = 1e10


_potrf, _potri, _potrs = get_lapack_funcs(("potrf", "potri", "potrs"), dtype=np.float64)


class Columns(NamedTuple):
    """What a kernel is fitted to.

    Attributes
    ----------
    inputs : (n, d)
        Of unit spread.
    targets : (n, k)
        NaN where one is missing.
    fixed : (n, m)
        Columns beside the kernels.
    noise : (n,)
        Variance of the noise of every sample, relative to that of the others.
    importance : (k,)
        Of every target in the likelihood; they sum to one.
    directions : (n, r, d)
        Along which targets, fixed columns and noise have rows of derivatives too, 1 + r rows a sample; None for none.
    """

    inputs: Array
    targets: Array
    fixed: Array
    noise: Array
    importance: Array
    directions: Array | None = None

    def rows(self, index: slice | NDArray[np.bool_]) -> Columns:
        """These samples alone."""
        inputs, directions = self.inputs, self.directions

        def of_rows(values: Array) -> Array:
            if directions is None:
                return values[index]
            return values.reshape(len(inputs), -1, *values.shape[1:])[index].reshape(-1, *values.shape[1:])

        targets, fixed, noise = (of_rows(values) for values in (self.targets, self.fixed, self.noise))
        along = None if directions is None else directions[index]
        return Columns(inputs[index], targets, fixed, noise, self.importance, along)


@dataclass(frozen=True, eq=False)
class KernelFit:
    """A kernel with its hyperparameters, centres and last layer.

    Attributes
    ----------
    logarithms : (d + 1,)
        Of the length scales and of the noise, relative to the variance of the process.
    centres : (c, d)
    coefficients, fixed_coefficients : (c, k), (m, k)
        With directions (c, r, d) at the centres there are 1 + r coefficients of each.
    left_out : (n, k)
        Residuals at every sample when it is left out, hyperparameters and fixed columns as they are.
    """

    kernel: str
    logarithms: Array
    centres: Array
    coefficients: Array
    fixed_coefficients: Array
    left_out: Array
    directions: Array | None = None

    @property
    def length_scales(self) -> Array:
        """One for every input, (d,)."""
        return np.exp(self.logarithms[:-1])

    def predict(self, inputs: Array, fixed: Array, directions: Array | None = None) -> Array:
        """Targets (n, k) at inputs (n, d), with the fixed columns (n, m) there; rows of derivatives too along directions."""
        lengths = self.length_scales
        if directions is not None or self.directions is not None:
            scaled = _scaled(lengths, inputs, directions, self.centres, self.directions)
            return covariances(self.kernel, *scaled).numpy() @ self.coefficients + fixed @ self.fixed_coefficients
        kernels, _ = _kernel(squared_distances(inputs / lengths, self.centres / lengths), self.kernel)
        return kernels @ self.coefficients + fixed @ self.fixed_coefficients


def fit_hyperparameters(columns: Columns, kernel: str, iterations: int, start: Array | None = None) -> Array:
    """Logarithms of length scales and noise (d + 1,) by at most so many iterations on the restricted likelihood.

    Without a start from two of them, long length scales with little noise and shorter ones with more: the likelihood may
    have several maxima.
    """
    starts = [_start(columns, *of) for of in _STARTS] if start is None else [start]
    if not iterations:
        return starts[0]
    bounds = [_LENGTH_BOUNDS] * columns.inputs.shape[1] + [_NOISE_BOUNDS]
    options = dict(maxiter=iterations, maxcor=_MEMORY)
    likelihood = _Likelihood(columns, kernel)
    found = [minimize(likelihood, at, jac=True, method="L-BFGS-B", bounds=bounds, options=options) for at in starts]
    return cast(Array, min(found, key=lambda one: one.fun).x)


def solve_kernel(columns: Columns, kernel: str, logarithms: Array) -> KernelFit:
    """The last layer at given hyperparameters, with a kernel at every sample."""
    while (at := _factorised(columns, kernel, logarithms)) is None:
        # Columns that are dependent to rounding; more noise is what tells them apart.
        logarithms = np.append(logarithms[:-1], max(logarithms[-1], math.log(_LEAST_NOISE)) + math.log(10))
    missing, targets, precision = missing_in(columns.targets), columns.targets, np.diag(at.projected)[:, None]
    if missing is not None:
        targets, precision = imputed(at.projected, targets)
    coefficients = at.projected @ targets
    if missing is not None:
        coefficients[missing], precision[missing] = 0.0, 1.0  # no kernel at a sample without the target
    fixed = solve_triangular(
        at.schur.T, solve_triangular(at.schur, columns.fixed.T @ _solve(at.lower, targets), lower=True)
    )
    if columns.directions is None:
        left_out = coefficients / precision
        return KernelFit(kernel, logarithms, columns.inputs, coefficients, fixed, left_out)
    n, group = len(columns.inputs), 1 + columns.directions.shape[1]
    blocks = at.projected.reshape(n, group, n, group)[np.arange(n), :, np.arange(n)]
    left_out = np.linalg.solve(blocks, coefficients.reshape(n, group, -1)).reshape(coefficients.shape)
    return KernelFit(kernel, logarithms, columns.inputs, coefficients, fixed, left_out, columns.directions)


def solve_at_centres(columns: Columns, kernel: str, logarithms: Array, centres: Array) -> KernelFit:
    """The same with fewer kernels than samples, those at the centres (c, d), penalised in their own norm.

    min_a sum_i |K_i a + H_i b - c_i|² / noise_i + a' K_cc a, as least squares; residuals left out are r / (1 - leverage).
    """
    lengths = np.exp(logarithms[:-1])
    scaled = centres / lengths
    weights = 1 / np.sqrt((math.exp(logarithms[-1]) + _LEAST_NOISE) * columns.noise)[:, None]
    among, _ = _kernel(squared_distances(scaled, scaled), kernel)
    among.flat[:: len(among) + 1] += _LEAST_NOISE
    penalty = np.linalg.cholesky(among).T
    kernels, _ = _kernel(squared_distances(columns.inputs / lengths, scaled), kernel)
    c, m = len(centres), columns.fixed.shape[1]
    design = np.concatenate([kernels, columns.fixed], 1) * weights
    if missing_in(columns.targets) is not None:
        fit = fit_known(design, columns.targets * weights, np.concatenate([penalty, np.zeros((c, m))], 1))
        return KernelFit(
            kernel, logarithms, centres, fit.coefficients[:c], fit.coefficients[c:], fit.left_out / weights
        )
    design = np.concatenate([design, np.concatenate([penalty, np.zeros((c, m))], 1)])
    targets = columns.targets * weights
    orthonormal, triangle = np.linalg.qr(design)
    orthonormal = orthonormal[: len(targets)]
    projections = orthonormal.T @ targets
    solution = solve_triangular(triangle, projections)
    leverage = np.minimum((orthonormal**2).sum(1), FULL_LEVERAGE)
    left_out = (targets - orthonormal @ projections) / (weights * (1 - leverage)[:, None])
    return KernelFit(kernel, logarithms, centres, solution[:c], solution[c:], left_out)


def squared_distances(a: Array, b: Array) -> Array:
    """Of every row of a to every row of b."""
    distances = (a * a).sum(1)[:, None] + (b * b).sum(1) - 2 * a @ b.T
    return np.maximum(distances, 0, out=distances)


def _kernel(squares: Array, kernel: str) -> tuple[Array, Array]:
    """Kernels of squared distances, and -2 times their derivatives by these."""
    values, slopes = (function(torch.from_numpy(squares)).numpy() for function in KERNELS[kernel])
    return values, -2 * slopes


class _Factorised(NamedTuple):
    """Everything that depends on the hyperparameters: the factor of K, that of H'K^-1 H, and P.

    `by_lengths` is the derivative by the logarithms of the length scales of a function with this derivative by K.
    """

    lower: Array
    schur: Array
    projected: Array
    by_lengths: Callable[[Array], Array]


def _factorised(columns: Columns, kernel: str, logarithms: Array) -> _Factorised | None:
    """None where a matrix is not positive definite to rounding."""
    matrix, by_lengths = _covariance(columns, kernel, logarithms)
    lower, fails = _potrf(matrix, lower=1, clean=1)
    if fails:
        return None
    inverse, fails = _potri(lower, lower=1)
    if fails:
        return None
    inverse = np.tril(inverse) + np.tril(inverse, -1).T
    solved = inverse @ columns.fixed
    schur, fails = _potrf(columns.fixed.T @ solved, lower=1, clean=1)
    if fails:
        return None
    half = solve_triangular(schur, solved.T, lower=True)
    return _Factorised(lower, schur, inverse - half.T @ half, by_lengths)


def _covariance(columns: Columns, kernel: str, logarithms: Array) -> tuple[Array, Callable[[Array], Array]]:
    """K with the noise, and `_Factorised.by_lengths`."""
    noise = (math.exp(logarithms[-1]) + _LEAST_NOISE) * columns.noise
    if columns.directions is None:
        n, scaled = len(columns.inputs), columns.inputs / np.exp(logarithms[:-1])
        matrix, slopes = _kernel(squared_distances(scaled, scaled), kernel)
        matrix.flat[:: n + 1] = 1 + noise

        def by_lengths(by_matrix: Array) -> Array:
            # The derivative of K by a length scale is `slopes` times squared differences of one input.
            seeds = by_matrix * slopes
            return 2 * (seeds.sum(1) @ scaled**2 - (scaled * (seeds @ scaled)).sum(0))

        return matrix, by_lengths
    at = torch.tensor(logarithms[:-1], requires_grad=True)
    with torch.enable_grad():
        points = _scaled(torch.exp(at), columns.inputs, columns.directions)
        joint = covariances(kernel, *points, *points)
    matrix = joint.detach().numpy().copy()
    # A direction of zeros knows nothing: its row is independent of all others.
    known = np.append(np.ones((len(columns.inputs), 1), bool), columns.directions.any(2), axis=1).ravel()
    matrix.flat[:: len(matrix) + 1] += noise + ~known

    def pulled_back(by_matrix: Array) -> Array:
        return torch.autograd.grad(joint, at, torch.from_numpy(by_matrix))[0].numpy()

    return matrix, pulled_back


def _scaled(lengths: Array | torch.Tensor, *parts: Array | None) -> list[torch.Tensor]:
    """Points (n, d) and their directions (n, r, d), in turns, over the length scales; no directions where they are None."""
    lengths, scaled = torch.as_tensor(lengths), list[torch.Tensor]()
    for points, directions in zip(parts[::2], parts[1::2], strict=True):
        assert points is not None
        along = np.zeros((len(points), 0, points.shape[1])) if directions is None else directions
        scaled += [torch.from_numpy(points) / lengths, torch.from_numpy(along) / lengths]
    return scaled


class _Likelihood:
    """Minus the logarithm of the restricted likelihood, with the prior of the length scales, and its gradient."""

    def __init__(self, columns: Columns, kernel: str) -> None:
        self._columns, self._kernel, self._centre = columns, kernel, _start(columns, *_STARTS[0])[0]
        self._missing = missing_in(columns.targets)
        importance = columns.importance
        if self._missing is not None:
            importance = of_few_patterns(self._missing, importance, _MOST_PATTERNS)
        self._importance = importance

    def __call__(self, logarithms: Array) -> tuple[float, Array]:
        columns, at = self._columns, _factorised(self._columns, self._kernel, logarithms)
        if at is None:
            return _REJECTED, np.zeros_like(logarithms)
        targets, importance, by_gaps, of_gaps = columns.targets, self._importance, 0.0, 0.0
        n_free: Any = len(targets) - columns.fixed.shape[1]
        if self._missing is not None:
            targets, _ = imputed(at.projected, targets)
            of_gaps, by_gaps = gap_determinants(at.projected, self._missing, importance)
            n_free = np.maximum(n_free - self._missing.sum(0), 1)
        coefficients = at.projected @ targets
        # Of targets that the fixed columns give to rounding nothing is left: a floor far below what matters.
        least = _LEAST_MISFIT * (targets**2).sum(0) + np.finfo(float).tiny
        misfits = np.maximum((targets * coefficients).sum(0), least)
        pulls = (logarithms[:-1] - self._centre) / _SPREAD
        logarithm = (
            n_free * (importance @ np.log(misfits / n_free))
            if self._missing is None
            else (importance * n_free) @ np.log(misfits / n_free) + of_gaps
        )
        value = (
            0.5 * logarithm + np.log(np.diag(at.lower)).sum() + np.log(np.diag(at.schur)).sum() + 0.5 * (pulls**2).sum()
        )
        if self._missing is None:
            by_matrix = 0.5 * (at.projected - n_free * (coefficients * (importance / misfits)) @ coefficients.T)
        else:
            weighted = coefficients * (importance * n_free / misfits)
            by_matrix = 0.5 * (at.projected - by_gaps - weighted @ coefficients.T)
        by_noise = math.exp(logarithms[-1]) * (np.diag(by_matrix) @ columns.noise)
        return float(value), np.append(at.by_lengths(by_matrix) + pulls / _SPREAD, by_noise)


def _start(columns: Columns, length: float, noise: float) -> Array:
    d = columns.inputs.shape[1]
    return np.append(np.full(d, math.log(length * math.sqrt(d))), math.log(noise))


def _solve(lower: Array, right: Array) -> Array:
    return _potrs(lower, right, lower=1)[0]
