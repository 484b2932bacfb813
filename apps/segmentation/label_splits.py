"""Splits of the labelled pixels of an image: capped by class, plain random, and in blocks that share no neighbourhood.

Neighbouring pixels of a scene are nearly copies of one another. A split that shuffles pixels therefore tells how well
a classifier fills gaps in a scene it knows; a split in blocks tells how well it does on ground it has not seen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gnvpro.surrogate.errors import UsageError

Pixels = NDArray[np.intp]

CAP = 312
# Classes up to this size give half of their pixels to training; larger ones keep ten for validation.
TINY = 12
TEST_SHARE = 0.2
BLOCK = 9
ASSIGNMENTS = 200


@dataclass(frozen=True, eq=False)
class PixelSplit:
    """Disjoint sets of flat pixel indices, ascending, and what the user should know about them."""

    train: Pixels
    validation: Pixels
    test: Pixels
    notes: tuple[str, ...] = ()


def class_capped(labels: ArrayLike, usable: ArrayLike | None = None, *, seed: int = 0, cap: int = CAP) -> PixelSplit:
    """At most `cap` pixels of a class for training and test, one in five of them for test; the rest is validation.

    A class of n pixels gives min(n − 10, cap); one of up to 12 gives half of its pixels, all to training
    (Newman et al. 2021, Sec. 5).

    Parameters
    ----------
    labels
        Image (height, width) of class numbers; 0 is unlabelled.
    usable
        Pixels that may be used, of the same shape; all without.

    Raises
    ------
    UsageError
        No labelled pixel is usable, the arrays are no such images, or nothing is left for validation.
    """
    classes = _labelled(labels, usable)
    rng = np.random.default_rng(seed)
    train, validation, test = [], [], []
    for number in np.unique(classes[classes > 0]):
        pixels = rng.permutation(np.flatnonzero(classes == number))
        n_train, n_test = _capped(len(pixels), cap)
        train.append(pixels[:n_train])
        test.append(pixels[n_train : n_train + n_test])
        validation.append(pixels[n_train + n_test :])
    return _split(train, validation, test, classes, [])


def plain_random(labels: ArrayLike, usable: ArrayLike | None = None, *, seed: int = 0, cap: int = CAP) -> PixelSplit:
    """Sets of the sizes of `class_capped`, drawn from all labelled pixels without regard to their class.

    This is what the script of the paper's authors does: rare classes may have no training pixel at all.
    """
    classes = _labelled(labels, usable)
    sizes = np.array([_capped(int(n), cap) for n in np.unique(classes[classes > 0], return_counts=True)[1]])
    n_train, n_test = sizes.sum(axis=0)
    pixels = np.random.default_rng(seed).permutation(np.flatnonzero(classes))
    train, test, validation = np.split(pixels, [n_train, n_train + n_test])
    return _split([train], [validation], [test], classes, [])


def spatial_blocks(
    labels: ArrayLike, usable: ArrayLike | None = None, *, seed: int = 0, cap: int = CAP, block: int = BLOCK
) -> PixelSplit:
    """Whole blocks of `block` × `block` pixels are for training, for validation or for test.

    Of 200 random assignments that one is taken in which the classes are shared most evenly; where it leaves a class of
    several blocks on one side, blocks change sides until none is (or none helps, which is said). Training is capped by
    class as in `class_capped`; pixels of training blocks beyond the cap are not used.

    Raises
    ------
    UsageError
        Also where the labelled pixels lie in fewer than three blocks.
    """
    if block < 1:
        raise UsageError(f"expected blocks of at least one pixel, got {block}; the usual size is {BLOCK}")
    classes = _labelled(labels, usable)
    height, width = np.shape(labels)
    rows, columns = np.divmod(np.arange(height * width), width)
    block_of = rows // block * -(-width // block) + columns // block
    numbers = np.unique(classes[classes > 0])
    if len(np.unique(block_of[classes > 0])) < 3:
        raise UsageError(
            f"the labelled pixels lie in fewer than three blocks of {block} × {block}; make the blocks smaller, "
            "or split by class alone"
        )

    rng = np.random.default_rng(seed)
    everything = np.flatnonzero(classes)
    pool, held = _even_halves(everything, classes, block_of, rng)
    validation, test = _even_halves(held, classes, block_of, rng)
    train = []
    for number in numbers:
        pixels = rng.permutation(pool[classes[pool] == number])
        train.append(pixels[: _capped(int((classes == number).sum()), cap)[0]])
    alone = [int(number) for number in numbers if len(np.unique(block_of[classes == number])) == 1]
    notes = [f"class {number} lies in one block only: it is either trained or judged, never both" for number in alone]
    judged = np.concatenate([validation, test])
    for number in numbers:
        sides = [number in classes[side] for side in (pool, judged)]
        if number not in alone and not all(sides):
            notes.append(f"class {number} cannot be shared with the others: it is either trained or judged, never both")
    return _split(train, [validation], [test], classes, notes)


def _even_halves(pixels: Pixels, classes: Pixels, block_of: Pixels, rng: np.random.Generator) -> tuple[Pixels, Pixels]:
    """Two sets of pixels that share no block, with the most even shares of every class among many random ones."""
    blocks, where = np.unique(block_of[pixels], return_inverse=True)
    numbers, which = np.unique(classes[pixels], return_inverse=True)
    # n_pixels[c, b]: pixels of class c in block b; an assignment is then one small product.
    n_pixels = np.zeros((len(numbers), len(blocks)))
    np.add.at(n_pixels, (which, where), 1)
    several = (n_pixels > 0).sum(axis=1) > 1  # a class in one block cannot be shared at all
    total = n_pixels.sum(axis=1)

    def score(chosen: NDArray[np.bool_]) -> tuple[int, float, float]:
        """Classes on both sides, the least even share of a class, and that of all pixels."""
        share = n_pixels @ chosen / total
        evenness = np.minimum(share, 1 - share)[several]
        overall = float(total @ share / total.sum())
        return int((evenness > 0).sum()), float(evenness.min(initial=1.0)), min(overall, 1 - overall)

    def moves(chosen: NDArray[np.bool_]) -> Iterator[list[int]]:
        """Blocks of classes that are on one side only, alone and then with any other block."""
        share = n_pixels @ chosen / total
        lost = several & ((share == 0) | (share == 1))
        movable = np.flatnonzero((n_pixels[lost] > 0).any(axis=0)).tolist()
        yield from ([b] for b in movable)
        yield from ([a, b] for a in movable for b in range(len(blocks)) if a != b)

    chosen = max((rng.random(len(blocks)) < 0.5 for _ in range(ASSIGNMENTS)), key=score)
    # Many classes of few blocks: hardly any random assignment shares them all, so single blocks change sides.
    while score(chosen)[0] < several.sum():
        better = next((t for m in moves(chosen) if score(t := _flipped(chosen, m)) > score(chosen)), None)
        if better is None:
            break
        chosen = better
    return pixels[chosen[where]], pixels[~chosen[where]]


def _flipped(chosen: NDArray[np.bool_], blocks: list[int]) -> NDArray[np.bool_]:
    flipped = chosen.copy()
    flipped[blocks] ^= True
    return flipped


def _capped(n_pixels: int, cap: int) -> tuple[int, int]:
    """How many pixels of a class are for training, and how many for test."""
    if n_pixels <= TINY:
        return min(max(n_pixels // 2, 1), cap), 0
    capped = min(n_pixels - 10, cap)
    n_test = int(TEST_SHARE * capped)
    return capped - n_test, n_test


def _labelled(labels: ArrayLike, usable: ArrayLike | None) -> Pixels:
    """The class of every pixel, flat; 0 where it is unlabelled or not usable."""
    image = np.asarray(labels)
    if image.ndim != 2 or not np.issubdtype(image.dtype, np.integer):
        raise UsageError(
            f"expected a label image (height, width) of integers, got {image.shape} of {image.dtype}; "
            "number the classes from 1 and leave 0 for unlabelled pixels"
        )
    if image.size and image.min() < 0:
        raise UsageError(f"expected labels from 0, got {image.min()}; write 0 for unlabelled pixels")
    mask = np.ones(image.shape, dtype=bool) if usable is None else np.asarray(usable, dtype=bool)
    if mask.shape != image.shape:
        raise UsageError(f"labels {image.shape} and usable pixels {mask.shape} differ in shape; make them of one image")
    classes = np.where(mask, image, 0).reshape(-1).astype(np.intp)
    if not classes.any():
        raise UsageError("no usable pixel has a label; write class numbers from 1 into the label image")
    return classes


def _split(
    train: list[Pixels], validation: list[Pixels], test: list[Pixels], classes: Pixels, notes: list[str]
) -> PixelSplit:
    fitted, chosen, reported = (np.sort(np.concatenate(pixels)) for pixels in (train, validation, test))
    if not len(chosen):
        raise UsageError("no pixel is left for validation; label more pixels, or train on fewer with a lower cap")
    for number in np.unique(classes[classes > 0]):
        for name, pixels in (("training", fitted), ("validation", chosen), ("test", reported)):
            if number not in classes[pixels]:
                notes.append(f"class {number} has no {name} pixel")
    return PixelSplit(fitted, chosen, reported, tuple(notes))


# By the names that commands give them.
SPLITS: dict[str, Callable[..., PixelSplit]] = {
    "class-capped": class_capped,
    "random": plain_random,
    "blocks": spatial_blocks,
}
