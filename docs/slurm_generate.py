"""A data set made by the jobs of a Slurm cluster: `python slurm_generate.py cdr --samples 100000 --out runs/big.zarr`.

Run it where jobs may be submitted from, for instance in a `tmux` on the login node: it needs next to nothing itself.
Jobs that end, whatever for, are replaced, and their blocks solved again. If this script is stopped, start it again.
"""

from __future__ import annotations

import argparse
import logging
import sys

import dask
from dask_jobqueue import SLURMCluster
from dask_jobqueue.core import JobQueueCluster
from dask_jobqueue.local import LocalCluster

from gnvpro.pde_data.generation.engines import WORKER_ENVIRONMENT
from gnvpro.pde_data.generation.run import generate

# One process with one thread a solver, and one block at a time: a block is not blamed for another's dead worker.
ONE_SOLVER = {"cores": 1, "processes": 1, "memory": "4GB", "python": sys.executable}
dask.config.set({"distributed.scheduler.worker-saturation": 1.0})


def slurm(partition: str | None, account: str | None, walltime: str) -> JobQueueCluster:
    """Jobs of one solver each; `SLURMCluster` has more to set, such as `job_extra_directives`."""
    prologue = [f"export {name}={value}" for name, value in WORKER_ENVIRONMENT.items()]
    return SLURMCluster(
        queue=partition,
        account=account,
        walltime=walltime,
        # A worker that nears the end of its job leaves in good time, and Dask asks for another.
        worker_extra_args=["--lifetime", "55m", "--lifetime-stagger", "4m"],
        job_script_prologue=prologue,
        **ONE_SOLVER,
    )


def main() -> None:
    """Read the command line, start the jobs, make the data set."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("problem")
    parser.add_argument("--samples", type=int, required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=32)
    parser.add_argument("--partition")
    parser.add_argument("--account")
    parser.add_argument("--walltime", default="01:00:00")
    parser.add_argument("--here", action="store_true", help="processes of this machine in place of jobs, to try it")
    given = parser.parse_args()
    logging.getLogger("distributed").setLevel(logging.ERROR)
    start = LocalCluster(**ONE_SOLVER) if given.here else slurm(given.partition, given.account, given.walltime)
    with start as cluster:
        cluster.adapt(minimum_jobs=given.jobs, maximum_jobs=given.jobs)  # jobs that end are asked for again
        generation = generate(
            given.problem,
            given.out,
            given.samples,
            given.seed,
            progress=lambda done, total, note: print(note, flush=True),
            scheduler=cluster.scheduler_address,
        )
    print(f"{generation.n_ok} of {generation.n_samples} samples are in {generation.path}, {generation.n_failed} failed")


if __name__ == "__main__":
    main()
