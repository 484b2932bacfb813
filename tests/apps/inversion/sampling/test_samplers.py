"""NUTS, random walk and delayed acceptance: the exact posterior within Monte Carlo error, whatever the cheap model."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from arviz_stats import ess
from scipy import stats

from gnvpro.apps.inversion.maximum_a_posteriori import find_minima
from gnvpro.apps.inversion.posterior.posterior import Posterior, Whitening
from gnvpro.apps.inversion.posterior.prior import Prior
from gnvpro.apps.inversion.posterior.solves import Solves
from gnvpro.apps.inversion.sampling.metropolis import RandomWalk, sample_delayed, sample_metropolis
from gnvpro.apps.inversion.sampling.nuts import sample_nuts
from gnvpro.surrogate.errors import NumericalFailure
from gnvpro.surrogate.spaces import Space
from tests.apps.inversion.models import (
    Analytic,
    Backwards,
    Interrupted,
    Mortal,
    Together,
    box,
    correlated,
    exact,
    independent,
    matrix,
    normal_prior,
    simplex,
    synthetic,
    unbounded,
)

N, M = 3, 6
PRIOR = normal_prior(unbounded(N), 0.3, 1.5)
TRUTH = np.array([0.5, -0.8, 1.0])


def linear(kind=Analytic, **given):
    """A posterior that is normal, and its law."""
    model = kind(PRIOR.space, matrix(M, N), **given)
    posterior = synthetic(model, TRUTH, correlated(M), PRIOR)
    return posterior, *exact(model, posterior, 0.3, 1.5)


def by(posterior, model):
    """The same question to another model."""
    return replace(posterior, solves=Solves(model))


def nowhere():
    """The same to a model without solutions."""
    return by(linear()[0], Analytic(PRIOR.space, matrix(M, N), fails=lambda y: y[:, 0] < 100))


def start_of(posterior, n_chains, seed=1):
    """Normal variables of overdispersed starts, and the factor of the steps."""
    whitening = Whitening.at_mode(posterior, np.zeros(posterior.prior.size))
    normal = np.random.default_rng(seed).standard_normal((n_chains, posterior.prior.size))
    return {"start": whitening.centre + 1.5 * normal @ whitening.factor.T, "factor": whitening.factor}


# Draws follow rounding, so other processors have other ones. One comparison in 5e8 is beyond six standard errors of a normal
# law; of second moments, whose errors are those of chi-squared with as many degrees as there are effective samples, one in
# 3e7. The chains are long enough that their effective samples are never as few as that is worth nothing.
FAR = 6


def assert_draws_from(chains, mean, covariance):
    """First and second moments within `FAR` Monte Carlo standard errors."""
    assert chains.effective.min() > 200, "too few effective samples to tell anything"
    white = (chains.draws - mean) @ np.linalg.inv(np.linalg.cholesky(covariance)).T
    n = len(mean)
    scores = [white[..., i].mean() * root_of_effective(white[..., i]) for i in range(n)]
    assert np.abs(scores).max() < FAR, f"means are off by {scores} standard errors"
    for i, j in itertools.combinations_with_replacement(range(n), 2):
        product, expected = white[..., i] * white[..., j], float(i == j)
        # The variance of a product of standard normal variables; where a bound cuts these off it is less.
        off = (product.mean() - expected) * root_of_effective(product) / np.sqrt(1 + expected)
        assert np.abs(off) < FAR, f"the covariance is off by {off} standard errors"


def root_of_effective(draws):
    return np.sqrt(float(ess(draws, method="mean")))


def nuts(posterior, draws=1200, tune=100, seed=0, **given):
    whitening = Whitening.at_mode(posterior, np.zeros(posterior.prior.size))
    return sample_nuts(posterior, chains=2, draws=draws, tune=tune, seed=seed, whitening=whitening, **given)


def walk(posterior, draws=1000, tune=200, seed=0, n_chains=12, **given):
    return sample_metropolis(posterior, draws=draws, tune=tune, seed=seed, **start_of(posterior, n_chains), **given)


def delayed(cheap, accurate, draws=400, tune=60, seed=0, n_chains=12, steps=12, **given):
    where = start_of(accurate, n_chains)
    return sample_delayed(cheap, accurate, draws=draws, tune=tune, seed=seed, steps=steps, **where, **given)


@pytest.mark.parametrize("kind", [Analytic, Together, Backwards])
def test_whitening_of_a_normal_posterior_is_exact(kind):
    posterior, mean, covariance = linear(kind)
    whitening = Whitening.at_mode(posterior, np.array([5.0, -5.0, 5.0]))
    np.testing.assert_allclose(0.3 + 1.5 * whitening.centre, mean, atol=1e-7)
    np.testing.assert_allclose(1.5**2 * whitening.factor @ whitening.factor.T, covariance, rtol=1e-7, atol=1e-10)
    np.testing.assert_array_equal(whitening.factor, np.tril(whitening.factor))


@pytest.mark.parametrize("prior", [Prior.of(box(3)), Prior.of(simplex(3))], ids=["box", "simplex"])
def test_whitening_is_at_the_mode_of_the_normal_variables(prior):
    posterior = synthetic(Together(prior.space, matrix(5, 3), bend=0.1), prior.moments[0], independent(5), prior)
    whitening = Whitening.at_mode(posterior, prior.moments[0])
    gradient = posterior.log_density_and_gradient(whitening.centre[None])[1][0]
    assert np.abs(gradient @ whitening.factor).max() < 1e-4
    n = prior.size
    rows = [posterior.log_density(whitening.centre + 1e-2 * np.vstack([d, -d, 0 * d])) for d in whitening.factor.T]
    curvatures = [(2 * here - ahead - behind) / 1e-4 for ahead, behind, here in rows]
    np.testing.assert_allclose(curvatures, np.ones(n), rtol=0.35)  # Gauss-Newton leaves second derivatives out


def test_whitening_says_where_the_model_could_not_be_solved():
    posterior = nowhere()
    with pytest.raises(NumericalFailure, match="could not be solved at"):
        Whitening.at_mode(posterior, np.zeros(N))


@pytest.mark.parametrize("kind", [Analytic, Together, Backwards])
def test_nuts_draws_from_a_normal_posterior(kind):
    posterior, mean, covariance = linear(kind)
    whitening, before = Whitening.at_mode(posterior, TRUTH), posterior.solves.evaluated
    chains = sample_nuts(posterior, chains=2, draws=600, tune=100, seed=0, whitening=whitening)
    assert_draws_from(chains, mean, covariance)
    assert chains.split_rhat.max() < 1.05
    assert chains.cheap == posterior.solves.evaluated - before > 2 * 700
    assert chains.derivatives == chains.cheap
    assert (chains.accurate, chains.about["divergences"]) == (0, 0)
    assert chains.statistics["n_steps"].shape == (2, 600)
    dear = sample_nuts(posterior, chains=2, draws=5, tune=5, seed=0, whitening=whitening, accurate=True)
    assert dear.accurate > 20
    assert dear.cheap == 0


def test_random_walk_draws_from_a_normal_posterior():
    posterior, mean, covariance = linear()
    chains = walk(posterior, accurate=True)
    assert_draws_from(chains, mean, covariance)
    assert 0.2 < chains.about["acceptance"] < 0.4, "the step size is tuned"
    assert (chains.accurate, chains.cheap) == (12 * (1 + 1200), 0)
    assert walk(posterior, draws=20, tune=10).cheap == 12 * (1 + 30)


def test_step_size_stays_once_it_is_tuned():
    posterior, *_ = linear()
    step, z = RandomWalk(np.eye(N)), np.zeros((4, N))
    density = posterior.log_density(z)
    first = step.scale
    assert first == pytest.approx(2.38 / np.sqrt(N))
    step.walk(posterior.log_density, z, density, 20, np.random.default_rng(0), adapt=True)
    tuned = step.scale
    assert tuned < first
    moved, there, rate = step.walk(posterior.log_density, z, density, 20, np.random.default_rng(0))
    assert step.scale == tuned
    assert 0 <= rate <= 1
    np.testing.assert_array_equal(there, posterior.log_density(moved))
    np.testing.assert_array_equal(z, 0)


BOUNDED = Space.vector(["p0"], lower=(-1.0,), upper=(1.0,), law="uniform")


def at_a_bound(**given):
    """One parameter, uniform, whose likelihood is cut off by the bound: a truncated normal law."""
    model = Analytic(BOUNDED, np.array([[1.0]]), **given)
    posterior = Posterior(Solves(model), np.array([0.8]), independent(1, 0.4), Prior.of(BOUNDED))
    return posterior, stats.truncnorm((-1 - 0.8) / 0.4, (1 - 0.8) / 0.4, 0.8, 0.4)


@pytest.mark.parametrize(
    "sample", [nuts, walk, lambda posterior: delayed(by(posterior, Analytic(BOUNDED, np.array([[0.9]]))), posterior)]
)
def test_a_posterior_at_a_bound(sample):
    posterior, law = at_a_bound()
    chains = sample(posterior)
    assert_draws_from(chains, np.array([law.mean()]), np.array([[law.var()]]))
    assert np.abs(chains.draws).max() <= 1
    np.testing.assert_allclose(
        chains.draws, posterior.prior.parameters(chains.latent.reshape(-1, 1)).reshape(chains.draws.shape)
    )
    # Against the normal law that is not cut off, the same check fails.
    with pytest.raises(AssertionError, match="off by"):
        assert_draws_from(chains, np.array([0.8]), np.array([[0.16]]))


@pytest.mark.parametrize(
    "wrong", [pytest.param({"shift": 0.3}, id="biased"), pytest.param({"bend": 0.4}, id="bent", marks=pytest.mark.long)]
)
def test_a_wrong_cheap_model_costs_acceptance_and_nothing_else(wrong):
    accurate, mean, covariance = linear()
    cheap = by(accurate, Analytic(PRIOR.space, matrix(M, N), **wrong))
    for learn, draws in ((True, 400), (False, 1200)):  # what is not learned makes chains stick now and then
        chains = delayed(cheap, accurate, draws=draws, learn=learn)
        assert_draws_from(chains, mean, covariance)
    assert chains.about["acceptance"] < 0.9
    with pytest.raises(AssertionError, match="off by"):  # the cheap model by itself has another posterior
        assert_draws_from(walk(cheap, draws=4000), mean, covariance)


def test_learning_the_model_error_raises_acceptance():
    accurate, *_ = linear()
    cheap = by(accurate, Analytic(PRIOR.space, matrix(M, N), bend=0.02, shift=0.15))
    learned, unlearned = (delayed(cheap, accurate, draws=150, learn=learn) for learn in (True, False))
    assert learned.about["acceptance"] > unlearned.about["acceptance"] + 0.1
    assert learned.about["model_error_learned"]
    assert not unlearned.about["model_error_learned"]
    assert learned.about["model_error_in_noise"] > 0.5


def test_identical_models_accept_everything():
    accurate, mean, covariance = linear()
    cheap = by(accurate, Analytic(PRIOR.space, matrix(M, N)))
    chains = delayed(cheap, accurate, draws=150, steps=60)  # some of so many steps are accepted
    assert chains.about["acceptance"] == 1.0
    assert chains.statistics["accepted"].all()
    assert chains.about["cheap_steps"] == 60
    assert delayed(cheap, accurate, draws=2, tune=2, steps=None).about["cheap_steps"] == 10 * N
    assert chains.about["model_error_in_noise"] == 0
    assert_draws_from(chains, mean, covariance)


def test_costs_of_delayed_acceptance():
    accurate, *_ = linear()
    cheap = by(accurate, Analytic(PRIOR.space, matrix(M, N), shift=0.05))
    where = start_of(accurate, 4)
    before = accurate.solves.evaluated
    chains = sample_delayed(cheap, accurate, draws=20, tune=10, seed=0, steps=7, **where)
    assert chains.accurate == accurate.solves.evaluated - before <= 4 * 31
    assert chains.cheap == cheap.solves.evaluated >= 4 * 30 * 7
    assert chains.draws.shape == (4, 20, N)


def test_the_same_seed_gives_the_same_draws_and_another_other_ones():
    accurate, *_ = linear()
    cheap = by(accurate, Analytic(PRIOR.space, matrix(M, N), shift=0.05))
    for sample in (
        lambda seed: nuts(accurate, draws=20, tune=20, seed=seed),
        lambda seed: walk(accurate, draws=20, tune=10, seed=seed),
        lambda seed: delayed(cheap, accurate, draws=10, tune=5, seed=seed),
    ):
        first, again, other = sample(1), sample(1), sample(2)
        np.testing.assert_array_equal(first.draws, again.draws)
        assert (first.draws != other.draws).any()
        assert not (first.draws[0] == first.draws[1]).all(), "chains differ"


CUT = stats.truncnorm((-1 - 0.8) / 0.4, (0.6 - 0.8) / 0.4, 0.8, 0.4)


def failing(kind=Analytic):
    """The posterior of `at_a_bound`, unsolvable above 0.6: what is left is cut off there."""
    posterior, _ = at_a_bound()
    return by(posterior, kind(BOUNDED, np.array([[1.0]]), fails=lambda y: y[:, 0] > 0.6))


@pytest.mark.parametrize("kind", [Analytic, Together])
def test_failed_solves_are_rejected_and_counted_by_random_walk_and_delayed_acceptance(kind):
    posterior = failing(kind)
    where = {"start": np.linspace(-0.8, 0.3, 12)[:, None], "factor": np.eye(1)}
    cheap, _ = at_a_bound()
    for chains in (
        sample_metropolis(posterior, draws=1000, tune=200, seed=0, **where),
        sample_delayed(cheap, posterior, draws=400, tune=50, seed=0, steps=5, **where),
    ):
        assert chains.draws.max() <= 0.6
        assert_draws_from(chains, np.array([CUT.mean()]), np.array([[CUT.var()]]))
    assert chains.about["pde_failed"] > 100
    assert posterior.solves.failed > chains.about["pde_failed"]


@pytest.mark.parametrize(
    "kind", [Analytic, *(pytest.param(k, marks=pytest.mark.exhaustive) for k in (Together, Backwards))]
)
def test_failed_solves_are_rejected_and_counted_by_nuts(kind):
    posterior = failing(kind)
    whitening = Whitening(np.array([-0.2]), np.eye(1))
    chains = sample_nuts(posterior, chains=2, draws=1500, tune=200, seed=0, whitening=whitening, accurate=True)
    assert chains.draws.max() <= 0.6
    assert posterior.solves.failed > 10
    assert chains.about["divergences"] > 10
    assert chains.split_rhat.max() < 1.1
    # The mean of so many draws varies by 0.045 standard deviations.
    assert abs(chains.mean[0] - CUT.mean()) < 0.25 * CUT.std()  # failures bias a sampler that follows gradients


def test_where_nothing_can_be_solved_no_chain_begins():
    posterior = nowhere()
    where = {"start": np.zeros((2, N)), "factor": np.eye(N)}
    with pytest.raises(NumericalFailure, match="could not be solved where a chain begins"):
        sample_metropolis(posterior, draws=5, tune=5, seed=0, **where)
    cheap, *_ = linear()
    with pytest.raises(NumericalFailure, match="PDE could not be solved where a chain begins"):
        sample_delayed(cheap, posterior, draws=5, tune=5, seed=0, **where)
    with pytest.raises(NumericalFailure, match="the sampler could not begin"):
        sample_nuts(posterior, chains=2, draws=5, tune=5, seed=0, whitening=Whitening(np.zeros(N), np.eye(N)))


def test_a_chain_that_the_cheap_model_cannot_begin_begins_elsewhere():
    accurate, _ = at_a_bound()
    where = {"start": np.array([[0.0], [1.5]]), "factor": np.eye(1)}
    chains = sample_delayed(failing(), accurate, draws=50, tune=5, seed=0, steps=5, **where)
    assert chains.draws.max() <= 0.6
    nowhere = by(accurate, Analytic(BOUNDED, np.array([[1.0]]), fails=lambda y: y[:, 0] > -2))
    with pytest.raises(NumericalFailure, match="the surrogate could not be evaluated where a chain begins"):
        sample_delayed(nowhere, accurate, draws=5, tune=5, seed=0, steps=5, **where)


def test_nuts_raises_what_the_model_raised():
    posterior, *_ = linear()
    for rows in (0, 40, 500):
        with pytest.raises(Interrupted):
            nuts_at_once(by(posterior, Mortal(Analytic(PRIOR.space, matrix(M, N)), rows)))


def nuts_at_once(posterior):
    return sample_nuts(
        posterior, chains=2, draws=100, tune=50, seed=0, whitening=Whitening(np.zeros(N), np.eye(N) / 10)
    )


def test_progress_is_told():
    posterior, *_ = linear()
    told = {}
    for name, sample in {
        "nuts": lambda say: nuts(posterior, draws=10, tune=10, report=say),
        "walk": lambda say: walk(posterior, draws=10, tune=10, report=say),
        "delayed": lambda say: delayed(posterior, posterior, draws=10, tune=10, report=say),
    }.items():
        told[name] = []
        sample(lambda done, total, note, name=name: told[name].append((done, total, note)))
    assert told["walk"][-1][:2] == told["delayed"][-1][:2] == (20, 20)
    assert len(told["walk"]) == 20
    for done, total, note in told["nuts"]:
        assert done <= total
        assert "draws" in note


def test_from_the_minimum_to_the_posterior_on_the_simplex():
    """Three parts that sum to one: against a quadrature over the triangle."""
    prior = Prior.of(simplex(3))
    model = Together(prior.space, matrix(4, 3), bend=0.2)
    posterior = synthetic(model, np.array([0.15, 0.6, 0.25]), independent(4, 0.3), prior)
    whitening = Whitening.at_mode(posterior, find_minima(posterior, 2, 0)[0].parameters)
    chains = sample_nuts(posterior, chains=2, draws=1000, tune=200, seed=0, whitening=whitening)
    parts = np.stack(np.meshgrid(*[(np.arange(60) + 0.5) / 60] * 3)).reshape(3, -1).T
    y = parts / parts.sum(axis=1, keepdims=True)
    weights = np.exp(-posterior.misfit(model.evaluate(y)))
    mean = np.average(y, axis=0, weights=weights)
    spread = np.sqrt(np.average((y - mean) ** 2, axis=0, weights=weights))
    assert np.abs((chains.mean - mean) / chains.monte_carlo_error).max() < FAR
    np.testing.assert_allclose(chains.standard_deviation, spread, rtol=0.12)  # known within 0.018
    assert np.abs(chains.mean - prior.moments[0]).max() > 10 * chains.monte_carlo_error.max(), "the data say something"
