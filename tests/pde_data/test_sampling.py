import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pde_data.sampling import draw
from surrogate.forward_model import Space

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
        (Space.vector(["a"]), 0, [0], "law 'unknown'; give the space one of uniform, normalised_uniform"),
        (Space.vector(["a"], law="uniform"), 0, [0], "needs finite bounds"),
        (BOX, -1, [0], "seed from 0"),
        (BOX, 0, [3, -1], "sample numbers >= 0"),
    ],
)
def test_what_cannot_be_drawn_is_said(space, seed, index, message):
    with pytest.raises(ValueError, match=message):
        draw(space, seed, index)
