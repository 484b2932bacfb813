"""What runs the tasks of a data set: this process, workers of this machine, or the workers of a Dask scheduler.

An engine is given a task and block numbers and yields what the task returned, in any order. The task writes its block
itself, so nothing but a few numbers travels back.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
from collections.abc import Callable, Iterable, Iterator
from multiprocessing import resource_tracker
from typing import TYPE_CHECKING, Any

from gnvpro.pde_data.generation.blocks import BlockTask, FinishedBlock
from gnvpro.surrogate.errors import UsageError

if TYPE_CHECKING:
    from distributed import Client, LocalCluster

# numpy reads the first three when it is imported; PETSc's handler would turn a stop into a page of advice; Dask's
# sampling profiler competes with the solve for the interpreter.
WORKER_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "PETSC_OPTIONS": "-no_signal_handler",
    "DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED": "False",
}
CONNECT_SECONDS = 20


Engine = Callable[[BlockTask, Iterable[int]], Iterator[FinishedBlock]]


def engine_of(workers: int | None, scheduler: str | None) -> Engine:
    """The engine of so many processes of this machine or of a scheduler's address; this process without both."""
    if workers is not None and scheduler is not None:
        raise UsageError("give either workers of this machine or a scheduler with workers of its own")
    if scheduler is not None:
        return running_scheduler(scheduler)
    return in_process if workers is None else local_workers(workers)


def in_process(task: BlockTask, blocks: Iterable[int]) -> Iterator[FinishedBlock]:
    """The engine that solves one block after the other, here."""
    return map(task, blocks)


def local_workers(n: int) -> Engine:
    """An engine of n processes on this machine, each with one thread, started for the run and gone after it.

    A process that dies is started again and its block solved again; a block that kills several is recorded as
    failed. In a script, call what uses it below `if __name__ == "__main__":`, since the processes are spawned.

    Raises ImportError: Dask is not installed; says what to install.
    """
    if n < 1:
        raise UsageError(f"expected at least 1 worker, got {n}")
    _distributed()
    return _engine(lambda n_blocks: _local_cluster(min(n, n_blocks)))


def running_scheduler(address: str) -> Engine:
    """An engine of the workers that a running Dask scheduler has, now or later.

    They need this package, the problem's code and the folder of the data set under the same path.

    Raises ImportError: Dask is not installed; says what to install.
    """
    _distributed()
    return _engine(lambda n_blocks: _connected(address))


def _engine(clients: Callable[[int], contextlib.AbstractContextManager[Client]]) -> Engine:
    """Of the client that there is for a number of blocks."""

    def run(task: BlockTask, blocks: Iterable[int]) -> Iterator[FinishedBlock]:
        blocks = list(blocks)
        if blocks:
            with clients(len(blocks)) as client:
                yield from _solved(client, task, blocks)

    return run


@contextlib.contextmanager
def _connected(address: str) -> Iterator[Client]:
    try:
        client = _distributed().Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError) as error:
        raise OSError(
            f"no Dask scheduler answers at {address!r} ({' '.join(str(error).split())}); "
            "give the address it printed when it started, such as tcp://10.0.0.1:8786"
        ) from error
    try:
        yield client
    finally:
        client.close(timeout=CONNECT_SECONDS)


def _distributed() -> Any:
    try:
        import distributed
    except ImportError as error:
        raise ImportError('workers need Dask: pip install "gnvpro[parallel]"') from error
    return distributed


def _solved(client: Client, task: BlockTask, blocks: list[int]) -> Iterator[FinishedBlock]:
    """Hand out the blocks; every one that is finished comes back, or its error."""
    from asyncio import CancelledError as LoopCancelledError
    from concurrent.futures import CancelledError

    from distributed import KilledWorker, as_completed
    from distributed.comm import CommClosedError

    # Never the result of an equal task of an earlier run: the task is there to write.
    futures = client.map(task, blocks, pure=False)
    block_of = {future.key: block for future, block in zip(futures, blocks, strict=True)}
    try:
        for future in as_completed(futures, loop=client.loop):
            try:
                finished = future.result()
            except KilledWorker:
                reason = "the worker process died of this block, every time it was tried"
                finished = task.record_failure(block_of[future.key], reason)
            future.release()
            yield finished
    except (CommClosedError, CancelledError, LoopCancelledError) as error:
        raise OSError("lost the Dask scheduler; finished blocks are kept, and generating it again resumes") from error
    finally:
        # Where the scheduler is gone, there is nothing left to cancel.
        with contextlib.suppress(OSError, RuntimeError, CancelledError, LoopCancelledError):
            client.cancel(futures, force=True)


@contextlib.contextmanager
def _local_cluster(n: int) -> Iterator[Client]:
    """A client of n fresh worker processes; after an interrupt or an error they are killed, whatever they do."""
    import dask
    from distributed import Client, LocalCluster

    settings = {
        # One block at a time: a block that waits on a worker would be blamed for the worker's death too.
        "distributed.scheduler.worker-saturation": 1.0,
        "distributed.worker.multiprocessing-method": "spawn",
        "distributed.nanny.pre-spawn-environ": WORKER_ENVIRONMENT,
        # Local workers are given the settings of this process, which outweigh their environment.
        "distributed.worker.profile.enabled": False,
        "distributed.admin.system-monitor.interval": "60s",
        "distributed.admin.system-monitor.gil.enabled": False,
        # Nobody looks in: what listens for HTTP all the same has nothing to say.
        "distributed.scheduler.http.routes": [],
        "distributed.worker.http.routes": [],
    }
    before = dict(os.environ)  # the nannies set the workers' environment in this process, to spawn them with it
    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # a lost worker is our business to report
    try:
        with dask.config.set(settings):
            # Ctrl-C reaches every process of a terminal. Workers inherit that it is held back from the thread that
            # starts them, and that one from this; here it is let through again.
            resource_tracker.ensure_running()  # it would let it through in that thread when it is started there
            mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
            try:
                cluster = LocalCluster(
                    n_workers=n,
                    threads_per_worker=1,
                    processes=True,
                    # No dashboard, yet a port: without one Dask takes 8787, and warns where another program has it.
                    dashboard_address="127.0.0.1:0",
                    scheduler_kwargs={"dashboard": False},
                    memory_limit=0,
                    silence_logs=logging.CRITICAL,
                )
            except BaseException:
                signal.pthread_sigmask(signal.SIG_SETMASK, mask)
                raise
            try:
                signal.pthread_sigmask(signal.SIG_SETMASK, mask)
                with Client(cluster, set_as_default=False) as client:
                    yield client
            except BaseException:
                _kill(cluster)
                raise
            finally:
                cluster.close()
    finally:
        for name in set(os.environ) - set(before):
            del os.environ[name]
        os.environ.update(before)


def _kill(cluster: LocalCluster) -> None:
    """End the workers now: one in the midst of a long solve would not listen."""
    for nanny in cluster.workers.values():
        nanny.auto_restart = False  # pyright: ignore[reportAttributeAccessIssue]
        if (process := nanny.pid) is not None:  # pyright: ignore[reportAttributeAccessIssue]
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
