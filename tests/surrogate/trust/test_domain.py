"""The in-domain score: invariance, the outside, holes, and points that are no numbers."""

import numpy as np
import pytest

from gnvpro.surrogate.samples import Samples
from gnvpro.surrogate.spaces import Space
from gnvpro.surrogate.trust.domain import Domain
from gnvpro.training.train import TrainSettings, train

RNG = np.random.default_rng(2)
FITTED, HELD_OUT = RNG.standard_normal((300, 4)), RNG.standard_normal((200, 4))


def test_the_score_is_the_leverage_over_its_threshold():
    domain = Domain.of(FITTED, HELD_OUT)
    columns = np.hstack([FITTED, np.ones((300, 1))])
    moments = np.linalg.inv(columns.T @ columns / 300)
    at = np.hstack([HELD_OUT, np.ones((200, 1))])
    leverage = np.sqrt(np.einsum("ni,ij,nj->n", at, moments, at))
    np.testing.assert_allclose(domain.score(HELD_OUT) * domain.threshold, leverage, rtol=1e-5)
    assert (domain.score(HELD_OUT) <= 1).sum() == 199  # ceil(201 * 0.99)


def test_the_score_does_not_depend_on_the_basis_of_the_features():
    mix = RNG.standard_normal((4, 4))
    np.testing.assert_allclose(
        Domain.of(FITTED @ mix, HELD_OUT @ mix).score(HELD_OUT @ mix),
        Domain.of(FITTED, HELD_OUT).score(HELD_OUT),
        rtol=1e-4,
    )


def test_far_and_unreal_points_are_outside():
    domain = Domain.of(FITTED, HELD_OUT)
    points = np.array([[30.0, 0, 0, 0], [np.nan, 0, 0, 0], [1e300, 1e300, 0, 0]])
    assert (domain.score(points) > 1).all()
    assert domain.score(np.zeros((1, 4)))[0] < 1


def test_few_held_out_samples_give_their_largest():
    domain = Domain.of(FITTED, HELD_OUT[:20])
    assert domain.score(HELD_OUT[:20]).max() == pytest.approx(1)


@pytest.mark.parametrize("whitening", [np.zeros((0, 3)), np.ones(3), np.full((2, 2), np.nan)])
def test_a_whitening_that_no_training_gives_is_refused(whitening):
    with pytest.raises(ValueError, match="matrix of finite numbers"):
        Domain(whitening.astype(np.float32), 1.0)


def test_a_hole_in_the_training_data_scores_higher_than_what_surrounds_it():
    y = np.random.default_rng(0).uniform(-1, 1, (1200, 2))
    c = np.stack([np.sin(4 * y[:, 0]) * np.cos(3 * y[:, 1]) + 3, np.exp(y[:, 0] * y[:, 1])], axis=1)
    hole = np.linalg.norm(y, axis=1) < 0.45
    spaces = Space.observed(y, "parameter"), Space.observed(c, "observable")
    split = Samples(y[~hole], c[~hole], *spaces).split(0, train=500, validation=150, calibration=200, test=0)
    settings = TrainSettings(widths=(16, 16), gain=1.0, budget=300, polynomial="off")
    surrogate = train(split, settings).surrogate
    ring = np.abs(np.linalg.norm(y, axis=1) - 0.6) < 0.1
    centre = np.linalg.norm(y, axis=1) < 0.2
    # Ranked, not flagged: held-out points at the corners score higher than a hole that smooth features bridge.
    assert np.median(surrogate.score(y[centre])) > 1.5 * np.median(surrogate.score(y[ring]))
    assert not surrogate.trusted(np.array([[1.5, 0.0]]))[0]


def test_many_columns_score_as_few_do_and_are_kept_without_those_of_rounding():
    """Kernels about 400 centres: most directions of smooth ones are rounding."""
    rng = np.random.default_rng(1)
    centres, held_out, hole = rng.uniform(0, 1, (400, 2)), rng.uniform(0, 1, (300, 2)), np.full((1, 2), 3.0)
    columns = [np.exp(-2 * ((y[:, None] - centres) ** 2).sum(-1)) for y in (centres, held_out, hole)]
    wide = Domain.of(*columns[:2])
    rows = np.hstack([columns[0], np.ones((400, 1))]) / 20
    _, sizes, directions = np.linalg.svd(rows, full_matrices=False)
    whitening = directions.T / np.sqrt(sizes**2 + 1e-10 * sizes[0] ** 2)
    exact = np.linalg.norm(np.hstack([columns[1], np.ones((300, 1))]) @ whitening, axis=1)
    np.testing.assert_allclose(wide.score(columns[1]) * wide.threshold, exact, rtol=1e-3)
    assert wide.whitening.shape[1] < 60
    assert wide.score(columns[2])[0] > 1
