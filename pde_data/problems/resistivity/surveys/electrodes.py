"""Which electrodes a measurement uses: geometric factors, reciprocals, and the axis that names measurements in data.

Current enters the ground at A and leaves at B, the potential at M less that at N is measured. Electrodes are numbered
from 1, as on cables and in files of measurements; 0 is an electrode too far away to matter.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from gnvpro.pde_data.problems.resistivity.ground.half_space import HalfSpace
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.spaces import Array, Axis, Coordinate

Numbers = NDArray[np.intp]
FAR = 0
MEASUREMENT = "measurement"
_LETTERS = "abmn"
# Distances (m) below which two electrodes are one, and a potential is infinite.
SAME_PLACE = 1e-9
# Of the four terms of a geometric factor: a sum smaller than this is their rounding.
_NO_SIGNAL = 1e-9


def require_measurable(positions: Array, abmn: Numbers, where: Sequence[str] | None = None) -> None:
    """Every measurement has a finite datum that is not zero by construction.

    Parameters
    ----------
    positions : (n, 2)
        Of electrodes 1 to n, in m.
    abmn : (k, 4)
        Electrodes of every measurement.
    where : (k,)
        How a message names each measurement; its number without.

    Raises UsageError: a number of no electrode, no electrode of a pair, or two that are one.
    """

    def refuse(bad: NDArray[np.bool_], why: str) -> None:
        if bad.any():
            i = int(np.argmax(bad))
            named = where[i] if where is not None else f"measurement {i + 1}"
            electrodes = ", ".join(f"{letter} = {number}" for letter, number in zip(_LETTERS, abmn[i], strict=True))
            raise UsageError(f"{named} ({electrodes}) {why}")

    refuse(
        ((abmn < 0) | (abmn > len(positions))).any(axis=1), f"expected electrodes 1 to {len(positions)}, or 0: far away"
    )
    for pair, what in (((0, 1), "current"), ((2, 3), "potential")):
        refuse((abmn[:, pair] == FAR).all(axis=1), f"has both {what} electrodes far away; expected one in the survey")
    for i, j in combinations(range(4), 2):
        same = (abmn[:, [i, j]] != FAR).all(axis=1)
        apart = _at(positions, abmn[same, i]) - _at(positions, abmn[same, j])
        same[same] = np.linalg.norm(apart, axis=1) < SAME_PLACE
        happens = "the potential is infinite there" if i < 2 <= j else "nothing flows or is measured"
        refuse(same, f"has {_LETTERS[i].upper()} and {_LETTERS[j].upper()} at the same place: {happens}; leave it out")


def by_place(positions: Array, abmn: Numbers) -> Numbers:
    """The measurements (k, 4) by the first number of every place: electrodes that stand at one (to 1e-9 m) are one."""
    if not len(positions):
        return abmn
    rounded = np.round(positions, 9) + 0.0  # no -0
    _, first, of = np.unique(rounded, axis=0, return_index=True, return_inverse=True)
    known = (abmn > FAR) & (abmn <= len(positions))
    return np.where(known, first[of.reshape(-1)][np.where(known, abmn - 1, 0)] + 1, abmn)


def resistances(positions: Array, abmn: Numbers) -> Array:
    """What is measured on homogeneous ground of 1 S/m (k,), in Ω; zero where nothing but rounding is left of it."""
    between = np.zeros((len(positions) + 1,) * 2)  # row and column 0: far away
    between[1:, 1:] = HalfSpace(1.0).potential(positions, positions)
    a, b, m, n = abmn.T
    terms = np.stack([between[a, m], -between[b, m], -between[a, n], between[b, n]])
    total = terms.sum(axis=0)
    return np.where(np.abs(total) > _NO_SIGNAL * np.abs(terms).sum(axis=0), total, 0.0)


def geometric_factors(positions: Array, abmn: Numbers) -> Array:
    """What resistances (Ω) are multiplied by to give apparent resistivities (Ω·m): (k,) in m, infinite without signal."""
    with np.errstate(divide="ignore"):
        return 1 / resistances(positions, abmn)


def canonical(abmn: Numbers) -> tuple[Numbers, Array]:
    """One of the eight equivalent orders of each measurement (k, 4), and the sign (k,) that its datum gets by it.

    Equal up to rounding are a measurement, its reciprocal (M and N carry the current), and both with the ends of a pair
    swapped, which turns the sign.
    """
    pairs = abmn.reshape(-1, 2, 2)
    turned = pairs[:, :, 0] > pairs[:, :, 1]
    ordered = np.sort(pairs, axis=2)
    swapped = (ordered[:, 0] > ordered[:, 1])[:, 0] | (
        (ordered[:, 0, 0] == ordered[:, 1, 0]) & (ordered[:, 0, 1] > ordered[:, 1, 1])
    )
    ordered[swapped] = ordered[swapped][:, ::-1]
    return ordered.reshape(-1, 4), np.where(turned.sum(axis=1) % 2, -1.0, 1.0)


def oriented(abmn: Numbers) -> tuple[Numbers, Array]:
    """The same, where only the ends of a pair may be swapped: reciprocals stay apart."""
    pairs = abmn.reshape(-1, 2, 2)
    return np.sort(pairs, axis=2).reshape(-1, 4), np.where((pairs[:, :, 0] > pairs[:, :, 1]).sum(axis=1) % 2, -1.0, 1.0)


def reciprocal_pairs(abmn: Numbers) -> Numbers:
    """Numbers (p, 2), from 0, of measurements that are each other's reciprocals; every one is in one pair at most."""
    waiting: dict[tuple[bytes, bytes], list[int]] = {}
    pairs = []
    current, potential = (np.sort(abmn[:, of], axis=1) for of in ((0, 1), (2, 3)))
    for k, (c, p) in enumerate(zip(current, potential, strict=True)):
        other = waiting.get((p.tobytes(), c.tobytes()))
        if other:
            pairs.append((other.pop(0), k))
        else:
            waiting.setdefault((c.tobytes(), p.tobytes()), []).append(k)
    return np.array(pairs, dtype=np.intp).reshape(-1, 2)


def measurement_axis(positions: Array, abmn: Numbers) -> Axis:
    """The axis of data that are a list of measurements.

    Its coordinates are the number of each electrode (0: far away, and then 0 stands for its position too), its position,
    and the geometric factor of the half-space, 0 where there is none: infinities do not go through JSON.
    """
    labels = tuple(" ".join(f"{x}{n}" for x, n in zip(_LETTERS, row, strict=True)) for row in abmn.tolist())
    coordinates = [Coordinate(x, tuple(map(float, column))) for x, column in zip(_LETTERS, abmn.T, strict=True)]
    for x, column in zip(_LETTERS, abmn.T, strict=True):
        places = _at(positions, column)
        places[column == FAR] = 0.0
        coordinates += [Coordinate(f"{x}_x{j + 1}", tuple(places[:, j].tolist()), "m") for j in range(2)]
    factors = geometric_factors(positions, abmn)
    finite = np.where(np.isfinite(factors), factors, 0.0)
    coordinates.append(Coordinate("geometric_factor", tuple(finite.tolist()), "m"))
    return Axis(MEASUREMENT, labels, coordinates=tuple(coordinates))


def electrodes_of(axis: Axis) -> tuple[Array, Numbers]:
    """Positions (n, 2) of the electrodes, and the measurements (k, 4) of an axis of `measurement_axis`.

    An electrode that no measurement uses is NaN.
    """
    values = {coordinate.name: np.asarray(coordinate.values) for coordinate in axis.coordinates}
    abmn = np.stack([values[x] for x in _LETTERS], axis=1).astype(np.intp)
    positions = np.full((int(abmn.max()), 2), np.nan)
    for x, column in zip(_LETTERS, abmn.T, strict=True):
        near = column != FAR
        positions[column[near] - 1] = np.stack([values[f"{x}_x1"], values[f"{x}_x2"]], axis=1)[near]
    return positions, abmn


def _at(positions: Array, numbers: Numbers) -> Array:
    """Positions (k, 2) of electrodes by number; infinite far away."""
    return np.concatenate([np.full((1, 2), np.inf), positions])[numbers]
