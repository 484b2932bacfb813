"""One method on one case, in a process of its own."""

from __future__ import annotations

import multiprocessing
import sys
import time
import warnings
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

import numpy as np

from gnvpro.apps.studies.kept_runs import Row
from gnvpro.apps.studies.surrogates.data import DATA, Case, Folders
from gnvpro.apps.studies.surrogates.peers import PEERS
from gnvpro.surrogate.spaces import Array

OURS = "gnvpro"
# Imported by the server that processes are forked from, so that no run pays for it.
PRELOADED = [
    "gnvpro.training.train", "openturns", "sklearn.ensemble", "sklearn.gaussian_process", "sklearn.linear_model",
    "sklearn.model_selection", "threadpoolctl", __name__,
]  # fmt: skip


class Run(NamedTuple):
    """Which method on which case."""

    data: str
    n: int
    seed: int
    method: str


def measured(run: Run, folders: Folders, threads: int, limit: float) -> Row:
    """What a run gives: errors, CPU seconds of the fit, memory beyond data and libraries, or why it failed.

    It has a process of its own: memory is that process's peak, and what takes longer than `limit` seconds is ended.
    """
    context = multiprocessing.get_context("spawn" if sys.platform == "win32" else "forkserver")
    if sys.platform != "win32":
        context.set_forkserver_preload(PRELOADED)
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_in_process, args=(sender, run, folders, threads), daemon=True)
    process.start()
    sender.close()
    try:
        row = receiver.recv() if receiver.poll(limit) else dict(failed=f"longer than {limit:g} s")
    except EOFError:
        process.join()
        row = dict(failed=f"its process ended with {process.exitcode}")
    finally:
        process.kill()
        process.join()
    return row


def _in_process(sender: Connection, run: Run, folders: Folders, threads: int) -> None:
    from threadpoolctl import threadpool_limits

    from gnvpro.training.device import torch_threads

    warnings.simplefilter("ignore")
    with threadpool_limits(threads), torch_threads(threads):
        try:
            sender.send(fitted(DATA[run.data].case(run.n, run.seed, folders), run.method, run.seed))
        except Exception as error:  # a peer's own troubles are a result of the comparison
            sender.send(dict(failed=f"{type(error).__name__}: {error}"))


def fitted(case: Case, method: str, seed: int) -> Row:
    """Fit in this process."""
    memory, start = _peak(), time.process_time()
    model = _trained(case) if method == OURS else _peer(case, method, seed)
    spent, grown = time.process_time() - start, _peak() - memory
    predict, about = (model.surrogate.evaluate, _stated(model, case)) if method == OURS else (model, {})
    errors = case.errors(predict(case.test.parameters))
    return dict(**errors, n_train=len(case.samples), cpu_seconds=spent, memory_mib=grown, **about)


def _trained(case: Case) -> Any:
    """As a user calls it."""
    from gnvpro.training.train import train

    return train(case.samples)


def _stated(training: Any, case: Case) -> Row:
    """Errors that our training states, beside the same ones at the test points."""
    from gnvpro.surrogate.error_measure import ErrorMeasure
    from gnvpro.training.train import mean_relative_error

    about, c = training.surrogate.training, case.samples.observables
    row: Row = dict(stated=training.errors, true=mean_relative_error(training.surrogate, case.test))
    row["chosen"] = about["choice"]["reason"]
    if by_output := about.get("errors_by_output"):
        rmse = np.array(by_output["errors"], float) * ErrorMeasure.of(about).output_sizes(c)
        row["stated_nrmse"] = float(np.nanmean(rmse / np.where(c.std(0) > 0, c.std(0), np.nan)))
    return row


def _peer(case: Case, method: str, seed: int) -> Any:
    logarithmic = np.isin(case.samples.parameter_space.names, case.logarithmic)

    def by_logarithm(y: Array) -> Array:
        return np.where(logarithmic, np.log(np.where(logarithmic, y, 1)), y)

    y = by_logarithm(case.samples.parameters)
    lower, width = y.min(0), np.ptp(y, axis=0)
    width = np.where(width > 0, width, 1)
    predict = PEERS[method]((y - lower) / width, case.samples.observables, seed)
    return lambda y: predict((by_logarithm(y) - lower) / width)


def _peak() -> float:
    """Largest resident memory of this process so far, MiB; Windows does not tell."""
    if sys.platform == "win32":
        return float("nan")
    import resource

    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
