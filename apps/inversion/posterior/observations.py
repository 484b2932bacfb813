"""Observations of a model and their normal noise: arrays, values by name, or files of them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from scipy.linalg import cholesky, solve_triangular

from gnvpro.pde_data.files import ARRAYS, load_arrays, pick, read_table
from gnvpro.pde_data.problems.resistivity.survey_files import SUFFIXES as SURVEYS
from gnvpro.pde_data.problems.resistivity.survey_observations import read_survey_observations
from gnvpro.surrogate.checks import numbers, path_of
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.names import find_names, listed
from gnvpro.surrogate.spaces import Array, Space

_NAME, _VALUE, _DEVIATION = "observable", "value", "standard_deviation"
_OBSERVATIONS = (
    f".csv with a column {_VALUE} (and {_NAME}, {_DEVIATION}), .npz or .mat with `observations`, .npy, or measurements with "
    f"four electrodes ({', '.join(SURVEYS)})"
)
_PART = re.compile(r"((?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*(%?)")
# A plus sign that is not of an exponent.
_PLUS = re.compile(r"(?<![0-9.][eE])\+")
_NOISE = "expected noise such as 2%, 0.001, 2%+0.001 (relative and absolute, added) or a .npy or .csv file"


@dataclass(frozen=True, eq=False)
class Noise:
    """Normal noise of m observations, of mean zero.

    The factor has the standard deviations (m,) of independent noise, or is the lower Cholesky factor (m, m) of a covariance.
    """

    factor: Array

    def __post_init__(self) -> None:
        diagonal = self.factor if self.factor.ndim == 1 else np.diagonal(self.factor)
        if not (np.isfinite(self.factor).all() and (diagonal > 0).all()):
            i = int(np.argmin(np.isfinite(diagonal) & (diagonal > 0)))
            raise UsageError(
                f"expected positive standard deviations of the noise, got {diagonal[i]:g} for observation {i}; an "
                "observation near zero has no relative noise of use: add an absolute part, such as 2%+0.001"
            )

    @property
    def size(self) -> int:
        """Number of observations."""
        return len(self.factor)

    @property
    def correlated(self) -> bool:
        """Whether it has a covariance."""
        return self.factor.ndim == 2

    @cached_property
    def standard_deviations(self) -> Array:
        """Of every observation (m,)."""
        return self.factor if self.factor.ndim == 1 else np.linalg.norm(self.factor, axis=1)

    def whiten(self, residuals: Array) -> Array:
        """Residuals (n, m) in units of the noise: independent, of variance one, if they are noise."""
        return self._solved(residuals, transposed=False)

    def whiten_transposed(self, weights: Array) -> Array:
        """The transpose of `whiten`, (n, m) -> (n, m): takes a gradient by whitened residuals back."""
        return self._solved(weights, transposed=True)

    def _solved(self, rows: Array, transposed: bool) -> Array:
        if self.factor.ndim == 1:
            return rows / self.factor
        # A row of a failed solve is NaN.
        return solve_triangular(self.factor, rows.T, lower=True, trans=int(transposed), check_finite=False).T

    def draw(self, rng: np.random.Generator, n: int) -> Array:
        """Realisations (n, m)."""
        normal = rng.standard_normal((n, self.size))
        return normal * self.factor if self.factor.ndim == 1 else normal @ self.factor.T

    def of(self, measured: np.ndarray) -> Noise:
        """The noise of some of the observations: a mask or indices (m,)."""
        if self.factor.ndim == 1:
            return Noise(self.factor[measured])
        covariance = self.factor @ self.factor.T
        return Noise(cholesky(covariance[np.ix_(measured, measured)], lower=True))


def noise_of(noise: object, values: Array, standard_deviations: Array | None = None) -> Noise:
    """The noise of observations, as a user gives it.

    Parameters
    ----------
    noise
        `2%` of each value's size; `0.001` in the unit of the observations; `2%+0.001`, standard deviations added as is
        usual for field data; `data`: those that came with the observations; a file, .npy or .csv; a number; or an array:
        standard deviations (m,) or a covariance (m, m).
    values, standard_deviations : (m,)
        The observations, NaN where there is none, and what came with them.

    Raises
    ------
    UsageError
        Anything else, or noise that is not positive where there is an observation.
    FileNotFoundError
        No such file.
    """
    if isinstance(noise, Noise):
        return noise
    if isinstance(noise, str) and noise.strip() == "data":
        if standard_deviations is None:
            raise UsageError(f"the observations came without standard deviations; {_NOISE}")
        return _checked(standard_deviations, values)
    if isinstance(noise, str | Path) and Path(noise).suffix in (".npy", ".csv"):
        return _checked(_read_noise(path_of(noise)), values)
    if isinstance(noise, str):
        return _checked(_by_formula(noise, values), values)
    array = numbers(noise, "the noise", where=f"{_NOISE}, a number or an array")
    return _checked(np.full(len(values), array) if array.ndim == 0 else array, values)


def _by_formula(text: str, values: Array) -> Array:
    """Standard deviations by a text such as `2%+0.001`."""
    relative = absolute = 0.0
    for part in _PLUS.split(text):
        match = _PART.fullmatch(part.strip())
        if match is None or not 0 < float(match[1]) < np.inf:
            raise UsageError(f"{_NOISE}; got {text!r}")
        if match[2]:
            relative += float(match[1]) / 100
        else:
            absolute += float(match[1])
    return relative * np.abs(values) + absolute


def _checked(spread: Array, values: Array) -> Noise:
    m = len(values)
    if spread.shape not in ((m,), (m, m)):
        raise UsageError(
            f"expected noise of {m} observations: ({m},) standard deviations or a ({m}, {m}) covariance; got {spread.shape}"
        )
    measured = np.isfinite(values)
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
    if path.suffix == ".npy":
        return np.atleast_1d(numbers(load_arrays(path)[""], "the noise", where=path))
    table = read_table(path)
    if len(table.header) > 1:
        raise UsageError(
            f"{path}: expected numbers alone, standard deviations or a covariance, got {listed(table.header)}"
        )
    values = table.numbers()
    return values.ravel() if 1 in values.shape else values


def observations_of(observations: object, space: Space) -> tuple[Array, Array | None]:
    """Observations of a space (n_out,), NaN where nothing was measured, and their standard deviations where given.

    Parameters
    ----------
    observations
        An array (n_out,); values by name, of any of the observables, in a dict or Series; or a file. A .csv has one a line:
        `value`, and with it `observable`, its name, where not all were measured or they come in another order;
        `standard_deviation` is optional, and empty values are missing.

    Raises
    ------
    UsageError
        Another form or format, another number of values, unknown or repeated names, or nothing measured.
    FileNotFoundError
        No such file.
    """
    source, deviations = "observations", None
    if isinstance(observations, str | Path):
        source = str(observations)
        values, deviations = _read_observations(path_of(observations), space)
    elif (names := _names_of(observations)) is not None:
        values = list(observations.values()) if isinstance(observations, Mapping) else observations
        column = numbers(values, "the values", 1, where=source)
        values = _by_name(source, names, column[:, None], space)[:, 0]
    else:
        values = _vector(source, observations, space)
    if not np.isfinite(values).any():
        raise UsageError(f"{source}: there is no observation, all values are missing")
    if np.isinf(values).any():
        raise UsageError(f"{source}: observation {space.names[int(np.argmax(np.isinf(values)))]} is infinite")
    return values, deviations


def _names_of(observations: object) -> list[str] | None:
    """The names of a dict, or of pandas' Series; None where there are none, or mere numbers."""
    index: Any = observations if isinstance(observations, Mapping) else getattr(observations, "index", ())
    names = [] if callable(index) else list(index)  # a list has a method of that name
    return list(map(str, names)) if any(isinstance(name, str) for name in names) else None


def _read_observations(path: Path, space: Space) -> tuple[Array, Array | None]:
    if not path.exists():
        raise FileNotFoundError(f"no observations at {path}; expected a {_OBSERVATIONS}")
    if path.suffix.lower() == ".csv":
        return _read_csv(path, space)
    if path.suffix.lower() in SURVEYS:
        return read_survey_observations(path, space)
    if path.suffix.lower() not in ARRAYS:
        raise UsageError(f"{path}: expected a {_OBSERVATIONS}")
    arrays = load_arrays(path)
    values = _vector(str(path), arrays[pick(path, arrays, ("observations",))], space)
    place, named = find_names([_DEVIATION, _NAME], list(arrays), str(path))
    if named is not None:
        raise UsageError(f"{path}: names of observables are read of a .csv; leave {_NAME} out, or write one")
    return values, None if place is None else _vector(str(path), list(arrays.values())[place], space)


def _read_csv(path: Path, space: Space) -> tuple[Array, Array | None]:
    table = read_table(path, (_NAME, _VALUE, _DEVIATION))
    name, value, deviation = find_names((_NAME, _VALUE, _DEVIATION), table.header, str(path))
    if value is None:
        raise UsageError(f"{path}: expected a header with {_VALUE}, got {listed(table.header)}")
    columns = table.numbers([place for place in (value, deviation) if place is not None], blanks=True)
    if name is not None:
        columns = _by_name(str(path), table.column(name), columns, space)
    elif len(table.header) > columns.shape[1]:
        raise UsageError(f"{path}: expected columns {_NAME}, {_VALUE}, {_DEVIATION}, got {listed(table.header)}")
    elif len(columns) != space.size:
        raise UsageError(
            f"{path}: expected {space.size} lines, one for every observable of the model, got {len(columns)}; with a column "
            f"{_NAME} some may be missing"
        )
    return columns[:, 0], None if deviation is None else columns[:, 1]


def _by_name(source: str, names: Sequence[str], rows: Array, space: Space) -> Array:
    """Rows (n, k) of some observables, put where these are in the space (n_out, k); NaN where there is none."""
    places = find_names(space.names, names, source)
    if unknown := [name for place, name in enumerate(names) if place not in places]:
        raise UsageError(f"{source}: the model has no observable {unknown[0]!r}; it has {listed(space.names)}")
    ordered = np.full((space.size, rows.shape[1]), np.nan)
    for j, place in enumerate(places):
        if place is not None:
            ordered[j] = rows[place]
    return ordered


def _vector(source: str, values: object, space: Space) -> Array:
    vector = numbers(values, "the observations", where=source)
    if vector.size != space.size or sum(n > 1 for n in vector.shape) > 1:
        raise UsageError(
            f"{source}: expected {space.size} numbers, one for every observable of the model; got {vector.shape}"
        )
    return vector.reshape(-1)
