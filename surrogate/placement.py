"""Where to solve next: points that tell most about the last layer of a model, by the covariance of its features.

With z̃: features in coordinates in which changes of the last layer are equally likely (by the size of its rows; of kernels in
their own norm), and M = (Σ_i z̃_i z̃_i' + λ I)^-1 over the points that are there, the mean variance of predictions over the law
is tr(G M), G = E[z̃ z̃']. Each point is the candidate that lowers it most. Over N candidates with C = Z̃ M Z̃' that is

    j = argmax Σ_i C_ij² / (1 + C_jj),   C ← C - c_j c_j' / (1 + C_jj)

(active learning by Cohn, Ghahramani & Jordan 1996). Every second point is drawn by the law: greedy points are extreme, and
where the features are wrong, worse than random ones.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray

from gnvpro.surrogate.draws import draw
from gnvpro.surrogate.error_measure import ErrorMeasure
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.model.surrogate import Surrogate
from gnvpro.surrogate.networks.kernels import KernelFeatures, own_norm
from gnvpro.surrogate.spaces import Array

# Points of the law among which greedy ones are taken.
CANDIDATES = 2000
# One point in so many is random.
RANDOM_EVERY = 2
# Noise variance (λ), of the mean variance of predictions before any point is there.
_NOISE = 1e-2


def place_for(
    model: Surrogate, n: int, seed: int = 0, existing: Array | None = None, candidates: Array | None = None
) -> Array:
    """Parameters (n, n_in) at which solves tell most about the model's last layer; the first m are those for m.

    Parameters
    ----------
    seed
        Of the candidates, which are drawn from the law of the model's parameters.
    existing : (m, n_in)
        Points that are solved already.
    candidates : (N, n_in)
        Points of the law, in place of draws.

    Raises
    ------
    UsageError
        More points than candidates, or a law that cannot be drawn from.
    """
    if candidates is None:
        candidates = draw(model.parameters, seed, np.arange(CANDIDATES))
    candidates = model.parameters.rows(candidates)
    return candidates[chosen_candidates(model, n, candidates, candidates[:0] if existing is None else existing)]


def chosen_candidates(model: Surrogate, n: int, candidates: Array, existing: Array) -> NDArray[np.intp]:
    """Numbers (n,) of the candidates (N, n_in) that `place_for` takes, none of them an existing point (m, n_in)."""
    existing = model.parameters.rows(existing)
    taken = {row.tobytes() for row in existing}
    free = np.array([row.tobytes() not in taken for row in candidates])
    if n > free.sum():
        raise UsageError(f"expected at most {free.sum()} further points, as many as there are candidates, got {n}")
    covariance = _covariance(model, np.concatenate([candidates, existing]))
    for j in range(len(candidates), len(covariance)):
        _condition(covariance, j)
    covariance, chosen = covariance[: len(candidates), : len(candidates)], list[int]()
    for k in range(len(existing), len(existing) + n):
        if k % RANDOM_EVERY == 0:
            gains = np.where(free, (covariance**2).sum(0) / (1 + np.diag(covariance)), -1.0)
            j = int(gains.argmax())
        else:
            j = int(free.argmax())
        chosen.append(j)
        free[j] = False
        _condition(covariance, j)
    return np.array(chosen, dtype=np.intp)


def _condition(covariance: Array, j: int) -> None:
    column = covariance[:, j] / math.sqrt(1 + covariance[j, j])
    covariance -= column[:, None] * column


def _covariance(model: Surrogate, points: Array) -> Array:
    """Of predictions at points (n, n), relative to the noise, in the measure of the model's errors."""
    columns = np.concatenate([model.features(points), np.ones((len(points), 1))], 1)
    weights, last = model.weights.numpy(), columns.shape[1] - 1
    measure = ErrorMeasure.of(model.training)
    scale = 1.0 if measure.output_scale is None else measure.output_scale
    sizes = np.linalg.norm(weights / np.reshape(scale, (-1, 1)), axis=0)
    covariance, start, of_theta = np.zeros((len(points), len(points))), 0, 0
    is_kernel = np.zeros(last + 1, bool)
    theta = model.theta.double()
    for member in getattr(model.network, "members", (model.network,)):
        where = slice(start, start + member.width)
        own = theta[of_theta : of_theta + member.n_theta]
        start, of_theta = where.stop, of_theta + member.n_theta
        if isinstance(member, KernelFeatures):
            is_kernel[where] = True
            covariance += _gram(columns[:, where] @ own_norm(member, own))
    others = ~is_kernel
    covariance += _gram(columns[:, others] * sizes[others])
    observables = model.evaluate(points)
    background = 0.0 if model.background is None else model.background.numpy()
    amplitudes = np.ones(len(points))
    if model.amplitude is not None:
        amplitudes = model.amplitude(torch.from_numpy(points)).numpy()[:, 0]
    omega = amplitudes / measure.norms(observables - background)
    covariance *= omega[:, None] * omega
    return covariance / (_NOISE * float(np.diag(covariance).mean()) or 1.0)


def _gram(columns: Array) -> Array:
    """Z Z', of mean diagonal one: each family of features is as likely to change."""
    gram = columns @ columns.T
    return gram / (float(np.diag(gram).mean()) or 1.0)
