"""The clock of a fit."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol


class Timed(Protocol):
    """What has seconds that add up."""

    cpu_seconds: float
    wall_seconds: float


class Clock:
    """Adds the time spent inside to the fit: pauses between two `advance` do not count."""

    def __init__(self, fit: Timed) -> None:
        self._fit = fit

    def __enter__(self) -> None:
        self._before = self._fit.cpu_seconds, self._fit.wall_seconds
        self._start = time.process_time(), time.perf_counter()

    @contextmanager
    def stopped(self, really: bool) -> Iterator[None]:
        """Stand still inside, where asked to."""
        before = time.process_time(), time.perf_counter()
        yield
        if really:
            spent = time.process_time() - before[0], time.perf_counter() - before[1]
            self._start = self._start[0] + spent[0], self._start[1] + spent[1]

    def read(self) -> tuple[float, float]:
        """CPU and wall seconds so far."""
        cpu, wall = time.process_time() - self._start[0], time.perf_counter() - self._start[1]
        return self._before[0] + cpu, self._before[1] + wall

    def __exit__(self, *_: object) -> None:
        self._fit.cpu_seconds, self._fit.wall_seconds = self.read()
