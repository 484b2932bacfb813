"""Observables that were measured more than once, or not at all."""

import numpy as np
import pytest

from gnvpro.apps.inversion.adequacy import adequacy_from_solves
from gnvpro.apps.inversion.invert import invert
from gnvpro.apps.inversion.maximum_a_posteriori import find_minima
from gnvpro.apps.inversion.posterior.posterior import Posterior
from tests.apps.inversion.models import Analytic, Backwards, Together, box, covariance, matrix
from tests.calculus import assert_taylor

M, N, SIZE = 5, 2, 0.1
NAMES = [f"c{i}" for i in range(M)]


def model(kind=Analytic):
    return kind(box(N), matrix(M, N), bend=0.1)


CLEAN = model().evaluate(np.array([[0.3, -0.2]]))[0]


def repeated(k, kind=Analytic, noise=SIZE):
    """Every observable k times, with noise of its own each time."""
    rng = np.random.default_rng(0)
    return Posterior.of(
        model(kind), {name: c + SIZE * rng.standard_normal(k) for name, c in zip(NAMES, CLEAN, strict=True)}, noise
    )


def test_k_repeats_narrow_the_posterior_by_the_root_of_k():
    one = Posterior.of(model(), {name: [c] for name, c in zip(NAMES, CLEAN, strict=True)}, SIZE)
    many = Posterior.of(model(), {name: 9 * [c] for name, c in zip(NAMES, CLEAN, strict=True)}, SIZE)
    assert (one.n_data, many.n_data) == (M, 9 * M)
    assert (one.repeated, many.repeated) == (False, True)
    single, several = (find_minima(posterior, 2, 0)[0] for posterior in (one, many))
    np.testing.assert_allclose(several.parameters, single.parameters, atol=1e-6)
    np.testing.assert_allclose(several.standard_deviations, single.standard_deviations / 3, rtol=1e-5)


def test_repeats_are_their_mean_with_less_noise_but_for_a_constant():
    posterior = repeated(4)
    mean, scale = posterior.by_observable
    np.testing.assert_allclose(scale, SIZE / 2)
    alone = Posterior.of(model(), mean, SIZE / 2)
    z = np.random.default_rng(1).standard_normal((6, N))
    np.testing.assert_allclose(np.ptp(posterior.log_density(z) - alone.log_density(z)), 0, atol=1e-9)
    np.testing.assert_allclose(
        posterior.log_density_and_gradient(z)[1], alone.log_density_and_gradient(z)[1], rtol=1e-10, atol=1e-9
    )


@pytest.mark.parametrize("kind", [Analytic, Together, Backwards])
@pytest.mark.parametrize(
    "noise", [SIZE, covariance(3 * M), "student-t(4): 0.1"], ids=["independent", "covariance", "student"]
)
def test_gradient_of_the_log_density(kind, noise):
    posterior = repeated(3, kind, noise)
    z, direction = np.random.default_rng(1).standard_normal((2, N))
    _, gradient = posterior.log_density_and_gradient(z[None])
    assert_taylor(lambda at: posterior.log_density(at[None])[0], gradient[0] @ direction, z, direction)


def test_conflicting_deviations_are_weights_of_their_own(tmp_path):
    (tmp_path / "d.csv").write_text("observable,value,standard_deviation\nc0,1,0.1\nc0,2,0.2\nc3,0.5,0.1\n")
    posterior = Posterior.of(model(), tmp_path / "d.csv", "data")
    mean, scale = posterior.by_observable
    assert mean[0] == pytest.approx((1 / 0.01 + 2 / 0.04) / (1 / 0.01 + 1 / 0.04))
    assert scale[0] == pytest.approx(1 / np.sqrt(125))
    assert np.isnan(mean[[1, 2, 4]]).all()


def test_an_error_that_repeats_share_does_not_average_out():
    one, many = repeated(1), repeated(25)
    y = np.array([[0.3, -0.2]])
    error = 0.01 * np.random.default_rng(2).standard_normal((1, M))
    shifts = [
        adequacy_from_solves(
            posterior, y, posterior.solves.evaluate(y) + error, find_minima(posterior, 2, 0)[0].covariance
        )
        for posterior in (one, many)
    ]
    assert shifts[0].error_in_noise == pytest.approx(shifts[1].error_in_noise)
    assert shifts[1].shift == pytest.approx(5 * shifts[0].shift, rel=0.05)


def test_one_observation_is_enough_and_said(tmp_path):
    inversion = invert(model(), {"C0": 0.5}, SIZE, draws=0, starts=2)
    assert dict(inversion.rows())["observations"] == "1 of 5"
    inversion.write(tmp_path / "one")
    assert "from 1 observation;" in (tmp_path / "one" / "report.html").read_text()


def test_what_is_written_is_read_as_it_was(tmp_path):
    given = {"c0": [0.5, 0.6], "c3": 0.1}
    inversion = invert(model(), given, SIZE, draws=0, starts=2)
    assert dict(inversion.rows())["observations"] == "3 measurements of 2 observables, of 5"
    inversion.write(tmp_path / "out")
    again = invert(model(), tmp_path / "out" / "observations.npz", "data", draws=0, starts=2)
    np.testing.assert_array_equal(again.map.parameters, inversion.map.parameters)
    np.testing.assert_array_equal(again.map.covariance, inversion.map.covariance)
