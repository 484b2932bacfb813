"""A surrogate of polynomials, kernels and a network side by side, with a parameter that enters by its logarithm."""

import numpy as np
import torch

from gnvpro.surrogate.model.calibration import calibrated
from gnvpro.surrogate.model.surrogate import Surrogate
from gnvpro.surrogate.networks.concatenated import ConcatenatedNetwork
from gnvpro.surrogate.networks.dense import DenseNetwork
from gnvpro.surrogate.networks.kernels import KernelFeatures
from gnvpro.surrogate.networks.sparse_polynomials import SparsePolynomials
from gnvpro.surrogate.samples import Samples
from gnvpro.surrogate.spaces import Space

PARAMETERS = Space.vector(
    ["position", "permeability", "angle"], lower=(-1.0, 1e-16, 0.0), upper=(1.0, 1e-10, 3.0), law="uniform"
)
OBSERVABLES = Space.vector([f"c{k}" for k in range(4)], axis="observable")
CENTRE, HALF = np.array([0.0, np.log(1e-13), 1.5]), np.array([1.0, np.log(1e3), 1.5])
POLYNOMIALS = SparsePolynomials(
    np.array([[1, 0, 0], [0, 2, 0], [2, 0, 1], [1, 1, 1]]), ("legendre",) * 3, (0.0,) * 3, (1.0,) * 3
)
STACK = ConcatenatedNetwork((POLYNOMIALS, KernelFeatures(3, 20, "matern52"), DenseNetwork(3, (6, 4))))


def points(n, seed=0):
    """Parameters (n, 3), the second uniform in its logarithm."""
    y = CENTRE + HALF * np.random.default_rng(seed).uniform(-1, 1, (n, 3))
    y[:, 1] = np.exp(y[:, 1])
    return y


def stacked(network=STACK, dtype=torch.float64):
    """With random weights, so without the cancellation that training brings."""
    generator = torch.Generator().manual_seed(4)
    weights = torch.randn(4, network.width + 1, generator=generator, dtype=torch.float64)
    shift, scale = torch.from_numpy(CENTRE), torch.from_numpy(1 / HALF)
    bounds = points(200)
    return Surrogate(
        network,
        network.initial(2).to(dtype),
        weights,
        shift,
        scale,
        PARAMETERS,
        OBSERVABLES,
        training={"bounds": {"lower": bounds.min(0).tolist(), "upper": bounds.max(0).tolist()}},
        logarithmic=(False, True, False),
    )


def calibrated_stack():
    """With error bands, from samples that are the model's own with an error of 1e-3."""
    model, y = stacked(), points(300, 1)
    noise = np.random.default_rng(2).standard_normal((300, 4))
    samples = Samples(y, model.evaluate(y) + 1e-3 * noise, PARAMETERS, OBSERVABLES)
    return calibrated(model, points(400), samples, "test", np.full(4, 1e-3))
