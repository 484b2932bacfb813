"""Sums with few images are the sums with all of them."""

import numpy as np
import pytest

from gnvpro.pde_data.problems.resistivity.ground.image_series import powers

RATIOS = [0.02, 0.5, 0.818, 0.98, 0.999, -0.02, -0.5, -0.818, -0.98, -0.999]


def plain(ratio, g):
    n = np.arange(int(np.log(1e-16) / np.log(abs(ratio))) + 2, dtype=float)
    return float(np.sum(np.sign(ratio) ** n * np.abs(ratio) ** n * g(n)))


@pytest.mark.parametrize("ratio", RATIOS)
@pytest.mark.parametrize("across", [0.0, 0.3, 4.0, 200.0])
@pytest.mark.parametrize("height", [1.0, 1.5, 3.0], ids=["electrode above", "middle", "electrode below"])
def test_sum_of_images(ratio, across, height):
    def g(n):
        return 1 / np.hypot(across, 2 * n + height)

    numbers, weights = powers(ratio)
    exact = plain(ratio, g)
    assert abs(weights @ g(numbers) - exact) < 1e-9 * abs(exact)
    assert abs(weights @ g(numbers) - plain(1.001 * ratio if abs(ratio) < 0.99 else 0.99 * ratio, g)) > 1e-8 * abs(
        exact
    )


@pytest.mark.parametrize("ratio", RATIOS)
def test_terms_are_few_and_exact_for_all_hankel_components(ratio):
    """exp(-t n) adds up to 1 / (1 - ratio exp(-t)), uniformly: what every other g is made of."""
    numbers, weights = powers(ratio)
    assert len(numbers) < 90
    t = np.geomspace(1e-6, 30, 200)
    found = np.exp(-t[:, None] * numbers) @ weights
    # Relative to the sum of sizes, which is what falls under the tolerance.
    np.testing.assert_allclose(found, 1 / (1 - ratio * np.exp(-t)), rtol=1e-8)


def test_no_reflection_has_one_image():
    numbers, weights = powers(0.0)
    assert (numbers.tolist(), weights.tolist()) == ([0.0], [1.0])
