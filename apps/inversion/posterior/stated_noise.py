"""The noise of observations as a user states it: a text such as `2%+0.001`, numbers, a covariance, or a file of them."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cholesky

from gnvpro.apps.inversion.posterior.noise import Noise
from gnvpro.pde_data.files import load_arrays, read_table
from gnvpro.surrogate.checks import numbers, path_of
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.names import listed
from gnvpro.surrogate.spaces import Array, Space

# A datum smaller than this share of the median has the relative noise of one of that size: four of the 842 in
# docs/dcr-field.csv, where the potential difference changes its sign.
SMALLEST = 0.01

_NUMBER = r"((?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)"
_PART = re.compile(_NUMBER + r"\s*(%?)")
_FLOOR = re.compile(r"(.*?)\s*,\s*at\s+least\s+" + _NUMBER + r"\s*", re.DOTALL)
# A plus sign that is not of an exponent.
_PLUS = re.compile(r"(?<![0-9.][eE])\+")
_STUDENT = re.compile(r"student(?:'s)?[-_ ]?t\s*\(([^()]*)\)\s*(?::\s*(.*))?", re.IGNORECASE | re.DOTALL)
_NOISE = (
    "expected noise such as 2%, 0.001, 2%+0.001 (relative and absolute, added), student-t(4): 2% (with outliers) or a .npy "
    "or .csv file"
)


def noise_of(
    noise: object,
    values: Array,
    standard_deviations: Array | None = None,
    space: Space | None = None,
    which: NDArray[np.intp] | None = None,
) -> Noise:
    """The noise of observations, as a user gives it.

    Parameters
    ----------
    noise
        `2%` of each value's size; `0.001` in the unit of the observations; `2%+0.001`, standard deviations added as is
        usual for field data; `2%, at least 0.001`; `data`: those that came with the observations; a file, .npy or .csv; a
        number; or an array: standard deviations (m,) or a covariance (m, m). `student-t(4): ` before any of these texts
        makes it Student's law of four degrees of freedom with these scales; beside arrays a pair, ("student-t(4)", array).
    values, standard_deviations : (m,)
        The observations, NaN where there is none, and what came with them.
    space, which
        Of the observables, and the place there (m,) of each observation where these are not one for each. With a space, noise
        that is relative alone has a floor: that of `SMALLEST` times the median size of the observations of the same unit;
        `2%, at least 0` has none. With places, standard deviations may also be of the observables (n_out,).

    Raises
    ------
    UsageError
        Anything else, or noise that is not positive where there is an observation.
    FileNotFoundError
        No such file.
    """
    if isinstance(noise, Noise):
        return noise
    pair = _pair(noise)
    if pair is not None:
        law, scale = pair
        degrees = _degrees(law, str(noise))
        if scale is None:
            raise UsageError(f"student-t({degrees:g}) has no scale; {_NOISE}")
        return replace(noise_of(scale, values, standard_deviations, space, which), degrees_of_freedom=degrees)
    if isinstance(noise, str) and noise.strip() == "data":
        if standard_deviations is None:
            raise UsageError(f"the observations came without standard deviations; {_NOISE}")
        return _checked(standard_deviations, values)
    if isinstance(noise, str | Path) and Path(noise).suffix.lower() in (".npy", ".csv"):
        return _checked(_by_datum(_read_noise(path_of(noise)), space, which), values)
    if isinstance(noise, str):
        stated = _by_formula(noise, values, _units(space, which))
        ignored = (
            "the standard deviations that came with the observations were not used; the noise `data` takes them",
        ) * (standard_deviations is not None)
        return replace(_checked(stated.spread, values), notes=stated.notes + ignored)
    array = numbers(noise, "the noise", where=f"{_NOISE}, a number or an array")
    return _checked(np.full(len(values), array) if array.ndim == 0 else _by_datum(array, space, which), values)


def _units(space: Space | None, which: NDArray[np.intp] | None) -> NDArray[Any] | None:
    """Of every observation; None where nothing is known of them."""
    if space is None:
        return None
    units = np.broadcast_to(np.asarray(space.units, dtype=object), space.size)
    return units if which is None else units[which]


def _by_datum(spread: Array, space: Space | None, which: NDArray[np.intp] | None) -> Array:
    """Noise of the observations, where that of the observables was given."""
    if space is None or which is None or spread.shape != (space.size,):
        return spread
    if len(which) == space.size:
        raise UsageError(
            f"there are {space.size} observables and, some of them repeated, as many observations: noise of so many numbers "
            "may be of either; put it beside the observations, in a column standard_deviation, and take the noise `data`"
        )
    return spread[which]


def _pair(noise: object) -> tuple[str, object] | None:
    """Degrees of freedom as they are written, and the noise that has them; None of normal noise."""
    law, scale = noise, None
    if isinstance(noise, list | tuple) and len(noise) == 2 and isinstance(noise[0], str):
        law, scale = noise
    if not isinstance(law, str) or (match := _STUDENT.fullmatch(law.strip())) is None:
        return None
    written = (match[2] or "").strip()
    return match[1], written if scale is None and written else scale


def _degrees(text: str, given: str) -> float:
    try:
        degrees = float(text)
    except ValueError:
        raise UsageError(f"expected degrees of freedom such as student-t(4): 2%, got {given!r}") from None
    if not np.isfinite(degrees):
        raise UsageError(
            f"expected degrees of freedom such as student-t(4): 2%, got {given!r}; normal noise is plain 2%"
        )
    return degrees


class _Stated(NamedTuple):
    spread: Array
    notes: tuple[str, ...] = ()


def _by_formula(text: str, values: Array, units: NDArray[Any] | None) -> _Stated:
    """Standard deviations by a text such as `2%+0.001`, and what there is to say of them."""
    relative = absolute = 0.0
    floored = _FLOOR.fullmatch(text)
    for part in _PLUS.split(floored[1] if floored else text):
        match = _PART.fullmatch(part.strip())
        if match is None or not 0 < float(match[1]) < np.inf:
            raise UsageError(f"{_NOISE}; got {text!r}")
        if match[2]:
            relative += float(match[1]) / 100
        else:
            absolute += float(match[1])
    spread = relative * np.abs(values) + absolute
    if floored:
        return _Stated(np.maximum(spread, float(floored[2])))
    if absolute or units is None:
        return _Stated(spread)
    least = relative * _smallest_sizes(values, units)
    raised = spread < least
    if not raised.any():
        return _Stated(spread)
    n, floor = int(raised.sum()), least[raised]
    size = f"{floor[0]:.3g}" if np.ptp(floor) == 0 else f"{floor.min():.3g} to {floor.max():.3g}"
    them, stated = "it" if n == 1 else "them", text.strip()
    what = f"{n} of {int(np.isfinite(values).sum())} observations {'is' if n == 1 else 'are'} hardly anything"
    note = (
        f"{what}: below {SMALLEST:.0%} of the median size. Noise of {stated} of that, {size}, was taken for {them}, no less; "
        f"state an absolute part ({stated}+0.001), or `{stated}, at least 0` for no such floor"
    )
    return _Stated(np.maximum(spread, least), (note,))


def _smallest_sizes(values: Array, units: NDArray[Any]) -> Array:
    """Of every observation (m,): `SMALLEST` times the median size of those of its unit that are not zero; 0 without any."""
    sizes, least = np.abs(values), np.zeros(len(values))
    for unit in dict.fromkeys(units):
        there = (units == unit) & np.isfinite(sizes) & (sizes > 0)
        if there.any():
            least[units == unit] = SMALLEST * np.median(sizes[there])
    return np.where(np.isfinite(sizes), least, 0.0)


def _checked(spread: Array, values: Array) -> Noise:
    m = len(values)
    if spread.shape not in ((m,), (m, m)):
        raise UsageError(
            f"expected noise of {m} observations: ({m},) standard deviations or a ({m}, {m}) covariance; got {spread.shape}. "
            "Standard deviations in a column `standard_deviation` of the observations go with these in any order"
        )
    measured = np.isfinite(values)
    if spread.ndim == 1 and (lacking := np.flatnonzero(measured & np.isnan(spread))).size:
        raise UsageError(
            f"observation {lacking[0]} has a value and no standard deviation; give it one, or leave its value out"
        )
    if spread.ndim == 1:
        return Noise(np.where(measured, spread, 1.0))
    spread = np.where(np.outer(measured, measured), spread, np.eye(m))
    if not np.isfinite(spread).all():
        raise UsageError("the covariance of the noise is not finite where there are observations")
    size = np.sqrt(np.abs(np.diagonal(spread)))
    if not (np.abs(spread - spread.T) <= 1e-10 * np.outer(size, size)).all():
        raise UsageError("the covariance of the noise is not symmetric")
    try:
        return Noise(cholesky(spread, lower=True))
    except np.linalg.LinAlgError:
        raise UsageError("the covariance of the noise is not positive definite") from None


def _read_noise(path: Path) -> Array:
    if not path.exists():
        raise FileNotFoundError(f"no noise at {path}; check the name")
    if path.suffix.lower() == ".npy":
        return np.atleast_1d(numbers(load_arrays(path)[""], "the noise", where=path))
    table = read_table(path)
    if len(table.header) > 1:
        raise UsageError(
            f"{path}: expected numbers alone, standard deviations or a covariance, got {listed(table.header)}"
        )
    values = table.numbers()
    return values.ravel() if 1 in values.shape else values
