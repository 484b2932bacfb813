"""Contenders: separable models of the scaled problem with an honest estimate of their errors, and stacks of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import nnls
from torch import Tensor

from gnvpro.surrogate.networks.concatenated import weighted_sum
from gnvpro.surrogate.networks.protocol import FeatureNetwork
from gnvpro.surrogate.spaces import Array

# Members of a stack with less weight are left out: each costs an evaluation.
_LEAST_SHARE = 0.02
# The weight of the condition that shares sum to one.
_STRICT = 1e3
# A contender has to be better than a cheaper one by this factor.
MARGIN = 0.97


@dataclass(frozen=True, eq=False)
class Problem:
    """Scaled samples, as contenders see them.

    Attributes
    ----------
    inputs : (n, d)
        Network inputs of gain one.
    targets : (n, k)
        Of which `rotation` (k, n_out) makes the scaled observables; where one is missing, what stands in for it
        (`gnvpro.training.choice.filling`).
    weights : (n,)
        Of the residuals, of mean square one.
    folds : (n,)
        The fold in which a sample is left out, with its derivatives; -1 for samples that never are.
    slopes, directions, slope_weights : (n, r, k), (n, r, d), (n, r)
        Derivatives of the targets along directions of the inputs, as training takes them
        (`gnvpro.training.fitting.preparation.Tangents`), and their weights over those of the values; without any, r is 0.
    normal : (d,)
        Whether the law of each input is normal; None where the samples are to tell.
    absent : (n, k)
        Which targets are missing; None for none.
    """

    inputs: Array
    targets: Array
    rotation: Array
    weights: Array
    folds: NDArray[np.intp]
    slopes: Array | None = None
    directions: Array | None = None
    slope_weights: Array | None = None
    normal: NDArray[np.bool_] | None = None
    absent: NDArray[np.bool_] | None = None

    @property
    def known(self) -> Array:
        """The targets, NaN where they are missing."""
        return self.targets if self.absent is None else np.where(self.absent, np.nan, self.targets)

    @property
    def least_known(self) -> float:
        """The share of the samples that have the target which the fewest have."""
        return 1.0 if self.absent is None else 1.0 - float(self.absent.mean(axis=0).max())

    @property
    def n_directions(self) -> int:
        """Derivatives of every sample."""
        return 0 if self.slopes is None else self.slopes.shape[1]

    @property
    def n_folds(self) -> int:
        """Number of folds."""
        return int(self.folds.max()) + 1

    def error(self, residuals: Array) -> float:
        """Root mean square of the norms of weighted residuals (n, k), of the samples that are left out."""
        return float(np.sqrt(self.squares(residuals).mean()))

    def error_at(self, rows: NDArray[np.bool_], residuals: Array) -> float:
        """The same of residuals (m, k) of these samples alone."""
        absent = None if self.absent is None else self.absent[rows]
        folds = np.zeros(len(residuals), np.intp)
        return replace(self, weights=self.weights[rows], folds=folds, absent=absent).error(residuals)

    def standard_error(self, residuals: Array) -> float:
        """Of that error, from how much samples differ."""
        squares = self.squares(residuals)
        error = np.sqrt(squares.mean())
        return float(squares.std() / np.sqrt(len(squares)) / (2 * error)) if error else 0.0

    def squares(self, residuals: Array) -> Array:
        """Squared norms of these, one for every sample that is left out.

        Those of a target that some of them lack count as much more as it is rarer: its mean stands for all samples.
        """
        judged = self.folds >= 0
        squares = (residuals[judged] * self.weights[judged, None]) ** 2
        if self.absent is not None:
            known = ~self.absent[judged]
            squares = np.where(known, squares, 0.0) * (len(known) / np.maximum(known.sum(0), 1))
        return squares.sum(1)

    def derivative_error(self, residuals: Array | None) -> float | None:
        """Mean relative error of the derivatives (n, r, k) of a sample together, of the samples that are left out."""
        if residuals is None or self.slopes is None:
            return None
        sizes = np.linalg.norm(self.slopes, axis=(1, 2))
        judged = (self.folds >= 0) & (sizes > 0)
        return float((np.linalg.norm(residuals[judged], axis=(1, 2)) / sizes[judged]).mean()) if judged.any() else None


class Member(NamedTuple):
    """A separable model of network inputs of gain one: its W (n_out, width + 1) is that of scaled observables."""

    network: FeatureNetwork
    theta: Tensor
    weights: Tensor


@dataclass(frozen=True, eq=False)
class Contender:
    """A model of all samples, and what models like it predict of samples that they did not see.

    Attributes
    ----------
    described
        What it is, JSON-able.
    left_out : (n, k)
        Residuals of the samples by fits without their fold; NaN for samples that are never left out.
    close : (n, k)
        Residuals left out one by one in closed form, which knows nothing of what was chosen on all samples; None where
        there is no closed form.
    slopes_left_out : (n, r, k)
        Residuals of the derivatives like `left_out`; None where samples have none.
    model
        None for a network, which is trained on all samples only when it has won.
    cpu_seconds
        What it took.
    """

    described: dict[str, Any]
    left_out: Array
    close: Array | None = None
    model: Member | None = None
    cpu_seconds: float = 0.0
    slopes_left_out: Array | None = None


@dataclass(frozen=True, eq=False)
class Stack:
    """Contenders with their shares (n_contenders, k) of every target, and the residuals of their sum."""

    contenders: list[Contender]
    shares: Array
    left_out: Array
    error: float
    slopes_left_out: Array | None = None

    @classmethod
    def of(cls, contenders: list[Contender], shares: Array, problem: Problem) -> Stack:
        """Those that have a share at all."""
        kept = [j for j, share in enumerate(shares) if share.any()]
        left_out, slopes = np.zeros_like(problem.targets), None
        for j in kept:
            left_out += shares[j] * contenders[j].left_out
            if (of_slopes := contenders[j].slopes_left_out) is not None:
                slopes = shares[j] * of_slopes + (0.0 if slopes is None else slopes)
        return cls([contenders[j] for j in kept], shares[kept], left_out, problem.error(left_out), slopes)

    def model(self, members: Sequence[Member]) -> Member:
        """One separable model of those of the contenders, in their order."""
        shares = [
            float(share[0]) if share.min() == share.max() else torch.as_tensor(share).unsqueeze(1)
            for share in self.shares
        ]
        return Member(*weighted_sum(members, shares))


def best_stack(contenders: list[Contender], problem: Problem, by_target: bool) -> Stack:
    """The stack of all, or the single contender that is as good; contenders come from the cheapest to the dearest.

    Parameters
    ----------
    by_target
        Every target has shares of its own; else all have the same.
    """
    n, k = len(contenders), problem.targets.shape[1]
    singles = [Stack.of(contenders, np.eye(n)[:, [j]] * np.ones(k), problem) for j in range(n)]
    best = singles[0]
    for single in singles[1:]:
        if single.error < MARGIN * best.error:
            best = single
    stack = Stack.of(contenders, _shares(contenders, problem, by_target), problem)
    return stack if stack.error < best.error else best


def _shares(contenders: list[Contender], problem: Problem, by_target: bool) -> Array:
    """Shares >= 0 that sum to one, (n_contenders, k), by least squares on residuals that were left out.

    The mean of those by the folds and of those by leave-one-out in closed form: the folds are honest about choices,
    leave-one-out has all the samples (docs/method.md has the figures).
    """
    judged = problem.folds >= 0
    weights = problem.weights[judged, None]
    if problem.absent is not None:
        weights = weights * ~problem.absent[judged]
    by_folds = np.stack([weights * one.left_out[judged] for one in contenders])
    one_by_one = np.stack([weights * (one.left_out if one.close is None else one.close)[judged] for one in contenders])
    mean = (_by_least_squares(by_folds, by_target) + _by_least_squares(one_by_one, by_target)) / 2
    mean[mean < _LEAST_SHARE] = 0
    return mean / mean.sum(0)


def _by_least_squares(residuals: Array, by_target: bool) -> Array:
    """(n_contenders, n, k) -> (n_contenders, k)."""
    n_contenders, _, k = residuals.shape
    if by_target:
        return np.stack([_on_simplex(residuals[:, :, j].T) for j in range(k)], 1)
    return np.repeat(_on_simplex(residuals.reshape(n_contenders, -1).T)[:, None], k, 1)


def _on_simplex(residuals: Array) -> Array:
    """Shares >= 0 of sum one with the least squares of residuals (n, n_contenders) @ shares."""
    squares = (residuals**2).sum(0)
    least = int(squares.argmin())
    if squares[least] == 0:
        return np.eye(len(squares))[least]
    triangle = np.linalg.qr(residuals / np.sqrt(squares[least]), mode="r")
    system = np.concatenate([triangle, np.full((1, len(squares)), _STRICT)])
    found = nnls(system, np.append(np.zeros(len(triangle)), _STRICT))[0]
    return found / found.sum()
