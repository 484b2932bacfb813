"""What a difference is made of: variances of components by maximum likelihood, and the coefficients under them.

Residuals R (n, k) of k outputs are sums of blocks A_b β_b with coefficients β ~ N(0, v_b I), and noise of variance v_0:

    R_j ~ N(0, V),   V = v_0 I + Σ_b v_b A_b A_b',   β_b = v_b A_b' V^-1 R.

One block alone is ridge regression whose parameter v_0 / v_b the evidence chooses: min ||A β - R||² + v_0/v_b ||β||². Blocks
enter one after the other, as long as the likelihood gains: few samples carry few variances.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from scipy.optimize import minimize

from gnvpro.surrogate.spaces import Array

# What a further variance has to gain in the logarithm of the likelihood (Akaike 1974).
_GAIN = 1.0
# Samples that choose the variances: each likelihood costs their cube.
_FIRST = 300
# Where the search for a further variance and the noise start, relative to the mean square of the residuals, in logarithms.
_STARTS = ((0.0, -7.0), (-2.0, -1.0))
_NOISE_BOUNDS, _BOUNDS = (-25.0, 3.0), (-16.0, 9.0)
# A likelihood is known well enough to a hundredth.
_SEARCH = dict(maxiter=50, ftol=1e-6, gtol=1e-2)
# The likelihood at which a matrix that is not positive definite is rejected.
_REJECTED = 1e10


def fit_components(blocks: Sequence[Array], residuals: Array) -> dict[int, Array]:
    """Coefficients (r_b, k) of the blocks (n, r_b) that enter, by their number.

    The outputs share the variances; the likelihood counts as many of them as differ (their participation ratio).
    """
    if not residuals.any():
        return {}
    sizes = [math.sqrt(float((block**2).sum()) / len(block)) or 1.0 for block in blocks]
    scaled = [block / size for block, size in zip(blocks, sizes, strict=True)]
    chosen, variances = _choose([block[:_FIRST] for block in scaled], residuals[:_FIRST])
    if not chosen:
        return {}
    covariance = variances[0] * np.eye(len(residuals))
    for j, variance in zip(chosen, variances[1:], strict=True):
        covariance += variance * (scaled[j] @ scaled[j].T)
    solved = cho_solve(cho_factor(covariance, lower=True), residuals)
    return {j: v / sizes[j] * (scaled[j].T @ solved) for j, v in zip(chosen, variances[1:], strict=True)}


def _choose(blocks: list[Array], residuals: Array) -> tuple[list[int], Array]:
    """Numbers of the blocks that enter, and the variances: of the noise, then theirs."""
    n, k = residuals.shape
    moments = residuals @ residuals.T / k
    size = float(np.trace(moments)) / n
    # Of eigenvalues λ of the covariance of outputs, (Σ λ)² / Σ λ².
    n_outputs = float(np.trace(moments)) ** 2 / float((moments**2).sum())
    grams, moments = [block @ block.T for block in blocks], moments / size
    likelihood = _Likelihood(np.eye(n)[None], moments)
    chosen, least, logarithms = list[int](), likelihood(np.zeros(1))[0], np.zeros(1)
    while len(chosen) < len(blocks):
        trials = []
        for j in range(len(blocks)):
            if j in chosen or not blocks[j].any():
                continue
            likelihood = _Likelihood(np.stack([np.eye(n), *(grams[i] for i in (*chosen, j))]), moments)
            trials += [(*likelihood.least(logarithms, start), j) for start in _STARTS]
        if not trials:
            break
        value, at, j = min(trials, key=lambda trial: trial[0])
        if n_outputs * (least - value) < _GAIN:
            break
        chosen, least, logarithms = [*chosen, j], value, at
    return chosen, size * np.exp(logarithms)


class _Likelihood:
    """Minus the logarithm of the likelihood of one output by the logarithms of the variances, and its gradient."""

    def __init__(self, grams: Array, moments: Array) -> None:
        self._grams, self._moments = grams, moments

    def __call__(self, logarithms: Array) -> tuple[float, Array]:
        variances = np.exp(logarithms)
        try:
            factor = cho_factor(np.tensordot(variances, self._grams, 1), lower=True, overwrite_a=True)
        except np.linalg.LinAlgError:
            return _REJECTED, np.zeros_like(logarithms)
        inverse = cho_solve(factor, np.eye(len(self._moments)))
        along = inverse @ self._moments
        value = np.log(np.diag(factor[0])).sum() + 0.5 * np.trace(along)
        slopes = 0.5 * (inverse - along @ inverse)
        return float(value), variances * np.einsum("bij,ij->b", self._grams, slopes)

    def least(self, logarithms: Array, start: tuple[float, float]) -> tuple[float, Array]:
        """The least value and where, from variances (all but the last) that are known to be good without the last."""
        at = np.append(logarithms, start[0])
        at[0] = min(at[0], start[1])
        bounds = [_NOISE_BOUNDS] + [_BOUNDS] * (len(at) - 1)
        best = minimize(self, at, jac=True, method="L-BFGS-B", bounds=bounds, options=_SEARCH)
        return float(best.fun), cast(Array, best.x)
