"""Targets that are missing, as a smooth model predicts them: for choices that many outputs make together.

Which terms a polynomial has is chosen by all outputs at once, on a table without gaps. What is filled in decides nothing
else: last layers, length scales, leave-one-out and errors are of the targets that are there.
"""

from __future__ import annotations

import math

import numpy as np

from gnvpro.surrogate.missing import mean, missing_in
from gnvpro.surrogate.spaces import Array
from gnvpro.training.choice.kernel_fits import Columns, fit_hyperparameters, solve_kernel

_KERNEL = "gaussian"
# Iterations on the likelihood of the first samples; of how many the kernel is in the end.
_ITERATIONS, _FITTED, _SAMPLES = 8, 150, 1500


def filled(inputs: Array, targets: Array, weights: Array) -> Array:
    """Targets (n, k), NaN where they are missing, with a kernel's predictions there; themselves where nothing is missing.

    Parameters
    ----------
    inputs : (n, d)
        Network inputs of gain one.
    weights : (n,)
        Of the residuals.
    """
    if (missing := missing_in(targets)) is None:
        return targets
    n, k = targets.shape
    scaled = inputs * math.sqrt(inputs.shape[1])
    fixed, noise = np.ones((n, 1)), 1 / weights**2
    sizes = mean((targets * weights[:, None]) ** 2)
    importance = sizes / sizes.sum() if sizes.any() else np.full(k, 1 / k)
    columns = Columns(scaled, targets, fixed, noise, importance).rows(slice(0, _SAMPLES))
    logarithms = fit_hyperparameters(columns.rows(slice(0, _FITTED)), _KERNEL, _ITERATIONS)
    fit = solve_kernel(columns, _KERNEL, logarithms)
    return np.where(missing, fit.predict(scaled, fixed), targets)
