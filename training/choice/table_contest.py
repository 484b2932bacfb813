"""What fits a table best where no network is asked for: ridge regression, sparse polynomials, kernels, or a stack of them.

All of them are separable models with closed forms for what they predict of samples that were left out, which chooses.
"""

from __future__ import annotations

import itertools
import math
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from gnvpro.surrogate.elimination.ridge_path import FULL_LEVERAGE
from gnvpro.surrogate.networks.protocol import FeatureNetwork
from gnvpro.surrogate.networks.sparse_polynomials import SparsePolynomials
from gnvpro.surrogate.spaces import Array
from gnvpro.training.choice.closed_forms import KERNELS, closed_forms
from gnvpro.training.choice.contenders import Contender, Member, Problem, Stack, best_stack
from gnvpro.training.choice.folds import coarser, folds_of

Effort = Literal["quick", "full"]
# Quick: so many folds, and of the closed forms the polynomial and one kernel without terms beside it, Matérn's above so many
# samples: on tables it is the better one, but takes more iterations.
QUICK_FOLDS, _SMOOTH = 5, 300
# Up to so many samples for each input, noise alone gives hyperparameters that look good in every fold.
_FEW = 15
# More samples than this have ridge regression alone: the others cost their number times a thousand squared.
MOST_FOR_FORMS = 20_000
# Regularisations that are tried, of the largest squared singular value.
_RIDGES = np.logspace(-9, 1, 41)


class TableModel(NamedTuple):
    """The winner, its residuals (n, k) at samples left out (NaN where none was), and what competed."""

    network: FeatureNetwork
    theta: Tensor
    weights: Tensor
    left_out: Array
    choice: dict[str, Any]


def table_model(inputs: Array, targets: Array, weights: Array, seed: int, effort: Effort = "quick") -> TableModel:
    """The contender, or the stack of them, with the least error on samples left out; fitted to all samples.

    Parameters
    ----------
    inputs : (n, d)
        Network inputs of gain one.
    targets, weights : (n, k), (n,)
        Of unit spread; weights of the residuals have mean square one.
    """
    n = len(inputs)
    folds = folds_of(n, seed)
    if effort == "quick":
        folds = coarser(folds, QUICK_FOLDS)
    problem = Problem(inputs, targets, np.eye(targets.shape[1]), weights, folds)
    contenders = [ridge(problem)]
    if n <= MOST_FOR_FORMS and inputs.any() and targets.any():
        kernels, most = (KERNELS[n > _SMOOTH :], 2) if effort == "quick" else (KERNELS, None)
        forms = closed_forms(problem, "auto", kernels=kernels, anew=n <= _FEW * inputs.shape[1])
        contenders += itertools.islice(forms, most)
    stack = _with_caution(best_stack(contenders, problem, by_target=True), contenders, problem)
    network, theta, outer = stack.model([one.model for one in stack.contenders if one.model is not None])
    kinds = [one.described["kind"] for one in stack.contenders]
    described = [{**one.described, "error": problem.error(one.left_out)} for one in contenders]
    choice = {
        "kind": "stack" if len(kinds) > 1 else kinds[0],
        "reason": f"{' + '.join(kinds)}: least error on samples left out of {len(contenders)} contenders",
        "error_left_out": stack.error,
        "folds": problem.n_folds,
        "contenders": described,
    }
    return TableModel(network, theta, outer, stack.left_out, choice)


def _with_caution(best: Stack, contenders: list[Contender], problem: Problem) -> Stack:
    """The best beside the first, simplest contender: none of it where it gains one standard error, all of it above three.

    The more there is to choose from, the luckier is the best, and that by more the fewer the samples are.
    """
    gains = problem.squares(contenders[0].left_out) - problem.squares(best.left_out)
    deviation = gains.std() / math.sqrt(len(gains))
    trust = np.clip((gains.mean() / deviation - 1) / 2, 0, 1) if deviation else 0.0
    shares = np.zeros((len(contenders), problem.targets.shape[1]))
    for one, share in zip(best.contenders, best.shares, strict=True):
        shares[contenders.index(one)] = trust * share
    shares[0] += 1 - trust
    return Stack.of(contenders, shares, problem)


def ridge(problem: Problem) -> Contender:
    """Linear regression, its regularisation by leave-one-out for every target."""
    d = problem.inputs.shape[1]
    slopes, offset, close = _ridge(problem.inputs, problem.targets, problem.weights)
    left_out = np.full_like(problem.targets, np.nan)
    for fold in range(problem.n_folds):
        out = problem.folds == fold
        parts = (part[~out] for part in (problem.inputs, problem.targets, problem.weights))
        in_fold, level, _ = _ridge(*parts)
        left_out[out] = problem.targets[out] - problem.inputs[out] @ in_fold - level
    # Hermite's polynomial of degree one is the input itself.
    network = SparsePolynomials(np.eye(d, dtype=np.int64), ("hermite",) * d, (0.0,) * d, (1.0,) * d)
    outer = torch.from_numpy(np.ascontiguousarray((np.concatenate([slopes, offset[None]]) @ problem.rotation).T))
    return Contender({"kind": "ridge"}, left_out, close, Member(network, network.initial(0), outer))


def _ridge(inputs: Array, targets: Array, weights: Array) -> tuple[Array, Array, Array]:
    """Slopes (d, k), offsets (k,), and residuals (n, k) of every sample when it alone is left out; of none, zeros."""
    if not len(inputs):
        return np.zeros((inputs.shape[1], targets.shape[1])), np.zeros(targets.shape[1]), targets
    shares = weights**2 / (weights**2).sum()
    centre, mean = shares @ inputs, shares @ targets
    u, sizes, v = np.linalg.svd((inputs - centre) * weights[:, None], full_matrices=False)
    weighted = (targets - mean) * weights[:, None]
    squares = sizes[:, None] ** 2
    kept = squares / (squares + _RIDGES * max(squares.max(), np.finfo(float).tiny))
    left = 1 - np.minimum(shares[:, None] + u**2 @ kept, FULL_LEVERAGE)
    slopes, close = np.zeros((inputs.shape[1], targets.shape[1])), np.zeros_like(targets)
    for j, along in enumerate((u.T @ weighted).T):
        residuals = (weighted[:, [j]] - u @ (kept * along[:, None])) / left
        best = int((residuals**2).sum(0).argmin())
        slopes[:, j] = v.T @ np.divide(kept[:, best] * along, sizes, out=np.zeros_like(sizes), where=sizes > 0)
        close[:, j] = residuals[:, best] / weights
    return slopes, mean - centre @ slopes, close
