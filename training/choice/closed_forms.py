"""Contenders whose last layer and leave-one-out error are closed forms: sparse polynomials, kernels, both in one layer.

A polynomial captures what is global, kernels what is left, so the first terms of the polynomial's path stand beside the
kernels (`SHARES` of the samples). Every contender is fitted on all samples, and once for every fold on the others: terms
are chosen anew there and hyperparameters moved by a few iterations, or its error would look several times too good.

Derivatives of samples are further rows, for polynomials of a least-squares problem with values and derivatives (Hermite least
squares), for kernels of a joint covariance. Wrong ones would spoil both: fits to values alone compete with them, and what the
first of a kind loses, the others of its kind leave out.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from gnvpro.surrogate.elimination.least_squares import left_out_together
from gnvpro.surrogate.elimination.ridge_path import FULL_LEVERAGE
from gnvpro.surrogate.networks.concatenated import ConcatenatedNetwork
from gnvpro.surrogate.networks.kernel_tangents import KernelTangents
from gnvpro.surrogate.networks.kernels import KernelFeatures
from gnvpro.surrogate.networks.none import NoFeatures
from gnvpro.surrogate.networks.protocol import FeatureNetwork
from gnvpro.surrogate.spaces import Array
from gnvpro.training.choice.contenders import Contender, Member, Problem
from gnvpro.training.choice.kernel_fits import (
    Columns,
    KernelFit,
    fit_hyperparameters,
    solve_at_centres,
    solve_kernel,
)
from gnvpro.training.choice.partial_fits import fit_known
from gnvpro.training.choice.sparse_fits import Exponents, TermChoice, choose_terms
from gnvpro.training.choice.terms import TermFamilies, Terms

KERNELS = ("gaussian", "matern52")
# Polynomial terms beside kernels, of the samples.
SHARES = (0.0, 0.1, 0.3)
# Every iteration on the likelihood costs the cube of the samples: many on few of them, few on all.
FIRST_SAMPLES, FIRST_ITERATIONS = 300, 60
_ITERATIONS = ((1000, 8), (2000, 2))  # up to so many samples, so many on all of them
_FOLD_ITERATIONS = ((400, 6),)
# Of inputs and targets, both of about unit size.
_GRID = 2.0**-33
# More samples than this share a subset of centres.
MOST_CENTRES, CENTRES = 2000, 1000
# Of a kernel, values and derivatives together: as many directions as fit are taken, of few samples all.
MOST_ROWS = 1500


def closed_forms(
    problem: Problem,
    wanted: Literal["auto", "kernel", "polynomial"],
    *,
    kernels: Sequence[str] = KERNELS,
    anew: bool = False,
) -> Iterator[Contender]:
    """The sparse polynomial, then kernels alone and beside its terms; of one kind where that is wanted.

    With `anew`, hyperparameters are fitted from nothing in every fold: noise in few samples misleads those of all.
    """
    families = TermFamilies.of(problem.inputs, problem.normal)
    fits = [_Fits(problem, families, anew, r) for r in sorted({0, problem.n_directions}, reverse=True)]
    if wanted != "kernel":
        for fit in fits:
            yield fit.polynomial()
    if wanted == "polynomial":
        return
    most = min(problem.n_directions, MOST_ROWS // len(problem.inputs) - 1)
    if 0 < most < problem.n_directions:
        fits[0] = _Fits(problem, families, anew, most)
    elif most <= 0:
        fits = fits[-1:]
    for kernel in kernels:
        for share in fits[0].shares():
            contenders = [fit.kernel(kernel, share) for fit in fits]
            yield from contenders
            if len(contenders) > 1:
                errors = [problem.error(contender.left_out) for contender in contenders]
                fits = [fits[int(np.argmin(errors))]]


class _Fits:
    """Fits to the values and the first `n_directions` derivatives of every sample.

    Rows are those of `gnvpro.surrogate.networks.tangents`: a sample's value, then its derivatives. All of the problem's are
    predicted when a sample is left out, whether they are fitted to or not.
    """

    def __init__(self, problem: Problem, families: TermFamilies, anew: bool, n_directions: int = 0) -> None:
        # Rounding of another unit, amplified by kernels that are dependent to ten digits, would end at other models. The
        # coefficients of polynomials alone amplify nothing.
        self._exact, self._n_directions = problem, n_directions
        of_grid = ("inputs", "targets", "slopes", "directions")
        on_grid = {name: _on_grid(values) for name in of_grid if (values := getattr(problem, name)) is not None}
        problem = replace(problem, **on_grid)
        self._problem, self._families, self._anew = problem, families, anew
        self._terms = Terms(families, problem.inputs, problem.directions)
        self._targets, self._weights = self._fitted_to(_rows(problem.targets, problem.slopes)), problem.weights
        if problem.slope_weights is not None:
            weights = _rows(problem.weights, problem.weights[:, None] * problem.slope_weights)
            self._weights = self._fitted_to(weights)
        self._fold_of_rows = np.repeat(problem.folds, 1 + n_directions)
        self._inputs = problem.inputs * math.sqrt(problem.inputs.shape[1])
        self._known = self._targets if problem.absent is None else problem.known  # gaps are in values alone
        variance = ((problem.targets * problem.weights[:, None]) ** 2).sum(0)
        self._importance = variance / variance.sum() if variance.any() else np.full(len(variance), 1 / len(variance))
        active = np.flatnonzero(families.varies)

        def design(exponents: Exponents) -> Array:
            return self._fitted_to(self._terms(_widened(exponents, active, problem.inputs.shape[1])))

        chosen = choose_terms(
            design, len(active), self._targets, self._weights, self._fold_of_rows, problem.least_known
        )
        candidates = _widened(chosen.candidates, active, problem.inputs.shape[1])
        self.choice = TermChoice(candidates, chosen.in_folds, chosen.in_all, chosen.degree, chosen.norm)
        columns, rows = self._fitted_to(self._terms(candidates)), self._fold_of_rows
        self._path = self._order(columns, np.ones(len(rows), bool), self.choice.in_all)
        self._paths = [self._order(columns, rows != fold, self.choice.in_folds) for fold in self._folds]

    @property
    def _folds(self) -> range:
        return range(self._problem.n_folds)

    def _fitted_to(self, rows: Array) -> Array:
        """Of all rows (n (1 + r), …) those that are fitted to."""
        if self._n_directions == self._problem.n_directions:
            return rows
        grouped = rows.reshape(len(self._problem.inputs), -1, *rows.shape[1:])
        return grouped[:, : 1 + self._n_directions].reshape(-1, *rows.shape[1:])

    def _order(self, columns: Array, rows: NDArray[np.bool_], n_terms: int) -> Exponents:
        return self.choice.path(columns[rows], self._targets[rows], self._weights[rows], n_terms)

    def _contender(
        self,
        described: dict[str, Any],
        left_out: Array,
        close: Array,
        network: FeatureNetwork,
        theta: Any,
        outer: Array,
    ) -> Contender:
        """From residuals of all rows left out, those of the rows fitted to that are `close`, and coefficients."""
        n, r = len(self._problem.inputs), self._problem.n_directions
        member = Member(network, theta, self._outer(outer))
        close = close[:: 1 + self._n_directions]
        if not r:
            return Contender(described, left_out, close, member)
        grouped = left_out.reshape(n, 1 + r, -1)
        described["directions"] = self._n_directions
        return Contender(described, grouped[:, 0], close, member, slopes_left_out=grouped[:, 1:])

    def polynomial(self) -> Contender:
        """Least squares on the terms of the path."""
        exact, weights = _rows(self._exact.targets, self._exact.slopes), self._weights[:, None]
        targets = self._fitted_to(exact)
        weighted = targets * weights
        every = self._fitted_to(self._terms(self._path))
        columns = every * weights
        if self._problem.absent is not None:
            weighted = self._exact.known * weights
            coefficients, close = fit_known(columns, weighted)
            close = close / weights
        elif self._n_directions:
            orthonormal, _ = np.linalg.qr(columns)
            coefficients = np.linalg.lstsq(columns, weighted, rcond=None)[0]
            basis, residuals = (torch.from_numpy(rows) for rows in (orthonormal, weighted - columns @ coefficients))
            close = left_out_together(basis, residuals, 1 + self._n_directions).numpy() / weights
        else:
            orthonormal, _ = np.linalg.qr(columns)
            coefficients = np.linalg.lstsq(columns, weighted, rcond=None)[0]
            leverage = np.minimum((orthonormal**2).sum(1), FULL_LEVERAGE)
            close = (targets - every @ coefficients) / (1 - leverage)[:, None]
        left_out = np.full_like(exact, np.nan)
        for fold, path in zip(self._folds, self._paths, strict=True):
            seen, out = self._fold_of_rows != fold, self._out(fold)
            terms = self._terms(path)
            columns = self._fitted_to(terms)[seen] * weights[seen]
            if self._problem.absent is not None:
                fitted = fit_known(columns, weighted[seen]).coefficients
            else:
                fitted = np.linalg.lstsq(columns, weighted[seen], rcond=None)[0]
            left_out[out] = exact[out] - terms[out] @ fitted
        problem = self._problem
        network: FeatureNetwork = NoFeatures(problem.inputs.shape[1])  # of the constant alone, for what does not vary
        if self._path.any():
            network = self._families.network(self._path)
        described = {
            "kind": "polynomial",
            "terms": len(self._path),
            "degree": self.choice.degree,
            "norm": self.choice.norm,
        }
        outer = _bias_last(self._path, coefficients)
        return self._contender(described, left_out, close, network, network.initial(0), outer)

    def _out(self, fold: int) -> NDArray[np.bool_]:
        """Of all rows those of the samples that a fold leaves out."""
        return np.repeat(self._problem.folds == fold, 1 + self._problem.n_directions)

    def shares(self) -> list[float]:
        """Those of `SHARES` that differ in the terms that they take of the path."""
        counts = [len(self._beside(self._path, share, len(self._targets))) for share in SHARES]
        return [share for j, share in enumerate(SHARES) if counts[j] not in counts[:j]]

    def kernel(self, kernel: str, share: float) -> Contender:
        """Kernels at the samples beside the first terms of the path."""
        problem, unit = self._problem, math.sqrt(self._problem.inputs.shape[1])
        path = self._beside(self._path, share, len(self._targets))
        fit = self._fitted(kernel, self._terms(path), slice(None))
        targets = _rows(problem.targets, problem.slopes)
        left_out = np.full_like(targets, np.nan)
        for fold, in_fold in zip(self._folds, self._paths, strict=True):
            out, rows = problem.folds == fold, self._out(fold)
            terms = self._terms(self._beside(in_fold, share, int((self._fold_of_rows != fold).sum())))
            fitted = self._fitted(kernel, terms, ~out, None if self._anew else fit.logarithms)
            along = None if problem.directions is None else problem.directions[out] * unit
            left_out[rows] = targets[rows] - fitted.predict(self._inputs[out], terms[rows], along)
        lengths = np.log(fit.length_scales) - 0.5 * math.log(problem.inputs.shape[1])
        centres, size = fit.centres / unit, (problem.inputs.shape[1], len(fit.centres), kernel)
        kernels: FeatureNetwork = KernelFeatures(*size)
        theta = np.concatenate([lengths, centres.ravel()])
        if fit.directions is not None:
            kernels = KernelTangents(*size, self._n_directions)
            theta = np.concatenate([theta, fit.directions.ravel() / unit])
        network: FeatureNetwork = kernels
        if len(path) > 1:
            network = ConcatenatedNetwork((kernels, self._families.network(path)))
        outer = np.concatenate([fit.coefficients, _bias_last(path, fit.fixed_coefficients)])
        described: dict[str, Any] = {"kind": kernel, "centres": len(centres), "terms": len(path) - 1}
        return self._contender(described, left_out, fit.left_out, network, torch.from_numpy(theta), outer)

    def _fitted(self, kernel: str, fixed: Array, rows: Any, start: Array | None = None) -> KernelFit:
        """On these samples, beside the columns (n, m) of all; from where another fit ended only a few iterations further."""
        directions, r = self._problem.directions, self._n_directions
        along = None if directions is None or not r else directions[:, :r] * math.sqrt(directions.shape[2])
        fixed, noise = self._fitted_to(fixed), 1 / self._weights**2
        columns = Columns(self._inputs, self._known, fixed, noise, self._importance, along).rows(rows)
        n = len(columns.targets)
        if start is None:
            first = columns.rows(slice(0, FIRST_SAMPLES // (1 + r)))
            logarithms = fit_hyperparameters(first, kernel, FIRST_ITERATIONS)
            iterations = _iterations(n, _ITERATIONS) if n > FIRST_SAMPLES else 0
        else:
            logarithms, iterations = start, _iterations(n, _FOLD_ITERATIONS)
        logarithms = fit_hyperparameters(columns, kernel, iterations, logarithms)
        if n > MOST_CENTRES:
            return solve_at_centres(columns, kernel, logarithms, columns.inputs[:CENTRES])
        return solve_kernel(columns, kernel, logarithms)

    def _outer(self, coefficients: Array) -> torch.Tensor:
        """W (n_out, width + 1) from coefficients (width + 1, k) of the rotated targets."""
        return torch.from_numpy(np.ascontiguousarray((coefficients @ self._problem.rotation).T))

    def _beside(self, path: Exponents, share: float, n: int) -> Exponents:
        """The first terms of a path, the constant among them."""
        terms = path[: max(1, int(share * n * self._problem.least_known))]
        return terms if not terms.any(1).all() else np.concatenate([np.zeros_like(path[:1]), terms])


def _bias_last(path: Exponents, coefficients: Array) -> Array:
    """Coefficients in the order of features: terms, then the constant."""
    constant = ~path.any(1)
    return np.concatenate([coefficients[~constant], coefficients[constant].sum(0, keepdims=True)])


def _rows(values: Array, slopes: Array | None) -> Array:
    """Rows (n (1 + r), …): of every sample the value, then the derivatives."""
    if slopes is None:
        return values
    return np.concatenate([values[:, None], slopes], 1).reshape(-1, *values.shape[1:])


def _on_grid(values: Array) -> Array:
    return np.round(values / _GRID) * _GRID


def _widened(exponents: Exponents, active: NDArray[np.intp], n_inputs: int) -> Exponents:
    """Exponents of the active inputs as those of all."""
    wide = np.zeros((len(exponents), n_inputs), dtype=np.int64)
    wide[:, active] = exponents
    return wide


def _iterations(n: int, table: tuple[tuple[int, int], ...]) -> int:
    return next((number for most, number in table if n <= most), 0)
