"""Small learnable problems shared by the tests of training."""

import numpy as np
import torch

from gnvpro.surrogate.objectives.reduced import reduced_least_squares
from gnvpro.surrogate.samples import Samples
from gnvpro.surrogate.spaces import Space
from gnvpro.training.fitting.validation import ValidationSet

torch.set_default_dtype(torch.float64)


def smooth_samples(n=120, n_in=3, n_out=7, seed=0):
    """Observables that a small tanh network can represent well."""
    rng = np.random.default_rng(seed)
    y = rng.uniform(-1, 1, (n, n_in))
    mixing = np.random.default_rng(99).standard_normal((n_in, n_out))
    c = 2 + np.sin(y @ mixing) + 0.1 * (y @ mixing) ** 2
    space = Space.vector([f"y{j}" for j in range(n_in)], lower=(-1.0,) * n_in, upper=(1.0,) * n_in, law="uniform")
    return Samples(y, c, space, Space.vector([f"c{j}" for j in range(n_out)], axis="observable"))


def objective_and_validation(network, samples=None, dtype=torch.float64, **options):
    """A reduced objective on two thirds of the samples, validation on the rest."""
    samples = samples or smooth_samples(n_in=network.n_inputs)
    inputs, targets = torch.as_tensor(samples.parameters).to(dtype), torch.as_tensor(samples.observables)
    cut = 2 * len(inputs) // 3
    objective = reduced_least_squares(network, inputs[:cut], targets[:cut], **options)
    weights = torch.ones(len(inputs) - cut, dtype=torch.float64)
    return objective, ValidationSet(objective, inputs[cut:], targets[cut:], weights)


def samples_with_derivatives(n=40, n_in=3, n_out=5, r=2, seed=0, unit=1.0):
    """Smooth observables with their derivatives along random directions; the last parameter in a unit of its own."""
    rng = np.random.default_rng(seed)
    y, dy = rng.uniform(-1, 1, (n, n_in)), rng.normal(size=(n, r, n_in))
    mixing, units = np.random.default_rng(99).standard_normal((n_in, n_out)), np.append(np.ones(n_in - 1), unit)
    at, along = y @ mixing, dy @ mixing
    derivatives = (np.cos(at) + 0.2 * at)[:, None] * along
    lower, upper = (tuple((side * units).tolist()) for side in (-1, 1))
    space = Space.vector([f"y{j}" for j in range(n_in)], lower=lower, upper=upper, law="uniform")
    observed = Space.vector([f"c{j}" for j in range(n_out)], axis="observable")
    return Samples(
        y * units,
        2 + np.sin(at) + 0.1 * at**2,
        space,
        observed,
        directions=dy * units,
        derivatives=derivatives,
    )
