"""Hard posteriors: the exact law within Monte Carlo error, by the sampler that is chosen; what has not converged says so."""

from dataclasses import replace

import numpy as np
import pytest

from gnvpro.apps.inversion.invert import approximate, invert
from gnvpro.apps.inversion.modes import modes_of
from gnvpro.apps.inversion.posterior.posterior import Whitening
from gnvpro.apps.inversion.sampling.choice import nearly_normal, sample_surrogate
from gnvpro.apps.inversion.sampling.importance import sample_importance
from gnvpro.apps.inversion.sampling.metropolis import sample_delayed, sample_metropolis
from gnvpro.apps.inversion.sampling.mixture import Mixture
from gnvpro.surrogate.errors import NumericalFailure
from tests.apps.inversion.hard import HARD, Hard, Model, box, two_modes
from tests.apps.inversion.models import independent, normal_prior, synthetic, unbounded
from tests.apps.inversion.sampling.test_samplers import FAR, assert_draws_from, linear

QUICK = dict(chains=4, draws=400, tune=50, seed=0)


def modes_found(posterior, starts=16):
    minima, whitening = approximate(posterior, starts, 0)
    return [whitening, *(Whitening.at_mode(posterior, mode.parameters) for mode in modes_of(minima)[1:8])]


def assert_exact(chains, hard):
    """Means within `FAR` errors of both; deviations within these of a law of the tails that its own points tell."""
    n, mean, spread = chains.effective.min(), hard.mean, hard.standard_deviation
    assert np.abs((chains.mean - mean) / (spread / np.sqrt(n))).max() < FAR
    fourth = hard.weights @ ((hard.points - mean) / spread) ** 4
    error = np.sqrt((fourth - 1) / (4 * n))
    assert (np.abs(chains.standard_deviation / spread - 1) < FAR * error).all()


@pytest.mark.parametrize("name", [name for name in HARD if name != "near_zero"])
def test_a_hard_posterior_is_drawn_from(name):
    hard = HARD[name]()
    chains, _ = sample_surrogate(hard.posterior, modes_found(hard.posterior), **QUICK)
    assert chains.converged, chains.trouble
    assert chains.split_rhat.max() < 1.01
    assert chains.effective.min() >= 1000
    assert_exact(chains, hard)


def test_the_checks_find_what_is_not_exact():
    hard = two_modes()
    chains, _ = sample_importance(hard.posterior, modes_found(hard.posterior), chains=4, draws=400, seed=0)
    assert_exact(chains, hard)
    lost = Hard(hard.model, hard.data, hard.noise, hard.laws, *half(hard.points, hard.weights))
    with pytest.raises(AssertionError):
        assert_exact(chains, lost)
    share = (chains.pooled[:, 0] > 0).mean()
    right = hard.weights[hard.points[:, 0] > 0].sum()
    assert abs(share - right) < FAR * np.sqrt(right * (1 - right) / chains.effective.min())


def half(points, weights):
    kept = points[:, 0] > 0
    return points[kept], weights[kept] / weights[kept].sum()


def test_a_posterior_that_is_normal_is_left_to_chains():
    posterior, mean, covariance = linear()
    modes = modes_found(posterior, 2)
    assert nearly_normal(posterior, modes[0], 0)
    chains, mixture = sample_surrogate(posterior, modes, **QUICK)
    assert chains.route == "NUTS on the surrogate"
    assert mixture is None
    by_points, mixture = sample_surrogate(posterior, modes, "importance", **QUICK)
    assert by_points.route == "importance sampling on the surrogate"
    for drawn in (chains, by_points):
        assert_draws_from(drawn, mean, covariance)
    assert isinstance(mixture, Mixture)


def test_equal_weights_are_worth_no_more_than_the_weights_behind_them():
    posterior, *_ = linear()
    chains, _ = sample_importance(posterior, modes_found(posterior, 2), chains=2, draws=400, seed=0)
    behind = chains.about["weights_effective"]
    assert (chains.effective <= behind).all()
    poor = replace(chains, about=chains.about | {"weights_effective": 50.0})
    assert (poor.effective <= 50).all()
    assert (poor.monte_carlo_error > 3 * chains.monte_carlo_error).all()


def test_the_same_seed_gives_the_same_points_and_another_other_ones():
    posterior = two_modes().posterior
    modes = modes_found(posterior)
    first, again, other = (sample_importance(posterior, modes, chains=2, draws=50, seed=seed)[0] for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.draws, again.draws)
    assert (first.draws != other.draws).any()
    assert (first.draws[0] != first.draws[1]).any()


def test_a_mixture_has_the_density_that_it_draws_by():
    rng = np.random.default_rng(0)
    factors = np.array([[[1.0, 0.0], [0.5, 0.3]], [[0.4, 0.0], [0.0, 2.0]]])
    mixture = Mixture(np.array([[0.0, 1.0], [3.0, -1.0]]), factors, np.array([0.3, 0.7]))
    points = mixture.draw(200_000, rng)
    # The mean of 1 / density over points in a box is its area.
    inside = ((points > [-2, -2]) & (points < [5, 3])).all(axis=1)
    inverse = inside / np.exp(mixture.log_density(points))
    assert abs(inverse.mean() - 35) < FAR * inverse.std() / np.sqrt(len(points))


def test_points_that_miss_a_part_say_so_first_thing():
    hard = HARD["corner"]()
    found = invert(hard.model, hard.data, hard.noise, sampler="importance", draws=50, starts=2)
    chains = found.chains["surrogate"]
    assert chains.trouble is found.doubt() is None
    for wrong in ({"pareto_k": [0.3, 0.9]}, {"weight_after_walk": [1.0, 5.0]}, {"divergences": 20}):
        doubtful = replace(chains, about=chains.about | wrong)
        assert not doubtful.converged
        assert replace(found, chains={"surrogate": doubtful}).doubt().startswith("not converged, by surrogate: ")


def test_delayed_acceptance_and_random_walks_jump_from_mode_to_mode():
    hard = two_modes()
    posterior, modes = hard.posterior, modes_found(hard.posterior)
    cheap, mixture = sample_surrogate(posterior, modes, **QUICK)
    walk = dict(start=cheap.latent[:, -1], factor=modes[0].factor, seed=0, draws=1500, tune=20)
    right = hard.weights[hard.points[:, 0] > 0].sum()
    for jumps, found in (
        (True, sample_metropolis(posterior, jumps=mixture, **walk)),
        (True, sample_delayed(posterior, posterior, steps=6, jumps=mixture, **(walk | {"draws": 300}))),
        (False, sample_metropolis(posterior, **walk)),
    ):
        positive = found.draws[:, :, 0] > 0
        crossed = (positive[:, 1:] != positive[:, :-1]).mean()
        assert bool(crossed > 0.02) is jumps
        if jumps:
            assert_exact(found, hard)
            assert abs(positive.mean() - right) < 0.15


# Beyond the diagonal there is no solution: a fifth of the box.
CUT = 0.3675


def beyond_the_diagonal(y):
    return y[:, 0] + y[:, 1] > 2 * CUT


def failing():
    """Two data of a box of which a fifth cannot be solved, and the exact law of what is left."""
    space = box(2)

    def value(y):
        return np.stack([y[:, 0] + 0.3 * y[:, 1] ** 2, y[:, 1] - 0.2 * y[:, 0] ** 2], axis=1)

    def slope(y):
        return np.stack([
            np.stack([np.ones(len(y)), 0.6 * y[:, 1]], axis=1), np.stack([-0.4 * y[:, 0], np.ones(len(y))], axis=1),
        ], axis=1)  # fmt: skip

    data, noise = np.array([0.45, 0.3]), np.array([0.2, 0.25])
    side = np.linspace(-1, 1, 1601)[1::2]
    y = np.stack(np.meshgrid(side, side, indexing="ij"), axis=-1).reshape(-1, 2)
    density = np.where(beyond_the_diagonal(y), 0.0, np.exp(-0.5 * (((value(y) - data) / noise) ** 2).sum(axis=1)))
    model = Model(space, value, slope, fails=beyond_the_diagonal)
    return Hard(model, data, noise, None, y, density / density.sum()), Model(space, value, slope)


def test_a_fifth_of_the_prior_that_raises_is_left_out_exactly_by_every_route():
    hard, everywhere = failing()
    y = hard.posterior.prior.draw(np.random.default_rng(0), 20_000)
    assert abs(beyond_the_diagonal(y).mean() - 0.2) < 0.02
    sizes = dict(draws=400, pde_draws=500, pde_tune=30, starts=6, force=True)
    alone = invert(hard.model, hard.data, hard.noise, **sizes)
    both = invert(everywhere, hard.data, hard.noise, problem=hard.model, routes=("delayed", "pde"), **sizes)
    for chains in (alone.chains["surrogate"], both.chains["delayed"], both.chains["pde"]):
        assert not beyond_the_diagonal(chains.pooled).any()
        assert_exact(chains, hard)
    for found in (alone, both):
        assert not beyond_the_diagonal(found.map.parameters[None])[0]
        value = 0.5 * (((hard.model.value(found.map.parameters[None]) - hard.data) / hard.noise) ** 2).sum()
        assert value < 0.05, "the data are fitted where there is a solution"
    # Without the region the law is another one: the check would find it.
    whole = invert(everywhere, hard.data, hard.noise, **sizes)
    with pytest.raises(AssertionError):
        assert_exact(whole.chains["surrogate"], hard)


def test_where_nothing_can_be_solved_nothing_is_drawn():
    hard, _ = failing()
    nowhere = Model(hard.model.parameters, hard.model.value, hard.model.jacobian, fails=lambda y: y[:, 0] > -2)
    posterior = Hard(nowhere, hard.data, hard.noise, None, hard.points, hard.weights).posterior
    with pytest.raises(NumericalFailure, match="could be solved at none"):
        sample_importance(posterior, [Whitening(np.zeros(2), np.eye(2))], chains=2, draws=20, seed=0)


def test_many_parameters_are_left_to_chains():
    prior = normal_prior(unbounded(13))
    model = Model(prior.space, lambda y: y**2, lambda y: 2 * y[:, :, None] * np.eye(13))
    posterior = synthetic(model, np.full(13, 0.7), independent(13, 0.3), prior)
    chains, mixture = sample_surrogate(posterior, modes_found(posterior, 2), chains=2, draws=20, tune=20, seed=0)
    assert chains.route == "NUTS on the surrogate"
    assert mixture is None
