"""Derivatives as training takes them: units and lengths do not matter, unknown ones say nothing, and they help."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from gnvpro.surrogate.networks.dense import DenseNetwork
from gnvpro.surrogate.networks.polynomials import Amplitude, PolynomialBasis
from gnvpro.surrogate.samples import Split
from gnvpro.training.fitting.checkpoint import identity_of
from gnvpro.training.fitting.methods import fit_by
from gnvpro.training.fitting.preparation import Preparation
from gnvpro.training.settings import TrainSettings
from tests.training.problems import samples_with_derivatives

NETWORK, SETTINGS = DenseNetwork(3, (6, 8)), TrainSettings()
BASIS = PolynomialBasis((-1.1,) * 3, (1.1,) * 3, (1.0,) * 3, 2.0, (1.0,) * 3)
AMPLITUDE = Amplitude(BASIS, tuple(np.linspace(-0.2, 0.2, BASIS.n_terms + 1)))


def point(samples, theta=None, polynomials=None, amplitude=None):
    prepared = Preparation.of_all(samples, SETTINGS)
    task = prepared.task(NETWORK, prepared.standardised(1.0, polynomials, amplitude), theta=theta)
    return task.reduced.at(task.theta)


def test_neither_the_length_of_a_direction_nor_a_unit_matters():
    samples = samples_with_derivatives()
    rng = np.random.default_rng(1)
    lengths = (rng.choice([-1.0, 1.0], (40, 2)) * 10 ** rng.uniform(-3, 3, (40, 2)))[..., None]
    longer = replace(samples, directions=lengths * samples.directions, derivatives=lengths * samples.derivatives)
    expected = point(samples)
    for other in (longer, samples_with_derivatives(unit=1e4)):
        at = point(other)
        assert at.value == pytest.approx(expected.value, rel=1e-10)
        torch.testing.assert_close(at.gradient, expected.gradient, rtol=1e-7, atol=1e-10)


def test_unknown_derivatives_leave_the_others_their_weight():
    """A sample of which one derivative is known counts it as another counts two of half the weight each."""
    samples = samples_with_derivatives()
    keep = np.array([1.0, 0.0])[None, :, None]
    zeros = replace(samples, directions=keep * samples.directions, derivatives=keep * samples.derivatives)
    one = replace(samples, directions=samples.directions[:, :1], derivatives=samples.derivatives[:, :1])
    assert point(zeros).value == pytest.approx(point(one).value, rel=1e-12)
    none = replace(samples, directions=0 * samples.directions, derivatives=0 * samples.derivatives)
    assert point(none).value == pytest.approx(point(samples.without_derivatives).value, rel=1e-12)


@pytest.mark.parametrize("amplitude", [None, AMPLITUDE])
def test_rows_are_derivatives_of_the_rows_of_values_along_the_same_curve(amplitude):
    """Features, fixed columns and targets at parameters that move along a direction: scaling, polynomials, amplitude."""
    samples = samples_with_derivatives(n=40, r=1)
    prepared = Preparation.of_all(samples, SETTINGS)
    formulation = prepared.standardised(1.0, BASIS, amplitude)
    reduced = prepared.task(NETWORK, formulation).reduced
    theta, layer = NETWORK.initial(0), reduced.elimination
    rows = torch.cat([reduced.linearize(theta).features, layer.columns, layer.targets @ reduced.rotation], 1).numpy()
    factors = prepared.tangents(formulation, samples).factors[:, 0]
    mixing = np.random.default_rng(99).standard_normal((3, 5))

    def values(y):
        at = y @ mixing
        targets = formulation.scaling.targets(y, 2 + np.sin(at) + 0.1 * at**2)
        features = NETWORK.bind(theta)(torch.from_numpy(formulation.scaling.inputs(y))).numpy()
        return np.concatenate([features, BASIS(torch.from_numpy(y)).numpy(), np.ones((len(y), 1)), targets], 1)

    np.testing.assert_allclose(rows[::2], values(samples.parameters), rtol=1e-6, atol=1e-6)  # targets are compressed
    direction = samples.directions[:, 0] * factors[:, None] / 20
    compressed = np.abs(rows[1::2] / 20 - _derivative(values, samples.parameters, direction)).max()
    assert compressed < 1e-6


def _derivative(function, at, direction, step=1e-5):
    return (function(at + step * direction) - function(at - step * direction)) / (2 * step)


def test_derivatives_train_a_better_network():
    samples, fresh = samples_with_derivatives(n=14, r=2), samples_with_derivatives(n=200, r=1, seed=5)
    errors = []
    for train in (samples, samples.without_derivatives):
        prepared = Preparation(Split.of(train, fresh), SETTINGS)
        task = prepared.task(NETWORK, prepared.standardised(0.1))
        fit = fit_by("varpro-lbfgs", task, 900.0)
        fit.advance(300.0 * task.reduced.elimination.group)
        errors.append(fit.best.validation_error)
    assert errors[0] < 0.3 * errors[1]


def test_a_checkpoint_belongs_to_the_derivatives_too():
    samples = samples_with_derivatives()
    other = replace(samples, derivatives=1.001 * samples.derivatives)
    identities = [identity_of(Split.of(s), SETTINGS, None) for s in (samples, other, samples.without_derivatives)]
    assert len({identity["data"] for identity in identities}) == 3
