"""Samples of a block that is not committed yet: what an interrupted run had solved of it, and need not solve again."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import shutil
import zlib
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import numpy as np

from gnvpro.pde_data.generation.pieces import Piece
from gnvpro.pde_data.problems.solving import SolvedBlock
from gnvpro.surrogate.spaces import Array

# What a kill may cost, in seconds of solving: cheap blocks are committed before they are worth a line.
_UNWRITTEN_SECONDS = 0.05


class Journal:
    """The file of one block in the folder `.NAME.journal` beside the data set: a line for every piece that was solved.

    A line carries its checksum and a hash of definition, parameters and directions: it is found again by what was solved,
    and one that a kill has torn is none. Within `with`, pieces are written once they have cost some time, and when it is
    left.
    """

    def __init__(self, out: Path, block: int, definition_hash: str) -> None:
        self._file = _folder(out) / f"{block}.jsonl"
        self._definition_hash = definition_hash
        self._pieces = dict(_pieces_in(self._file))
        self._unwritten: list[str] = []
        self._seconds = 0.0

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None):
        if kind is not None:  # else the block is about to be committed
            self._write()

    def get(self, y: Array, directions: Array, solved_only: bool) -> Piece | None:
        """The piece with parameters y (n, n_in) and directions (n, r, n_in); with `solved_only` none that holds failures."""
        piece = self._pieces.get(self._key(y, directions))
        if piece is None or piece.derivatives.shape[:2] != directions.shape[:2]:
            return None
        return None if solved_only and not piece.is_whole else piece

    def add(self, y: Array, directions: Array, piece: Piece) -> None:
        """Keep a piece."""
        solved = piece.solved
        record = {
            "key": self._key(y, directions),
            "shape": solved.observables.shape,
            "observables": base64.b64encode(solved.observables.tobytes()).decode(),
            "derivatives": base64.b64encode(piece.derivatives.tobytes()).decode(),
            "status": solved.status.tolist(),
            "messages": solved.messages,
            "seconds": piece.seconds,
            "derivative_seconds": piece.derivative_seconds,
        }
        text = json.dumps(record)
        self._unwritten.append(f"{zlib.crc32(text.encode()):08x} {text}\n")
        self._seconds += piece.seconds
        if self._seconds >= _UNWRITTEN_SECONDS:
            self._write()

    def remove(self) -> None:
        """Forget the block, which is committed."""
        self._file.unlink(missing_ok=True)

    def _key(self, y: Array, directions: Array) -> str:
        return hashlib.sha256(self._definition_hash.encode() + y.tobytes() + directions.tobytes()).hexdigest()

    def _write(self) -> None:
        lines, self._unwritten, self._seconds = "".join(self._unwritten), [], 0.0
        if lines:
            self._file.parent.mkdir(exist_ok=True)
            # After a line that a kill has torn, the next one begins anew.
            with (
                contextlib.suppress(FileNotFoundError),
                self._file.open("a") as file,
            ):  # another run may end and remove it
                file.write(lines if file.tell() == 0 else f"\n{lines}")


def journaled_samples(out: Path) -> int:
    """How many samples the journals beside a data set hold."""
    pieces = {key: piece for file in _folder(out).glob("*.jsonl") for key, piece in _pieces_in(file)}
    return sum(len(piece.solved.status) for piece in pieces.values())


def remove_journals(out: Path) -> None:
    """Remove what journals there are beside a data set."""
    shutil.rmtree(_folder(out), ignore_errors=True)


def _folder(out: Path) -> Path:
    out = out.resolve()
    return out.parent / f".{out.name}.journal"


def _pieces_in(file: Path) -> Iterator[tuple[str, Piece]]:
    """Key and piece of every sound line."""
    if not file.exists():
        return
    for line in file.read_bytes().splitlines():
        checksum, _, text = line.partition(b" ")
        if checksum == f"{zlib.crc32(text):08x}".encode():
            record = json.loads(text)
            observables = np.frombuffer(base64.b64decode(record["observables"])).reshape(record["shape"])
            n, n_out = record["shape"]
            derivatives = np.frombuffer(base64.b64decode(record.get("derivatives", ""))).reshape(n, -1, n_out)
            status = np.array(record["status"], dtype=np.int8)
            solved = SolvedBlock(observables.copy(), status, tuple(record["messages"]))
            yield record["key"], Piece(solved, record["seconds"], derivatives, record.get("derivative_seconds", np.nan))
