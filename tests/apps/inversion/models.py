"""Analytic forward models: linear or mildly nonlinear, with failures, with interruptions; numpy alone."""

from pathlib import Path

import numpy as np

from gnvpro.apps.inversion.posterior.observations import Noise
from gnvpro.apps.inversion.posterior.posterior import Posterior
from gnvpro.apps.inversion.posterior.prior import Prior
from gnvpro.apps.inversion.posterior.solves import Solves
from gnvpro.surrogate.spaces import Space


class Analytic:
    """c = A y + bend (B y)², row by row and so bit for bit the same in any company; its rows are counted.

    `fails` tells rows (n, n_in) at which there is no solution.
    """

    block_size = 64

    def __init__(self, parameters, matrix, bend=0.0, shift=0.0, fails=None):
        self.parameters, self.matrix, self.bend, self.shift, self.fails = parameters, matrix, bend, shift, fails
        self.squared = np.cos(np.arange(matrix.size)).reshape(matrix.shape)
        self.observables = Space.vector([f"c{i}" for i in range(len(matrix))], axis="observable")
        self.solved = self.derived = 0

    def evaluate(self, y):
        self.solved += len(y)
        found = _rows(self.matrix, y) + self.bend * _rows(self.squared, y) ** 2 + self.shift
        if self.fails is not None:
            found[self.fails(y)] = np.nan
        return found

    def jvp(self, y, dy):
        self.derived += len(y)
        return _rows(self.matrix, dy) + 2 * self.bend * _rows(self.squared, y) * _rows(self.squared, dy)

    def vjp(self, y, dc):
        if self.fails is not None and self.fails(y).any():
            raise FloatingPointError("no derivative where there is no solution")
        return self._pull(y, dc)

    def _pull(self, y, dc):
        self.derived += len(y)
        return _rows(self.matrix.T, dc) + 2 * self.bend * _rows(self.squared.T, _rows(self.squared, y) * dc)


class Together(Analytic):
    """Observables and Jacobian from one solve."""

    def linearize(self, y):
        if self.fails is not None and self.fails(y).any():
            raise FloatingPointError("no solution")
        return self.evaluate(y), self.matrix + 2 * self.bend * _rows(self.squared, y)[:, :, None] * self.squared


class Backwards(Analytic):
    """Observables, and gradients from what they left behind."""

    def pullback(self, y):
        return self.evaluate(y), lambda dc: self._pull(y, dc)


class Interrupted(BaseException):
    """The machine goes down."""


class Mortal:
    """A model that goes down after so many rows, and never comes back by itself."""

    def __init__(self, model, rows):
        self.model, self.left = model, rows
        self.parameters, self.observables = model.parameters, model.observables
        if hasattr(model, "linearize"):
            self.linearize = lambda y: self._while_alive(y, model.linearize, y)

    def evaluate(self, y):
        return self._while_alive(y, self.model.evaluate, y)

    def jvp(self, y, dy):
        return self._while_alive(y, self.model.jvp, y, dy)

    def vjp(self, y, dc):
        return self._while_alive(y, self.model.vjp, y, dc)

    def _while_alive(self, y, what, *asked):
        self.left -= len(y)
        if self.left < 0:
            raise Interrupted
        return what(*asked)


def _rows(matrix, y):
    """y A^T without BLAS, whose last bits depend on how many rows there are."""
    return (y[:, None, :] * matrix).sum(axis=-1)


def box(n, low=-1.0, high=1.0):
    return Space.vector([f"p{j}" for j in range(n)], lower=(low,) * n, upper=(high,) * n, law="uniform")


def unbounded(n):
    return Space.vector([f"p{j}" for j in range(n)])


def simplex(n, law="normalised_uniform", upper=1.0):
    names = [f"p{j}" for j in range(n)]
    return Space.vector(names, lower=(0.0,) * n, upper=(upper,) * n, constraint="simplex", law=law)


def matrix(n_out, n_in, seed=0):
    return np.random.default_rng(seed).standard_normal((n_out, n_in))


def covariance(m):
    """Of correlated noise: positive definite, far from diagonal."""
    i = np.arange(m)
    sizes = 0.1 * (1 + i / m)
    return np.exp(-np.abs(i[:, None] - i) / 2) * np.outer(sizes, sizes)


def correlated(m):
    return Noise(np.linalg.cholesky(covariance(m)))


def independent(m, size=0.1):
    return Noise(np.full(m, size))


def normal_prior(space, mean=0.0, deviation=1.0):
    return Prior.of(space, dict.fromkeys(space.names, (mean, deviation)))


def synthetic(model, truth, noise, prior, seed=0, memory: Path | None = None):
    """The posterior of observations made by the model itself."""
    clean = model.evaluate(truth[None])[0]
    data = clean + noise.draw(np.random.default_rng(seed), 1)[0]
    return Posterior(Solves(model, memory), data, noise, prior)


def exact(model, posterior, mean=0.0, deviation=1.0):
    """Mean and covariance of the posterior of a linear model with independent normal priors and all data."""
    m, n = model.matrix.shape
    root = posterior.noise.whiten(np.eye(m)).T  # R with R^T R the inverse covariance of the noise
    design = root @ model.matrix
    covariance = np.linalg.inv(design.T @ design + np.eye(n) / deviation**2)
    centre = np.full(n, mean)
    return centre + covariance @ design.T @ root @ (posterior.data - model.shift - model.matrix @ centre), covariance
