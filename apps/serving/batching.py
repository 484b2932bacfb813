"""Single requests to one model, gathered into batches while the model is busy.

Nothing waits for a batch to fill: whatever has arrived when the model becomes free is computed together. One client
alone is answered at once, and many share the cost of a call.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

import numpy as np

from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.spaces import Array


class QueueFull(Exception):
    """More requests wait than may."""


type Rows = Array | Sequence[Array | BaseException]


@dataclass(frozen=True, eq=False)
class _Waiting:
    operation: str
    rows: tuple[Array, ...]
    answer: asyncio.Future[Array]


class Batcher:
    """Calls of row-by-row operations, one batch of at most `largest` rows at a time.

    Parameters
    ----------
    operations
        By name: each takes arrays with n rows and gives n rows, of which row i depends on the rows i alone; in the
        place of a row that could not be computed there may be the exception.
    executor
        Where batches are computed; without one in the event loop itself, which suits what takes less time than
        handing it to a thread.

    Attributes
    ----------
    in_thread
        Operations that keep the event loop too long: without an `executor` they go to its threads.
    """

    def __init__(
        self,
        operations: Mapping[str, Callable[..., Rows]],
        executor: Executor | None = None,
        largest: int = 256,
        most_waiting: int = 4096,
    ):
        self._operations, self._executor = operations, executor
        self._largest, self._most_waiting = largest, most_waiting
        self._waiting: deque[_Waiting] = deque()
        self._busy = False
        self.in_thread: set[str] = set()
        self.n_batches = self.n_rows = 0

    async def __call__(self, operation: str, *rows: Array) -> Array:
        """One row of the operation's result, from one row (n_k,) of every argument.

        Raises QueueFull at once, with nothing computed, or whatever the operation raises for the batch.
        """
        if len(self._waiting) >= self._most_waiting:
            raise QueueFull(f"{len(self._waiting)} requests are waiting for this model")
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Array] = loop.create_future()
        self._waiting.append(_Waiting(operation, rows, answer))
        if not self._busy:
            self._busy = True
            # A task does not begin now: requests that were read in this round of the loop are still to come.
            self._running = loop.create_task(self._run())
        return await answer

    async def _run(self) -> None:
        """Batch after batch while anything waits."""
        while batch := self._next_batch():
            self.n_batches, self.n_rows = self.n_batches + 1, self.n_rows + len(batch)
            try:
                if self._executor is None and batch[0].operation not in self.in_thread:
                    rows = self._compute(batch)
                else:
                    rows = await asyncio.get_running_loop().run_in_executor(self._executor, self._compute, batch)
            except (RuntimeError, asyncio.CancelledError) as closed:  # the executor is
                rows = [closed] * len(batch)
            for waiting, row in zip(batch, rows, strict=True):
                if waiting.answer.done():
                    continue
                if isinstance(row, asyncio.CancelledError):
                    waiting.answer.cancel()
                elif isinstance(row, BaseException):
                    waiting.answer.set_exception(row)
                else:
                    waiting.answer.set_result(row)
            await asyncio.sleep(0)  # so that answers go out before the next batch
        self._busy = False

    def _compute(self, batch: list[_Waiting]) -> Rows:
        """A row, or why there is none, for each: one by one where all together fail."""
        operation = self._operations[batch[0].operation]
        try:
            rows = operation(*(np.stack(column) for column in zip(*(waiting.rows for waiting in batch), strict=True)))
            if len(rows) != len(batch):
                raise UsageError(f"{batch[0].operation}: expected {len(batch)} rows, got {len(rows)}")
            return rows
        except Exception as failure:  # of the model; whoever asked is told
            return [failure] if len(batch) == 1 else [self._compute([waiting])[0] for waiting in batch]

    def _next_batch(self) -> list[_Waiting]:
        """The longest waiting request and all others of its operation that still want an answer."""
        batch: list[_Waiting] = []
        others: deque[_Waiting] = deque()
        while self._waiting:
            waiting = self._waiting.popleft()
            if waiting.answer.done():  # cancelled
                continue
            fits = len(batch) < self._largest and (not batch or waiting.operation == batch[0].operation)
            (batch if fits else others).append(waiting)
        self._waiting = others
        return batch
