"""Every law against its distribution in scipy, its derivative, its inverse, and through files."""

import json

import numpy as np
import pytest
from scipy import stats

from gnvpro.surrogate.draws import draw
from gnvpro.surrogate.laws import (
    Choices,
    Dirichlet,
    Integers,
    JointNormal,
    Lognormal,
    LogUniform,
    Normal,
    OfScipy,
    TruncatedNormal,
    Uniform,
    law_of,
)
from gnvpro.surrogate.laws.joint import NormalisedUniform
from gnvpro.surrogate.laws.transport import Transport
from gnvpro.surrogate.spaces import Space
from tests.calculus import assert_taylor


class Triangle(stats.rv_continuous):
    """Of a user, under the name of another."""

    def _pdf(self, x):
        return 2 * x


N_DRAWS = 20_000
# Kolmogorov-Smirnov: fixed seeds, so these never turn out otherwise; a wrong law is far below.
LIKELY, WRONG = 1e-3, 1e-9

# Each with its distribution in scipy, and a wrong one.
CONTINUOUS = {
    "uniform": (Uniform(-1.0, 3.0), stats.uniform(-1, 4), stats.uniform(-1, 4.3)),
    "log-uniform": (LogUniform(0.1, 50.0), stats.loguniform(0.1, 50), stats.loguniform(0.1, 70)),
    "normal": (Normal(2.0, 3.0), stats.norm(2, 3), stats.norm(2, 3.4)),
    "lognormal": (Lognormal(0.5, 0.8), stats.lognorm(0.8, scale=np.exp(0.5)), stats.lognorm(0.9, scale=np.exp(0.5))),
    "truncated": (TruncatedNormal(0.0, 1.0, -0.5, np.inf), stats.truncnorm(-0.5, np.inf), stats.norm(0, 1)),
    "far tail": (TruncatedNormal(0.0, 1.0, 6.0, 7.0), stats.truncnorm(6, 7), stats.uniform(6, 1)),
    "gamma": (law_of(stats.gamma(2, scale=3)), stats.gamma(2, scale=3), stats.gamma(2.3, scale=3)),
    "student": (law_of(stats.t(4)), stats.t(4), stats.norm()),
}
DISCRETE = {
    "integers": (Integers(-2, 4), np.arange(-2, 5), np.full(7, 1 / 7)),
    "choices": (Choices((5.0, 1.0, 2.5), (0.5, 0.2, 0.3)), [1, 2.5, 5], [0.2, 0.3, 0.5]),
    "poisson": (law_of(stats.poisson(1.5)), np.arange(6), stats.poisson(1.5).pmf(np.arange(6))),
}
COVARIANCE = ((2.0, 0.6, 0.0), (0.6, 1.0, -0.3), (0.0, -0.3, 0.5))
JOINT = {
    "joint normal": JointNormal((1.0, 0.0, -2.0), COVARIANCE),
    "dirichlet": Dirichlet((0.4, 1.0, 5.0, 2.0)),
    "flat": Dirichlet((1, 1, 1)),
    "normalised": NormalisedUniform(4),
}
ALL = {name: law for name, (law, *_) in (CONTINUOUS | DISCRETE).items()} | JOINT
each_law = pytest.mark.parametrize("law", ALL.values(), ids=ALL)
each_continuous = pytest.mark.parametrize(("law", "expected", "wrong"), CONTINUOUS.values(), ids=CONTINUOUS)
each_discrete = pytest.mark.parametrize(("law", "values", "shares"), DISCRETE.values(), ids=DISCRETE)


def drawn(law, seed=0, n=N_DRAWS):
    return draw(Space.of_laws({tuple(f"p{j}" for j in range(law.size)): law}), seed, np.arange(n))


def normals(law, seed=1, n=N_DRAWS):
    return np.random.default_rng(seed).standard_normal((n, law.size))


@each_continuous
def test_a_continuous_law_is_that_of_scipy(law, expected, wrong):
    for draws in (drawn(law), law.from_normal(normals(law))):
        assert stats.kstest(draws[:, 0], expected.cdf).pvalue > LIKELY
        assert stats.kstest(draws[:, 0], wrong.cdf).pvalue < WRONG
        assert law.contains(draws).all()
    np.testing.assert_allclose(law.standard_deviations, expected.std(), rtol=1e-9)
    np.testing.assert_allclose(law.support, np.reshape(expected.support(), (2, 1)))
    at = np.concatenate([np.quantile(drawn(law), [0.05, 0.5, 0.9]), [1e3, -1e3]])
    np.testing.assert_allclose(law.density(at), expected.pdf(at), rtol=1e-7, atol=1e-12)


@each_discrete
def test_a_discrete_law_has_the_shares_of_its_values(law, values, shares):
    for draws in (drawn(law), law.from_normal(normals(law))):
        found = np.array([(draws == value).mean() for value in values])
        assert np.abs(found - shares).max() < 4 * 0.5 / np.sqrt(N_DRAWS)
        assert law.contains(draws).all()
    np.testing.assert_allclose(law.density(np.array(values, float)), shares)
    assert law.density(np.array([0.25])) == 0
    assert not law.contains(np.array([[0.25]]))[0]
    back = law.from_normal(law.to_normal(np.array(values, float)[:, None]))[:, 0]
    np.testing.assert_array_equal(back, values)
    assert not law.pull_back(normals(law, n=3), np.ones((3, 1))).any()


def test_a_joint_normal_has_its_mean_and_covariance():
    law = JOINT["joint normal"]
    for draws in (drawn(law), law.from_normal(normals(law))):
        error = np.sqrt(np.diag(COVARIANCE) / N_DRAWS)
        assert (np.abs(draws.mean(0) - law.mean) < 4 * error).all()
        assert np.abs(np.cov(draws.T) - COVARIANCE).max() < 0.06
    np.testing.assert_allclose(law.standard_deviations**2, np.diag(COVARIANCE))


@pytest.mark.parametrize("name", ["dirichlet", "flat"])
def test_dirichlet_is_that_of_scipy(name):
    law = JOINT[name]
    expected = stats.dirichlet(law.concentration)
    for draws in (drawn(law), law.from_normal(normals(law))):
        np.testing.assert_allclose(draws.sum(1), 1)
        for j, a in enumerate(law.concentration):
            of_one = stats.beta(a, sum(law.concentration) - a)
            assert stats.kstest(draws[:, j], of_one.cdf).pvalue > LIKELY
        assert np.abs(np.cov(draws.T) - expected.cov()).max() < 0.05 * expected.var().max()
    np.testing.assert_allclose(law.standard_deviations**2, expected.var())


@each_law
def test_the_gradient_is_pulled_back_and_the_inverse_is_one(law):
    z = 0.8 * normals(law, seed=2, n=5)
    y = law.from_normal(z)
    np.testing.assert_allclose(law.from_normal(law.to_normal(y)), y, rtol=1e-7, atol=1e-9)
    if law.discrete:
        return
    direction = np.random.default_rng(3).standard_normal(law.size)
    jacobian = law.pull_back(np.tile(z[0], (law.size, 1)), np.eye(law.size))
    assert_taylor(lambda at: law.from_normal(at[None])[0], jacobian @ direction, z[0], direction)


@each_law
def test_rows_do_not_depend_on_each_other_and_far_out_all_is_finite(law):
    z = normals(law, seed=4, n=6)
    u = np.random.default_rng(5).random((6, law.size))
    np.testing.assert_array_equal(law.from_normal(z)[3], law.from_normal(z[3:4])[0])
    np.testing.assert_array_equal(law.from_uniform(u)[3], law.from_uniform(u[3:4])[0])
    far = np.array([[-30.0], [-9.0], [9.0], [30.0]]) * np.ones(law.size)
    assert np.isfinite(law.from_normal(far)).all()
    assert np.isfinite(law.pull_back(far, np.ones_like(far))).all()
    assert np.isfinite(law.from_uniform(np.zeros((1, law.size)))).all()


@each_law
def test_a_law_comes_back_out_of_a_file(law):
    described = json.loads(json.dumps(law.to_dict()))
    assert law_of(described) == law
    space = Space.of_laws({tuple(f"p{j}" for j in range(law.size)): law})
    assert Space.from_dict(json.loads(json.dumps(space.to_dict()))) == space


def test_many_laws_together_are_each_by_itself():
    transport = Transport(tuple(ALL.values()))
    d = sum(law.size for law in ALL.values())
    rng = np.random.default_rng(6)
    z, u, gradient = rng.standard_normal((4, d)), rng.random((4, d)), rng.standard_normal((4, d))
    y = transport.of_normal(z)
    assert [law for _, law in transport.columns] == list(ALL.values())
    for columns, law in transport.columns:
        np.testing.assert_allclose(y[:, columns], law.from_normal(z[:, columns]), rtol=1e-12)
        np.testing.assert_allclose(transport.of_uniform(u)[:, columns], law.from_uniform(u[:, columns]), rtol=1e-12)
        pulled = law.pull_back(z[:, columns], gradient[:, columns])
        np.testing.assert_allclose(transport.pull_back(z, gradient)[:, columns], pulled, rtol=1e-10, atol=1e-300)
        np.testing.assert_allclose(transport.to_normal(y)[:, columns], law.to_normal(y[:, columns]), atol=1e-9)
    np.testing.assert_allclose(transport.of_coordinates(transport.to_coordinates(y)), y, rtol=1e-7, atol=1e-12)


@pytest.mark.parametrize(
    ("value", "law"),
    [
        ([0, 2], Uniform(0.0, 2.0)),
        (3, Uniform(3.0, 3.0)),
        ({"law": "normal", "mean": 1, "standard_deviation": 2}, Normal(1, 2)),
        ({"law": "choices", "values": [1, 2]}, Choices((1.0, 2.0))),
        ({"law": "scipy", "name": "beta", "arguments": [2, 3], "keywords": {"scale": 4}},
         OfScipy("beta", (2.0, 3.0), (("scale", 4.0),))),
        (Normal(np.int64(0), np.float32(1)), Normal(0, 1.0)),
        (Integers(np.int64(1), 3), Integers(1, 3)),
        (stats.beta(2, 3, scale=4), OfScipy("beta", (2.0, 3.0), (("scale", 4.0),))),
    ],
)  # fmt: skip
def test_what_a_user_writes(value, law):
    assert law_of(value) == law


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: law_of("normal"), r"expected a law, such as Normal\(0, 1\) or scipy.stats.gamma\(2\), got 'normal'"),
        (lambda: law_of([1, 2, 3]), "expected a lower and an upper bound, got"),
        (lambda: law_of({"law": "cauchy"}), "expected a law among uniform, log-uniform, .* got 'cauchy'"),
        (lambda: law_of({"law": "normal", "sigma": 2}), "law normal: unknown 'sigma'; it has mean, standard_deviation"),
        (lambda: law_of({"law": "uniform", "lower": 2}), "law uniform: expected lower, upper"),
        (lambda: law_of({"law": "scipy", "name": "os"}), "scipy.stats has no distribution 'os'"),
        (lambda: law_of({"law": "scipy", "name": "__doc__"}), "scipy.stats has no distribution"),
        (lambda: law_of({"law": ["normal"]}), "expected a law among"),
        (lambda: law_of({"law": "choices", "values": [1, 2], "probabilities": ["a", "b"]}), "law choices: expected"),
        (lambda: law_of({"law": "integers", "lower": 10**400, "upper": 10**400}), "whole numbers as bounds"),
        (lambda: law_of({"law": "uniform", "lower": 0, "upper": 10**400}), "expected upper a finite number"),
        (lambda: law_of({"law": "normalised-uniform", "n": 2.0}), "a whole number of parameters"),
        (lambda: law_of({"law": "scipy", "name": "zipfian", "arguments": [2, 1e9]}), "at most 100000 single values"),
        (lambda: law_of(Triangle(0, 1, name="uniform")()), "scipy.stats has no distribution like this 'uniform'"),
        (lambda: law_of(stats.cauchy()), "expected a law with a positive, finite standard deviation, got scipy"),
        (lambda: law_of(stats.gamma(-1)), "scipy.stats.gamma|positive, finite standard deviation"),
        (lambda: Uniform(2, 1), "Uniform: lower bound 2 exceeds upper bound 1"),
        (lambda: Uniform(0, np.inf), "Uniform: expected upper a finite number, got inf"),
        (lambda: LogUniform(0, 1), "LogUniform: expected a positive lower, got 0"),
        (lambda: Normal(0, -1), "Normal: expected a positive standard deviation, got -1"),
        (lambda: Lognormal(700, 3), "exceed the numbers there are"),
        (lambda: TruncatedNormal(0, 1, 60, 61), "no mass between its bounds"),
        (lambda: Integers(1.5, 3), "whole numbers as bounds, got 1.5"),
        (lambda: Integers(3, 1), "the lower bound first, got 3 to 1"),
        (lambda: Choices(("red", "blue")), "expected finite numbers, got .*; number what has names"),
        (lambda: Choices((1, 1)), "numbers that differ"),
        (lambda: Choices((1, 2), (0.5, 0.6)), "2 probabilities that sum to one"),
        (lambda: Dirichlet((1, 0)), "concentrations of at least 0.05"),
        (lambda: Dirichlet((1,)), "two concentrations or more"),
        (lambda: JointNormal((0, 0), ((1, 2), (2, 1))), "positive definite covariance"),
        (lambda: JointNormal((0, 0), ((1, 0.5), (0.2, 1))), "symmetric covariance"),
        (lambda: JointNormal((0, 0), ((1, 0),)), r"a covariance \(d, d\), got \(2,\) and \(1, 2\)"),
        (lambda: Space.of_laws({}), "a law for one parameter at least"),
        (lambda: Space.of_laws({"a": (0, 1), ("a", "b"): Dirichlet((1, 1))}), "one law for every parameter, a has two"),
        (lambda: Space.of_laws({"a": Dirichlet((1, 1))}), "law of a: expected 2 names of parameters, got 1"),
        (lambda: Space.of_laws({"a": "x"}), "law of a: expected a law"),
        (lambda: Space.vector(["a"], law="independent"), "expected laws with the law 'independent'"),
    ],
)  # fmt: skip
def test_what_is_no_law_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
