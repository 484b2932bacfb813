"""Files of draws as ArviZ reads them back: leave-one-out, predictive checks, prior and posterior, who drew them."""

import warnings
from importlib.metadata import version

import arviz as az
import matplotlib
import numpy as np
import pytest
from scipy.stats import multivariate_normal

from gnvpro.apps.inversion import inference_data as inference
from gnvpro.apps.inversion.inference_data import inference_data
from gnvpro.apps.inversion.invert import invert, write_draws
from gnvpro.apps.inversion.posterior.kept import KeptObservables
from gnvpro.apps.inversion.posterior.posterior import Posterior
from gnvpro.apps.inversion.sampling.chains import Chains
from gnvpro.surrogate.model.surrogate import Surrogate
from tests.apps.inversion.models import Together, box, covariance, matrix
from tests.pde_data.toy import DecayProblem

SHORT = dict(chains=2, draws=60, tune=30, pde_draws=25, pde_tune=10, starts=2)


@pytest.fixture(scope="module")
def written(model, tmp_path_factory):
    """An inversion by surrogate and PDE of data of which one is missing and one is repeated, and its folder."""
    names = DecayProblem.observables.names
    values = DecayProblem().evaluate(np.array([[1.4, 0.45]]))[0] + 0.01 * np.random.default_rng(0).standard_normal(6)
    given = dict(zip(names, values.tolist(), strict=True)) | {names[1]: [values[1], values[1] + 0.01], names[2]: np.nan}
    inversion = invert(Surrogate.load(model), given, 0.01, problem=DecayProblem(), sampler="nuts", **SHORT)
    inversion.write(folder := tmp_path_factory.mktemp("draws") / "out")
    return inversion, folder


@pytest.fixture
def tree(written):
    return az.from_netcdf(written[1] / "posterior-delayed.nc")


def test_every_group_is_there_and_of_the_same_observations(tree):
    assert set(tree.children) >= {
        "posterior", "prior", "posterior_predictive", "prior_predictive", "log_likelihood", "observed_data",
        "unconstrained_posterior", "sample_stats", "constant_data",
    }  # fmt: skip
    labels = tree["observed_data"]["observable"].values.tolist()
    names = DecayProblem.observables.names
    assert sorted(labels) == sorted([names[0], names[1], f"{names[1]} #2", *names[3:]])
    for group in ("posterior_predictive", "log_likelihood", "prior_predictive"):
        assert tree[group]["d"]["observable"].values.tolist() == labels
    assert tree["posterior_predictive"]["d"].shape == (2, 25, 6)
    assert tree["prior"]["y"].sizes["parameter"] == 2


def test_log_likelihoods_are_of_the_pde_where_it_drew(written, tree):
    inversion, folder = written
    for route, model in (("delayed", DecayProblem()), ("surrogate", inversion.density.solves.model)):
        tree = az.from_netcdf(folder / f"posterior-{route}.nc")
        observables = model.evaluate(inversion.chains[route].pooled)
        total = tree["log_likelihood"]["d"].sum("observable").values.ravel() + inversion.density.misfit(observables)
        np.testing.assert_allclose(np.ptp(total), 0, atol=1e-6)
        assert np.ptp(inversion.density.misfit(observables)) > 1


def test_arviz_answers_its_questions(tree):
    matplotlib.use("Agg")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of so few draws
        assert np.isfinite(az.loo(tree).elpd)
        az.plot_ppc_dist(tree)
        az.plot_ppc_dist(tree, group="prior_predictive")
        az.plot_loo_pit(tree)
        az.plot_prior_posterior(tree, var_names=["y"])
    matplotlib.pyplot.close("all")


def test_units_sampler_and_date_are_attributes(written, tree):
    assert tree["posterior"]["y"].attrs["units"] == DecayProblem.parameters.units[0] or list(
        tree["posterior"]["y"].attrs["units"]
    ) == list(DecayProblem.parameters.units)
    assert tree["observed_data"]["d"].attrs["units"] == DecayProblem.observables.units[0]
    assert tree.attrs["inference_library"] == tree["posterior"].attrs["inference_library"] == "gnvpro"
    drawn = az.from_netcdf(written[1] / "posterior-surrogate.nc").attrs
    assert (drawn["inference_library"], drawn["inference_library_version"]) == ("nutpie", version("nutpie"))
    assert drawn["created_at"].startswith("20")
    assert drawn["tuning_steps"] == 30


def toy(noise, m=5, kind=Together):
    model = kind(box(2), matrix(m, 2), bend=0.1)
    return Posterior.of(model, model.evaluate(np.array([[0.3, -0.2]]))[0] + 0.05, noise)


def chains_of(posterior, n=40, solve=True):
    latent = 0.1 * np.random.default_rng(0).standard_normal((2, n, 2))
    draws = posterior.prior.parameters(latent.reshape(-1, 2)).reshape(latent.shape)
    if solve:
        for row in draws.reshape(-1, 2):  # as a sampler does, one by one
            posterior.solves.linearize(row[None])
    return Chains(posterior.prior.space, draws, latent, "NUTS on the surrogate")


def test_of_correlated_noise_it_is_the_density_given_all_others():
    posterior = toy(covariance(5))
    chains = chains_of(posterior, 3)
    tree = inference_data(chains, posterior)
    apart = posterior.solves.model.evaluate(chains.pooled) - posterior.values
    law, i = covariance(5), 2
    others = np.array([0, 1, 3, 4])
    joint = multivariate_normal(np.zeros(5), law).logpdf(apart)
    marginal = multivariate_normal(np.zeros(4), law[np.ix_(others, others)]).logpdf(apart[:, others])
    np.testing.assert_allclose(tree["log_likelihood"]["d"].values.reshape(6, 5)[:, i], joint - marginal, rtol=1e-9)
    assert tree["log_likelihood"]["d"].attrs["density"].startswith("of each observation given all others")


def test_predictions_have_the_noise_that_was_stated():
    posterior = toy("student-t(5): 0.1")
    chains = chains_of(posterior, 2000)
    tree = inference_data(chains, posterior)
    noise = tree["posterior_predictive"]["d"].values.reshape(-1, 5) - posterior.solves.model.evaluate(chains.pooled)
    # 20 000 values; a quantile of theirs is known within 2 %.
    expected = posterior.noise.draw(np.random.default_rng(9), 4000).ravel()
    np.testing.assert_allclose(np.quantile(noise, (0.1, 0.9)), np.quantile(expected, (0.1, 0.9)), rtol=0.12)
    assert tree["constant_data"]["noise_scale"].attrs["law"] == "Student's t with 5 degrees of freedom"


def test_what_was_not_kept_is_left_out_and_said(monkeypatch):
    posterior = toy(0.1)
    tree = inference_data(chains_of(posterior, solve=False), posterior)
    assert "log_likelihood" not in tree.children
    assert "the observables of some draws were not kept" in tree.attrs["left_out"]
    monkeypatch.setattr(inference, "_MOST_NUMBERS", 100)
    thinned = inference_data(chains_of(posterior), posterior)
    assert thinned["log_likelihood"]["d"].shape == thinned["posterior_predictive"]["d"].shape == (2, 10, 5)
    np.testing.assert_array_equal(thinned["log_likelihood"]["draw"], np.arange(0, 40, 4))
    monkeypatch.setattr(inference, "_MOST_NUMBERS", 4)
    assert "5 observations are too many" in inference_data(chains_of(posterior), posterior).attrs["left_out"]


def test_solves_are_found_again_up_to_rounding_and_no_others(monkeypatch):
    kept, y = KeptObservables(np.array([2.0, 0.0])), np.random.default_rng(0).random((20, 2))
    assert kept.at(y) is None
    kept.add(y, y @ matrix(3, 2).T)
    kept.add(np.full((1, 2), 9.0), np.full((1, 3), np.nan))
    np.testing.assert_array_equal(kept.at(y[::-1] * (1 + 1e-15)), (y @ matrix(3, 2).T)[::-1])
    assert kept.at(y + 1e-8) is None
    assert kept.at(np.full((1, 2), 9.0)) is None
    monkeypatch.setattr("gnvpro.apps.inversion.posterior.kept._MOST_BYTES", 10)
    kept.add(y, y)
    assert kept.at(y) is None


def test_a_file_is_there_whole_or_not_at_all(tmp_path, monkeypatch):
    posterior = toy(0.1)
    tree = inference_data(chains_of(posterior), posterior)

    def broken(self, path, **_):
        path.write_bytes(b"half")
        raise OSError("no space left")

    monkeypatch.setattr("xarray.DataTree.to_netcdf", broken)
    with pytest.raises(OSError, match="no space left"):
        write_draws(tmp_path, "surrogate", tree)
    assert list(tmp_path.iterdir()) == []
