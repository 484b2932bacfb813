"""Splits of labelled pixels: disjoint, capped, repeatable, and blocks that nobody shares."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gnvpro.apps.segmentation.label_splits import class_capped, plain_random, spatial_blocks

SPLITS = (class_capped, plain_random, spatial_blocks)


def scene(seed=0, shape=(50, 47), n_classes=4):
    """Patches of classes with unlabelled pixels between them."""
    rng = np.random.default_rng(seed)
    patches = rng.integers(0, n_classes + 1, (shape[0] // 5 + 1, shape[1] // 5 + 1))
    return np.kron(patches, np.ones((5, 5), dtype=int))[: shape[0], : shape[1]]


def counts(labels, pixels):
    return np.bincount(labels.reshape(-1)[pixels], minlength=labels.max() + 1)[1:]


@pytest.mark.parametrize("split", SPLITS)
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 1000))
def test_sets_are_disjoint_labelled_usable_and_repeatable(split, seed):
    labels = scene(seed)
    usable = np.random.default_rng(seed).random(labels.shape) < 0.9
    made, again = (split(labels, usable, seed=seed) for _ in range(2))
    together = np.concatenate([made.train, made.validation, made.test])
    assert len(np.unique(together)) == len(together)
    assert (np.where(usable, labels, 0).reshape(-1)[together] > 0).all()
    for name in ("train", "validation", "test"):
        np.testing.assert_array_equal(getattr(made, name), getattr(again, name))
    assert not np.array_equal(made.train, split(labels, usable, seed=seed + 1).train)


def test_caps_of_the_paper():
    sizes = np.array([20, 13, 12, 2, 1, 400])  # of classes 1 to 6
    labels = np.repeat(np.arange(1, 7), sizes).reshape(4, -1)
    made = class_capped(labels)
    np.testing.assert_array_equal(counts(labels, made.train), [8, 3, 6, 1, 1, 250])
    np.testing.assert_array_equal(counts(labels, made.test), [2, 0, 0, 0, 0, 62])
    np.testing.assert_array_equal(counts(labels, made.validation), [10, 10, 6, 1, 0, 88])
    untested = {f"class {number} has no test pixel" for number in (2, 3, 4, 5)}
    assert set(made.notes) == {"class 5 has no validation pixel", *untested}
    plain = plain_random(labels)
    assert [len(plain.train), len(plain.test)] == [len(made.train), len(made.test)]


def test_blocks_are_whole_and_training_is_capped():
    labels = scene(3, (60, 60))
    made = spatial_blocks(labels, cap=100, block=9)
    rows, columns = np.divmod(np.arange(labels.size), labels.shape[1])
    block_of = rows // 9 * 7 + columns // 9
    train, validation, test = (set(block_of[p]) for p in (made.train, made.validation, made.test))
    assert not train & validation
    assert not train & test
    assert not validation & test
    assert (counts(labels, made.train) <= 80).all()
    assert all((counts(labels, pixels) > 0).all() for pixels in (made.train, made.validation, made.test))


@pytest.mark.parametrize("seed", range(8))
def test_every_class_of_several_blocks_is_trained_and_judged(seed):
    # Twelve classes of two blocks each: one random assignment in 4096 shares them all.
    labels = np.kron(np.random.default_rng(seed).permutation(24).reshape(4, 6) // 2 + 1, np.ones((9, 9), dtype=int))
    made = spatial_blocks(labels, seed=seed)
    assert (counts(labels, made.train) > 0).all()
    assert (counts(labels, np.concatenate([made.validation, made.test])) > 0).all()
    assert not any("cannot be shared" in note for note in made.notes)


def test_classes_that_no_assignment_shares_are_said():
    # Three blocks, three classes, each in two of the blocks: two of the blocks are always on one side.
    block = np.zeros((9, 9), dtype=int)
    blocks = [block.copy() for _ in range(3)]
    for i, (a, b) in enumerate(((1, 2), (2, 3), (3, 1))):
        blocks[i][:5], blocks[i][5:] = a, b
    made = spatial_blocks(np.concatenate(blocks, axis=1))
    assert sum("cannot be shared with the others" in note for note in made.notes) == 1


def test_a_class_in_one_block_is_said():
    labels = np.where(scene(1) == 0, 0, 1)
    labels[10:40, 10:40] = 2
    labels[2:4, 2:4] = 3
    notes = spatial_blocks(labels).notes
    assert any("class 3 lies in one block only" in note for note in notes)
    assert not any("class 2 lies" in note for note in notes)


@pytest.mark.parametrize("split", SPLITS)
def test_wrong_images_are_answered(split):
    with pytest.raises(ValueError, match="no usable pixel has a label; write class numbers"):
        split(np.zeros((20, 20), dtype=int))
    with pytest.raises(ValueError, match="no usable pixel"):
        split(scene(), np.zeros((50, 47), dtype=bool))
    with pytest.raises(ValueError, match="expected a label image"):
        split(np.ones((3, 3, 2), dtype=int))
    with pytest.raises(ValueError, match="of float64"):
        split(scene().astype(float))
    with pytest.raises(ValueError, match="differ in shape"):
        split(scene(), np.ones((3, 3)))
    with pytest.raises(ValueError, match="expected labels from 0, got -1"):
        split(scene() - 1)


def test_too_small_scenes_are_answered():
    with pytest.raises(ValueError, match="no pixel is left for validation"):
        class_capped(np.array([[1, 2]]))
    with pytest.raises(ValueError, match="make the blocks smaller"):
        spatial_blocks(np.ones((9, 18), dtype=int))
    with pytest.raises(ValueError, match="at least one pixel"):
        spatial_blocks(scene(), block=0)
