"""
More processes: a Dask cluster and torchrun
===========================================

Solves are spread over the workers of a cluster, and one surrogate is trained by several processes. This page does both
with two processes on one machine, and checks what one wants to know first: that the data are those of one process, bit for
bit, and that the surrogate is the same but for rounding. The same lines run on Slurm.
"""

import os
import subprocess
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr

import gnvpro

# %%
# A problem that workers can import
# ---------------------------------
# It stands in a file, and its name is ``decay:Decay``: every worker makes it for itself. It likes to solve 1500 samples at
# once.

_ = Path("decay.py").write_text('''
import numpy as np

import gnvpro


class Decay:
    """A damped oscillation, at twelve times."""

    parameters = gnvpro.Space.vector(
        ["frequency", "rate", "phase", "offset"], lower=(2, 0.3, -1, -0.2), upper=(5, 1.5, 1, 0.2), law="uniform"
    )
    observables = gnvpro.Space((gnvpro.Axis("time", tuple(np.linspace(0, 3, 12)), "s"),), units=("V",))
    block_size = 1500

    def evaluate(self, y):
        times = np.linspace(0, 3, 12)
        return y[:, 3:] + np.cos(y[:, :1] * times + y[:, 2:3]) * np.exp(-y[:, 1:2] * times)
''')

# %%
# Solves on a Dask cluster
# ------------------------
# A script starts two workers and gives the address of their scheduler to ``generate``. On Slurm, ``SLURMCluster`` of
# dask-jobqueue takes the place of ``LocalCluster``, and the rest stays: :doc:`/at-scale` has that script,
# ``slurm_generate.py``.

Path("on_cluster.py").write_text("""
from distributed import LocalCluster

import gnvpro

if __name__ == "__main__":  # the workers import this file
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        address = cluster.scheduler_address
        generation = gnvpro.generate("decay:Decay", "runs/cluster.zarr", 21_000, seed=0, scheduler=address)
    print(generation.n_ok, "samples are solved")
""")
environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def run(*command):
    done = subprocess.run([sys.executable, *command], env=environment, capture_output=True, text=True)
    print(done.stdout[-1500:])
    assert done.returncode == 0, done.stderr[-3000:]


run("on_cluster.py")

# %%
# The same without a cluster, in this process. Which worker solved a block, and when, is not seen in the data: parameters and
# observables are the same bits.

sys.path.insert(0, os.getcwd())
gnvpro.generate("decay:Decay", "runs/alone.zarr", 21_000, seed=0)
with (
    xr.open_zarr("runs/cluster.zarr", consolidated=False) as there,
    xr.open_zarr("runs/alone.zarr", consolidated=False) as here,
):
    for name in ("parameters", "observables", "status"):
        assert np.array_equal(there[name].values, here[name].values), name
print("the same bits: parameters, observables, status")

# %%
# Training by torchrun
# --------------------
# Above 20,000 samples every process holds its share of them alone, and values, gradients and the factors of the inner
# problem are put together from all shares. So a network is trained by two processes, which talk by gloo, and by one.

settings = ["--widths", "16,16", "--gain", "0.3", "--polynomial", "off", "--budget", "160", "--seed", "0"]
launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node"]
run(*launcher, "2", "-m", "gnvpro", "train", "runs/cluster.zarr", "--out", "runs/by-two", *settings)
run(*launcher, "1", "-m", "gnvpro", "train", "runs/alone.zarr", "--out", "runs/by-one", *settings)

# %%
# The sums are taken in another order, so that values and gradients differ by rounding, which the steps of the optimiser
# amplify. After these it is still far below the error of either; how far it goes is measured in :doc:`/at-scale`.

by_two, by_one = gnvpro.load("runs/by-two"), gnvpro.load("runs/by-one")
gnvpro.generate("decay:Decay", "runs/fresh.zarr", 3000, seed=1)
samples = gnvpro.read_samples("runs/fresh.zarr")
y, truth = samples.parameters, samples.observables
error = np.abs(by_one.evaluate(y) - truth).max(axis=1)
difference = np.abs(by_two.evaluate(y) - by_one.evaluate(y)).max(axis=1)
print(f"largest error of a sample, median: {np.median(error):.1e} V; between the two: {np.median(difference):.1e} V")
assert np.median(difference) < 0.1 * np.median(error)

figure, axes = plt.subplots(figsize=(7, 3.8), layout="constrained")
bins = np.geomspace(max(difference.min(), 1e-17), error.max(), 80)
axes.hist(difference, bins, color="#009E73", alpha=0.7, label="two processes against one")
axes.hist(error, bins, color="#0072B2", alpha=0.7, label="surrogate against the solver")
axes.set(xscale="log", xlabel="largest difference in a sample (V)", ylabel="samples of 3,000")
axes.set_title("Trained by two processes and by one")
axes.legend()
plt.show()

# %%
# On a cluster
# ------------
# ``sbatch slurm_train.sh runs/cluster.zarr --out runs/model`` is the same training on several nodes; with GPUs it is
# ``--device cuda``. What is faster by how much depends on the machine, and two processes on a small problem are not: times
# that were measured with care, what is sent between processes, and data larger than memory are in :doc:`/at-scale`.
