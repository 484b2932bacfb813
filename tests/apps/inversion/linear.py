"""Inversions of linear models: everything about their answer is known, and nothing has to be sampled."""

import numpy as np

from gnvpro.apps.inversion.adequacy import Adequacy
from gnvpro.apps.inversion.maximum_a_posteriori import find_minima
from gnvpro.apps.inversion.posterior.observations import Noise
from gnvpro.apps.inversion.posterior.posterior import Posterior
from gnvpro.apps.inversion.posterior.prior import Prior
from gnvpro.apps.inversion.posterior.solves import Solves
from gnvpro.apps.inversion.result import InversionResult
from gnvpro.apps.inversion.sampling.chains import Chains
from gnvpro.surrogate.spaces import Axis, Space

NOISE = 0.05


class LinearModel:
    """Observables that are a matrix times the parameters."""

    def __init__(self, parameters, observables, matrix):
        self.parameters, self.observables, self.matrix = parameters, observables, matrix

    def evaluate(self, y):
        return y @ self.matrix.T

    def jvp(self, y, dy):
        return dy @ self.matrix.T

    def vjp(self, y, dc):
        return dc @ self.matrix


def box(n, **given):
    return Space.vector([f"p{j}" for j in range(n)], lower=(0.0,) * n, upper=(1.0,) * n, law="uniform", **given)


def images(*sources):
    front = (Axis("source", sources),) if sources else ()
    grid = (Axis("x1", (0.0, 0.1, 0.2, 0.3), "m"), Axis("x2", (0.0, 0.5, 1.0), "m"))
    return Space((*front, Axis("difference", ("x1", "x2")), *grid), units=("V/A",))


def curves():
    return Space((Axis("time", tuple(np.arange(6) / 10), "s"), Axis("sensor", ("a", "b", "c"))), units=("K",))


def invert(
    parameters=None, observables=None, *, routes=(), truth=True, problem=None, normal=None, missing=0, adequacy=None
):
    """An inversion of a random linear model, the data of parameter j less telling than those of j - 1."""
    parameters, observables = parameters or box(3), observables or curves()
    rng = np.random.default_rng(0)
    matrix = rng.standard_normal((observables.size, parameters.size)) * 0.7 ** np.arange(parameters.size)
    prior = Prior.of(parameters, normal)
    true = 0.6 * prior.moments[0] + 0.4 * prior.draw(rng, 1)[0]
    data = matrix @ true + NOISE * rng.standard_normal(observables.size)
    data[:missing] = np.nan
    model = LinearModel(parameters, observables, matrix)
    posterior = Posterior(Solves(model), data, Noise(np.full(observables.size, NOISE)), prior)
    minima = find_minima(posterior, 4, 0)
    best = minima[0]
    chains = {}
    for k, route in enumerate(routes):
        draws = rng.multivariate_normal(best.parameters, best.covariance, (4, 150), method="eigh")
        draws = np.clip(draws, prior.lower, prior.upper)
        accurate = 0 if route == "surrogate" else 600
        chains[route] = Chains(
            parameters, draws, prior.latent(draws.reshape(-1, prior.size)).reshape(draws.shape), f"{route} sampler",
            cheap=1000 * (k + 1), accurate=accurate, wall_seconds=2.0, cpu_seconds=1.0, about={"acceptance": 0.75},
        )  # fmt: skip
    fitted = matrix @ best.parameters
    return InversionResult(
        "linear", posterior, minima, None, chains, fitted, adequacy, true if truth else None, problem, seconds=3.0
    )


FIT = Adequacy(0.1, 0.2, "8 PDE solves")
