"""Scaling of inputs and outputs is inverted by the outer layer, and knows no units."""

import numpy as np
import pytest
import torch

from gnvpro.surrogate.networks.polynomials import Amplitude, PolynomialBasis
from gnvpro.surrogate.scaling import Scaling, logarithmic_parameters
from gnvpro.surrogate.spaces import Space
from tests.calculus import assert_taylor

RNG = np.random.default_rng(0)
Y, C = RNG.uniform(1, 2, (60, 3)), RNG.normal(size=(60, 2)) * [1e-6, 3.0] + [1e-6, 300.0]
NAMES = ["a", "b", "c"]


@pytest.mark.parametrize("centred", [False, True])
@pytest.mark.parametrize("unit", [None, np.array([1e-6, 3.0])])
@pytest.mark.parametrize("background", [None, np.array([1e-7, 200.0])])
def test_the_outer_layer_undoes_the_scaling_of_targets(centred, unit, background):
    scaling = Scaling.standardised(Y, C, 1.0, background, unit=unit, centred=centred)
    targets = scaling.targets(Y, C)
    assert np.sqrt((targets**2).mean()) == pytest.approx(1.0)
    if centred:
        np.testing.assert_allclose(targets.mean(0), 0, atol=1e-12)
    # W with the targets themselves as features.
    weights = scaling.outer_weights(torch.cat([torch.eye(2), torch.zeros(2, 1)], 1)).numpy()
    predicted = np.concatenate([targets, np.ones((60, 1))], 1) @ weights.T + (0 if background is None else background)
    np.testing.assert_allclose(predicted, C, rtol=1e-10)


def test_logarithmic_parameters_are_scaled_by_their_logarithm():
    y = 10 ** RNG.uniform(-3, 3, (200, 1))
    inputs = Scaling.standardised(y, y, 1.0, logarithmic=np.array([True])).inputs(y)
    assert inputs.std() == pytest.approx(1.0)
    assert np.corrcoef(inputs[:, 0], np.log(y[:, 0]))[0, 1] == pytest.approx(1.0)


DECADES = np.stack([10 ** RNG.uniform(-3, 0, 200), RNG.uniform(1e-4, 1, 200), RNG.uniform(-1, 1, 200)], 1)


@pytest.mark.parametrize(
    ("given", "flags"),
    [
        (dict(), [True, False, False]),
        (dict(law="uniform", lower=(0, 0, -1), upper=(1, 1, 1)), None),
        (dict(law="log_uniform", lower=(0.001, 0.0001, -1), upper=(1, 1, 1)), [True, True, False]),
        (dict(constraint="simplex"), None),
    ],
)
@pytest.mark.parametrize("unit", [1e-13, 1.0, 1e13])
def test_parameters_over_decades_enter_by_their_logarithm(given, flags, unit):
    found = logarithmic_parameters(DECADES * unit, Space.vector(NAMES, **given))
    assert found is None if flags is None else found is not None and found.tolist() == flags


@pytest.mark.parametrize("with_amplitude", [False, True])
def test_tangents_are_the_derivatives_of_inputs_and_targets(with_amplitude):
    """Logarithms, several output scales, a background; over an amplitude by the quotient rule."""
    rng = np.random.default_rng(4)
    y, dy = rng.uniform(1.0, 3.0, (6, 3)), rng.normal(size=(6, 2, 3))
    basis = PolynomialBasis((0.5,) * 3, (3.5,) * 3, (1.0,) * 3, 2.0, (1.0,) * 3)
    amplitude = Amplitude(basis, tuple(rng.normal(size=basis.n_terms + 1) / 10)) if with_amplitude else None
    scaling = Scaling(
        rng.normal(size=3),
        rng.uniform(0.5, 2.0, 3),
        rng.uniform(0.5, 2.0, 4),
        background=rng.normal(size=4),
        amplitude=amplitude,
        logarithmic=np.array([True, False, True]),
    )
    matrix = rng.normal(size=(3, 4))
    inputs, targets = scaling.tangents(y, np.sin(y @ matrix), dy, np.cos(y @ matrix)[:, None] * (dy @ matrix))
    for k in range(2):
        assert_taylor(scaling.inputs, inputs[:, k] / 5, y, dy[:, k] / 5)
        assert_taylor(lambda at: scaling.targets(at, np.sin(at @ matrix)), targets[:, k] / 5, y, dy[:, k] / 5)
