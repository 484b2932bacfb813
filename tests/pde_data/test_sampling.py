import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import qmc

from gnvpro.pde_data.sampling import default_design, directions, draw, place, standard_deviations
from gnvpro.surrogate.spaces import Space

BOX = Space.vector(["depth", "volume", "azimuth"], lower=(0.45, -1.0, 0.0), upper=(0.75, 3.0, 1.5), law="uniform")
SIMPLEX = Space.vector(
    [f"w{j}" for j in range(55)], lower=(0.0,) * 55, upper=(1.0,) * 55, constraint="simplex", law="normalised_uniform"
)


def test_the_stream_is_philox_with_the_sample_in_the_highest_word_of_the_counter():
    stream = np.random.Generator(np.random.Philox(key=7, counter=[0, 0, 0, 12])).uniform(0, 1, 55)
    np.testing.assert_array_equal(draw(SIMPLEX, 7, [12])[0], stream / stream.sum())


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**64 - 1), index=st.lists(st.integers(0, 2**40), min_size=1, max_size=6))
def test_a_sample_is_the_same_alone_and_in_any_company(seed, index):
    together = draw(BOX, seed, index)
    for i, row in zip(index, together, strict=True):
        np.testing.assert_array_equal(draw(BOX, seed, [i])[0], row)


@pytest.mark.parametrize("space", [BOX, SIMPLEX], ids=["uniform", "normalised_uniform"])
def test_samples_lie_in_the_space_and_differ(space):
    points = draw(space, 3, np.arange(500))
    assert space.contains(points).all()
    assert len(np.unique(points, axis=0)) == 500
    assert not np.array_equal(points, draw(space, 4, np.arange(500)))


def test_uniform_law_has_the_moments_of_the_box():
    n = 20_000
    points = draw(BOX, 1, np.arange(n))
    lower, upper = np.array(BOX.lower), np.array(BOX.upper)
    spread = (upper - lower) / np.sqrt(12)
    assert np.all(np.abs(points.mean(0) - (lower + upper) / 2) < 4 * spread / np.sqrt(n))
    np.testing.assert_allclose(points.std(0), spread, rtol=0.02)
    assert np.abs(np.corrcoef(points.T) - np.eye(3)).max() < 4 / np.sqrt(n)


@pytest.mark.parametrize(
    ("space", "seed", "index", "message"),
    [
        (Space.vector(["a"]), 0, [0], "law 'unknown'; give the space one of uniform, log_uniform, normalised_uniform"),
        (Space.vector(["a"], law="uniform"), 0, [0], "needs finite bounds"),
        (BOX, -1, [0], "seed from 0"),
        (BOX, 0, [3, -1], "sample numbers >= 0"),
    ],
)
def test_what_cannot_be_drawn_is_said(space, seed, index, message):
    with pytest.raises(ValueError, match=message):
        draw(space, seed, index)


def test_the_design_is_the_scrambled_sobol_sequence_bent_to_the_arcsine_law():
    points = place(BOX, "sobol-arcsine", 7, np.arange(64))
    unit = qmc.Sobol(3, scramble=True, rng=7).random_base2(6)
    lower, upper = np.array(BOX.lower), np.array(BOX.upper)
    np.testing.assert_allclose(points, lower + (upper - lower) * (1 - np.cos(np.pi * unit)) / 2, rtol=1e-14)
    # Balance of a (t, m, s)-net, which bending leaves: a quarter of the points in every quarter by the arcsine law.
    quarters = np.floor(4 * np.arccos(1 - 2 * (points - lower) / (upper - lower)) / np.pi)
    np.testing.assert_array_equal([[np.sum(column == q) for q in range(4)] for column in quarters.T], 16)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**64 - 1), index=st.lists(st.integers(0, 3000), min_size=1, max_size=9))
def test_a_sample_of_the_design_is_the_same_alone_and_in_any_company(seed, index):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        together = place(BOX, "sobol-arcsine", seed, index)
        for i, row in zip(index, together, strict=True):
            np.testing.assert_array_equal(place(BOX, "sobol-arcsine", seed, [i])[0], row)


def test_the_design_bounds_the_largest_error_of_a_polynomial_better_than_random_draws():
    """What it is for: least squares of degree 8 to a function with a near pole, largest error in the square."""
    box = Space.vector(["a", "b"], lower=(-1.0, -1.0), upper=(1.0, 1.0), law="uniform")
    powers = [(i, j) for i in range(9) for j in range(9 - i)]

    def basis(y):
        first, second = (np.polynomial.chebyshev.chebvander(y[:, k], 8) for k in (0, 1))
        return np.column_stack([first[:, i] * second[:, j] for i, j in powers])

    def function(y):
        return 1 / (1.6 - y[:, 0]) * np.exp(y[:, 1])

    grid = np.stack(np.meshgrid(*[np.linspace(-1, 1, 41)] * 2), -1).reshape(-1, 2)
    largest = {}
    for design in ("random", "sobol-arcsine"):
        errors = []
        for seed in range(10):
            y = place(box, design, seed, np.arange(100))
            fit = np.linalg.lstsq(basis(y), function(y), rcond=None)[0]
            errors.append(np.abs(basis(grid) @ fit - function(grid)).max())
        largest[design] = np.median(errors)
    assert largest["sobol-arcsine"] < largest["random"] / 3


def test_the_default_design_is_by_the_space():
    many = Space.vector([f"a{j}" for j in range(6)], lower=(0.0,) * 6, upper=(1.0,) * 6, law="uniform")
    assert [default_design(space) for space in (BOX, many, SIMPLEX)] == ["sobol-arcsine", "random", "random"]
    assert BOX.contains(place(BOX, "sobol-arcsine", 3, np.arange(5000))).all()
    assert many.contains(place(many, "sobol-arcsine", 3, np.arange(500))).all()
    np.testing.assert_array_equal(place(SIMPLEX, "random", 3, [4, 2]), draw(SIMPLEX, 3, [4, 2]))


@pytest.mark.parametrize(
    ("space", "design", "index", "message"),
    [
        (BOX, "halton", [0], "unknown design 'halton'; expected one of random, sobol-arcsine, sobol"),
        (
            Space.vector(["a"], lower=(0.0,), upper=(1.0,)),
            "sobol",
            [0],
            "needs a law that can be drawn from, got 'unknown'",
        ),
        (SIMPLEX, "sobol-arcsine", [0], "needs a box with the law 'uniform', got a simplex"),
        (BOX, "sobol-arcsine", [-1], "sample numbers >= 0"),
        (BOX, "sobol-arcsine", [2**30], "has 1073741824 samples"),
        (Space.vector(["a"], law="uniform"), "sobol-arcsine", [0], "needs finite bounds"),
    ],
)
def test_designs_that_give_no_points_are_said(space, design, index, message):
    with pytest.raises(ValueError, match=message):
        place(space, design, 0, index)


LOGARITHMIC = Space.vector(["k", "fixed", "narrow"], lower=(1.0, 2.0, 5.0), upper=(30.0, 2.0, 5.01), law="log_uniform")
TRIANGLE = Space.vector(list("abc"), lower=(0.0,) * 3, upper=(1.0,) * 3, constraint="simplex", law="normalised_uniform")
ALL = pytest.mark.parametrize("space", [BOX, LOGARITHMIC, SIMPLEX, TRIANGLE], ids=["box", "log", "simplex", "triangle"])


@ALL
def test_standard_deviations_are_those_of_the_draws(space):
    drawn = draw(space, 2, np.arange(20_000)).std(axis=0)
    np.testing.assert_allclose(standard_deviations(space), drawn, rtol=0.04, atol=1e-12)


@ALL
def test_directions_are_unit_vectors_in_standard_deviations(space):
    spread = standard_deviations(space)
    drawn = directions(space, 2, np.arange(500), 3)
    varies = spread > 0
    np.testing.assert_array_equal(drawn[..., ~varies], 0)
    standardised = drawn[..., varies] / spread[varies]
    np.testing.assert_allclose(np.linalg.norm(standardised, axis=-1), 1, rtol=1e-12)
    # Uniform on the sphere: mean zero, and the second moment of a projection onto the directions there are.
    normal = spread[varies] / np.linalg.norm(spread) if space.constraint == "simplex" else np.zeros(varies.sum())
    there = np.eye(varies.sum()) - np.outer(normal, normal)
    flat = standardised.reshape(-1, varies.sum())
    assert np.abs(flat.mean(axis=0)).max() < 5 / np.sqrt(len(flat) * varies.sum())
    np.testing.assert_allclose(flat.T @ flat / len(flat), there / np.trace(there), atol=5 / np.sqrt(len(flat)))


def test_on_the_simplex_directions_sum_to_zero():
    for space in (SIMPLEX, TRIANGLE):
        assert np.abs(directions(space, 2, np.arange(200), 4).sum(axis=-1)).max() < 1e-13


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 2**64 - 1), index=st.lists(st.integers(0, 2**40), min_size=1, max_size=6), r=st.integers(1, 4)
)
def test_directions_of_a_sample_are_the_same_alone_in_company_and_with_more(seed, index, r):
    for space in (LOGARITHMIC, SIMPLEX):
        together = directions(space, seed, index, r)
        for i, rows in zip(index, together, strict=True):
            np.testing.assert_array_equal(directions(space, seed, [i], r + 2)[0, :r], rows)


def test_directions_are_of_another_stream_than_the_parameters():
    index = np.arange(2000)
    y, v = draw(BOX, 3, index), directions(BOX, 3, index, 1)[:, 0]
    assert np.abs(np.corrcoef(np.hstack([y, v]).T)[:3, 3:]).max() < 5 / np.sqrt(2000)
    stream = np.random.Generator(np.random.Philox(key=[3, 1], counter=[0, 0, 0, 7])).standard_normal(3)
    np.testing.assert_allclose(v[7], standard_deviations(BOX) * stream / np.linalg.norm(stream), rtol=1e-14)


@pytest.mark.parametrize(
    ("space", "message"),
    [
        (Space.vector(["a"], lower=(1.0,), upper=(1.0,), law="uniform"), "every one of them is fixed"),
        (Space.vector(["a"], constraint="simplex", law="normalised_uniform"), "every one of them is fixed"),
        (Space.vector(["a"], lower=(0.0,), upper=(1.0,)), "law 'unknown' have no spread"),
        (Space.vector(["a"], law="uniform"), "needs finite bounds"),
        (Space.vector(["a"], lower=(0.0,), upper=(1.0,), law="log_uniform"), "needs positive bounds, got 0"),
    ],
)
def test_spaces_without_directions_are_said(space, message):
    with pytest.raises(ValueError, match=message):
        directions(space, 0, [0], 1)
    assert directions(space, 0, [0, 1], 0).shape == (2, 0, 1)
