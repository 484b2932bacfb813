"""Parameters whose bounds meet: they stay, cost nothing, and change nothing for the others."""

import json

import arviz as az
import numpy as np
import pytest

from gnvpro.apps.inversion.invert import invert
from gnvpro.apps.inversion.posterior.prior import Prior
from gnvpro.apps.inversion.posterior.solves import Solves
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.spaces import Space
from tests.apps.inversion.models import Analytic, Backwards, Together, matrix

# Chains that say whether the pieces fit together.
SHORT = dict(chains=2, draws=60, tune=30, pde_draws=20, pde_tune=10, starts=2)
LOW, HIGH, TRUTH = (-1.0, 0.3, -1.0, -2e-13), (1.0, 0.3, 1.0, -2e-13), np.array([0.2, 0.3, -0.1, -2e-13])
M, FREE = 6, np.array([True, False, True, False])


class Rational(Analytic):
    """Without derivatives: what differences cost is counted."""

    jvp = vjp = None


def model(kind=Analytic, **given):
    space = Space.vector(["a", "b", "c", "d"], units=("m",), lower=LOW, upper=HIGH, law="uniform")
    return kind(space, matrix(M, 4), bend=0.1, **given)


def reduced(kind=Analytic):
    """The same model of the free parameters alone."""
    whole = model()
    part = kind(Space.vector(["a", "c"], lower=(-1.0, -1.0), upper=(1.0, 1.0), law="uniform"), whole.matrix[:, FREE])

    def evaluate(y):
        return whole.evaluate(np.insert(y, [1, 2], [0.3, -2e-13], axis=1))

    part.evaluate = evaluate
    part.jvp = lambda y, dy: whole.jvp(
        np.insert(y, [1, 2], [0.3, -2e-13], axis=1), np.insert(dy, [1, 2], [0.0, 0.0], axis=1)
    )
    part.vjp = lambda y, dc: whole.vjp(np.insert(y, [1, 2], [0.3, -2e-13], axis=1), dc)[:, FREE]
    return part


OBSERVED = model().evaluate(TRUTH[None])[0] + 0.02 * np.random.default_rng(1).standard_normal(M)


@pytest.mark.parametrize("kind", [Analytic, Together, Backwards, Rational])
def test_point_deviations_and_costs_are_those_of_the_free_parameters(kind):
    fixed = invert(model(kind), OBSERVED, 0.05, draws=0, starts=3)
    alone = invert(reduced(), OBSERVED, 0.05, draws=0, starts=3)
    np.testing.assert_array_equal(fixed.map.parameters[~FREE], TRUTH[~FREE])
    np.testing.assert_allclose(fixed.map.parameters[FREE], alone.map.parameters, atol=1e-7)
    np.testing.assert_array_equal(fixed.map.standard_deviations[~FREE], 0)
    np.testing.assert_allclose(fixed.map.standard_deviations[FREE], alone.map.standard_deviations, rtol=1e-5)


def test_differences_by_a_fixed_parameter_cost_nothing():
    solves = Solves(model(Rational))
    _, jacobian = solves.linearize(TRUTH[None])
    assert solves.evaluated == 1 + 2 * 2
    assert solves.by_differences
    np.testing.assert_array_equal(jacobian[0][:, ~FREE], 0)
    np.testing.assert_allclose(jacobian[0] @ FREE, model().jvp(TRUTH[None], 1.0 * FREE[None])[0], rtol=1e-7)


def test_the_chains_of_every_route_have_no_nan_and_the_report_is_written(tmp_path):
    whole = invert(
        model(), OBSERVED, 0.05, problem=model(), routes=("surrogate", "delayed", "pde"), truth=TRUTH, **SHORT
    )
    for chains in whole.chains.values():
        np.testing.assert_array_equal(
            chains.draws[:, :, ~FREE], np.broadcast_to(TRUTH[~FREE], (*chains.draws.shape[:2], 2))
        )
        assert chains.latent.shape[2] == 2
        np.testing.assert_array_equal(chains.split_rhat[~FREE], 1)
        assert np.isfinite(chains.split_rhat).all()
        np.testing.assert_array_equal(chains.standard_deviation[~FREE], 0)
    with np.errstate(invalid="raise", divide="raise"):
        whole.write(tmp_path / "out")
    numbers = json.loads((tmp_path / "out" / "inversion.json").read_text())
    assert "NaN" not in json.dumps(numbers)
    assert numbers["prior"]["fixed"] == {"b": 0.3, "d": -2e-13}
    assert all(np.isfinite(part["means"]).all() for part in numbers["shifts"].values())
    assert "0.3 (fixed)" in (tmp_path / "out" / "report.html").read_text()
    tree = az.from_netcdf(tmp_path / "out" / "posterior-delayed.nc")
    assert tree["posterior"]["y"].shape == (2, 20, 4)
    assert dict(whole.rows())["b"] == "fixed at 0.3 m"


def test_the_chains_are_those_of_the_free_parameters():
    fixed = invert(model(), OBSERVED, 0.05, seed=3, **SHORT).chains["surrogate"]
    alone = invert(reduced(), OBSERVED, 0.05, seed=3, **SHORT).chains["surrogate"]
    np.testing.assert_allclose(fixed.draws[:, :10][:, :, FREE], alone.draws[:, :10], atol=1e-6)


def test_all_fixed_is_the_point_alone(tmp_path):
    space = Space.vector(["a", "b"], lower=(0.5, 0.3), upper=(0.5, 0.3), law="uniform")
    both = Analytic(space, matrix(M, 2)), Analytic(space, matrix(M, 2))
    inversion = invert(both[0], OBSERVED, 0.05, problem=both[1], routes=("surrogate", "delayed", "pde"), **SHORT)
    np.testing.assert_array_equal(inversion.map.parameters, [0.5, 0.3])
    np.testing.assert_array_equal(inversion.map.standard_deviations, 0)
    assert inversion.chains == {}
    assert inversion.doubt() is None
    inversion.write(tmp_path / "out")
    assert "NaN" not in (tmp_path / "out" / "inversion.json").read_text()
    assert sum(part.solved for part in both) <= 8


def test_bounds_that_meet_up_to_rounding_are_fixed_and_narrow_ones_are_not():
    above = np.nextafter(0.1, 1)
    space = Space.vector(["a", "b", "c"], lower=(0.1, 1e-13, -1e-30), upper=(above, 1.001e-13, 1e-30), law="uniform")
    np.testing.assert_array_equal(space.fixed, [True, False, False])
    assert Prior.of(space).n_free == 2


def test_a_prior_of_a_fixed_parameter_is_refused():
    with pytest.raises(UsageError, match="b is fixed at 0.3, so it has no other prior"):
        invert(model(), OBSERVED, 0.05, {"b": (0.3, 0.1)}, draws=0)
