"""A forward model that counts what it is asked, and can keep the answers in a file.

A chain is the same again from the same seed. So a run that was interrupted is resumed by running it anew: what the
model was asked before is read from the file, whatever sampler asked it, and costs nothing.
"""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from gnvpro.apps.inversion.posterior.differences import difference_jacobian
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.forward_model import ForwardModel
from gnvpro.surrogate.spaces import Array, Space


@runtime_checkable
class Linearizable(Protocol):
    """A model that gives observables and Jacobian together for less than one after the other."""

    def linearize(self, y: Array) -> tuple[Array, Array]:
        """Observables (n, n_out) and Jacobian (n, n_out, n_in)."""
        ...


@runtime_checkable
class Differentiable(Protocol):
    """A model whose whole Jacobian costs less than as many derivatives along directions."""

    def jacobian(self, y: Array) -> Array:
        """Derivatives (n, n_out, n_in)."""
        ...


@runtime_checkable
class Reversible(Protocol):
    """A model that gives observables and then gradients at the same point for less than separately."""

    def pullback(self, y: Array) -> tuple[Array, Callable[[Array], Array]]:
        """Observables (n, n_out), and what `vjp` is at y: (n, n_out) -> (n, n_in)."""
        ...


class Solves:
    """A `ForwardModel` that counts.

    Attributes
    ----------
    evaluated, differentiated
        Parameters at which observables, and at which derivatives were computed. What came from the file does not count.
    failed
        Points, of all that were asked, without finite observables.
    remembered
        Answers that came from the file.
    """

    def __init__(self, model: ForwardModel, memory: Path | None = None, definition: str = "") -> None:
        """Count the calls of a model.

        Parameters
        ----------
        memory
            SQLite file of earlier answers, made where there is none.
        definition
            What fixes the model's numbers; a file of another is refused.

        Raises
        ------
        ValueError
            The file holds answers of another model, or is no such file.
        """
        self.model, self.parameters, self.observables = model, model.parameters, model.observables
        self.evaluated = self.differentiated = self.failed = self.remembered = 0
        self._lock = threading.Lock()
        self._memory = None if memory is None else _Memory(memory, definition)

    parameters: Space
    observables: Space

    def evaluate(self, y: Array) -> Array:
        """As the model; NaN in the rows that could not be computed."""
        with self._lock:
            found = self._recalled("evaluate", (y,), lambda some: (np.asarray(self.model.evaluate(*some), float),))[0]
            self.failed += _failures(found)
            return found

    def jvp(self, y: Array, dy: Array) -> Array:
        """As the model."""
        with self._lock:
            return self._recalled("jvp", (y, dy), lambda some: (np.asarray(self.model.jvp(*some), float),))[0]

    def vjp(self, y: Array, dc: Array) -> Array:
        """As the model."""
        with self._lock:
            return self._recalled("vjp", (y, dc), lambda some: (np.asarray(self.model.vjp(*some), float),))[0]

    def linearize(self, y: Array) -> tuple[Array, Array]:
        """Observables (n, n_out) and Jacobian (n, n_out, n_in); NaN in the rows that could not be computed."""
        with self._lock:
            observables, jacobian = self._recalled("linearize", (y,), lambda some: self._linearized(*some))
            self.failed += _failures(observables)
            return observables, jacobian

    def pulled_back(self, y: Array, weights: Callable[[Array], Array]) -> tuple[Array, Array]:
        """Observables (n, n_out), and the gradients (n, n_in) of what `weights` says of them.

        Parameters
        ----------
        weights
            Derivative (n, n_out) of a function by the observables, from the observables.
        """
        if self._memory is None and isinstance(self.model, Reversible):
            with self._lock:
                self.evaluated += len(y)
                self.differentiated += len(y)
                observables, pull = self.model.pullback(y)
                self.failed += _failures(observables)
                return observables, pull(weights(observables))
        if isinstance(self.model, Linearizable):
            observables, jacobian = self.linearize(y)
            return observables, np.einsum("noi,no->ni", jacobian, weights(observables))
        observables = self.evaluate(y)
        gradient, solved = np.full(y.shape, np.nan), np.isfinite(observables).all(axis=1)
        if solved.any():
            gradient[solved] = self.vjp(y[solved], weights(observables)[solved])
        return observables, gradient

    def _linearized(self, y: Array) -> tuple[Array, Array]:
        n, n_in = y.shape
        if isinstance(self.model, Linearizable):
            observables = np.full((n, self.observables.size), np.nan)
            jacobian = np.full((*observables.shape, n_in), np.nan)
            for i in range(n):  # a point that cannot be solved costs that point
                with contextlib.suppress(ArithmeticError):
                    observables[i : i + 1], jacobian[i : i + 1] = self.model.linearize(y[i : i + 1])
            return observables, jacobian
        observables = np.asarray(self.model.evaluate(y), float)
        jacobian, solved = np.full((*observables.shape, n_in), np.nan), np.isfinite(observables).all(axis=1)
        if solved.any():
            jacobian[solved] = self._jacobian(y[solved])
        return observables, jacobian

    def _jacobian(self, y: Array) -> Array:
        n, n_in = y.shape
        if isinstance(self.model, Differentiable):
            return np.asarray(self.model.jacobian(y), float)
        if hasattr(self.model, "jvp"):  # a problem of one's own may have none
            with contextlib.suppress(NotImplementedError):
                columns = self.model.jvp(np.repeat(y, n_in, axis=0), np.tile(np.eye(n_in), (n, 1)))
                return np.asarray(columns, float).reshape(n, n_in, -1).transpose(0, 2, 1)

        def counted(points: Array) -> Array:
            self.evaluated += len(points)
            return np.asarray(self.model.evaluate(points), float)

        return difference_jacobian(counted, self.parameters, y)

    def _recalled(
        self, what: str, asked: tuple[Array, ...], compute: Callable[[tuple[Array, ...]], tuple[Array, ...]]
    ) -> tuple[Array, ...]:
        """Answers row by row from the file, the others computed together and put there."""
        n = len(asked[0])
        if self._memory is None:
            self._count(what, n)
            return compute(asked)
        keys = [_key(what, [part[i] for part in asked]) for i in range(n)]
        answers: list[list[Array] | None] = [self._memory.get(key) for key in keys]
        unknown = [i for i, answer in enumerate(answers) if answer is None]
        self.remembered += n - len(unknown)
        if unknown:
            computed = compute(tuple(part[unknown] for part in asked))
            self._count(what, len(unknown))
            for place, i in enumerate(unknown):
                answers[i] = [part[place] for part in computed]
            self._memory.put([(keys[i], [part[place] for part in computed]) for place, i in enumerate(unknown)])
        rows = [answer for answer in answers if answer is not None]
        return tuple(np.stack(parts) for parts in zip(*rows, strict=True))

    def _count(self, what: str, n: int) -> None:
        if what in ("evaluate", "linearize"):
            self.evaluated += n
        if what != "evaluate":
            self.differentiated += n


def _failures(observables: Array) -> int:
    return int((~np.isfinite(observables).all(axis=1)).sum())


def _key(what: str, rows: list[Array]) -> bytes:
    digest = hashlib.sha256(what.encode())
    for row in rows:
        digest.update(np.ascontiguousarray(row, float).tobytes())
    return digest.digest()


class _Memory:
    """Answers by question, each as float64 arrays; every answer is on disk once `put` returns."""

    def __init__(self, path: Path, definition: str) -> None:
        self._path = path
        try:
            self._connection = sqlite3.connect(path, check_same_thread=False)
            with self._connection as open_file:
                open_file.execute("CREATE TABLE IF NOT EXISTS about (definition TEXT)")
                open_file.execute(
                    "CREATE TABLE IF NOT EXISTS answers (question BLOB PRIMARY KEY, shapes TEXT, answer BLOB)"
                )
                there = open_file.execute("SELECT definition FROM about").fetchone()
                if there is None:
                    open_file.execute("INSERT INTO about VALUES (?)", (definition,))
        except sqlite3.DatabaseError as error:
            raise UsageError(f"{path} is not a file of solves ({error}); move it away") from None
        if there is not None and there[0] != definition:
            raise UsageError(f"{path} holds solves of another model; give another folder")

    def get(self, key: bytes) -> list[Array] | None:
        question = "SELECT shapes, answer FROM answers WHERE question = ?"
        try:
            row: Any = self._connection.execute(question, (key,)).fetchone()
        except sqlite3.DatabaseError as error:
            raise UsageError(f"{self._path} is damaged ({error}); move it away, what it held is solved again") from None
        if row is None:
            return None
        values, parts = np.frombuffer(row[1]), []
        for shape in row[0].split(";"):
            sizes = tuple(int(n) for n in shape.split(",") if n)
            n = int(np.prod(sizes))
            parts.append(values[:n].reshape(sizes))
            values = values[n:]
        return parts

    def put(self, answers: list[tuple[bytes, list[Array]]]) -> None:
        rows = [
            (
                key,
                ";".join(",".join(map(str, part.shape)) for part in parts),
                b"".join(np.ascontiguousarray(part, float).tobytes() for part in parts),
            )
            for key, parts in answers
        ]
        with self._connection as open_file:
            open_file.executemany("INSERT OR REPLACE INTO answers VALUES (?, ?, ?)", rows)
