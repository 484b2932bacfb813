"""Draws: how far they can be relied on, ArviZ's tree of them; the error of a surrogate; all numbers together."""

import json
from dataclasses import replace

import numpy as np
import pytest
from arviz_stats import summary
from xarray import open_datatree

from gnvpro.apps.console import jsonable
from gnvpro.apps.inversion.adequacy import (
    REFUSE_ABOVE,
    WARN_ABOVE,
    Adequacy,
    adequacy_from_bands,
    adequacy_from_solves,
    advice,
)
from gnvpro.apps.inversion.maximum_a_posteriori import find_minima
from gnvpro.apps.inversion.posterior.observations import Noise
from gnvpro.apps.inversion.posterior.posterior import LEAST, ErrorModel, Posterior
from gnvpro.apps.inversion.posterior.prior import Prior
from gnvpro.apps.inversion.posterior.solves import Solves
from gnvpro.apps.inversion.result import InversionResult
from gnvpro.apps.inversion.sampling.chains import Chains, shift
from gnvpro.surrogate.errors import NumericalFailure
from gnvpro.surrogate.model.surrogate import Surrogate
from gnvpro.surrogate.spaces import Space
from tests.apps.inversion.models import Analytic, box, correlated, exact, matrix, normal_prior, synthetic, unbounded

SPACE = Space.vector(["depth", "size"], units=("m", "m3"), lower=(0.0, 0.0), upper=(9.0, 9.0))


def chains(draws, **given):
    return Chains(SPACE, draws, draws - 5.0, "test", **given)


def independent_draws(n_chains=4, n=500, seed=0):
    return 5 + np.random.default_rng(seed).standard_normal((n_chains, n, 2)) * [1.0, 0.1]


def autoregressive(phi, n_chains=4, n=4000, seed=1):
    rng = np.random.default_rng(seed)
    x = np.zeros((n_chains, n, 2))
    x[:, 0] = rng.standard_normal((n_chains, 2))
    for k in range(1, n):
        x[:, k] = phi * x[:, k - 1] + np.sqrt(1 - phi**2) * rng.standard_normal((n_chains, 2))
    return 5 + x


def test_summaries_of_independent_draws():
    draws = independent_draws()
    found, flat = chains(draws), draws.reshape(-1, 2)
    np.testing.assert_array_equal(found.pooled, flat)
    np.testing.assert_allclose(found.mean, flat.mean(axis=0))
    np.testing.assert_allclose(found.standard_deviation, flat.std(axis=0, ddof=1))
    np.testing.assert_allclose(found.quantiles(0.025, 0.5), np.quantile(flat, [0.025, 0.5], axis=0))
    assert found.converged
    assert (np.abs(found.effective / 2000 - 1) < 0.25).all()
    np.testing.assert_allclose(found.monte_carlo_error, found.standard_deviation / np.sqrt(2000), rtol=0.15)


def test_chains_that_disagree_are_found_out():
    apart = independent_draws()
    apart[2, :, 1] += 0.5  # five standard deviations, of one chain, of one parameter
    found = chains(apart)
    assert found.split_rhat[0] < 1.01
    assert found.split_rhat[1] > 1.3
    assert not found.converged
    wandering = independent_draws()
    wandering[:, :, 0] += np.linspace(-2, 2, 500)  # all alike, and none at rest
    assert chains(wandering).split_rhat[0] > 1.3


def test_correlated_draws_count_less():
    # An autoregression has (1 - phi) / (1 + phi) effective samples a draw.
    found = chains(autoregressive(0.8))
    np.testing.assert_allclose(found.monte_carlo_error, found.standard_deviation / np.sqrt(16_000 / 9), rtol=0.15)
    assert (found.effective < 16_000 / 5).all()


def test_shift_is_in_standard_deviations_of_the_reference():
    reference, moved = chains(independent_draws()), chains(independent_draws() * [1.0, 2.0] + [0.5, -5.0])
    means, ratios = shift(moved, reference)
    np.testing.assert_allclose(means, (moved.mean - reference.mean) / reference.standard_deviation)
    np.testing.assert_allclose(means[0], 0.5, rtol=0.05)
    np.testing.assert_allclose(ratios, [1, 2])


@pytest.mark.parametrize("kind", ["netcdf", "zarr"])
def test_arviz_reads_what_was_written(kind, tmp_path):
    draws, accepted = independent_draws(n=100), np.random.default_rng(2).random((4, 100)) < 0.3
    found = chains(draws, statistics={"accepted": accepted}, accurate=404, cheap=7)
    tree = found.tree(np.array([1.0, np.nan, 3.0]), ("a", "b", "c"))
    if kind == "netcdf":
        tree.to_netcdf(tmp_path / "chains.nc", engine="h5netcdf")
        back = open_datatree(tmp_path / "chains.nc", engine="h5netcdf")
    else:
        tree.to_zarr(tmp_path / "chains.zarr")
        back = open_datatree(tmp_path / "chains.zarr", engine="zarr")
    assert back["posterior"]["y"].dims == ("chain", "draw", "parameter")
    assert back["posterior"]["parameter"].values.tolist() == ["depth", "size"]
    np.testing.assert_array_equal(back["posterior"]["y"].values, draws)
    np.testing.assert_array_equal(back["unconstrained_posterior"]["z"].values, draws - 5)
    np.testing.assert_array_equal(back["sample_stats"]["accepted"].values, accepted)
    np.testing.assert_array_equal(back["observed_data"]["d"].values, [1, np.nan, 3])
    assert back["observed_data"]["observable"].values.tolist() == ["a", "b", "c"]
    assert (back.attrs["route"], back.attrs["pde_solves"], back.attrs["evaluations"]) == ("test", 404, 7)
    read = summary(back, round_to="none")
    assert list(read.index) == ["y[depth]", "y[size]"]
    np.testing.assert_allclose(read["mean"].to_numpy(float), found.mean)
    np.testing.assert_allclose(read["sd"].to_numpy(float), found.standard_deviation, rtol=1e-2)
    np.testing.assert_allclose(read["r_hat"].to_numpy(float), found.split_rhat, atol=1e-2)
    back.close()


def test_a_tree_needs_no_observations_and_no_statistics():
    tree = chains(independent_draws(n=20)).tree()
    assert set(tree.children) == {"posterior", "unconstrained_posterior"}
    unnamed = chains(independent_draws(n=20)).tree(np.ones(2))
    assert unnamed["observed_data"]["observable"].values.tolist() == [0, 1]


def test_numbers_of_chains_are_json():
    found = chains(independent_draws(), accurate=1000, wall_seconds=2.0, about={"acceptance": 0.5})
    numbers = json.loads(json.dumps(found.numbers()))
    assert numbers["parameters"]["size"]["unit"] == "m3"
    assert numbers["parameters"]["depth"]["mean"] == found.mean[0]
    assert numbers["parameters"]["depth"]["q025"] < numbers["parameters"]["depth"]["median"]
    assert numbers["effective_per_pde_solve"] == pytest.approx(found.effective.min() / 1000)
    assert numbers["effective_per_second"] == pytest.approx(found.effective.min() / 2)
    assert numbers["acceptance"] == 0.5
    assert chains(independent_draws()).numbers()["effective_per_pde_solve"] is None


def linear_with_errors(errors, n_out=6):
    """Posterior by a surrogate that is off by `errors` (n_out,), accurate observables at points, and the exact law."""
    prior = normal_prior(unbounded(3), 0.0, 2.0)
    accurate = Analytic(prior.space, matrix(n_out, 3))
    posterior = synthetic(accurate, np.array([0.5, -0.5, 1.0]), correlated(n_out), prior)
    cheap = replace(posterior, solves=Solves(Analytic(prior.space, matrix(n_out, 3), shift=errors)))
    y = np.random.default_rng(4).standard_normal((5, 3))
    return posterior, cheap, y, accurate.evaluate(y)


def test_the_adequacy_tells_by_how_much_the_posterior_mean_moves():
    errors = 0.1 * np.array([1.0, -0.5, 0.3, 0.2, -0.8, 0.6])
    accurate, cheap, y, solved = linear_with_errors(errors)
    right, covariance = exact(accurate.solves.model, accurate, 0.0, 2.0)
    wrong, _ = exact(cheap.solves.model, cheap, 0.0, 2.0)
    adequacy = adequacy_from_solves(cheap, y, solved, covariance)
    moved = (wrong - right) / np.sqrt(np.diagonal(covariance))
    np.testing.assert_allclose(adequacy.shift, np.sqrt((moved**2).mean()), rtol=1e-9)
    white = accurate.noise.whiten(errors[None])[0]
    np.testing.assert_allclose(adequacy.error_in_noise, np.sqrt((white**2).mean()), rtol=1e-9)
    assert adequacy.larger == max(adequacy.error_in_noise, adequacy.shift)
    # Twice the error, twice the numbers; none, none.
    _, twice, *_ = linear_with_errors(2 * errors)
    np.testing.assert_allclose(adequacy_from_solves(twice, y, solved, covariance).shift, 2 * adequacy.shift, rtol=1e-9)
    assert adequacy_from_solves(accurate, y, solved, covariance).larger < 1e-12


def test_one_error_common_to_many_observations_is_seen():
    """Errors a twentieth of the noise, that move the answer by a standard deviation."""
    space = box(1, -9.0, 9.0)
    model, shifted = (Analytic(space, np.ones((400, 1)), shift=s) for s in (0.0, 0.05))
    cheap = Posterior(Solves(shifted), np.zeros(400), Noise(np.ones(400)), Prior.of(space))
    y = np.zeros((2, 1))
    adequacy = adequacy_from_solves(cheap, y, model.evaluate(y), find_minima(cheap, 2, 0)[0].covariance)
    np.testing.assert_allclose([adequacy.error_in_noise, adequacy.shift], [0.05, 1.0], rtol=1e-6)
    assert not adequacy.adequate


def test_failed_solves_do_not_count_in_the_adequacy():
    _, cheap, y, solved = linear_with_errors(np.full(6, 0.05))
    covariance, some = np.eye(3), solved.copy()
    some[[0, 3]] = np.nan
    adequacy, fewer = (
        adequacy_from_solves(cheap, y, some, covariance),
        adequacy_from_solves(cheap, y[[1, 2, 4]], solved[[1, 2, 4]], covariance),
    )
    assert adequacy == replace(fewer, source=f"{fewer.source}, 2 more failed")
    assert adequacy.source.startswith("3 PDE solves")
    with pytest.raises(NumericalFailure, match="solved at none of 5 points"):
        adequacy_from_solves(cheap, y, np.full_like(solved, np.nan), covariance)


@pytest.mark.parametrize(
    ("in_noise", "shift", "passed", "refused"),
    [
        (WARN_ABOVE, 0.0, True, False),
        (0.0, WARN_ABOVE, True, False),
        (0.1, 1.01 * WARN_ABOVE, False, False),
        (1.01 * WARN_ABOVE, 0.1, False, False),
        (REFUSE_ABOVE, REFUSE_ABOVE, False, False),
        (0.0, 1.01 * REFUSE_ABOVE, False, True),
        (1.01 * REFUSE_ABOVE, 0.0, False, True),
        (np.nan, 0.0, False, True),
    ],
)
def test_what_is_adequate_and_what_is_refused(in_noise, shift, passed, refused):
    adequacy = Adequacy(in_noise, shift, "a test")
    assert (adequacy.adequate, adequacy.refused) == (passed, refused)
    assert adequacy.numbers()["warn_above"] == WARN_ABOVE
    assert "a test" in str(adequacy)


def test_the_bands_of_a_surrogate_stand_for_solves(model):
    surrogate = Surrogate.load(model)
    y = np.array([[1.5, 0.5]])
    data = surrogate.evaluate(y)[0]
    data[2] = np.nan
    posterior = Posterior(Solves(surrogate), data, Noise(np.full(6, 0.01)), Prior.of(surrogate.parameters))
    covariance = find_minima(posterior, 0, 0, at=y)[0].covariance
    adequacy = adequacy_from_bands(posterior, surrogate, y, covariance)
    there = np.array([0, 1, 3, 4, 5])
    spread = surrogate.trust.bands.scale[there] / 0.01
    np.testing.assert_allclose(adequacy.error_in_noise, np.sqrt((spread**2).mean()))
    # Independent errors of this spread: simulated, each moves the answer as `adequacy_from_solves` says.
    rng, base = np.random.default_rng(5), surrogate.evaluate(y)[0]
    solved = base + surrogate.trust.bands.scale * rng.standard_normal((300, 6))
    simulated = adequacy_from_solves(posterior, np.repeat(y, 300, axis=0), solved, covariance)
    np.testing.assert_allclose(adequacy.shift, simulated.shift, rtol=0.1)
    assert str(surrogate.trust.bands.n_samples) in adequacy.source
    assert adequacy_from_bands(posterior, replace(surrogate, trust=None), y, covariance) is None


def test_advice_is_more_samples_or_a_wider_network(model):
    surrogate, adequacy = Surrogate.load(model), Adequacy(0.9, 0.1, "a test")
    few = replace(surrogate, errors={"train": 1e-4, "validation": 1e-2}, training={"samples": {"train": 500}})
    assert "times the error of training samples: more of these will help, about 1500" in advice(few, adequacy)
    wide = replace(few, errors={"train": 9e-3, "validation": 1e-2}, training={"choice": {"widths": [8, 24]}})
    assert "a wider network than 24 will; the error has to fall by 3.0" in advice(wide, adequacy)
    assert advice(replace(few, errors={}), adequacy) == "train on more samples, or a wider network"


def test_few_differences_give_the_mean_alone():
    differences = np.random.default_rng(6).standard_normal((LEAST, 5))
    assert ErrorModel.learned(differences[: LEAST - 1]).sizes.size == 0
    assert ErrorModel.learned(differences).sizes.size == LEAST - 1
    np.testing.assert_allclose(ErrorModel.learned(differences[:1]).mean, differences[0])


def test_all_numbers_of_an_inversion_are_json():
    prior = Prior.of(SPACE, {"size": (4.0, 1.0)})
    posterior = synthetic(Analytic(SPACE, matrix(5, 2)), np.array([5.0, 4.5]), correlated(5), prior)
    posterior = replace(posterior, data=np.where(np.arange(5) == 1, np.nan, posterior.data))
    minima = find_minima(posterior, 3, 0)
    best = minima[0]
    fitted = posterior.solves.evaluate(best.parameters[None])
    routes = {
        "delayed": chains(independent_draws()),
        "surrogate": chains(np.array([0.3, 0.0]) + independent_draws(seed=7)),
    }
    moved = replace(best, parameters=best.parameters + 0.5 * best.standard_deviations)
    whole = InversionResult(
        "m", posterior, minima, moved, routes, fitted[0], Adequacy(0.1, 0.2, "test"), np.array([5.0, 4.5])
    )
    numbers = json.loads(json.dumps(jsonable(whole.numbers())))
    assert numbers["n_data"] == 4
    assert numbers["prior"]["normal"] == {"size": {"mean": 4.0, "standard_deviation": 1.0}}
    assert numbers["map"]["parameters"] == dict(zip(SPACE.names, moved.parameters, strict=True))
    assert numbers["corrected_by_pde"]
    np.testing.assert_allclose(numbers["shift_of_map_by_pde"], 0.5)
    assert list(numbers["posterior"]) == ["delayed", "surrogate"]
    assert list(numbers["shifts"]) == ["surrogate"]
    np.testing.assert_allclose(numbers["shifts"]["surrogate"]["means"], [0.3, 0], atol=0.15)
    assert numbers["chi_squared"] == pytest.approx(2 * best.misfit / 4)
    assert numbers["truth"] == {"depth": 5.0, "size": 4.5}
    alone = replace(whole, corrected=None, chains={}, adequacy=None, truth=None)
    assert alone.map is best
    assert alone.best_chains is alone.posterior is None
    numbers = json.loads(json.dumps(jsonable(alone.numbers())))
    assert numbers["shift_of_map_by_pde"] is numbers["gate"] is numbers["truth"] is None
    assert numbers["posterior"] == numbers["shifts"] == {}
