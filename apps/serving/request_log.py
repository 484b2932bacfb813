"""The log of the server: a JSON object a line on stderr, whatever is said, and whoever says it."""

from __future__ import annotations

import json
import logging
import sys
import traceback
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Literal

import orjson

Level = Literal["requests", "errors", "none"]
_LONGEST = 300  # characters of a field


class RequestLog:
    """Writes what the level asks for: everything, what went wrong, or nothing but events of the server.

    A log that cannot be written, because its reader is gone, does not stop the server.
    """

    def __init__(self, level: Level = "requests"):
        self._level, self._stream = level, sys.stderr

    def event(self, event: str, **fields: object) -> None:
        """Something about the server itself."""
        self._write({"time": _now(), "event": event, **fields})

    def request(
        self,
        method: str,
        path: str,
        model: str,
        status: int,
        seconds: float,
        error: str,
        remark: Mapping[str, str] | None = None,
    ) -> None:
        """A request that was answered; `model` and `error` empty where there is none, `remark` more by name."""
        if self._level == "none" or (self._level == "errors" and status < 400):
            return
        fields: dict[str, object] = {"time": _now(), "event": "request", "method": method, "path": path[:_LONGEST]}
        if model:
            fields["model"] = model[:_LONGEST]
        fields |= {"status": status, "ms": round(1e3 * seconds, 3)}
        if error:
            fields["error"] = error[:_LONGEST]
        fields |= {name: text[:_LONGEST] for name, text in (remark or {}).items()}
        self._write(fields)

    def defect(self, error: BaseException) -> None:
        """An error nobody foresaw, with its traceback."""
        self._write({"time": _now(), "event": "defect", "traceback": "".join(traceback.format_exception(error))})

    def _write(self, fields: dict[str, object]) -> None:
        try:
            line = orjson.dumps(fields, option=orjson.OPT_APPEND_NEWLINE)
        except TypeError:  # text that is no UTF-8
            line = json.dumps(fields).encode() + b"\n"
        try:
            if (buffer := getattr(self._stream, "buffer", None)) is None:  # a notebook has none
                self._stream.write(line.decode())
            else:
                buffer.write(line)
            self._stream.flush()
        except (OSError, ValueError):
            pass


class _Records(logging.Handler):
    def __init__(self, log: RequestLog):
        super().__init__(logging.WARNING)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        fields: dict[str, Any] = {"logger": record.name, "message": record.getMessage()}
        if record.exc_info and record.exc_info[1] is not None:
            fields["traceback"] = "".join(traceback.format_exception(record.exc_info[1]))
        self._log.event("warning" if record.levelno < logging.ERROR else "error", **fields)


@contextmanager
def everything_in(log: RequestLog) -> Iterator[None]:
    """Records of `logging` and warnings become lines of this log, too."""

    def show(message: Any, category: type[Warning], filename: str, lineno: int, file: Any = None, line: Any = None):
        log.event("warning", message=f"{category.__name__}: {message}", source=f"{filename}:{lineno}")

    records = _Records(log)
    logging.getLogger().addHandler(records)
    with warnings.catch_warnings():
        warnings.showwarning = show
        try:
            yield
        finally:
            logging.getLogger().removeHandler(records)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
