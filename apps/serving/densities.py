"""Log densities of a posterior as models of the server: one vector in, one number out, with derivatives.

Their parameters are those that vary, in the order of the model's, or the normal variables behind them (see `Prior`). The
likelihood and the prior are densities with their constants, so what the posterior lacks is the evidence alone. Where a PDE
could not be solved, the row is the exception that says why.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np

from gnvpro.apps.inversion.posterior.posterior import Posterior
from gnvpro.apps.inversion.posterior.prior import Prior
from gnvpro.apps.serving.batching import Rows
from gnvpro.surrogate.laws.log_density import LogDensity
from gnvpro.surrogate.laws.scalar import Normal
from gnvpro.surrogate.laws.transport import Transport
from gnvpro.surrogate.spaces import Array, Space

_LOG_TWO_PI = float(np.log(2 * np.pi))
_LOG_DENSITY = Space.vector(["log_density"], axis="density")

type Operations = Mapping[str, Callable[..., Rows]]


@dataclass(frozen=True, eq=False)
class Function:
    """A function of one vector as a forward model, a log density or another: its spaces, and operations of the protocol."""

    parameters: Space
    operations: Operations
    observables: Space = _LOG_DENSITY

    def evaluate(self, y: Array) -> Array:
        """See `ForwardModel`."""
        return self._computed("Evaluate", y)

    def vjp(self, y: Array, dc: Array) -> Array:
        """See `ForwardModel`; NotImplementedError where it has none."""
        return self._computed("Gradient", y, dc)

    def jvp(self, y: Array, dy: Array) -> Array:
        """See `ForwardModel`; NotImplementedError where it has none."""
        return self._computed("ApplyJacobian", y, dy)

    def _computed(self, operation: str, *arguments: Array) -> Array:
        if operation not in self.operations:
            raise NotImplementedError
        return np.array(self.operations[operation](*arguments))


@dataclass(frozen=True, eq=False)
class Likelihood:
    """The logarithm of the likelihood by all parameters (n, n_in) of a model, computed by its operations of the protocol.

    `pullback` gives observables and what "Gradient" is there, where both together cost less; `hessian` are its second
    derivatives (y, dc, dy) -> (n, n_in), where it has some.
    """

    posterior: Posterior
    operations: Operations
    pullback: Callable[[Array], tuple[Array, Callable[[Array], Array]]] | None = None
    hessian: Callable[[Array, Array, Array], Array] | None = None

    @cached_property
    def constant(self) -> float:
        """Of the logarithm of the density: that of the noise at zero."""
        noise = self.posterior.noise.of(self.posterior.measured)
        if not noise.correlated:
            return float(noise.log_densities(np.zeros((1, noise.size))).sum())
        return float(-np.log(np.diagonal(noise.factor)).sum() - 0.5 * noise.size * _LOG_TWO_PI)

    def value(self, y: Array) -> Rows:
        """(n,)."""
        return _where_solved(
            lambda observed: self.constant - self.posterior.misfit(observed), self.operations["Evaluate"](y)
        )

    def gradient(self, y: Array) -> Rows:
        """(n, n_in)."""
        if self.pullback is not None:
            observed, pull = self.pullback(y)
            return pull(-self.posterior.weights(observed))
        weights = _where_solved(lambda observed: -self.posterior.weights(observed), self.operations["Evaluate"](y))
        return self._at_solved("Gradient", y, weights)

    def along(self, y: Array, dy: Array) -> Rows:
        """Derivative along a direction, (n,), of a model that has Jacobians but no gradients."""
        weights = _where_solved(lambda observed: -self.posterior.weights(observed), self.operations["Evaluate"](y))
        slopes = self._at_solved("ApplyJacobian", y, [dy[i] for i in range(len(dy))])
        return _where_solved(lambda w, slope: (w * slope).sum(axis=1), weights, slopes)

    def hessian_product(self, y: Array, dy: Array) -> Array:
        """Hessian at `y` times `dy`: (n, n_in), exact. Of normal noise, whose weights are affine in the observables."""
        assert self.hessian is not None
        operations: Mapping[str, Any] = self.operations
        observed, slope = operations["Evaluate"](y), operations["ApplyJacobian"](y, dy)
        weights = self.posterior.weights(observed)
        change = self.posterior.weights(observed + slope) - weights
        return -operations["Gradient"](y, change) - self.hessian(y, weights, dy)

    def _at_solved(self, operation: str, y: Array, beside: Rows) -> Rows:
        """Rows of an operation where there is something beside `y`; its exception where there is none."""
        return _where_solved(lambda y, dc: self.operations[operation](y, dc), [y[i] for i in range(len(y))], beside)


def log_likelihood(likelihood: Likelihood) -> Function:
    """By the parameters that vary, wherever the model is defined."""
    prior = likelihood.posterior.prior
    return Function(free_space(prior.space, prior, prior.space.transport), _by_parameters(likelihood, None, prior))


def log_prior(prior: Prior) -> Function:
    """By the parameters that vary; the laws have densities (see `without_density`)."""
    law = LogDensity(_free_transport(prior))
    operations: dict[str, Callable[..., Rows]] = {
        "Evaluate": lambda y: law.value(y)[:, None],
        "Gradient": lambda y, dc: dc * law.gradient(y),
        "ApplyJacobian": lambda y, dy: (law.gradient(y) * dy).sum(axis=1, keepdims=True),
    }
    if law.curved:
        operations["ApplyHessian"] = lambda y, dc, dy: dc * law.hessian_product(y, dy)
    return Function(free_space(prior.space, prior, prior.transport), operations)


def log_posterior(likelihood: Likelihood) -> Function:
    """Likelihood times prior, by the parameters that vary."""
    prior = likelihood.posterior.prior
    law = LogDensity(_free_transport(prior))
    return Function(free_space(prior.space, prior, prior.transport), _by_parameters(likelihood, law, prior))


def log_posterior_of_normal(likelihood: Likelihood) -> Function:
    """Likelihood times prior, by the normal variables behind the parameters that vary: no bounds, and a normal prior."""
    prior = likelihood.posterior.prior
    constant = -0.5 * prior.n_free * _LOG_TWO_PI

    def value(z: Array) -> Rows:
        of_prior = constant - 0.5 * (z**2).sum(axis=1)
        return _where_solved(
            lambda value, of_prior: (value + of_prior)[:, None], likelihood.value(prior.parameters(z)), of_prior
        )

    def gradient(z: Array, dc: Array) -> Rows:
        def pulled(by_parameters: Array, z: Array, dc: Array) -> Array:
            return dc * (prior.pull_back(z, by_parameters) - z)

        return _where_solved(pulled, likelihood.gradient(prior.parameters(z)), z, dc)

    operations: dict[str, Callable[..., Rows]] = {"Evaluate": value}
    if "Gradient" in likelihood.operations and not prior.single.any():
        operations |= {"Gradient": gradient, "ApplyJacobian": partial(_along_gradient, gradient)}
    return Function(normal_space(prior), operations)


def from_normal(prior: Prior) -> Function:
    """The map from the normal variables to all parameters of the model: `Prior.parameters`."""
    units = np.eye(prior.size)

    def along(z: Array, dz: Array) -> Array:
        rows = [(prior.pull_back(z, np.tile(unit, (len(z), 1))) * dz).sum(axis=1) for unit in units]
        return np.stack(rows, axis=1)

    operations: dict[str, Callable[..., Rows]] = {"Evaluate": prior.parameters}
    if not prior.single.any():  # which jump
        operations |= {"Gradient": prior.pull_back, "ApplyJacobian": along}
    return Function(normal_space(prior), operations, prior.space)


def free_space(space: Space, prior: Prior, transport: Transport | None) -> Space:
    """Of the parameters of a space that vary, with these laws, or with its bounds alone."""
    names = [name for name, free in zip(space.names, prior.free, strict=True) if free]
    units = tuple(space.unit(int(j)) for j in np.flatnonzero(prior.free))
    if transport is None:
        lower, upper = (tuple(bounds[prior.free].tolist()) for bounds in (space.lower_bounds, space.upper_bounds))
        return Space.vector(names, units=units, lower=lower, upper=upper, constraint=space.constraint)
    laws: dict[Any, Any] = {}
    for of, law in transport.columns:
        if prior.free[of].all():
            laws[space.names[of.start] if law.size == 1 else tuple(space.names[of])] = law
    return Space.of_laws(laws, units=units)


def normal_space(prior: Prior) -> Space:
    """Of the normal variables: a standard normal one behind every parameter that varies."""
    return Space.of_laws({prior.space.names[j]: Normal(0.0, 1.0) for j in np.flatnonzero(prior.free)})


def _free_transport(prior: Prior) -> Transport:
    return Transport(tuple(law for of, law in prior.transport.columns if prior.free[of].all()))


def _by_parameters(likelihood: Likelihood, law: LogDensity | None, prior: Prior) -> Operations:
    """Operations by the parameters that vary: of the likelihood, and of the prior with it."""
    free, fixed = prior.free, prior.lower

    def every(y: Array, others: Array | float = fixed) -> Array:
        filled = np.empty((len(y), prior.size))
        filled[:] = others
        filled[:, free] = y
        return filled

    def value(y: Array) -> Rows:
        of_law = np.zeros(len(y)) if law is None else law.value(y)
        return _where_solved(lambda value, of_law: (value + of_law)[:, None], likelihood.value(every(y)), of_law)

    def gradient(y: Array, dc: Array) -> Rows:
        of_law = np.zeros(y.shape) if law is None else law.gradient(y)
        return _where_solved(
            lambda slope, of_law, dc: dc * (slope[:, free] + of_law), likelihood.gradient(every(y)), of_law, dc
        )

    def along(y: Array, dy: Array) -> Rows:
        of_law = np.zeros(len(y)) if law is None else (law.gradient(y) * dy).sum(axis=1)
        slopes = likelihood.along(every(y), every(dy, 0.0))
        return _where_solved(lambda slope, of_law: (slope + of_law)[:, None], slopes, of_law)

    def hessian(y: Array, dc: Array, dy: Array) -> Rows:
        product = likelihood.hessian_product(every(y), every(dy, 0.0))[:, free]
        return dc * (product if law is None else product + law.hessian_product(y, dy))

    operations: dict[str, Callable[..., Rows]] = {"Evaluate": value}
    if prior.single.any():  # what is between single values is no point of the space
        return operations
    if "Gradient" in likelihood.operations:
        operations |= {"Gradient": gradient, "ApplyJacobian": partial(_along_gradient, gradient)}
    elif "ApplyJacobian" in likelihood.operations:
        operations["ApplyJacobian"] = along
    affine = not likelihood.posterior.noise.heavy_tailed  # the weights, of normal noise
    if likelihood.hessian is not None and affine and (law is None or law.curved):
        operations["ApplyHessian"] = hessian
    return operations


def _along_gradient(gradient: Callable[[Array, Array], Rows], y: Array, dy: Array) -> Rows:
    return _where_solved(
        lambda slope, dy: (slope * dy).sum(axis=1, keepdims=True), gradient(y, np.ones((len(y), 1))), dy
    )


def _where_solved(compute: Callable[..., Rows], *columns: Rows) -> Rows:
    """What is computed, all rows together, where no column has an exception in place of a row; that exception elsewhere."""
    if all(isinstance(column, np.ndarray) for column in columns):
        return compute(*columns)
    n = len(columns[0])
    rows: list[Any] = [
        next((column[i] for column in columns if isinstance(column[i], BaseException)), None) for i in range(n)
    ]
    solved = [i for i in range(n) if rows[i] is None]
    if solved:
        computed = compute(*(np.stack([np.asarray(column[i]) for i in solved]) for column in columns))
        for i, row in zip(solved, computed, strict=True):
            rows[i] = row
    return rows
