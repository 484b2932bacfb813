"""Whether a result can be relied on: each question's answer by what should make it yes, doubtful or no."""

import dataclasses

import numpy as np
import pytest
from scipy.stats import chi2

from gnvpro.apps.inversion.adequacy import Adequacy
from gnvpro.apps.inversion.invert import invert
from gnvpro.apps.inversion.posterior.noise import Noise
from gnvpro.apps.inversion.posterior.posterior import Whitening
from gnvpro.apps.inversion.posterior.prior import Prior
from gnvpro.apps.inversion.verdict import accuracy, convergence, fit, outliers, verdict, worst
from tests.apps.inversion import linear
from tests.apps.inversion.models import Together, box, independent, matrix, normal_prior, synthetic

M = 40


@pytest.fixture
def posterior():
    prior = normal_prior(box(2))
    return synthetic(Together(prior.space, matrix(M, 2)), np.array([0.2, -0.1]), independent(M), prior)


def scaled(size):
    """Residuals whose chi-squared is `size` times what is expected."""
    residuals = np.random.default_rng(0).standard_normal(M)
    return residuals * np.sqrt(size * M / (residuals**2).sum())


@pytest.mark.parametrize(("size", "mark"), [(0.1, "doubtful"), (0.8, "yes"), (1.2, "yes"), (2.5, "no")])
def test_chi_squared_is_judged_by_its_law(posterior, size, mark):
    check = fit(posterior, scaled(size), 2.0)
    assert check.mark == mark
    low, high = chi2.ppf((0.025, 0.975), M - 2) / M
    assert f"chi-squared {size:.3g} per observation, usual is {low:.2g} to {high:.2g}" in check.reason


def test_what_parameters_take_up_is_no_sign_of_a_wrong_noise(posterior):
    few = dataclasses.replace(posterior, data=np.where(np.arange(M) < 2, posterior.data, np.nan))
    assert fit(few, np.array([1e-6, -1e-6]), 2.0).mark == "yes"


@pytest.mark.parametrize(("data", "parameters"), [(1, 2), (3, 6), (6, 3)])
def test_as_many_directions_are_determined_as_there_are_data_or_parameters(data, parameters):
    """Directions, not parameters: each of these may be open by itself where a combination of them is known."""
    space = box(parameters)
    model = Together(space, matrix(data, parameters))
    exact = synthetic(model, np.full(parameters, 0.1), Noise(np.full(data, 1e-4)), Prior.of(space))
    found = Whitening.at_mode(exact, np.full(parameters, 0.1))
    assert found.determined == pytest.approx(min(data, parameters), abs=1e-3)
    residuals = np.full(data, 1e-9)
    assert fit(exact, residuals, found.determined).mark == ("doubtful" if data > parameters else "yes")


def test_outliers_are_named_and_a_remedy_with_them(posterior):
    residuals = scaled(0.8)
    residuals[[3, 17]] = 9.0, -30.0
    np.testing.assert_array_equal(outliers(posterior, residuals), [17, 3])
    check = fit(posterior, residuals, 2.0)
    assert check.mark == "no"
    assert (
        "2 observations are farther off than noise: c17 (-30), c3 (+9); noise such as student-t(4): 2%" in check.reason
    )
    heavy = dataclasses.replace(posterior, noise=Noise(posterior.noise.factor, 3.0))
    assert len(outliers(heavy, residuals)) == 0, "of Student's law such residuals are to be expected"
    gross = np.where(residuals == -30, -3000.0, residuals)
    assert fit(heavy, gross, 2.0).mark == "yes"
    assert (
        "farther off than noise: c17 (-3e+03); by Student's law outliers count little" in fit(heavy, gross, 2.0).reason
    )
    assert fit(heavy, np.where(np.arange(M) < 8, 1e4, residuals), 2.0).mark == "doubtful"
    assert fit(heavy, 10 * residuals, 2.0).mark == "no"
    assert fit(heavy, np.where(np.abs(residuals) > 5, 5.0, residuals), 2.0).mark == "yes"


def test_convergence_is_that_of_the_chains():
    inversion = linear.invert(routes=("surrogate",))
    chains = inversion.best_chains
    assert convergence(chains, None).mark == ("yes" if chains.converged else "doubtful")
    assert convergence(chains, "they do not agree").reason == "they do not agree"
    assert convergence(chains, "they do not agree").mark == "no"
    diverged = dataclasses.replace(chains, about={"divergences": 3})
    assert convergence(diverged, None).mark == "doubtful"
    assert "3 divergences" in convergence(diverged, None).reason
    assert convergence(None, None).mark == "doubtful"


@pytest.mark.parametrize(
    ("adequacy", "route", "mark"),
    [
        (Adequacy(0.1, 0.1, "x"), "surrogate", "yes"), (Adequacy(0.5, 0.1, "x"), "surrogate", "doubtful"),
        (Adequacy(2.0, 0.1, "x"), "surrogate", "no"), (Adequacy(2.0, 0.1, "x"), "delayed", "yes"),
        (None, "surrogate", "doubtful"), (None, None, "doubtful"),
    ],
)  # fmt: skip
def test_the_error_of_the_surrogate_matters_where_it_drew(adequacy, route, mark):
    assert accuracy(adequacy, route).mark == mark


def test_the_verdict_is_the_worst_answer():
    yes, doubtful, no = (
        accuracy(None, "pde"),
        accuracy(None, None),
        convergence(linear.invert(routes=("pde",)).best_chains, "apart"),
    )
    assert (worst([yes]), worst([yes, doubtful]), worst([yes, doubtful, no])) == ("yes", "doubtful", "no")
    assert verdict([yes, doubtful, no]) == "Not to be relied on: apart"
    assert verdict([yes, doubtful]).startswith("To be used with care: its error is not known")
    assert verdict([yes]) == "Nothing speaks against it: surrogate accurate enough"


def test_a_result_tells_it_first_and_programs_too():
    model = Together(box(2), matrix(M, 2))
    data = model.evaluate(np.array([[0.2, -0.1]]))[0] + 0.1 * np.random.default_rng(1).standard_normal(M)
    data[5] += 4
    normal = invert(model, data, 0.1, draws=0, starts=2)
    student = invert(model, data, "student-t(4): 0.1", draws=0, starts=2)
    rows = [what for what, _ in normal.rows()]
    assert rows[:3] == ["p0", "p1", "verdict"]
    assert dict(normal.rows())["verdict"].startswith("Not to be relied on")
    assert list(normal.numbers()["noise"]["outliers"]) == ["c5"]
    assert normal.numbers()["checks"][1]["answer"] == "no"
    assert normal.numbers()["noise"]["law"] == "normal"
    assert student.numbers()["noise"]["degrees_of_freedom"] == 4
    off = [np.abs(one.map.parameters - [0.2, -0.1]).max() for one in (normal, student)]
    assert off[1] < off[0]
