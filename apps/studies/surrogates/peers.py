"""What else one would fit to such samples: each as a careful user would with the library's own means.

A peer is a function of parameters (n, n_in), observables (n, n_out) and a seed; it returns the function that predicts.
All see parameters in the unit cube of the samples (the logarithms of those that are declared logarithmic). Gaussian
processes, Kriging and polynomials fit each output apart; of a field, its leading principal components.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnvpro.surrogate.spaces import Array

Predict = Callable[[Array], Array]
Peer = Callable[[Array, Array, int], Predict]

# More outputs than these are a field, which is compressed to so many principal components.
MANY_OUTPUTS, COMPONENTS = 12, 40
# Of the samples, those that a Gaussian process takes its first length scales from, where there are more.
FIRST_SCALES = 300
# Most polynomials: of up to 300 samples, and of more, where each selection takes minutes otherwise.
POLYNOMIALS, POLYNOMIALS_OF_MANY = 2000, 700
# From here on trees and networks are fitted once, with one setting.
LARGE_TABLE = 20_000


def gaussian_process(y: Array, c: Array, seed: int) -> Predict:
    """scikit-learn's, one length scale a parameter, with noise; RBF or Matérn 5/2, by the marginal likelihood.

    From more than `FIRST_SCALES` samples its search begins where that from so many of them ended, and is short; for the
    many components of a field it ends there.
    """
    steps = 15 if c.shape[1] <= MANY_OUTPUTS else 0
    return _by_component(y, c, lambda y, c: _gaussian_process(y, c, seed, steps))


def _gaussian_process(y: Array, c: Array, seed: int, steps: int) -> Predict:
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import RBF, ConstantKernel, Matern, WhiteKernel

    def fitted(shape: Any, y: Array, c: Array, restarts: int, steps: int, start: Any = None) -> Any:
        kernel = start or ConstantKernel(10.0, (1e-2, 1e6)) * shape + WhiteKernel(1e-4, (1e-9, 1e1))
        optimiser: Any = _limited(steps) if steps else None
        model = GaussianProcessRegressor(
            kernel,
            optimizer=optimiser,
            n_restarts_optimizer=restarts,
            normalize_y=True,
            random_state=seed,
        )
        return model.fit(y, c)

    n, d = y.shape
    scales: dict[str, Any] = dict(length_scale=np.full(d, np.sqrt(d)), length_scale_bounds=(0.05, 500.0))
    models = []
    for shape in (RBF(**scales), Matern(**scales, nu=2.5)):
        if n <= FIRST_SCALES:
            models.append(fitted(shape, y, c, restarts=2 if n <= 60 else 1, steps=200))
        else:
            first = np.random.default_rng(seed).permutation(n)[:FIRST_SCALES]
            start = fitted(shape, y[first], c[first], restarts=0, steps=100).kernel_
            models.append(fitted(shape, y, c, restarts=0, steps=steps, start=start))
    best = max(models, key=lambda model: model.log_marginal_likelihood_value_)
    return lambda y: best.predict(y).reshape(len(y), -1)


def _limited(steps: int) -> Callable[..., tuple[Array, float]]:
    from scipy.optimize import minimize

    def optimise(objective: Callable[..., Any], start: Array, bounds: Array) -> tuple[Array, float]:
        optimum = minimize(objective, start, jac=True, bounds=bounds, method="L-BFGS-B", options=dict(maxiter=steps))
        return optimum.x, optimum.fun

    return optimise


def kriging(y: Array, c: Array, seed: int) -> Predict:
    """SMT's, with its defaults."""
    from smt.surrogate_models import KRG

    def fitted(y: Array, c: Array) -> Predict:
        model = KRG(print_global=False, seed=seed)
        model.set_training_values(y, c)
        model.train()
        return model.predict_values

    return _by_component(y, c, fitted)


def sparse_polynomials(y: Array, c: Array, seed: int) -> Predict:
    """Legendre polynomials of a hyperbolic set, of every degree and norm that is small enough; the best by its own estimate.

    OpenTURNS's sparse chaos, least-angle regression by the corrected leave-one-out (Blatman & Sudret 2011), and on its
    three best sets scikit-learn's orthogonal matching pursuit by five folds.
    """
    return _by_component(y, c, lambda y, c: _sparse_polynomial(y, c, seed))


def _sparse_polynomial(y: Array, c: Array, seed: int) -> Predict:
    import openturns as ot
    from sklearn.linear_model import OrthogonalMatchingPursuit, OrthogonalMatchingPursuitCV
    from sklearn.model_selection import KFold, cross_val_predict

    ot.Log.Show(0)
    ot.TBB.Disable()
    n, d = y.shape
    law = ot.JointDistribution([ot.Uniform(0, 1)] * d)
    fits: list[tuple[float, NDArray[np.intp], Predict]] = []
    for norm in (1.0, 0.75, 0.5):
        order = ot.LinearEnumerateFunction(d) if norm == 1 else ot.HyperbolicAnisotropicEnumerateFunction(d, norm)
        family = ot.OrthogonalProductPolynomialFactory([ot.LegendreFactory()] * d, order)
        worse, least = 0, np.inf
        for size in dict.fromkeys(_count(d, degree, norm) for degree in range(1, 15)):
            if size > (POLYNOMIALS if n <= FIRST_SCALES else POLYNOMIALS_OF_MANY) or worse >= 3:
                break
            selection = ot.LeastSquaresMetaModelSelectionFactory(ot.LARS(), ot.CorrectedLeaveOneOut())
            basis, projection = ot.FixedStrategy(family, size), ot.LeastSquaresStrategy(selection)
            chaos = ot.FunctionalChaosAlgorithm(ot.Sample(y), ot.Sample(c), law, basis, projection)
            chaos.run()
            result = chaos.getResult()
            error = min(result.getErrorHistory(), default=np.inf)
            worse, least = (0, error) if error < least else (worse + 1, least)
            model = result.getMetaModel()
            indices = np.array([list(order(i)) for i in range(size)])
            fits.append((error, indices, lambda y, model=model: np.asarray(model(ot.Sample(y)))))
    fits.sort(key=lambda fit: fit[0])
    folds, target = KFold(5, shuffle=True, random_state=seed), c[:, 0]
    for _, indices, _model in fits[:3]:
        columns = _legendre(y, indices)
        pursuit = OrthogonalMatchingPursuitCV(cv=folds, max_iter=min(len(indices) - 1, int(0.6 * n))).fit(
            columns, target
        )
        again = OrthogonalMatchingPursuit(n_nonzero_coefs=pursuit.n_nonzero_coefs_)
        misfit = cross_val_predict(again, columns, target, cv=folds) - target
        fits.append(
            (
                float((misfit**2).mean() / target.var()),
                indices,
                lambda y, pursuit=pursuit, indices=indices: pursuit.predict(_legendre(y, indices))[:, None],
            )
        )
    best = min(fits, key=lambda fit: fit[0])[2]
    # Polynomials are not asked beyond the samples.
    return lambda y: best(np.clip(y, 0, 1))


def _legendre(y: Array, indices: NDArray[np.intp]) -> Array:
    """Products of orthonormal Legendre polynomials (n, n_indices - 1) without the constant, which comes first."""
    degree = int(indices.max())
    columns = np.ones((len(y), len(indices)))
    for j, powers in enumerate(indices.T):
        values = np.polynomial.legendre.legvander(2 * y[:, j] - 1, degree) * np.sqrt(2 * np.arange(degree + 1) + 1)
        columns *= values[:, powers]
    return columns[:, 1:]


def _count(d: int, degree: int, norm: float) -> int:
    """Multi-indices of d parameters whose norm is at most the degree (OpenTURNS' own count takes minutes)."""

    def tuples(active: int, left: float) -> int:
        if active == 0:
            return 1
        return sum(tuples(active - 1, left - a**norm) for a in range(1, degree + 1) if a**norm <= left + 1e-9)

    return sum(math.comb(d, active) * tuples(active, degree**norm) for active in range(min(d, degree) + 1))


def trees(y: Array, c: Array, seed: int) -> Predict:
    """scikit-learn's boosted, histogram-boosted and extremely randomised trees, the best of some by five folds."""
    from sklearn.ensemble import ExtraTreesRegressor, GradientBoostingRegressor, HistGradientBoostingRegressor
    from sklearn.model_selection import cross_val_score

    def candidates() -> list[Any]:
        boosted = [
            GradientBoostingRegressor(
                n_estimators=500, learning_rate=0.05, max_depth=depth, subsample=0.7, random_state=seed
            )
            for depth in (2, 4)
        ]
        histograms = HistGradientBoostingRegressor(
            max_iter=500, learning_rate=0.05, min_samples_leaf=max(2, min(20, len(y) // 20)), random_state=seed
        )
        randomised = ExtraTreesRegressor(200, max_features=0.8, random_state=seed)
        if len(y) > LARGE_TABLE:
            return [histograms]
        return [*boosted, histograms, randomised]

    def fitted(y: Array, c: Array) -> Predict:
        models, target = candidates(), c[:, 0]
        if len(models) > 1:
            scores = [cross_val_score(m, y, target, cv=5, scoring="neg_mean_squared_error").mean() for m in models]
            models = [models[int(np.argmax(scores))]]
        best = models[0].fit(y, target)
        return lambda y: best.predict(y)[:, None]

    return _by_component(y, c, fitted)


# Of a small table, to choose the setting, and of a large one.
_ADAM_STEPS = 2000, 6000


def adam(y: Array, c: Array, seed: int) -> Predict:
    """A torch network of SiLU layers by Adam with a cosine schedule; width, rate and decay by a fifth of the samples."""
    import torch

    mean, std = c.mean(0), np.where(c.std(0) > 0, c.std(0), 1)
    if c.shape[1] > MANY_OUTPUTS:
        std = np.full(c.shape[1], c.std(0).mean() or 1)  # a field keeps the sizes of its values
    inputs, outputs = torch.tensor(2 * y - 1).float(), torch.tensor((c - mean) / std).float()
    batch = min(len(y), 128 if len(y) <= LARGE_TABLE else 512)

    def train(width: int, rate: float, decay: float, rows: Any, steps: int) -> Any:
        torch.manual_seed(seed)
        silu, n_in, n_out = torch.nn.SiLU, y.shape[1], c.shape[1]
        layers = [torch.nn.Linear(n_in, width), silu(), torch.nn.Linear(width, width), silu()]
        network = torch.nn.Sequential(*layers, torch.nn.Linear(width, n_out)).float()
        optimiser = torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=decay)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
        for _ in range(steps):
            chosen = rows[torch.randint(len(rows), (batch,))]
            optimiser.zero_grad()
            torch.nn.functional.mse_loss(network(inputs[chosen]), outputs[chosen]).backward()
            optimiser.step()
            schedule.step()
        return network

    def error(network: Any, rows: Any) -> float:
        with torch.no_grad():
            return float(torch.nn.functional.mse_loss(network(inputs[rows]), outputs[rows]))

    order = torch.randperm(len(y), generator=torch.Generator().manual_seed(seed))
    held, kept = order[: len(y) // 5], order[len(y) // 5 :]
    widths = (64, 256) if len(y) <= LARGE_TABLE else (256,)
    tried = [(width, rate, decay) for width in widths for rate in (1e-3, 5e-3) for decay in (1e-6, 1e-1)]
    if len(y) > LARGE_TABLE:
        tried = [(256, 3e-3, 1e-6)]
    steps = _ADAM_STEPS[len(y) > LARGE_TABLE]
    if len(tried) > 1:
        errors = [error(train(*setting, kept, steps), held) for setting in tried]
        tried = [tried[int(np.argmin(errors))]]
    network = train(*tried[0], order, 2 * steps if len(y) <= LARGE_TABLE else steps)

    def predict(y: Array) -> Array:
        with torch.no_grad():
            return network(torch.tensor(2 * y - 1).float()).double().numpy() * std + mean

    return predict


def ridge(y: Array, c: Array, seed: int) -> Predict:
    """scikit-learn's linear model, its penalty by leave-one-out."""
    from sklearn.linear_model import RidgeCV

    model = RidgeCV(np.logspace(-8, 3, 23)).fit(y, c)
    return lambda y: model.predict(y).reshape(len(y), -1)


def _by_component(y: Array, c: Array, fit: Callable[[Array, Array], Predict]) -> Predict:
    """Fit each output, or each leading principal component of a field, apart."""
    if c.shape[1] <= MANY_OUTPUTS:
        models = [fit(y, column[:, None]) for column in c.T]
        return lambda y: np.concatenate([model(y).reshape(len(y), 1) for model in models], axis=1)
    mean = c.mean(0)
    _, sizes, modes = np.linalg.svd(c - mean, full_matrices=False)
    modes = modes[: min(COMPONENTS, int((sizes > 1e-8 * sizes[0]).sum()))]
    compressed = _by_component_of(y, (c - mean) @ modes.T, fit)
    return lambda y: compressed(y) @ modes + mean


def _by_component_of(y: Array, c: Array, fit: Callable[[Array, Array], Predict]) -> Predict:
    models = [fit(y, column[:, None]) for column in c.T]
    return lambda y: np.concatenate([model(y).reshape(len(y), 1) for model in models], axis=1)


PEERS: dict[str, Peer] = {
    "gp": gaussian_process,
    "polynomials": sparse_polynomials,
    "trees": trees,
    "adam": adam,
    "kriging": kriging,
    "ridge": ridge,
}

# Libraries that the extra `peers` brings, by the method that needs them.
REQUIRED = {
    "gp": ("sklearn",),
    "polynomials": ("openturns", "sklearn"),
    "trees": ("sklearn",),
    "kriging": ("smt",),
    "ridge": ("sklearn",),
}
