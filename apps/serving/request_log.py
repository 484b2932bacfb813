"""One JSON object a line on stderr: when the server listens and stops, and every request."""

from __future__ import annotations

import sys
import traceback
from datetime import UTC, datetime
from typing import BinaryIO, Literal

import orjson

Level = Literal["requests", "errors", "none"]
_LONGEST = 300


class RequestLog:
    """Writes what the level asks for: everything, what went wrong, or nothing but events of the server.

    A log that cannot be written, because its reader is gone, does not stop the server.
    """

    def __init__(self, level: Level = "requests", stream: BinaryIO | None = None):
        self._level, self._stream = level, stream or sys.stderr.buffer

    def event(self, event: str, **fields: object) -> None:
        """Something about the server itself."""
        self._write({"time": _now(), "event": event, **fields})

    def request(self, method: str, path: str, model: str, status: int, seconds: float, error: str) -> None:
        """A request that was answered; `model` and `error` empty where there is none."""
        if self._level == "none" or (self._level == "errors" and status < 400):
            return
        fields: dict[str, object] = {"time": _now(), "event": "request", "method": method, "path": path[:_LONGEST]}
        if model:
            fields["model"] = model[:_LONGEST]
        fields |= {"status": status, "ms": round(1e3 * seconds, 3)}
        if error:
            fields["error"] = error[:_LONGEST]
        self._write(fields)

    def defect(self, error: BaseException) -> None:
        """An error nobody foresaw, with its traceback."""
        self._write({"time": _now(), "event": "defect", "traceback": "".join(traceback.format_exception(error))})

    def _write(self, fields: dict[str, object]) -> None:
        try:
            self._stream.write(orjson.dumps(fields, option=orjson.OPT_APPEND_NEWLINE))
            self._stream.flush()
        except (OSError, ValueError):
            pass


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
