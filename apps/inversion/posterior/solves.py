"""A forward model that counts what it computes, can keep the results in a file, and has a Jacobian in any case.

A chain is the same again from the same seed. So a run that was interrupted is resumed by running it anew: what the
model computed before is read from the file, whatever sampler needed it, and costs nothing.
"""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from gnvpro.surrogate.checks import numbers
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.forward_model import ForwardModel
from gnvpro.surrogate.spaces import Array, Space

# Relative to the range of a parameter, or to its size: balances the truncation of a second-order difference and rounding.
_STEP = 1e-5


class Solves:
    """The evaluations and gradients of a forward model, counted.

    A model may offer besides, where that costs less: `linearize(y)`, observables and Jacobian (n, n_out, n_in) together;
    `jacobian(y)`; and `pullback(y)`, observables and the function that `vjp` is at y.

    Attributes
    ----------
    evaluated, differentiated, remembered
        Points at which observables, and at which derivatives were computed; and results that came from the file instead.
    failed
        Points, of all that were requested, without finite observables.
    """

    def __init__(self, model: ForwardModel, memory: Path | None = None, definition: str = "") -> None:
        """Count the calls of a model, and keep the results in the SQLite file `memory`, created where there is none.

        Raises
        ------
        UsageError
            The file holds results of a model of another `definition`, or is no such file.
        """
        self.model, self.parameters, self.observables = model, model.parameters, model.observables
        self.evaluated = self.differentiated = self.failed = self.remembered = 0
        # A model may offer more than a ForwardModel has to.
        self._offers: Any = model
        self._lock = threading.Lock()
        self._memory = None if memory is None else _Memory(memory, definition)

    def evaluate(self, y: Array) -> Array:
        """As the model; NaN in the rows that could not be computed."""
        with self._lock:
            observables = self._remembered("evaluate", (y,), lambda y: (_returned(self.model.evaluate(y)),))[0]
            self.failed += _failures(observables)
            return observables

    def vjp(self, y: Array, dc: Array) -> Array:
        """As the model."""
        with self._lock:
            return self._remembered("vjp", (y, dc), lambda y, dc: (_returned(self.model.vjp(y, dc)),))[0]

    def linearize(self, y: Array) -> tuple[Array, Array]:
        """Observables (n, n_out) and Jacobian (n, n_out, n_in); NaN in the rows that could not be computed."""
        with self._lock:
            observables, jacobian = self._remembered("linearize", (y,), self._linearized)
            self.failed += _failures(observables)
            return observables, jacobian

    def pulled_back(self, y: Array, weights: Callable[[Array], Array]) -> tuple[Array, Array]:
        """Observables (n, n_out), and gradients (n, n_in) of a function whose derivative by them is weights(observables)."""
        if self._memory is None and hasattr(self.model, "pullback"):
            with self._lock:
                self.evaluated += len(y)
                self.differentiated += len(y)
                observables, pull = self._offers.pullback(y)
                self.failed += _failures(observables)
                return observables, pull(weights(observables))
        if hasattr(self.model, "linearize") or not hasattr(self.model, "vjp"):
            observables, jacobian = self.linearize(y)
            return observables, np.einsum("noi,no->ni", jacobian, weights(observables))
        observables = self.evaluate(y)
        gradient, solved = np.full(y.shape, np.nan), np.isfinite(observables).all(axis=1)
        if solved.any():
            gradient[solved] = self.vjp(y[solved], weights(observables)[solved])
        return observables, gradient

    def _linearized(self, y: Array) -> tuple[Array, Array]:
        n, n_in = y.shape
        if hasattr(self.model, "linearize"):
            observables = np.full((n, self.observables.size), np.nan)
            jacobian = np.full((*observables.shape, n_in), np.nan)
            for i in range(n):  # a point that cannot be solved costs that point
                with contextlib.suppress(ArithmeticError):
                    observables[i : i + 1], jacobian[i : i + 1] = self._offers.linearize(y[i : i + 1])
            return observables, jacobian
        observables = _returned(self.model.evaluate(y))
        jacobian, solved = np.full((*observables.shape, n_in), np.nan), np.isfinite(observables).all(axis=1)
        if solved.any():
            jacobian[solved] = self._jacobian(y[solved])
        return observables, jacobian

    def _jacobian(self, y: Array) -> Array:
        n, n_in = y.shape
        if hasattr(self.model, "jacobian"):
            return _returned(self._offers.jacobian(y))
        if hasattr(self.model, "jvp"):  # a problem of one's own may have none
            with contextlib.suppress(NotImplementedError):
                columns = self.model.jvp(np.repeat(y, n_in, axis=0), np.tile(np.eye(n_in), (n, 1)))
                return _returned(columns).reshape(n, n_in, -1).transpose(0, 2, 1)

        def counted(points: Array) -> Array:
            self.evaluated += len(points)
            return _returned(self.model.evaluate(points))

        return difference_jacobian(counted, self.parameters, y)

    def _remembered(
        self, method: str, arguments: tuple[Array, ...], compute: Callable[..., tuple[Array, ...]]
    ) -> tuple[Array, ...]:
        """Results row by row from the file; the others are computed together and stored there."""
        n = len(arguments[0])
        if self._memory is None:
            self._count(method, n)
            return compute(*arguments)
        keys = [_key(method, [part[i] for part in arguments]) for i in range(n)]
        rows = [self._memory.get(key) for key in keys]
        missing = [i for i, row in enumerate(rows) if row is None]
        self.remembered += n - len(missing)
        if missing:
            computed = compute(*(part[missing] for part in arguments))
            self._count(method, len(missing))
            for i, *parts in zip(missing, *computed, strict=True):
                rows[i] = parts
            self._memory.put({keys[i]: rows[i] or [] for i in missing})
        return tuple(np.stack(parts) for parts in zip(*(row or [] for row in rows), strict=True))

    def _count(self, method: str, n: int) -> None:
        if method in ("evaluate", "linearize"):
            self.evaluated += n
        if method != "evaluate":
            self.differentiated += n


def _returned(values: Any) -> Array:
    return numbers(values, "what the model returns")


def _failures(observables: Array) -> int:
    return int((~np.isfinite(observables).all(axis=1)).sum())


def _key(method: str, arguments: list[Array]) -> bytes:
    digest = hashlib.sha256(method.encode())
    for argument in arguments:
        digest.update(np.ascontiguousarray(argument, float).tobytes())
    return digest.digest()


class _Memory:
    """Rows of results by their key, each some float64 arrays; a row is on disk once `put` returns."""

    def __init__(self, path: Path, definition: str) -> None:
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._connection = sqlite3.connect(path, check_same_thread=False)
            with self._connection as database:
                database.execute("CREATE TABLE IF NOT EXISTS about (definition TEXT)")
                database.execute(
                    "CREATE TABLE IF NOT EXISTS answers (question BLOB PRIMARY KEY, shapes TEXT, answer BLOB)"
                )
                stored = database.execute("SELECT definition FROM about").fetchone()
                if stored is None:
                    database.execute("INSERT INTO about VALUES (?)", (definition,))
        except sqlite3.DatabaseError as error:
            raise UsageError(f"{path} is not a file of solves ({error}); move it away") from None
        if stored is not None and stored[0] != definition:
            raise UsageError(f"{path} holds solves of another model; give another file")

    def get(self, key: bytes) -> list[Array] | None:
        try:
            row: Any = self._connection.execute(
                "SELECT shapes, answer FROM answers WHERE question = ?", (key,)
            ).fetchone()
        except sqlite3.DatabaseError as error:
            raise UsageError(f"{self._path} is damaged ({error}); move it away, what it held is solved again") from None
        if row is None:
            return None
        shapes = [tuple(int(n) for n in shape.split(",") if n) for shape in row[0].split(";")]
        ends = np.cumsum([int(np.prod(shape)) for shape in shapes])[:-1]
        return [part.reshape(shape) for part, shape in zip(np.split(np.frombuffer(row[1]), ends), shapes, strict=True)]

    def put(self, rows: dict[bytes, list[Array]]) -> None:
        stored = [
            (
                key,
                ";".join(",".join(map(str, part.shape)) for part in parts),
                b"".join(np.ascontiguousarray(part, float).tobytes() for part in parts),
            )
            for key, parts in rows.items()
        ]
        with self._connection as database:
            database.executemany("INSERT OR REPLACE INTO answers VALUES (?, ?, ?)", stored)


def difference_jacobian(evaluate: Callable[[Array], Array], space: Space, y: Array) -> Array:
    """Derivatives (n, n_out, n_in) at y (n, n_in) by two more evaluations for each parameter and point.

    In a box, central differences; at a bound, of second order from the inside. On the simplex column j is the derivative
    towards its corner e_j, which is as good as that along e_j for all that stays on the simplex.
    """
    n, n_in = y.shape
    lower, upper = space.lower_bounds, space.upper_bounds
    width = upper - lower
    step = _STEP * np.where(np.isfinite(width), width, np.maximum(np.abs(y).max(axis=0, initial=0), 1.0))
    here: Array | None = None
    columns = []
    for j in range(n_in):
        unit = np.where(np.arange(n_in) == j, 1.0, 0.0)
        move = _STEP * (unit - y) if space.constraint == "simplex" else np.tile(step[j] * unit, (n, 1))
        # A point too near a bound is left to one side only: twice the step away from it.
        up, down = (y + move <= upper).all(axis=1), (y - move >= lower).all(axis=1)
        central = up & down & (space.constraint == "box")
        sign = np.where(up, 1.0, -1.0)[:, None]
        first = evaluate(np.where(central[:, None], y + move, y + sign * move))
        second = evaluate(np.where(central[:, None], y - move, y + 2 * sign * move))
        if here is None and not central.all():
            here = evaluate(y)
        size = (_STEP if space.constraint == "simplex" else step[j]) * np.ones((n, 1))
        ahead = (first - second) / (2 * size)
        if here is not None:
            one_sided = sign * (4 * first - second - 3 * here) / (2 * size)
            ahead = np.where(central[:, None], ahead, one_sided)
        columns.append(ahead)
    return np.stack(columns, axis=2)
