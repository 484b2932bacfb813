"""Densities in the parameters: against those of the normal variables, against quadrature, and their derivatives."""

import numpy as np
import pytest
from scipy import stats
from scipy.integrate import quad

from gnvpro.surrogate.laws import (
    Choices,
    Dirichlet,
    JointNormal,
    Lognormal,
    LogUniform,
    Normal,
    OfScipy,
    TruncatedNormal,
    Uniform,
)
from gnvpro.surrogate.laws.log_density import LogDensity, without_density
from gnvpro.surrogate.laws.transport import Transport
from tests.calculus import assert_taylor

OF_SCIPY = OfScipy.of(stats.gamma(2))
LAWS = (
    Uniform(1, 3),
    LogUniform(0.1, 10),
    JointNormal((0, 1), ((2, 0.5), (0.5, 1))),
    Normal(1, 2),
    Lognormal(0.3, 0.5),
    TruncatedNormal(0, 1, 0.5, 3),
)


def points(*laws, n=6):
    transport = Transport(laws)
    z = np.random.default_rng(0).standard_normal((n, len(transport.discrete)))
    return transport, z, transport.of_normal(z)


def test_it_is_that_of_the_normal_variables_over_the_volume_they_are_stretched_to():
    transport, z, y = points(*LAWS, OF_SCIPY)
    rows = [transport.pull_back(z, np.tile(unit, (len(z), 1))) for unit in np.eye(z.shape[1])]
    stretched = np.linalg.slogdet(np.stack(rows, axis=1))[1]
    expected = stats.norm.logpdf(z).sum(axis=1) - stretched
    np.testing.assert_allclose(LogDensity(transport).value(y), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("law", [law for law in (*LAWS, OF_SCIPY) if law.size == 1], ids=lambda law: law.kind)
def test_it_integrates_to_one(law):
    density = LogDensity(Transport((law,)))
    ends = [float(end[0]) for end in law.support]
    assert quad(lambda y: np.exp(density.value(np.array([[y]]))[0]), *ends)[0] == pytest.approx(1, abs=1e-7)


def test_gradient_and_hessian_are_those_of_the_value():
    transport, _, y = points(*LAWS)
    density, point = LogDensity(transport), y[0]
    direction = 0.05 * np.random.default_rng(1).standard_normal(len(point))
    assert_taylor(lambda at: density.value(at[None]), density.gradient(y[:1]) @ direction, point, direction)
    product = density.hessian_product(y[:1], direction[None])[0]
    assert_taylor(lambda at: density.gradient(at[None])[0], product, point, direction)
    with pytest.raises(AssertionError):
        assert_taylor(lambda at: density.gradient(at[None])[0], 1.01 * product, point, direction)


def test_a_law_of_scipy_has_a_slope_and_no_curvature():
    transport, _, y = points(OF_SCIPY)
    density = LogDensity(transport)
    np.testing.assert_allclose(density.gradient(y), 1 / y - 1, rtol=1e-8)
    assert not density.curved
    with pytest.raises(NotImplementedError):
        density.hessian_product(y, y)


def test_what_has_no_density_is_said():
    assert "sum to one" in without_density(Dirichlet((1, 1, 2)))
    assert "single values" in without_density(Choices((1, 2)))
    assert without_density(Uniform(0, 1)) is None
