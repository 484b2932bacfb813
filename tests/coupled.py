"""The same function in several coupled processes, or threads that are coupled like these."""

from __future__ import annotations

import copy
import multiprocessing
import pickle
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from gnvpro.surrogate.coupling import Coupling, Ranks

# Until a process that does not answer counts as one that waits for another.
PATIENCE = 240.0


def in_processes(size: int, function: Callable[..., Any], *arguments: Any) -> list[Any]:
    """What `function(coupling, *arguments)` gives in every one of so many gloo processes, in the order of their ranks.

    The function is one of a module, and what it takes and gives can be pickled. An exception in a process is raised here.
    """
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        meeting, pipes, processes = Path(folder) / "meeting", [], []
        for rank in range(size):
            ours, theirs = context.Pipe(duplex=False)
            process = context.Process(target=_process, args=(rank, size, meeting, theirs, function, arguments))
            process.start()
            theirs.close()
            pipes.append(ours)
            processes.append(process)
        try:
            results = [
                pickle.loads(pipe.recv_bytes()) if pipe.poll(PATIENCE) else TimeoutError("a process waits")
                for pipe in pipes
            ]
        except EOFError:
            results = [RuntimeError("a process died")]
        finally:
            for process in processes:
                process.join(5)
                process.kill()
                process.join()
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return results


def _process(rank: int, size: int, meeting: Path, pipe: Any, function: Callable[..., Any], arguments: Any) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=size)
    try:
        # Not `send`, by which tensors would stay in the memory of this process, which ends.
        pipe.send_bytes(pickle.dumps(function(Ranks(), *arguments)))
    except BaseException as error:
        pipe.send_bytes(pickle.dumps(error))
        raise
    finally:
        pipe.close()
        dist.destroy_process_group()


class Together(Coupling):
    """A rank that is a thread: `in_threads` makes them."""

    def __init__(self, rank: int, size: int, barrier: threading.Barrier, slots: list[Any]) -> None:
        self.rank, self.size, self._barrier, self._slots = rank, size, barrier, slots

    def gathered(self, value):
        return copy.deepcopy(self._gathered(value))  # what arrives shares no memory

    def _gathered(self, value):
        self._slots[self.rank] = value
        self._barrier.wait()
        values = list(self._slots)
        self._barrier.wait()
        return values

    def sum(self, values):
        return torch.stack(self._gathered(values)).sum(0)

    def largest(self, values):
        return torch.stack(self._gathered(values)).amax(0)

    def stacked(self, rows):
        return torch.cat(self._gathered(rows))

    def from_first(self, value):
        return self.gathered(value)[0]


def in_threads(size: int, function: Callable[..., Any], *arguments: Any) -> list[Any]:
    """The same in threads of this process: starts at once, and no collective is a process's own."""
    barrier, slots = threading.Barrier(size, timeout=PATIENCE), [None] * size
    results: list[Any] = [None] * size

    def run(rank: int) -> None:
        try:
            results[rank] = function(Together(rank, size, barrier, slots), *arguments)
        except threading.BrokenBarrierError:
            pass
        except BaseException as error:
            results[rank] = error
            barrier.abort()

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return results
