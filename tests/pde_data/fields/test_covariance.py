"""Matérn's covariance, and its product with vectors."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from gnvpro.pde_data.fields.covariance import Matern, StationaryProduct

R = np.array([0.0, 1e-9, 0.1, 0.7, 1.0, 3.0, 40.0])


@pytest.mark.parametrize(
    ("smoothness", "formula"),
    [
        (0.5, lambda r: np.exp(-r)),
        (1.5, lambda r: (1 + np.sqrt(3) * r) * np.exp(-np.sqrt(3) * r)),
        (2.5, lambda r: (1 + np.sqrt(5) * r + 5 * r**2 / 3) * np.exp(-np.sqrt(5) * r)),
        (np.inf, lambda r: np.exp(-(r**2) / 2)),
    ],
)
def test_it_is_the_closed_form_of_half_integers_and_of_the_limit(smoothness, formula):
    np.testing.assert_allclose(Matern(smoothness)(R), formula(R), rtol=1e-8, atol=1e-14)


def test_large_smoothness_tends_to_the_limit():
    np.testing.assert_allclose(Matern(100.0)(R[:5]), Matern(np.inf)(R[:5]), atol=3e-3)


@pytest.mark.parametrize("dimension", [1, 2, 3])
def test_the_product_is_exact_at_points_of_its_grid(dimension):
    sides = [np.linspace(0, extent, n) for extent, n in zip((1.0, 0.6, 2.0), (9, 7, 5), strict=True)][:dimension]
    points = np.stack([part.ravel() for part in np.meshgrid(*sides, indexing="ij")], 1)
    # Steps of 1/8, 1/10, 1/2: a spacing of 1/8, .1, .5 where a direction stands alone; here what divides them all.
    product = StationaryProduct(points, Matern(0.5), 0.025)
    vector = np.random.default_rng(0).normal(size=len(points))
    np.testing.assert_allclose(product(vector), np.exp(-cdist(points, points)) @ vector, rtol=1e-11)


@pytest.mark.parametrize(("smoothness", "order"), [(0.5, 1.5), (2.5, 2.0)])
def test_elsewhere_its_error_falls_with_the_spacing(smoothness, order):
    rng = np.random.default_rng(1)
    points, vector = rng.random((300, 2)) * 2, rng.random(300)
    exact = Matern(smoothness)(cdist(points, points)) @ vector
    errors = [
        np.linalg.norm(StationaryProduct(points, Matern(smoothness), spacing)(vector) - exact)
        for spacing in (0.08, 0.04, 0.02, 0.01)
    ]
    rate = -np.polyfit(np.arange(4), np.log2(errors), 1)[0]
    assert rate > order - 0.6, errors
    assert errors[-1] < 2e-3 * np.linalg.norm(exact)


def test_it_is_symmetric():
    rng = np.random.default_rng(2)
    points, (a, b) = rng.random((50, 2)), rng.normal(size=(2, 50))
    product = StationaryProduct(points, Matern(1.5), 0.1)
    assert np.dot(a, product(b)) == pytest.approx(np.dot(product(a), b), rel=1e-12)
