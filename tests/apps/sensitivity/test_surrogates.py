"""Surrogates: intervals hold the truth, fresh solves correct what a surrogate gets wrong, fields, other laws, files."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import gnvpro
from gnvpro.apps.sensitivity.correction import corrected, shapley_projections, sobol_projections
from gnvpro.apps.sensitivity.estimates import Shares
from gnvpro.apps.sensitivity.groups import Groups
from gnvpro.apps.studies.sensitivity.sensitivity import origin_of
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.laws import JointNormal
from gnvpro.surrogate.samples import Samples
from gnvpro.surrogate.spaces import Space
from tests.apps.sensitivity.models import Model, box, found_of, linear
from tests.surrogate.fields import Bump

PLAIN = dict(widths=(6,), budget=40, polynomial="off")


def function(y):
    return np.stack([np.exp(y[:, 0]) + y[:, 1] * y[:, 2], y[:, 1] ** 2 + 0.1 * y[:, 0]], 1)


TRUTH = Model(box(3), Space.vector(["c", "d"], units=("m",)), function)


@pytest.fixture(scope="module")
def surrogate():
    y = np.random.default_rng(0).uniform(-1, 1, (60, 3))
    return gnvpro.train(
        Samples(y, function(y), TRUTH.parameters, TRUTH.observables, origin_of(TRUTH)), **PLAIN
    ).surrogate


@pytest.fixture(scope="module")
def exact():
    found = gnvpro.sensitivity(TRUTH, points=1 << 15, force=True)
    return [share.estimate for share in found.shares.values()]


def test_intervals_of_a_surrogate_hold_the_exact_indices(surrogate, exact):
    found = gnvpro.sensitivity(surrogate, points=1 << 14)
    assert found.error.relative.shape == (3,)
    for share, truth in zip(found.shares.values(), exact, strict=True):
        assert (truth >= share.least - 0.005).all()
        assert (truth <= share.most + 0.005).all()
        assert (share.least <= share.lower).all()
        assert (share.upper <= share.most).all()
        assert (share.lower <= share.estimate).all()
        assert (share.estimate <= share.upper).all()


def wrong(surrogate):
    """The same surrogate with a last layer that is a good deal off, so that its indices are too."""
    weights = surrogate.weights * torch.linspace(0.6, 1.5, surrogate.weights.shape[1], dtype=torch.float64)
    return replace(surrogate, weights=weights, trust=None)


def test_fresh_solves_correct_a_surrogate_that_is_wrong(surrogate, exact):
    bad = wrong(surrogate)
    alone, by_solves = (
        gnvpro.sensitivity(bad, points=1 << 13),
        gnvpro.sensitivity(bad, points=1 << 13, solves=200, problem=TRUTH),
    )
    assert alone.error is None
    assert "no error bands" in alone.remarks["error of the surrogate"]
    off = [
        np.abs(share.estimate[0] - truth[0]).max() for share, truth in zip(alone.shares.values(), exact, strict=True)
    ]
    assert max(off) > 0.05
    for share, truth in zip(by_solves.shares.values(), exact, strict=True):
        # Exact to first order in the error; what is of second order is in the interval.
        assert (truth[0] >= share.lower[0] - 0.01).all()
        assert (truth[0] <= share.upper[0] + 0.01).all()


def test_a_correction_by_solves_that_agree_changes_nothing(surrogate):
    alone = gnvpro.sensitivity(surrogate, points=1024)

    class Same(Model):
        def evaluate(self, y):
            return surrogate.evaluate(y)

    same = Same(surrogate.parameters, surrogate.observables, function)
    of_same = replace(surrogate, provenance=origin_of(same))
    found = gnvpro.sensitivity(of_same, points=1024, solves=20, problem=same)
    for one, other in zip(found.shares.values(), alone.shares.values(), strict=True):
        np.testing.assert_allclose(one.estimate, other.estimate, atol=1e-9)
        sampling = np.clip(other.estimate + other.sampling, 0, 1) - np.clip(other.estimate - other.sampling, 0, 1)
        np.testing.assert_allclose((one.upper - one.lower)[0], sampling[0], atol=1e-6)
    with pytest.raises(UsageError, match="was trained on problem"):
        gnvpro.sensitivity(surrogate, solves=20, problem=same)
    with pytest.raises(UsageError, match="which name no PDE"):
        gnvpro.sensitivity(replace(surrogate, provenance={}), solves=20, problem=TRUTH)


def test_projections_of_a_linear_model_are_its_terms():
    found = found_of(linear(box(3), np.array([[1.0, 2.0, 3.0]])))
    z = found.normal_points(64, [5])[0]
    y = found.prior.parameters(z)
    terms = y * np.array([1.0, 2.0, 3.0])
    first, total = sobol_projections(found, z, found.compute(y), 0)
    (gains,) = shapley_projections(found, z, found.compute(y), 0)
    for projected in (first, total, gains):
        assert np.abs(projected[:, :, 0] - terms).mean() < 0.35  # of 64 draws
        assert np.abs((projected[:, :, 0] - terms).mean(0)).max() < 0.25


def test_a_correction_is_exact_where_the_error_is_a_multiple_of_one_term():
    """s = y0 + y1 and c = y0 + (1 + a) y1: the share of y1 is (1 + a)² over 1 + (1 + a)²."""
    found = found_of(linear(box(2), np.ones((1, 2))))
    z = found.normal_points(1 << 12, [6])[0]
    y, a = found.prior.parameters(z), 0.2
    shares = Shares.of(np.array([[0.5, 0.5]]), np.zeros((1, 2)), None)
    error, at, variance = a * y[:, 1:], y.sum(1, keepdims=True), np.array([2 / 3]) / found.groups.scale**2
    after = corrected(found, shares, variance, error, at, y[:, :, None])
    truth = np.array([1, (1 + a) ** 2]) / (1 + (1 + a) ** 2)
    assert (after.lower[0] <= truth).all()
    assert (truth <= after.upper[0]).all()
    np.testing.assert_allclose(after.estimate[0], truth, atol=a**2)
    assert after.upper[0, 1] - after.lower[0, 1] < 0.06


def test_a_correction_by_few_solves_is_without_bias():
    """Where s = 3 (y0 + y1) and c = 3 y0 + 3.3 y1, the variance and the share of c, from ten solves 4,000 times."""
    found = found_of(linear(box(2), np.full((1, 2), 3.0)))
    found = replace(found, groups=Groups(found.space, np.ones(1)))
    shares, variance = Shares.of(np.array([[0.5, 0.5]]), np.zeros((1, 2)), None), np.array([6.0])
    y = found.prior.draw(np.random.default_rng(7), 40_000).reshape(4000, 10, 2)
    parts = []
    for some in y:
        after = corrected(
            found, shares, variance, 0.3 * some[:, 1:], 3 * some.sum(1, keepdims=True), 3 * some[:, :, None]
        )
        parts.append(after.estimate[0])
    truth = np.array([9, 3.3**2]) / (9 + 3.3**2)
    np.testing.assert_allclose(np.mean(parts, axis=0), truth, atol=0.003)


@pytest.mark.parametrize(
    "given", [dict(problem="nonsense:thing"), dict(ranks=3), dict(time_limit=5.0), dict(checkpoint="solves.sqlite")]
)
def test_what_belongs_to_solves_is_refused_without_them(surrogate, given):
    with pytest.raises(UsageError, match="belong to fresh solves; say how many with `solves`"):
        gnvpro.sensitivity(surrogate, points=64, **given)


def test_a_checkpoint_keeps_every_solve(surrogate, tmp_path):
    """Interrupted, and called again, no point is solved twice; and the numbers are those without it."""
    solved = []

    class Interrupted(Model):
        block_size = None

        def evaluate(self, y):
            if len(solved) == self.function:
                raise KeyboardInterrupt
            solved.append(len(y))
            return function(y)

    first, whole = (Interrupted(TRUTH.parameters, TRUTH.observables, at) for at in (12, -1))
    for subject, settings in ((whole, {}), (replace(surrogate, provenance=origin_of(whole)), dict(solves=20))):
        del solved[:]
        given = dict(points=16, checkpoint=tmp_path / f"{len(settings)}.sqlite", **settings)
        again = settings and {"problem": whole}
        interrupted = dict(model=subject, problem=first) if settings else dict(model=first)
        with pytest.raises(KeyboardInterrupt):
            gnvpro.sensitivity(**interrupted, **given)
        found = gnvpro.sensitivity(subject, **given, **again)
        assert sum(solved) == (settings.get("solves") or 16 * 5 + 16)
        del solved[:]
        del given["checkpoint"]
        assert found.numbers()["all"] == gnvpro.sensitivity(subject, **given, **again).numbers()["all"]


def test_another_law_by_name_changes_the_shares(surrogate):
    narrow = gnvpro.sensitivity(surrogate, prior={"y0": [0.0, 0.05]}, points=2048)
    usual = gnvpro.sensitivity(surrogate, points=2048)
    assert narrow.shares["total"].estimate[0, 0] < 0.1 < usual.shares["total"].estimate[0, 0]
    assert "y0" in narrow.remarks["other laws"]
    assert narrow.numbers()["law"]["normal"]["y0"]["standard_deviation"] == 0.05


def test_a_field_is_analysed_by_its_modes():
    """Distances of fields are those of coefficients, so the indices are those of all its values together."""
    bump = Bump(points=7)
    trained = gnvpro.train(bump.samples(50), **PLAIN).surrogate
    found = gnvpro.sensitivity(trained, points=1 << 13)
    values_space = Space.vector([f"v{k}" for k in range(49)], units=("K",))
    values = gnvpro.sensitivity(Model(bump.parameters, values_space, trained.evaluate), points=1 << 13, force=True)
    assert found.groups.space.size == trained.modes.shape[0]
    np.testing.assert_allclose(found.leading.estimate[0], values.leading.estimate[0], atol=0.02)
    assert "modes" in found.remarks["field"]
    half = trained.trust.bands.marginal
    assert np.isfinite(half).any()
    assert found.error.relative[0] > 0
    with pytest.raises(UsageError, match="gives a field of 49 values; train a surrogate"):
        gnvpro.sensitivity(bump)


def test_joint_laws_of_a_surrogate_give_shapley_effects(surrogate):
    space = Space.of_laws(
        {("y0", "y1", "y2"): JointNormal((0.0, 0.0, 0.0), ((0.1, 0.05, 0), (0.05, 0.1, 0), (0, 0, 0.1)))}
    )
    found = gnvpro.sensitivity(replace(surrogate, parameters=space), points=4096)
    assert found.leading.estimate[0].sum() == pytest.approx(1)
    assert "joint-normal" in found.remarks["dependence"]


def test_the_same_seed_gives_the_same_numbers(surrogate):
    one, other, another = (gnvpro.sensitivity(surrogate, points=1024, seed=seed).numbers() for seed in (1, 1, 2))
    assert one == other
    assert one["all"] != another["all"]


def test_result_and_folder(surrogate, tmp_path):
    found = gnvpro.sensitivity(surrogate, points=1024)
    assert repr(found).startswith("Sensitivity of the model: first order and total")
    found.write(tmp_path / "out", "gnvpro sensitivity runs/model")
    there = {path.name for path in (tmp_path / "out").iterdir()}
    assert there == {
        "sensitivity.json",
        "indices.csv",
        "report.html",
        "indices.png",
        "observables.png",
        "directions.png",
    }
    page = (tmp_path / "out" / "report.html").read_text()
    assert "gnvpro sensitivity runs/model" in page
    assert page.count("<img") == 3
    lines = (tmp_path / "out" / "indices.csv").read_text().splitlines()
    assert len(lines) == 1 + 3 * 2 * 3  # groups, measures, parameters
    with pytest.raises(FileExistsError, match="exists already"):
        found.write(tmp_path / "out")
