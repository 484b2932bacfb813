"""Student's law of the noise: its density and derivatives, its limit, outliers that do not move the answer."""

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import norm, t

from gnvpro.apps.inversion.adequacy import adequacy_from_solves
from gnvpro.apps.inversion.maximum_a_posteriori import find_minima
from gnvpro.apps.inversion.posterior.noise import Noise
from gnvpro.apps.inversion.posterior.posterior import ErrorModel, Posterior, Whitening
from gnvpro.apps.inversion.posterior.prior import Prior
from gnvpro.apps.inversion.posterior.solves import Solves
from gnvpro.apps.inversion.posterior.stated_noise import noise_of
from gnvpro.apps.inversion.sampling.nuts import sample_nuts
from gnvpro.surrogate.errors import UsageError
from tests.apps.inversion.models import Analytic, Backwards, Together, box, covariance, matrix
from tests.calculus import assert_taylor

N, SIZE, NU = 3, 0.1, 4.0


def contaminated(seed=0, m=60, outliers=3, noise=f"student-t({NU:g}): {SIZE}", kind=Together):
    """A posterior of data with normal noise, and gross outliers; and the truth."""
    model, rng = kind(box(N), matrix(m, N), bend=0.1), np.random.default_rng(seed)
    truth = rng.uniform(-0.5, 0.5, N)
    data = model.evaluate(truth[None])[0] + SIZE * rng.standard_normal(m)
    data[rng.choice(m, outliers, replace=False)] += 2 * (1 + rng.random(outliers)) * rng.choice([-1, 1], outliers)
    return Posterior.of(model, data, noise), truth


@pytest.mark.parametrize("degrees", [2.5, 4.0, 30.0])
def test_the_density_is_students(degrees):
    noise, residuals = Noise(np.array([0.1, 2.0, 0.5]), degrees), np.random.default_rng(0).standard_normal((5, 3)) * 3
    expected = t(degrees, scale=noise.factor).logpdf(residuals)
    np.testing.assert_allclose(noise.log_densities(residuals), expected, rtol=1e-12)
    at_zero = t(degrees, scale=noise.factor).logpdf(0)
    whitened = noise.whiten(residuals)
    np.testing.assert_allclose(at_zero - 0.5 * noise.robust(whitened) ** 2, expected, rtol=1e-12)
    scores = norm.cdf(noise.normal_scores(whitened))
    np.testing.assert_allclose(scores, t(degrees).cdf(whitened), rtol=1e-10)
    np.testing.assert_allclose(noise.standard_deviations, t(degrees, scale=noise.factor).std())


def test_derivatives_of_the_density():
    noise, at = Noise(np.ones(6), NU), np.array([-30.0, -1.0, -1e-9, 0.0, 0.5, 3.0])
    step = 1e-5
    robust = (noise.robust(at + step) - noise.robust(at - step)) / (2 * step)
    np.testing.assert_allclose(noise.robust_slopes(at), robust, rtol=1e-7)
    slope = noise.robust(at) * noise.robust_slopes(at)
    np.testing.assert_allclose(slope, (NU + 1) * at / (NU + at**2), rtol=1e-12)
    second = (NU + 1) * (NU - at**2) / (NU + at**2) ** 2
    np.testing.assert_allclose(noise.curvatures(at), np.maximum(second, 0), rtol=1e-12)
    assert noise.curvatures(np.array([100.0])) == 0


@pytest.mark.parametrize("error", [False, True])
@pytest.mark.parametrize("kind", [Analytic, Together, Backwards])
def test_gradient_of_the_log_density(kind, error):
    posterior, _ = contaminated(kind=kind, m=9)
    if error:
        rng = np.random.default_rng(5)
        posterior = posterior.with_error(ErrorModel.learned(2 * rng.standard_normal((6, 9)) + 1))
    z, direction = np.random.default_rng(1).standard_normal((2, N))
    value, gradient = posterior.log_density_and_gradient(z[None])
    np.testing.assert_allclose(value, posterior.log_density(z[None]), rtol=1e-13)
    assert_taylor(lambda at: posterior.log_density(at[None])[0], gradient[0] @ direction, z, direction)
    with pytest.raises(AssertionError):
        assert_taylor(lambda at: posterior.log_density(at[None])[0], 1.001 * gradient[0] @ direction, z, direction)
    y = posterior.prior.parameters(z[None])[0]
    observables, jacobian = posterior.solves.linearize(y[None])
    assert_taylor(
        lambda at: posterior.residuals(posterior.solves.evaluate(at[None]))[0],
        posterior.sensitivity(jacobian[0], observables[0]) @ direction,
        y,
        direction,
    )


def test_with_many_degrees_of_freedom_it_is_normal():
    normal, _ = contaminated(noise=str(SIZE), outliers=0)
    student = Posterior(normal.solves, normal.data, Noise(normal.noise.factor, 1e9), normal.prior)
    z = 0.3 * np.random.default_rng(2).standard_normal((4, N))
    for one, other in zip(normal.log_density_and_gradient(z), student.log_density_and_gradient(z), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5)
    one, other = (find_minima(posterior, 2, 0)[0] for posterior in (normal, student))
    np.testing.assert_allclose(one.parameters, other.parameters, atol=1e-6)
    np.testing.assert_allclose(one.covariance, other.covariance, rtol=1e-5)


def test_the_point_is_that_of_the_density_itself():
    posterior, truth = contaminated()
    best = find_minima(posterior, 3, 0)[0]

    def objective(y):
        return float(posterior.misfit(posterior.solves.evaluate(y[None]))[0])

    found = minimize(objective, truth, method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-12, "maxiter": 4000})
    assert best.converged
    np.testing.assert_allclose(best.parameters, found.x, atol=1e-6)
    np.testing.assert_allclose(best.misfit, found.fun, rtol=1e-9)


def test_outliers_move_the_normal_posterior_off_the_truth_and_not_students():
    """Five in a hundred data are off by 20 to 40 sizes of the noise; 20 truths with three parameters each."""
    inside = {}
    for noise in (str(SIZE), f"student-t(4): {SIZE}"):
        covered = []
        for seed in range(20):
            posterior, truth = contaminated(seed, noise=noise)
            best = find_minima(posterior, 2, 0)[0]
            covered.append(np.abs(best.parameters - truth) < 1.96 * best.standard_deviations)
        inside[noise] = np.mean(covered)
    # Of 60 intervals: by chance 57 +- 1.7 would cover; the normal ones are off by several deviations.
    assert inside[str(SIZE)] < 0.6
    assert inside[f"student-t(4): {SIZE}"] > 0.85


def test_draws_have_the_spread_of_the_density():
    """One parameter that is observed itself, twelve times with one outlier: its posterior by quadrature."""
    model = Analytic(box(1), np.ones((12, 1)))
    data = 0.2 + SIZE * np.random.default_rng(3).standard_normal(12)
    data[4] = 3.0
    posterior = Posterior.of(model, data, "student-t(4): 0.1")
    grid = np.linspace(-1, 1, 20_001)
    density = np.exp(-posterior.misfit(model.evaluate(grid[:, None])))
    density /= density.sum()
    mean = float(density @ grid)
    deviation = float(np.sqrt(density @ (grid - mean) ** 2))
    whitening = Whitening.at_mode(posterior, find_minima(posterior, 2, 0)[0].parameters)
    chains = sample_nuts(posterior, chains=2, draws=250, tune=80, seed=0, whitening=whitening)
    error = deviation / np.sqrt(chains.effective[0])
    assert abs(chains.mean[0] - mean) < 6 * error
    assert chains.standard_deviation[0] == pytest.approx(deviation, rel=0.25)
    np.testing.assert_allclose(find_minima(posterior, 2, 0)[0].standard_deviations[0], deviation, rtol=0.2)


def test_the_shift_of_an_error_is_that_of_the_mode():
    """By the derivative of the gradient: where an outlier is off by a little more, nothing moves."""
    posterior, _ = contaminated(outliers=0)
    best = find_minima(posterior, 2, 0)[0]
    error = 0.01 * SIZE * np.random.default_rng(4).standard_normal(posterior.n_data)
    y = best.parameters[None]
    stated = adequacy_from_solves(posterior, y, posterior.solves.evaluate(y) + error, best.covariance)
    shifted = Posterior(posterior.solves, posterior.data - error, posterior.noise, posterior.prior)
    moved = find_minima(shifted, 0, 0, at=y)[0].parameters - best.parameters
    expected = np.sqrt(np.mean((moved / best.standard_deviations) ** 2))
    assert stated.shift == pytest.approx(expected, rel=0.35)


VALUES = np.array([1.0, -200.0, 0.5, np.nan])


def test_it_is_written_before_the_size_or_beside_it():
    for given in (
        "student-t(4): 2%+0.001",
        "Student-t (4) : 2%+0.001",
        "student_t(4.0): 2% + 0.001",
        ("student-t(4)", "2%+0.001"),
    ):
        noise = noise_of(given, VALUES)
        assert noise.degrees_of_freedom == 4
        np.testing.assert_allclose(noise.scales[:3], 0.02 * np.abs(VALUES[:3]) + 0.001)
    given = np.array([0.1, 0.2, 0.3, 0.4])
    np.testing.assert_allclose(noise_of(("student-t(4)", given), VALUES).scales[:3], given[:3])
    np.testing.assert_allclose(noise_of("student-t(4): data", VALUES, given).scales[:3], given[:3])


@pytest.mark.parametrize(
    ("noise", "said"),
    [
        ("student-t(2): 2%", "more than two degrees of freedom"),
        ("student-t(-1): 2%", "more than two degrees of freedom"),
        ("student-t(four): 2%", r"expected degrees of freedom such as student-t\(4\): 2%, got 'student-t\(four\): 2%'"),
        ("student-t(inf): 2%", "normal noise is plain 2%"),
        ("student-t(4)", "has no scale"),
        ("student-t(4):", "has no scale"),
        ("student-t: 2%", "expected noise such as"),
        ("student-t(4): much", "expected noise such as .*got 'much'"),
        (("student-t(4)", covariance(4)), "leave the covariance or student-t out"),
    ],
)
def test_what_is_no_law_is_refused(noise, said):
    with pytest.raises(UsageError, match=said):
        noise_of(noise, VALUES)


def test_derivatives_of_its_residuals_need_the_point():
    posterior, _ = contaminated(m=6, outliers=0)
    with pytest.raises(UsageError, match="depends on the observables"):
        posterior.sensitivity(np.ones((6, N)))


def test_a_failed_solve_has_no_likelihood():
    space = box(2)
    model = Together(space, matrix(5, 2), fails=lambda y: y[:, 0] > 0.5)
    posterior = Posterior(Solves(model), np.ones(5), Noise(np.full(5, SIZE), NU), Prior.of(space))
    z = np.array([[3.0, 0.0], [0.0, 0.0]])
    density = posterior.log_density(z)
    assert density[0] == -np.inf
    assert np.isfinite(density[1])
