"""Results of a forward model in an SQLite file, each with a checksum."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.spaces import Array

# A damaged file may claim rows of any length; none is longer than its numbers, and the texts of SQLite are short.
_LONGEST_TEXT = 1 << 20


class Memory:
    """Rows of float64 numbers by their key; a row is on disk once `put` returns.

    A row whose checksum is wrong counts as missing, is solved again and replaced. What is left of a file that SQLite cannot
    read any more is refused.

    Attributes
    ----------
    damaged
        Rows with a wrong checksum that were met.
    """

    def __init__(self, path: Path, definition: str, longest: int) -> None:
        """Open the file, made where there is none, of results of a model of this definition, of at most `longest` numbers.

        Raises
        ------
        UsageError
            The file holds results of a model of another definition, is no such file, or cannot be written.
        """
        self._path, self.damaged = path, 0
        path.parent.mkdir(parents=True, exist_ok=True)
        with self._refusing("is not a file of solves ({}); move it away"):
            # Asked from any thread, one at a time.
            self._connection = sqlite3.connect(path, check_same_thread=False)
            self._connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, max(8 * longest + 1024, _LONGEST_TEXT))
            stored = self._prepared(definition)
        if stored != definition:
            raise UsageError(f"{path} holds solves of another model; give another file")

    def _prepared(self, definition: str) -> str:
        """Make the tables where they are missing, take over those of earlier versions; the definition that is stored."""
        with self._connection as database:
            database.execute("CREATE TABLE IF NOT EXISTS about (definition TEXT)")
            database.execute(
                "CREATE TABLE IF NOT EXISTS solves (question BLOB PRIMARY KEY, answer BLOB, checksum BLOB)"
            )
            if database.execute("SELECT 1 FROM sqlite_master WHERE name = 'answers'").fetchone():
                # Of the time before checksums: what is there is believed, once.
                database.create_function("checksum", 2, _checksum, deterministic=True)
                database.execute(
                    "INSERT OR IGNORE INTO solves SELECT question, answer, checksum(question, answer) FROM answers"
                )
                database.execute("DROP TABLE answers")
            stored = database.execute("SELECT definition FROM about").fetchone()
            if stored is None:
                database.execute("INSERT INTO about VALUES (?)", (definition,))
        return definition if stored is None else stored[0]

    def get(self, key: bytes, size: int) -> Array | None:
        """The row (size,) of a key; None where there is none, or a damaged one."""
        with self._refusing():
            row = self._connection.execute("SELECT answer, checksum FROM solves WHERE question = ?", (key,)).fetchone()
        if row is None:
            return None
        answer, checksum = row
        if not (isinstance(answer, bytes) and len(answer) == 8 * size and checksum == _checksum(key, answer)):
            self.damaged += 1
            return None
        return np.frombuffer(answer)

    def put(self, rows: dict[bytes, Array]) -> None:
        """Keep rows by their keys."""
        answers = {key: np.ascontiguousarray(row, float).tobytes() for key, row in rows.items()}
        stored = [(key, answer, _checksum(key, answer)) for key, answer in answers.items()]
        with self._refusing(), self._connection as database:
            database.executemany("INSERT OR REPLACE INTO solves VALUES (?, ?, ?)", stored)

    @contextmanager
    def _refusing(
        self, why: str = "is damaged, or cannot be written ({}); move it away, what it held is solved again"
    ) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OverflowError, UnicodeError) as error:  # the latter of texts that are damaged
            raise UsageError(f"{self._path} {why.format(error)}") from None


def key_of(method: str, arguments: list[Array]) -> bytes:
    """Of the result of a method for some arguments."""
    digest = hashlib.sha256(method.encode())
    for argument in arguments:
        digest.update(np.ascontiguousarray(argument, float).tobytes())
    return digest.digest()


def _checksum(key: bytes, answer: bytes) -> bytes:
    return hashlib.blake2b(key + answer, digest_size=16).digest()
