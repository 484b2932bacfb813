"""Targets that are missing, as a smooth model predicts them: for choices that many outputs make together.

Which terms a polynomial has and what length scales a kernel are chosen by all outputs at once, on tables without gaps. What
is filled in decides nothing else: last layers, leave-one-out and errors are of the targets that are there.
"""

from __future__ import annotations

import math

import numpy as np

from gnvpro.surrogate.missing import mean, missing_in
from gnvpro.surrogate.spaces import Array
from gnvpro.training.choice.kernel_fits import Columns, fit_hyperparameters, solve_kernel, start_of

_KERNEL = "gaussian"
# Iterations on the likelihood of a first guess, then of what that filled in; on samples like these and at most so many.
_ITERATIONS, _FITTED, _SAMPLES = (15, 10), 300, 1500


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
    some = slice(0, _SAMPLES)
    scaled = inputs * math.sqrt(inputs.shape[1])
    fixed, noise = np.ones((n, 1)), 1 / weights**2
    sizes = mean((targets * weights[:, None]) ** 2)
    importance = sizes / sizes.sum() if sizes.any() else np.full(k, 1 / k)
    known = Columns(scaled, targets, fixed, noise, importance).rows(some)
    logarithms = start_of(known)
    for iterations in _ITERATIONS:
        fit = solve_kernel(known, _KERNEL, logarithms)
        guess = np.where(missing[some], fit.predict(known.inputs, known.fixed), known.targets)
        columns = known._replace(targets=guess).rows(slice(0, _FITTED))
        logarithms = fit_hyperparameters(columns, _KERNEL, iterations, logarithms)
    fit = solve_kernel(known, _KERNEL, logarithms)
    return np.where(missing, fit.predict(scaled, fixed), targets)
