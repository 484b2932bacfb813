"""Figures of an inversion: what is drawn is what was found, for few and many parameters, with and without draws."""

import dataclasses

import numpy as np
import pytest
from scipy.integrate import trapezoid
from scipy.stats import kstest, norm

from gnvpro.apps.inversion.maximum_a_posteriori import find_minima
from gnvpro.apps.inversion.posterior.observations import Noise
from gnvpro.apps.inversion.posterior.prior import Prior
from gnvpro.apps.inversion.posterior.solves import Solves
from gnvpro.apps.inversion.report import figures, fit_figures
from gnvpro.apps.inversion.report.body import body, body_problem
from gnvpro.apps.inversion.report.figures import (
    best_informed,
    interval,
    prior_density,
    prior_interval,
    relative_spread,
)
from gnvpro.pde_data.problems.resistivity.problem import Resistivity
from gnvpro.pde_data.problems.resistivity.scene import outline_from_above, outline_in_section
from gnvpro.surrogate.spaces import Space
from tests.apps.inversion.linear import NOISE, LinearModel, box, curves, images, invert

SIMPLEX = Space.vector(
    [f"w{j}" for j in range(4)], lower=(0.0,) * 4, upper=(1.0,) * 4, constraint="simplex", law="normalised_uniform"
)


@pytest.fixture(scope="module")
def three():
    return invert(routes=("delayed", "surrogate"))


@pytest.fixture(scope="module")
def problem():
    return Resistivity()


def test_interval_is_of_the_draws_that_count_and_else_laplaces(three):
    np.testing.assert_allclose(interval(three), np.quantile(three.chains["delayed"].pooled, (0.025, 0.975), axis=0).T)
    alone = invert()
    half = norm.ppf(0.975) * alone.map.standard_deviations
    np.testing.assert_allclose(interval(alone)[:, 1] - interval(alone)[:, 0], 2 * half, rtol=1e-12)


def test_the_best_informed_are_those_with_the_least_spread_in_their_prior():
    many = invert(box(9), routes=("surrogate",))
    ratios = relative_spread(many)
    np.testing.assert_allclose(ratios, many.chains["surrogate"].standard_deviation / np.sqrt(1 / 12), rtol=1e-2)
    assert best_informed(many, 3) == sorted(np.argsort(ratios)[:3])
    assert best_informed(many, 20) == list(range(9))


def test_a_parameter_the_data_say_nothing_of_is_as_wide_as_its_prior():
    inversion = invert(box(6))
    model = inversion.density.solves.model
    blind = LinearModel(box(6), curves(), model.matrix * (np.arange(6) != 2))
    posterior = dataclasses.replace(inversion.density, solves=Solves(blind))
    inversion = dataclasses.replace(inversion, minima=find_minima(posterior, 1, 0), truth=None)
    assert relative_spread(inversion)[2] == pytest.approx(1)
    np.testing.assert_allclose(interval(inversion)[2], [0, 1])
    assert 2 not in best_informed(inversion, 5)


@pytest.mark.parametrize("case", ["uniform", "normal", "simplex"])
def test_density_of_the_prior_is_the_law_of_its_draws(case):
    prior = {
        "uniform": Prior.of(box(2)), "normal": Prior.of(box(2), {"p1": (0.8, 0.3)}), "simplex": Prior.of(SIMPLEX),
    }[case]  # fmt: skip
    at = np.linspace(-0.2, 1.2, 4001)
    density = prior_density(prior, 1, at)
    assert (density[(at < 0) | (at > 1)] == 0).all()
    assert trapezoid(density, at) == pytest.approx(1, abs=0.02)
    cumulative = np.cumsum(density) / density.sum()
    draws = prior.draw(np.random.default_rng(1), 400)[:, 1]
    assert kstest(draws, lambda y: np.interp(y, at, cumulative)).pvalue > 1e-3
    low, high = prior_interval(prior)[1]
    assert np.interp((low, high), at, cumulative) == pytest.approx([0.025, 0.975], abs=0.02)


def test_every_parameter_has_its_intervals_best_point_and_truth_in_the_prior(three):
    where, learned = figures.in_prior(three).axes
    assert [label.get_text() for label in where.get_yticklabels()] == list(three.names)
    mean, deviation = 0.5, np.sqrt(1 / 12)
    expected = (np.quantile(three.chains["delayed"].pooled, (0.025, 0.975), axis=0).T - mean) / deviation
    drawn = np.array([segment[:, 0] for segment in where.collections[0].get_segments()])
    np.testing.assert_allclose(drawn, expected, atol=1e-3)
    best, truth = where.get_lines()[:2]
    np.testing.assert_allclose(best.get_xdata(), (three.map.parameters - mean) / deviation, atol=1e-3)
    np.testing.assert_allclose(truth.get_xdata(), (three.truth - mean) / deviation, atol=1e-3)
    np.testing.assert_allclose([bar.get_width() for bar in learned.patches], relative_spread(three))


@pytest.mark.parametrize("n", [1, 2, 6])
def test_pairs_show_every_route_the_prior_and_the_truth(n):
    inversion = invert(box(n), routes=("delayed", "surrogate"))
    figure = figures.pairs(inversion, range(n))
    grid = np.array(figure.axes).reshape(n, n)
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == ["delayed sampler", "surrogate sampler", "prior", "most probable point", "truth"]
    for k in range(n):
        low, high = grid[k, k].get_xlim()
        assert low < inversion.truth[k] < high
        densities = [line for line in grid[k, k].get_lines() if line.get_color() in ("#009E73", "#0072B2")]
        assert len(densities) == 2  # one for every route
        for line in densities:
            x, y = line.get_data()
            assert trapezoid(y, x) == pytest.approx(1, abs=0.02)
            assert trapezoid(x * y, x) == pytest.approx(inversion.map.parameters[k], abs=0.02)
        assert any(np.allclose(line.get_xdata(), inversion.truth[k]) for line in grid[k, k].get_lines())
        assert grid[k, k].get_title() == "prior\n0 to 1"
        assert grid[k, k].get_ylim()[1] > max(line.get_ydata().max() for line in densities)
    assert grid[n - 1, 0].get_xlabel() == "p0"


def test_pairs_without_truth_and_with_few_draws_are_dots():
    inversion = invert(routes=("delayed",), truth=False)
    chains = inversion.chains["delayed"]
    few = dataclasses.replace(chains, draws=chains.draws[:, :10], latent=chains.latent[:, :10])
    figure = figures.pairs(dataclasses.replace(inversion, chains={"delayed": few}), [0, 2])
    dots = [one.get_offsets() for one in np.array(figure.axes).reshape(2, 2)[1, 0].collections]
    np.testing.assert_allclose(np.concatenate(dots), few.pooled[:, [0, 2]])
    assert "truth" not in [text.get_text() for text in figure.legends[0].get_texts()]


def test_pairs_of_chains_that_never_moved_can_be_drawn():
    inversion = invert(routes=("delayed",))
    chains = inversion.chains["delayed"]
    still = dataclasses.replace(chains, draws=np.zeros_like(chains.draws) + inversion.map.parameters)
    assert figures.pairs(dataclasses.replace(inversion, chains={"delayed": still}, truth=None), [0, 1]).axes


def test_traces_are_the_draws_with_their_diagnostics(three):
    figure = figures.traces(three, [0, 2])
    grid = np.array(figure.axes).reshape(2, 2)
    chains = three.chains["surrogate"]
    for chain, line in zip(chains.draws[:, :, 2], grid[1, 1].get_lines(), strict=False):
        np.testing.assert_array_equal(line.get_ydata(), chain)
    assert f"p2: split R-hat {chains.split_rhat[2]:.3f}" in grid[1, 1].get_title()
    assert grid[0, 0].get_title().startswith("delayed sampler\n")


def test_residuals_are_in_units_of_the_noise_and_beside_their_law(three):
    places, law = fit_figures.residuals(three).axes
    fit, data = three.fitted, three.density.data
    np.testing.assert_allclose(places.collections[-1].get_offsets()[:, 1], (fit - data) / NOISE)
    assert sum(bar.get_height() * bar.get_width() for bar in law.patches) == pytest.approx(1)
    x, y = law.get_lines()[0].get_data()
    np.testing.assert_allclose(y, norm.pdf(x))


def test_outliers_are_in_the_last_bins_and_students_law_beside_them(three):
    data = three.density.data + np.where(np.arange(18) == 4, 100.0, 0.0)
    noise = Noise(three.density.noise.factor, 4.0)
    other = dataclasses.replace(three, density=dataclasses.replace(three.density, data=data, noise=noise))
    law = fit_figures.residuals(other).axes[1]
    assert law.get_xlim()[0] > -12
    assert sum(bar.get_height() * bar.get_width() for bar in law.patches) == pytest.approx(1)
    labels = [text.get_text() for text in law.get_legend().get_texts()]
    assert labels == ["18 residuals, 1 beyond ±10 in the last bins", "Student's t(4)"]


def test_repeats_are_drawn_one_by_one_in_curves_and_averaged_in_images():
    inversion = invert()
    density = inversion.density
    which = np.array([0, 0, 17])
    repeated = dataclasses.replace(
        density, data=np.array([1.0, 3.0, 2.0]), which=which, noise=Noise(np.array([0.1, 0.1, 0.2]))
    )
    other = dataclasses.replace(inversion, density=repeated)
    axes = fit_figures.curves(other).axes[0]
    points = [line.get_ydata().tolist() for line in axes.get_lines() if line.get_marker() == "o"]
    assert [1.0, 3.0] in points
    expected = (inversion.fitted[0] - 2.0) / (0.1 / np.sqrt(2))
    assert fit_figures.standardised(other)[0] == pytest.approx(expected)
    assert np.isnan(fit_figures.standardised(other)[1:17]).all()


def test_correlated_noise_has_decorrelated_residuals_in_the_histogram():
    inversion = invert()
    m = inversion.density.data.size
    factor = np.linalg.cholesky(NOISE**2 * (0.5 * np.eye(m) + 0.5))
    posterior = dataclasses.replace(inversion.density, noise=Noise(factor))
    other = dataclasses.replace(inversion, density=posterior)
    np.testing.assert_allclose(fit_figures.standardised(other), fit_figures.standardised(inversion))
    assert fit_figures.residuals(other).axes[1].get_xlabel() == "decorrelated residual / noise"


def test_curves_show_observed_and_fitted():
    inversion = invert(missing=1)
    figure = fit_figures.curves(inversion)
    axes = figure.axes[0]
    assert axes.get_xlabel() == "time (s)"
    assert axes.get_ylabel() == "observable (K)"
    lines = {line.get_label(): line for line in axes.get_lines()}
    fitted = inversion.fitted.reshape(6, 3)
    np.testing.assert_allclose(lines["sensor b"].get_ydata(), fitted[:, 1])


@pytest.mark.parametrize("labels", [("a", "b"), tuple(f"r{k}" for k in range(20))])
def test_curves_of_named_observables_stand_in_order(labels):
    inversion = invert(box(2), Space.vector(labels, axis="receiver"))
    assert "receiver" in fit_figures.curves(inversion).axes[0].get_xlabel()


def test_images_show_observed_fitted_and_residuals():
    inversion = invert(observables=images(), missing=3)
    figure = fit_figures.images(inversion)
    grid = np.array(figure.axes[:6]).reshape(2, 3)
    assert [axes.get_title() for axes in grid[0]] == ["observed", "fitted", "fitted − observed"]
    expected = fit_figures.standardised(inversion).reshape(2, 4, 3)
    assert np.isnan(expected[0, 0]).all()  # nothing was observed there
    shown = grid[0, 2].collections[0].get_array()
    assert np.ma.getmaskarray(shown)[:, 0].all()
    np.testing.assert_allclose(np.ma.filled(shown, np.nan), expected[0].T)


def test_of_many_images_the_worst_are_shown():
    inversion = invert(observables=images("A", "B", "C", "D"))
    size = (fit_figures.standardised(inversion) ** 2).reshape(8, -1).mean(axis=1)
    shown = fit_figures.largest_residuals(inversion)
    assert shown == sorted(np.argsort(size)[-4:])
    assert len(fit_figures.images(inversion).axes) == 4 * 3 + 2


def test_background_is_taken_off_where_the_pde_tells_it(problem):
    inversion = invert(problem.parameters, problem.observables, problem=problem)
    figure = fit_figures.images(inversion)
    assert figure.axes[0].get_title() == "observed anomaly"
    anomaly = (inversion.density.data - problem.background).reshape(2, 21, 21)
    np.testing.assert_allclose(figure.axes[0].collections[0].get_array(), np.log10(np.abs(anomaly[0])).T)


@pytest.mark.parametrize("azimuth", [0.0, 0.4, 1.3])
def test_outlines_are_those_of_the_ellipsoid(problem, azimuth):
    y = np.array([0.6, 0.1, azimuth])
    a, b, c = problem.size(0.1) * np.array(problem.semi_axis_ratio)
    turn = np.array([[np.cos(azimuth), np.sin(azimuth)], [-np.sin(azimuth), np.cos(azimuth)]])

    def level(points):  # (n, 3) -> one on the surface of the body
        local = points[:, :2] @ turn.T
        return (local[:, 0] / a) ** 2 + (local[:, 1] / b) ** 2 + ((points[:, 2] + 0.6) / c) ** 2

    above = outline_from_above(problem, y)
    np.testing.assert_allclose(level(np.column_stack([above, np.full(len(above), -0.6)])), 1)
    direction = 0.9
    along, height = outline_in_section(problem, y, direction).T
    np.testing.assert_allclose(
        level(np.column_stack([along * np.cos(direction), along * np.sin(direction), height])), 1
    )
    assert 4 / 3 * np.pi * a * b * c == pytest.approx(0.1)


def test_body_is_drawn_from_above_and_in_a_section_with_survey_and_truth(problem):
    inversion = invert(problem.parameters, images(), problem=problem, routes=("delayed",))
    figure = body(inversion)
    above, section = figure.axes
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert "true body" in legend
    assert "current electrodes" in legend
    drawn = [line.get_xydata() for line in above.get_lines()]
    expected = outline_from_above(problem, inversion.truth)
    assert any(line.shape == expected.shape and np.allclose(line, expected) for line in drawn)
    assert above.get_xlim()[1] > 1.5  # the electrodes of the current are in it
    assert section.get_ylim()[0] < -inversion.map.parameters[0]
    without = body(dataclasses.replace(inversion, chains={}, truth=None))
    assert "true body" not in [text.get_text() for text in without.legends[0].get_texts()]


def test_only_the_resistivity_problem_has_a_body():
    inversion = invert(observables=curves())
    assert body_problem(inversion) is None
    with pytest.raises(ValueError, match="resistivity"):
        body(inversion)
