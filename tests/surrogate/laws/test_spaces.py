"""Spaces whose parameters have laws of their own: bounds, membership, draws, designs, directions."""

import numpy as np
import pytest
from scipy import stats

from gnvpro.pde_data.sampling import default_design, directions, place, standard_deviations
from gnvpro.surrogate.admissible import admissible_points, box
from gnvpro.surrogate.draws import draw
from gnvpro.surrogate.laws import Dirichlet, Integers, Lognormal, LogUniform, Normal, TruncatedNormal
from gnvpro.surrogate.scaling import logarithmic_parameters
from gnvpro.surrogate.spaces import Space

LAWS = {
    "k": Lognormal(0, 1),
    "n": Integers(1, 5),
    "q": (0, 1),
    "t": stats.gamma(2, scale=3),
    ("sand", "silt", "clay"): Dirichlet((1, 2, 3)),
    "fixed": 4.0,
    "lu": LogUniform(1, 100),
    "tn": TruncatedNormal(0, 1, 0, np.inf),
}
SPACE = Space.of_laws(LAWS, units=["m"] + ["1"] * 9)


def test_names_units_and_bounds():
    assert SPACE.names == ("k", "n", "q", "t", "sand", "silt", "clay", "fixed", "lu", "tn")
    assert (SPACE.unit(0), SPACE.law, SPACE.constraint) == ("m", "independent", "box")
    assert SPACE.lower == (0, 1, 0, 0, 0, 0, 0, 4, 1, 0)
    assert SPACE.upper == (np.inf, 5, 1, np.inf, 1, 1, 1, 4, 100, np.inf)
    assert SPACE.fixed.tolist() == [False] * 7 + [True] + [False] * 2
    assert SPACE.simplexes == (slice(4, 7),)


def test_laws_of_one_kind_are_the_space_that_has_always_been():
    bounds = dict(lower=(0.0, 1.0), upper=(1.0, 2.0))
    assert Space.of_laws({"a": (0, 1), "b": (1, 2)}) == Space.vector(["a", "b"], law="uniform", **bounds)
    logs = Space.of_laws({"a": LogUniform(1.0, 3.0)})
    assert logs == Space.vector(["a"], lower=(1.0,), upper=(3.0,), law="log_uniform")
    assert Space.of_laws({("a", "b"): Dirichlet((1, 1))}).constraint == "simplex"
    assert "laws" not in logs.to_dict()


def test_draws_lie_in_the_space_and_each_is_the_same_alone():
    points = draw(SPACE, 3, np.arange(400))
    assert SPACE.contains(points).all()
    np.testing.assert_array_equal(points[[7]], draw(SPACE, 3, [7]))
    np.testing.assert_allclose(points.std(0), standard_deviations(SPACE), rtol=0.35, atol=1e-12)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("n", 2.5, r"n = 2.5, expected a value of the law integers \(lower 1, upper 5\)"),
        ("n", 7.0, "n = 7, expected 1 to 5"),
        ("sand", 0.9, "sand, silt, clay sum to .*, expected 1 within"),
        ("k", -1.0, "k = -1, expected 0 to inf"),
        ("k", np.inf, "k is not finite"),
        ("k", 0.0, "k = 0, expected a value of the law lognormal"),
        ("fixed", 4.5, "fixed = 4.5, expected 4 to 4"),
    ],
)
def test_what_lies_outside_is_said(name, value, said):
    point = draw(SPACE, 0, [1])
    point[0, SPACE.names.index(name)] = value
    assert not SPACE.contains(point)[0]
    with pytest.raises(ValueError, match=said):
        SPACE.require(point)


def test_sobol_points_follow_the_laws_more_evenly_than_draws():
    few = Space.of_laws({"a": Normal(1, 2), "b": Lognormal(0, 0.5), "c": Integers(0, 3)})
    assert default_design(few) == "sobol"
    points = place(few, "sobol", 5, np.arange(256))
    np.testing.assert_array_equal(points[[9, 3]], place(few, "sobol", 5, [9, 3]))
    u = stats.norm(1, 2).cdf(points[:, 0])
    assert np.abs(np.sort(u) - (np.arange(256) + 0.5) / 256).max() < 1.01 / 256
    np.testing.assert_array_equal(np.bincount(points[:, 2].astype(int)), 64)
    assert few.contains(points).all()


def test_directions_stay_on_a_simplex_among_other_parameters():
    along = directions(SPACE, 0, np.arange(20), 3)
    np.testing.assert_allclose(along[..., 4:7].sum(-1), 0, atol=1e-14)
    assert not along[..., 7].any()
    assert not along[..., 1].any()
    in_deviations = along / np.where(SPACE.fixed, 1, standard_deviations(SPACE))
    np.testing.assert_allclose(np.linalg.norm(in_deviations, axis=-1), 1)


def test_what_enters_by_its_logarithm():
    points = draw(SPACE, 0, np.arange(50))
    assert [SPACE.names[j] for j in np.flatnonzero(logarithmic_parameters(points, SPACE))] == ["k", "lu"]
    assert logarithmic_parameters(points[:, 1:4], Space.of_laws({n: LAWS[n] for n in ("n", "q", "t")})) is None


def test_finite_ends_and_points_to_try():
    low, high = box(SPACE)
    assert np.isfinite(low).all()
    assert np.isfinite(high).all()
    assert low[0] > 0  # there is no logarithm of 0
    np.testing.assert_allclose(high[[0, 3]], [np.exp(stats.norm.isf(1e-3)), stats.gamma(2, scale=3).isf(1e-3)])
    assert SPACE.contains(admissible_points(SPACE, 20, 0)).all()


def test_a_law_without_spread_in_a_file_is_damage():
    described = SPACE.to_dict() | {"laws": [{"law": "normal", "mean": "x"}]}
    with pytest.raises((ValueError, TypeError)):
        Space.from_dict(described)
