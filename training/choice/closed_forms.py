"""Contenders whose last layer and leave-one-out error are closed forms: sparse polynomials, kernels, both in one layer.

A polynomial captures what is global, kernels what is left, so the first terms of the polynomial's path stand beside the
kernels (`SHARES` of the samples). Every contender is fitted on all samples, and once for every fold on the others: terms
are chosen anew there and hyperparameters moved by a few iterations, or its error would look several times too good.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from gnvpro.surrogate.elimination.ridge_path import FULL_LEVERAGE
from gnvpro.surrogate.networks.concatenated import ConcatenatedNetwork
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
    fits = _Fits(problem, TermFamilies.of(problem.inputs), anew)
    if wanted != "kernel":
        yield fits.polynomial()
    if wanted == "polynomial":
        return
    for kernel, share in itertools.product(kernels, fits.shares()):
        yield fits.kernel(kernel, share)


class _Fits:
    def __init__(self, problem: Problem, families: TermFamilies, anew: bool) -> None:
        # Rounding of another unit, amplified by kernels that are dependent to ten digits, would end at other models. The
        # coefficients of polynomials alone amplify nothing.
        self._exact = problem.targets
        problem = replace(problem, inputs=_on_grid(problem.inputs), targets=_on_grid(problem.targets))
        self._problem, self._families, self._anew = problem, families, anew
        self._terms = Terms(families, problem.inputs)
        self._inputs = problem.inputs * math.sqrt(problem.inputs.shape[1])
        variance = ((problem.targets * problem.weights[:, None]) ** 2).sum(0)
        self._importance = variance / variance.sum() if variance.any() else np.full(len(variance), 1 / len(variance))
        active = np.flatnonzero(families.varies)

        def design(exponents: Exponents) -> Array:
            return self._terms(_widened(exponents, active, problem.inputs.shape[1]))

        chosen = choose_terms(design, len(active), problem.targets, problem.weights, problem.folds)
        candidates = _widened(chosen.candidates, active, problem.inputs.shape[1])
        self.choice = TermChoice(candidates, chosen.in_folds, chosen.in_all, chosen.degree, chosen.norm)
        columns, everything = self._terms(candidates), np.ones(len(problem.targets), bool)
        self._path = self._order(columns, everything, self.choice.in_all)
        self._paths = [self._order(columns, problem.folds != fold, self.choice.in_folds) for fold in self._folds]

    @property
    def _folds(self) -> range:
        return range(self._problem.n_folds)

    def _order(self, columns: Array, rows: NDArray[np.bool_], n_terms: int) -> Exponents:
        problem = self._problem
        return self.choice.path(columns[rows], problem.targets[rows], problem.weights[rows], n_terms)

    def polynomial(self) -> Contender:
        """Least squares on the terms of the path."""
        problem = replace(self._problem, targets=self._exact)
        weighted = problem.targets * problem.weights[:, None]
        every = self._terms(self._path)
        columns = every * problem.weights[:, None]
        orthonormal, _ = np.linalg.qr(columns)
        coefficients = np.linalg.lstsq(columns, weighted, rcond=None)[0]
        leverage = np.minimum((orthonormal**2).sum(1), FULL_LEVERAGE)
        close = (problem.targets - every @ coefficients) / (1 - leverage)[:, None]
        left_out = np.full_like(problem.targets, np.nan)
        for fold, path in zip(self._folds, self._paths, strict=True):
            out = problem.folds == fold
            terms = self._terms(path)
            fitted = np.linalg.lstsq(terms[~out] * problem.weights[~out, None], weighted[~out], rcond=None)[0]
            left_out[out] = problem.targets[out] - terms[out] @ fitted
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
        return Contender(described, left_out, close, Member(network, network.initial(0), self._outer(outer)))

    def shares(self) -> list[float]:
        """Those of `SHARES` that differ in the terms that they take of the path."""
        counts = [len(self._beside(self._path, share, len(self._problem.targets))) for share in SHARES]
        return [share for j, share in enumerate(SHARES) if counts[j] not in counts[:j]]

    def kernel(self, kernel: str, share: float) -> Contender:
        """Kernels at the samples beside the first terms of the path."""
        problem = self._problem
        path = self._beside(self._path, share, len(problem.targets))
        fit = self._fitted(kernel, self._terms(path), slice(None))
        left_out = np.full_like(problem.targets, np.nan)
        for fold, in_fold in zip(self._folds, self._paths, strict=True):
            out = problem.folds == fold
            terms = self._terms(self._beside(in_fold, share, int((~out).sum())))
            fitted = self._fitted(kernel, terms, ~out, None if self._anew else fit.logarithms)
            left_out[out] = problem.targets[out] - fitted.predict(self._inputs[out], terms[out])
        lengths = np.log(fit.length_scales) - 0.5 * math.log(problem.inputs.shape[1])
        centres = fit.centres / math.sqrt(problem.inputs.shape[1])
        kernels = KernelFeatures(problem.inputs.shape[1], len(centres), kernel)
        theta = torch.from_numpy(np.concatenate([lengths, centres.ravel()]))
        network: FeatureNetwork = kernels
        if len(path) > 1:
            network = ConcatenatedNetwork((kernels, self._families.network(path)))
        outer = np.concatenate([fit.coefficients, _bias_last(path, fit.fixed_coefficients)])
        described: dict[str, Any] = {"kind": kernel, "centres": len(centres), "terms": len(path) - 1}
        return Contender(described, left_out, fit.left_out, Member(network, theta, self._outer(outer)))

    def _fitted(self, kernel: str, fixed: Array, rows: Any, start: Array | None = None) -> KernelFit:
        """On these samples, beside the columns (n, m) of all; from where another fit ended only a few iterations further."""
        problem = self._problem
        noise = 1 / problem.weights**2
        columns = Columns(self._inputs, problem.targets, fixed, noise, self._importance).rows(rows)
        n = len(columns.inputs)
        if start is None:
            logarithms = fit_hyperparameters(columns.rows(slice(0, FIRST_SAMPLES)), kernel, FIRST_ITERATIONS)
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

    @staticmethod
    def _beside(path: Exponents, share: float, n: int) -> Exponents:
        """The first terms of a path, the constant among them."""
        terms = path[: max(1, int(share * n))]
        return terms if not terms.any(1).all() else np.concatenate([np.zeros_like(path[:1]), terms])


def _bias_last(path: Exponents, coefficients: Array) -> Array:
    """Coefficients in the order of features: terms, then the constant."""
    constant = ~path.any(1)
    return np.concatenate([coefficients[~constant], coefficients[constant].sum(0, keepdims=True)])


def _on_grid(values: Array) -> Array:
    return np.round(values / _GRID) * _GRID


def _widened(exponents: Exponents, active: NDArray[np.intp], n_inputs: int) -> Exponents:
    """Exponents of the active inputs as those of all."""
    wide = np.zeros((len(exponents), n_inputs), dtype=np.int64)
    wide[:, active] = exponents
    return wide


def _iterations(n: int, table: tuple[tuple[int, int], ...]) -> int:
    return next((number for most, number in table if n <= most), 0)
