"""Indices against exact ones: linear models under every kind of law, formulas, quadrature."""

import numpy as np
import pytest
from scipy.stats import sobol_indices

import gnvpro
from gnvpro.apps.sensitivity.conditional import sequence
from gnvpro.apps.sensitivity.groups import Groups
from gnvpro.apps.sensitivity.sensitivity import sensitivity
from gnvpro.apps.sensitivity.sobol import sobol_sums
from gnvpro.apps.studies.sensitivity.exact import borehole, ishigami, tensor_indices
from gnvpro.apps.studies.sensitivity.sensitivity import Solver
from gnvpro.apps.studies.surrogates.functions import FUNCTIONS
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.laws import Choices, Dirichlet, Integers, JointNormal, Lognormal, Normal, TruncatedNormal
from gnvpro.surrogate.laws.joint import NormalisedUniform
from gnvpro.surrogate.spaces import Space
from tests.apps.sensitivity.models import TIMES_AND_SENSORS, Model, box, found_of, linear

MIXED = {
    "a": Normal(1.0, 2.0),
    "fixed": 3.0,
    "b": Integers(0, 4),
    "c": Choices((-1.0, 2.0, 5.0), (0.5, 0.25, 0.25)),
    "d": TruncatedNormal(0.0, 1.0, -1.0, 3.0),
    "e": (2.0, 6.0),
    "f": Lognormal(0.0, 0.5),
}
COVARIANCE = ((1.0, 0.6, 0.0), (0.6, 2.0, -0.5), (0.0, -0.5, 1.5))


def test_of_a_linear_model_both_indices_are_the_shares_of_the_variances_whatever_the_laws():
    space = Space.of_laws(MIXED)
    slopes = np.array([[0.5, 9.0, 1.0, 0.7, 2.0, 1.0, 1.5]])
    found = gnvpro.sensitivity(linear(space, slopes), points=8192, force=True)
    assert found.names == ("a", "b", "c", "d", "e", "f")
    assert "fixed" in found.remarks["fixed"]
    deviations = np.concatenate([law.standard_deviations for law in space.own_laws.laws])
    exact = np.delete((slopes[0] * deviations) ** 2, 1)
    for share in found.shares.values():
        np.testing.assert_allclose(share.estimate[0], exact / exact.sum(), atol=0.01)


@pytest.mark.parametrize(("name", "exact"), [("ishigami", ishigami), ("borehole", borehole)])
def test_sobol_indices_of_test_functions(name, exact):
    found = gnvpro.sensitivity(Solver(FUNCTIONS[name]), points=1 << 15, force=True)
    for share, truth in zip(found.shares.values(), exact(), strict=True):
        np.testing.assert_allclose(share.estimate[0], truth, atol=0.008)
        assert (np.abs(share.estimate[0] - truth) <= 2 * share.sampling[0] + 1e-6).all()


def test_quadrature_finds_the_indices_of_ishigami_and_converges_for_the_borehole():
    function = FUNCTIONS["ishigami"]
    nodes, weights = np.polynomial.legendre.leggauss(24)
    grid = np.stack(np.meshgrid(*[(nodes + 1) / 2] * 3, indexing="ij"), -1).reshape(-1, 3)
    found = tensor_indices(function.observe(function.parameters(grid)).reshape((24,) * 3), [weights / 2] * 3)
    np.testing.assert_allclose(found, ishigami(), atol=1e-9)
    np.testing.assert_allclose(borehole((10, 8, 4, 4, 5, 5)), borehole(), atol=1e-6)
    assert np.abs(np.array(borehole((3, 3, 2, 2, 2, 2))) - borehole()).max() > 1e-6


def shapley_of_normal(covariance, slope):
    """Of a linear function of normal variables, from conditional variances of all subsets."""
    from itertools import permutations

    d, covariance = len(slope), np.asarray(covariance)

    def explained(subset):
        if not subset:
            return 0.0
        at = list(subset)
        along = covariance[at] @ slope
        return along @ np.linalg.solve(covariance[np.ix_(at, at)], along)

    orders = list(permutations(range(d)))
    effects = np.zeros(d)
    for order in orders:
        for k, j in enumerate(order):
            effects[j] += (explained(order[: k + 1]) - explained(order[:k])) / len(orders)
    return effects / effects.sum()


def test_shapley_effects_of_joint_normal_parameters_are_those_of_conditional_variances():
    space = Space.of_laws({("a", "b", "c"): JointNormal((1.0, 0.0, -2.0), COVARIANCE), "d": Normal(0.0, 1.0)})
    slope = np.array([1.0, 1.0, 2.0, 1.0])
    found = gnvpro.sensitivity(linear(space, slope[None]), points=8192, force=True)
    whole = np.eye(4)
    whole[:3, :3] = COVARIANCE
    assert list(found.shares) == ["Shapley effect"]
    np.testing.assert_allclose(found.leading.estimate[0], shapley_of_normal(whole, slope), atol=0.015)
    assert found.leading.estimate[0].sum() == pytest.approx(1, abs=1e-9)
    independent = shapley_of_normal(np.diag(np.diag(whole)), slope)
    assert np.abs(independent - shapley_of_normal(whole, slope)).max() > 0.05, "dependence is seen"


def test_shapley_effects_of_shares_of_a_sum_that_are_alike_are_alike_and_of_a_dirichlet_law_known():
    """With (y1, 1 - y1) either share says all, so that each has half."""
    space = Space.of_laws({("a", "b"): Dirichlet((1.0, 3.0))})
    found = gnvpro.sensitivity(linear(space, np.array([[1.0, 0.0]])), points=8192, force=True)
    np.testing.assert_allclose(found.leading.estimate[0], [0.5, 0.5], atol=0.01)
    simplex = Space.vector(
        ["a", "b", "c"], lower=(0.0,) * 3, upper=(1.0,) * 3, constraint="simplex", law="normalised_uniform"
    )
    model = Model(simplex, Space.vector(["c"]), lambda y: (y**2).sum(1))
    shares = gnvpro.sensitivity(model, points=8192, force=True)
    np.testing.assert_allclose(shares.leading.estimate[0], np.full(3, 1 / 3), atol=0.03)
    assert "independent uniform parts" in shares.remarks["shares of a sum"]


def test_shapley_effects_of_independent_parameters_lie_between_first_order_and_total():
    """Of Ishigami y1 and y3 divide what they do together."""
    found = gnvpro.sensitivity(Solver(FUNCTIONS["ishigami"]), measure="shapley", points=1 << 15, force=True)
    first, total = ishigami()
    np.testing.assert_allclose(found.leading.estimate[0], (first + total) / 2, atol=0.02)


@pytest.mark.parametrize(
    "law", [JointNormal((1.0, 0.0, -2.0), COVARIANCE), Dirichlet((0.7, 2.0, 1.0)), NormalisedUniform(3)]
)
def test_every_point_of_a_sequence_has_the_law_and_what_was_kept(law):
    names = ("a", "b", "c")
    if isinstance(law, NormalisedUniform):
        space = Space.vector(names, lower=(0.0,) * 3, upper=(1.0,) * 3, constraint="simplex", law="normalised_uniform")
    else:
        space = Space.of_laws({names: law})
    found = found_of(linear(space, np.array([[1.0, 2.0, 3.0]])))
    kept, fresh = found.normal_points(8192, [0], sets=2)
    order = np.array([2, 0, 1])
    path = sequence(found, order, kept, fresh)
    whole = law.from_normal(kept)
    np.testing.assert_allclose(path[-1], whole, atol=1e-12)
    if not isinstance(law, JointNormal):  # whose innovations are in the order of the parameters
        np.testing.assert_allclose(path[0], law.from_normal(fresh), atol=1e-12)
    for step, points in enumerate(path):
        np.testing.assert_allclose(points.mean(0), whole.mean(0), atol=0.02)
        np.testing.assert_allclose(np.cov(points.T), np.cov(whole.T), atol=0.06)
        if not isinstance(law, NormalisedUniform):  # there it is the parts that are kept
            np.testing.assert_allclose(points[:, order[:step]], whole[:, order[:step]], atol=1e-12)


def test_indices_of_several_observables_are_the_mean_of_theirs_by_variance():
    matrix = np.array([[1.0, 0, 0], [0, 2, 0], [1, 1, 1], [0, 0, 3], [1, 2, 0], [0, 1, 1]])
    found = gnvpro.sensitivity(linear(box(3), matrix, TIMES_AND_SENSORS), points=4096, force=True)
    squares = matrix**2
    first = found.shares["first order"]
    np.testing.assert_allclose(first.estimate[0], squares.sum(0) / squares.sum(), atol=0.01)
    np.testing.assert_allclose(first.estimate[found.groups.each], squares / squares.sum(1, keepdims=True), atol=0.01)
    by_time = squares.reshape(3, 2, 3).sum(1)
    np.testing.assert_allclose(
        first.estimate[found.groups.axes["time"]], by_time / by_time.sum(1, keepdims=True), atol=0.01
    )
    numbers = found.numbers()
    assert list(numbers["by_axis"]["sensor"]) == ["sensor left", "sensor right"]
    assert len(numbers["by_observable"]) == 6


def test_groups_weigh_observables_by_their_scale():
    groups = Groups(TIMES_AND_SENSORS, np.array([1.0, 2, 1, 2, 1, 2]))
    values = np.arange(6.0)
    np.testing.assert_allclose(groups.sums(values)[0], 0 + 2 + 4 + (1 + 3 + 5) / 4)
    np.testing.assert_allclose(groups.sums(values)[groups.axes["sensor"]], [6, 9 / 4])
    one = Groups(Space.vector(["c"]), np.ones(1))
    assert one.weights.shape == (1, 1)
    assert one.each == slice(0, 1)


def test_points_that_cannot_be_computed_are_left_out_and_told():
    def failing(y):
        return np.where(y[:, 1] > 0.8, np.nan, y[:, 0] + y[:, 1])

    found = gnvpro.sensitivity(Model(box(2), Space.vector(["c"]), failing), points=2048, force=True)
    told = "of the points: indices are of what can be computed, and intervals do not hold the rest"
    assert told in found.remarks["not computed"]
    assert found.about["failed_share"] == pytest.approx(0.1, abs=0.005)
    assert "10 % of the points could not be computed" in found.doubt()
    # Where y1 is at most 0.8, it is uniform in 1.8 of 2: as good as the variances of these.
    share = 1 / (1 + 0.9**2)
    assert found.shares["total"].estimate[0, 0] == pytest.approx(share, abs=0.03)
    with pytest.raises(gnvpro.apps.sensitivity.sensitivity.NumericalFailure, match="at none of"):
        gnvpro.sensitivity(Model(box(2), Space.vector(["c"]), lambda y: np.full(len(y), np.nan)))


@pytest.mark.parametrize("measure", ["sobol", "shapley"])
def test_a_point_that_fails_takes_few_others_with_it(measure):
    """A sum of four is computed where it is at most 1, 4 times in 5: all have the same share, by symmetry."""

    def failing(y):
        return np.where(y.sum(1) > 1, np.nan, y.sum(1))

    found = gnvpro.sensitivity(Model(box(4), Space.vector(["c"]), failing), points=1 << 14, measure=measure, force=True)
    fails = 77 / 384  # of the law: the sum of four is Irwin and Hall's
    assert found.about["failed_share"] == pytest.approx(fails, abs=0.02)
    np.testing.assert_allclose(found.leading.estimate[0], found.leading.estimate[0].mean(), atol=0.02)
    if measure == "shapley":
        assert found.leading.estimate[0].sum() == pytest.approx(1)
    else:
        # Pairs, not sets of six, are left out: they sum to less than one, as parameters are no longer independent.
        assert found.shares["first order"].estimate[0].sum() < 1


def test_parts_of_the_variance_are_those_of_scipy():
    found = found_of(Solver(FUNCTIONS["ishigami"]))
    sums = sobol_sums(found, 256, 8, 0)
    for replicate in range(8):
        a, b = found.normal_points(256, [0, replicate], sets=2)
        mixed = np.repeat(a[None], 3, axis=0)
        mixed[np.arange(3), :, np.arange(3)] = b.T
        f_a, f_b, *f_ab = (found.compute(found.prior.parameters(z)).T for z in (a, b, *mixed))
        indices = sobol_indices(func={"f_A": f_a, "f_B": f_b, "f_AB": np.array(f_ab)}, n=256)
        scale = sums.variance[replicate, 0]
        np.testing.assert_allclose(sums.first[replicate, :, 0] / scale, indices.first_order.ravel(), atol=1e-12)
        np.testing.assert_allclose(sums.total[replicate, :, 0] / scale, indices.total_order.ravel(), atol=1e-12)


def test_an_observable_that_is_constant_has_no_shares():
    model = Model(box(2), Space.vector(["c", "flat"]), lambda y: np.stack([y[:, 0], np.ones(len(y))], 1))
    found = gnvpro.sensitivity(model, points=1024)
    assert np.isnan(found.leading.estimate[-1]).all()
    assert found.numbers()["by_observable"]["flat"]["total"]["estimate"] == [None, None]
    assert found.leading.estimate[0, 0] == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("measure", ["sobol", "shapley"])
@pytest.mark.parametrize("points", [16, 300, 510])
def test_a_model_is_solved_as_often_as_its_refusal_says(measure, points, monkeypatch):
    """510 points are 15 replicates of 32, not 8."""
    solved = []

    def counted(y):
        solved.append(len(y))
        return y.sum(1)

    model = Model(box(16), Space.vector(["c"]), counted)
    found = gnvpro.sensitivity(model, points=points, measure=measure, force=True)
    assert found.about["evaluations"] == sum(solved)
    monkeypatch.setattr(f"{sensitivity.__module__}.MOST_SOLVES", sum(solved) - 1)
    with pytest.raises(UsageError, match=f"would be solved {sum(solved):,} times"):
        gnvpro.sensitivity(model, points=points, measure=measure)


def test_what_does_not_fit_is_refused():
    model = linear(box(30), np.ones((1, 30)))
    for arguments, expected in (
        (dict(), "would be solved 8,208 times and differentiated 1,920 times, for 256 points of 30.*force=True"),
        (dict(measure="total"), "expected measure auto, sobol, shapley, got 'total'"),
        (dict(points=3), "expected points >= 16, got 3"),
        (dict(solves=5), "expected solves 0 or at least 10, got 5"),
        (dict(solves=50), "correct a surrogate; the model is solved itself"),
        (dict(prior="abc"), "expected prior a mean"),
        (dict(prior={"z": [0, 1]}), "no parameter 'z'"),
    ):
        with pytest.raises(UsageError, match=expected):
            gnvpro.sensitivity(model, **arguments)
    joint = Space.of_laws({("a", "b"): Dirichlet((1.0, 3.0))})
    with pytest.raises(UsageError, match=r"depend on each other \(dirichlet\).*measure='shapley'"):
        gnvpro.sensitivity(linear(joint, np.ones((1, 2))), measure="sobol")
    with pytest.raises(UsageError, match="all parameters are fixed"):
        gnvpro.sensitivity(linear(Space.of_laws({"a": 1.0}), np.ones((1, 1))))
