"""Arrays of four electrodes as they are used in the field, on a line or on the lines of a grid.

    dipole–dipole    A B · · M N       Wenner          A · M · N · B    equally wide
    pole–dipole      A · · M N         Schlumberger    A · · M N · · B
    pole–pole        A · · M

Electrode i of a line stands at first + (i - 1) spacing along `azimuth`, in rad from x1 towards x2.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from gnvpro.pde_data.problems.resistivity.surveys.electrodes import FAR
from gnvpro.pde_data.problems.resistivity.surveys.four_electrode_survey import FourElectrodeSurvey
from gnvpro.surrogate.checks import integer, numbers
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.spaces import Array

Position = tuple[float, float]
# Of dipoles, how many lengths apart: further ones have no signal left in the field.
_SEPARATIONS = 8


def dipole_dipole(
    n: int,
    spacing: float = 1.0,
    *,
    lengths: Iterable[int] = (1,),
    separations: int = _SEPARATIONS,
    first: Position = (0.0, 0.0),
    azimuth: float = 0.0,
) -> FourElectrodeSurvey:
    """Current and potential dipoles of the same length, 1 to `separations` lengths apart; lengths in electrodes."""
    n = integer("n", n, least=2)
    rows = [
        (i, i + a, i + a + s * a, i + 2 * a + s * a)
        for a in _positive(lengths, "lengths of dipoles")
        for s in range(1, integer("separations", separations, least=1) + 1)
        for i in range(1, n - 2 * a - s * a + 1)
    ]
    return _line("dipole–dipole", n, spacing, first, azimuth, rows)


def pole_dipole(
    n: int,
    spacing: float = 1.0,
    *,
    lengths: Iterable[int] = (1,),
    separations: int = _SEPARATIONS,
    both_ways: bool = True,
    first: Position = (0.0, 0.0),
    azimuth: float = 0.0,
) -> FourElectrodeSurvey:
    """One current electrode, the other far away, and a dipole 1 to `separations` lengths to the right and to the left."""
    n = integer("n", n, least=2)
    rows = []
    for a in _positive(lengths, "lengths of dipoles"):
        for s in range(1, integer("separations", separations, least=1) + 1):
            right = [(i, FAR, i + s * a, i + s * a + a) for i in range(1, n - s * a - a + 1)]
            rows += right
            if both_ways:
                rows += [tuple(n + 1 - e if e != FAR else FAR for e in row) for row in right]
    return _line("pole–dipole", n, spacing, first, azimuth, rows)


def pole_pole(
    n: int, spacing: float = 1.0, *, separations: int | None = None, first: Position = (0.0, 0.0), azimuth: float = 0.0
) -> FourElectrodeSurvey:
    """One current and one potential electrode, up to `separations` electrodes apart (all without); the others far away."""
    n = integer("n", n, least=2)
    reach = n - 1 if separations is None else integer("separations", separations, least=1)
    rows = [(i, FAR, i + s, FAR) for s in range(1, reach + 1) for i in range(1, n - s + 1)]
    return _line("pole–pole", n, spacing, first, azimuth, rows)


def wenner(
    n: int,
    spacing: float = 1.0,
    *,
    widths: Iterable[int] | None = None,
    first: Position = (0.0, 0.0),
    azimuth: float = 0.0,
) -> FourElectrodeSurvey:
    """A, M, N and B equally far from each other, by `widths` in electrodes; all that fit without."""
    n = integer("n", n, least=2)
    chosen = range(1, (n - 1) // 3 + 1) if widths is None else _positive(widths, "widths")
    rows = [(i, i + 3 * a, i + a, i + 2 * a) for a in chosen for i in range(1, n - 3 * a + 1)]
    return _line("Wenner", n, spacing, first, azimuth, rows)


def schlumberger(
    n: int,
    spacing: float = 1.0,
    *,
    length: int = 1,
    separations: int | None = None,
    first: Position = (0.0, 0.0),
    azimuth: float = 0.0,
) -> FourElectrodeSurvey:
    """A dipole M, N of `length` electrodes in the middle, A and B 1 to `separations` beyond (all that fit without)."""
    n, length = integer("n", n, least=2), integer("length", length, least=1)
    most = (n - 1 - length) // 2 if separations is None else integer("separations", separations, least=1)
    rows = [
        (i, i + 2 * s + length, i + s, i + s + length)
        for s in range(1, most + 1)
        for i in range(1, n - 2 * s - length + 1)
    ]
    return _line("Schlumberger", n, spacing, first, azimuth, rows)


def grid(
    shape: tuple[int, int],
    spacing: float = 1.0,
    *,
    array: Callable[..., FourElectrodeSurvey] = dipole_dipole,
    first: Position = (0.0, 0.0),
    **options: Any,
) -> FourElectrodeSurvey:
    """Lines of an array along x1 and along x2, through all electrodes of a grid of `shape`; a direction may be too short."""
    if not isinstance(shape, list | tuple) or len(shape) != 2:
        raise UsageError(f"expected the shape of a grid as two numbers of electrodes, got {shape!r}")
    shape = integer("shape[0]", shape[0], least=1), integer("shape[1]", shape[1], least=1)
    lines = []
    for along in range(2):
        for k in range(shape[1 - along]):
            start = (first[0] + k * spacing * (along == 1), first[1] + k * spacing * (along == 0))
            try:
                lines.append(array(shape[along], spacing, first=start, azimuth=along * np.pi / 2, **options))
            except UsageError:
                break
    if not lines:
        raise UsageError(f"expected a grid with electrodes enough for a line, got {shape}")
    return together(*lines)


def together(*surveys: FourElectrodeSurvey) -> FourElectrodeSurvey:
    """The measurements of several surveys, each once; electrodes at the same place (within 1e-9 m) are one."""
    rounded = np.round(np.concatenate([survey.positions for survey in surveys]), 9) + 0.0  # no -0
    positions, number = np.unique(rounded, axis=0, return_inverse=True)
    number, rows, start = number.reshape(-1) + 1, {}, 0
    for survey in surveys:
        own = np.append(FAR, number[start : start + len(survey.positions)])
        rows |= dict.fromkeys(map(tuple, own[survey.abmn].tolist()))
        start += len(survey.positions)
    return FourElectrodeSurvey(_tuples(positions), tuple(rows))


def _line(
    name: str, n: int, spacing: float, first: Position, azimuth: float, rows: list[tuple[int, ...]]
) -> FourElectrodeSurvey:
    given = numbers(spacing, "the spacing of electrodes")
    if given.ndim or not (given > 0 and np.isfinite(given)):
        raise UsageError(f"expected a positive spacing of electrodes in m, got {spacing}")
    if not rows:
        raise UsageError(
            f"{n} electrodes are too few for a {name} measurement of this width; give more, or a smaller width"
        )
    along = np.array([np.cos(azimuth), np.sin(azimuth)])
    along[np.abs(along) < 1e-15] = 0.0
    positions = np.array(first, dtype=float) + spacing * np.arange(n)[:, None] * along
    return FourElectrodeSurvey(_tuples(positions), tuple(rows))  # pyright: ignore[reportArgumentType]


def _positive(values: Iterable[int], what: str) -> list[int]:
    if not np.iterable(values):
        raise UsageError(f"expected {what} as a list such as [1, 2], got {values!r}")
    return [integer(what, value, least=1) for value in values]


def _tuples(positions: Array) -> tuple[Position, ...]:
    return tuple((x1, x2) for x1, x2 in positions.tolist())
