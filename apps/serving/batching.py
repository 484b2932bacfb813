"""Single requests to one model, gathered into batches while the model is busy.

Nothing waits for a batch to fill: whatever has arrived when the model becomes free is computed together. One client
alone is answered at once, and many share the cost of a call.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass

import numpy as np

from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.spaces import Array


class QueueFull(Exception):
    """More requests wait than may."""


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
        By name: each takes arrays with n rows and gives one, row i of which depends on the rows i alone.
    executor
        Where batches are computed; without one in the event loop itself, which suits what takes less time than
        handing it to a thread.
    """

    def __init__(
        self,
        operations: Mapping[str, Callable[..., Array]],
        executor: Executor | None = None,
        largest: int = 256,
        most_waiting: int = 4096,
    ):
        self._operations, self._executor = operations, executor
        self._largest, self._most_waiting = largest, most_waiting
        self._waiting: deque[_Waiting] = deque()
        self._busy = False
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
            rows, error = None, None
            try:
                if self._executor is None:
                    rows = self._compute(batch)
                else:
                    rows = await asyncio.get_running_loop().run_in_executor(self._executor, self._compute, batch)
            except (Exception, asyncio.CancelledError) as failure:  # of the operation, or the executor is closed
                error = failure
            for i, waiting in enumerate(batch):
                if waiting.answer.done():
                    continue
                if rows is not None:
                    waiting.answer.set_result(rows[i])
                elif error is None or isinstance(error, asyncio.CancelledError):
                    waiting.answer.cancel()
                else:
                    waiting.answer.set_exception(error)
            await asyncio.sleep(0)  # so that answers go out before the next batch
        self._busy = False

    def _compute(self, batch: list[_Waiting]) -> Array:
        columns = zip(*(waiting.rows for waiting in batch), strict=True)
        result = self._operations[batch[0].operation](*map(np.stack, columns))
        if len(result) != len(batch):
            raise UsageError(f"{batch[0].operation}: expected {len(batch)} rows, got {len(result)}")
        return result

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
