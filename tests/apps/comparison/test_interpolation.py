"""Tensor Chebyshev interpolation is exact on its polynomials, and converges geometrically on what is analytic."""

from dataclasses import dataclass

import numpy as np
import pytest

from gnvpro.apps.comparison.interpolation import ChebyshevInterpolant, chebyshev_nodes, interpolate
from gnvpro.surrogate.spaces import Space

BOX = Space.vector(["a", "b", "c"], lower=(0.5, -1.0, 2.0), upper=(1.5, 3.0, 2.5), law="uniform")
OUT = Space.vector(["u", "v"], axis="observable")
POINTS = np.random.default_rng(0).uniform(BOX.lower, BOX.upper, (40, 3))


@dataclass
class Analytic:
    function: object
    parameters: Space = BOX
    observables: Space = OUT

    def evaluate(self, y):
        return self.function(*y.T)

    def jvp(self, y, dy):
        raise NotImplementedError

    def vjp(self, y, dc):
        raise NotImplementedError


def polynomial(a, b, c):
    return np.stack([a**2 * b**3 * c - b**2, 1 + a * b * c], 1)


def smooth(a, b, c):
    return np.stack([1 / (a + 2), np.sin(b + c)], 1)


def test_exact_on_polynomials_of_lower_degree_than_nodes():
    made = interpolate(Analytic(polynomial), (3, 4, 2))
    assert made.n_solves == 24
    np.testing.assert_allclose(made.evaluate(POINTS), polynomial(*POINTS.T), rtol=1e-12, atol=1e-12)


def test_one_node_less_is_not_exact():
    made = interpolate(Analytic(polynomial), (3, 3, 2))
    assert np.abs(made.evaluate(POINTS) - polynomial(*POINTS.T)).max() > 1e-2


def test_the_interpolant_passes_through_its_nodes():
    made = interpolate(Analytic(smooth), (2, 3, 4))
    nodes = chebyshev_nodes(BOX, (2, 3, 4))
    assert BOX.contains(nodes).all()
    np.testing.assert_allclose(made.evaluate(nodes), smooth(*nodes.T), rtol=1e-13)


def test_geometric_convergence():
    errors = [
        np.abs(interpolate(Analytic(smooth), (n,) * 3).evaluate(POINTS) - smooth(*POINTS.T)).max() for n in (3, 6, 9)
    ]
    assert errors[1] < 0.05 * errors[0]
    assert errors[2] < 0.05 * errors[1]


def fails_at_two_nodes(a, b, c):
    low = (a < 1.0) & (b < 1.0)
    return np.where(low[:, None], np.nan, polynomial(a, b, c))


def test_what_cannot_be_interpolated_is_refused():
    with pytest.raises(ValueError, match="box with bounds"):
        chebyshev_nodes(Space.vector(["a", "b"], constraint="simplex", lower=(0.0, 0.0), upper=(1.0, 1.0)), (2, 2))
    with pytest.raises(ValueError, match="3 positive numbers"):
        chebyshev_nodes(BOX, (2, 2))
    with pytest.raises(ValueError, match="at the 8 nodes"):
        ChebyshevInterpolant.fit(BOX, OUT, (2, 2, 2), np.ones((7, 2)))
    values = fails_at_two_nodes(*chebyshev_nodes(BOX, (2, 2, 2)).T)
    with pytest.raises(ValueError, match="2 of 8 nodes"):
        ChebyshevInterpolant.fit(BOX, OUT, (2, 2, 2), values)
    why = interpolate(Analytic(fails_at_two_nodes), (2, 2, 2))
    assert why == "2 of 8 nodes could not be solved (not finite (2 times))"


def test_a_fixed_parameter_takes_one_node():
    space = Space.vector(["a", "b"], lower=(0.0, 2.0), upper=(1.0, 2.0), law="uniform")
    with pytest.raises(ValueError, match="b is fixed at 2: expected 1 node"):
        chebyshev_nodes(space, (3, 2))
    nodes = chebyshev_nodes(space, (3, 1))
    observables = Space.vector(["square"], axis="observable")
    found = ChebyshevInterpolant.fit(space, observables, (3, 1), nodes[:, :1] ** 2).evaluate(np.array([[0.3, 2.0]]))
    np.testing.assert_allclose(found, [[0.09]])
