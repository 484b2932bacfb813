"""Seconds spent on something, of this process and of the wall; for reports, nothing that is computed depends on them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Stopwatch:
    """Adds up the seconds inside its `with` blocks; one within another counts once."""

    def __init__(self, cpu_seconds: float = 0.0, wall_seconds: float = 0.0) -> None:
        self._before = cpu_seconds, wall_seconds
        self._depth, self._start = 0, (0.0, 0.0)

    @property
    def cpu_seconds(self) -> float:
        """CPU seconds of this process, those of a block that is still open included."""
        return self.read()[0]

    @property
    def wall_seconds(self) -> float:
        """By the clock on the wall, likewise."""
        return self.read()[1]

    def read(self) -> tuple[float, float]:
        """CPU and wall seconds so far."""
        if not self._depth:
            return self._before
        cpu, wall = _now()
        return self._before[0] + cpu - self._start[0], self._before[1] + wall - self._start[1]

    def __enter__(self) -> None:
        if not self._depth:
            self._start = _now()
        self._depth += 1

    def __exit__(self, *_: object) -> None:
        if self._depth == 1:
            self._before = self.read()
        self._depth -= 1

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """What happens inside is not counted."""
        depth, self._before, self._depth = self._depth, self.read(), 0
        try:
            yield
        finally:
            self._depth, self._start = depth, _now()


def _now() -> tuple[float, float]:
    return time.process_time(), time.perf_counter()
