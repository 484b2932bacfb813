"""
PyMC samples a served posterior
===============================

A surrogate behind ``gnvpro serve`` answers any client of the UM-Bridge protocol, and with observations it serves its log
posterior, gradient included. PyMC's sampler, which knows nothing of the surrogate, draws from it here, and finds what
``gnvpro.invert`` finds.
"""

import json
import subprocess
import sys
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pymc as pm
import requests
from umbridge.pymc import UmbridgeOp

import gnvpro

# %%
# A tracer in a river
# -------------------
# Dye is poured into a river and its concentration measured 2 km downstream, every 4 minutes. The equation
# :math:`\partial_t c = D\, \partial_x^2 c - v\, \partial_x c` has a solution in closed form. Sought are the velocity, the
# dispersion and the mass over the river's cross-section.

MINUTES = np.arange(20.0, 64.0, 4.0)


class Tracer:
    parameters = gnvpro.Space.of_laws(
        {"velocity": (0.7, 1.1), "dispersion": (10.0, 40.0), "mass": (0.8, 1.4)}, units=("m/s", "m2/s", "g/m2")
    )
    observables = gnvpro.Space.vector([f"{t:.0f} min" for t in MINUTES], axis="time", units=("mg/m3",))
    name, definition = "tracer", {"problem": "tracer", "distance": 2000}

    def evaluate(self, y):
        velocity, dispersion, mass = y.T[:, :, None]
        t = 60 * MINUTES
        spread = 4 * dispersion * t
        return 1e3 * mass / np.sqrt(np.pi * spread) * np.exp(-((2000 - velocity * t) ** 2) / spread)


problem = Tracer()
gnvpro.generate(problem, "runs/tracer.zarr", n_samples=150, seed=0)
surrogate = gnvpro.train("runs/tracer.zarr", seed=0, quick=True, out="runs/tracer").surrogate

truth, deviation = np.array([0.88, 22.0, 1.1]), 0.05
observed = problem.evaluate(truth[None])[0] + deviation * np.random.default_rng(1).standard_normal(MINUTES.size)
np.save("observed.npy", observed)

# %%
# Serve it
# --------
# One command, in a shell of its own: ``gnvpro serve runs/tracer --posterior observed.npy --noise 0.05``. Here a process
# of this script does it, at a port that is free; its log tells which.

command = ["serve", "runs/tracer", "--posterior", "observed.npy", "--noise", str(deviation), "--port", "0"]


def address(server, log):
    while server.poll() is None:
        for line in log.read_text().splitlines():
            if line.startswith("{") and line.endswith("}") and json.loads(line)["event"] == "listening":
                return json.loads(line)["url"]
        time.sleep(0.1)
    raise RuntimeError(log.read_text())


# %%
# Sample it
# ---------
# ``tracer-posterior-normal`` is the posterior by independent standard normal variables behind the parameters, which have
# no bounds. The server says where the most probable point is and what the covariance is there; with these the sampler
# starts in the right place with the right scale. ``tracer-from-normal`` maps draws to parameters.


def sample(url):
    about = requests.post(f"{url}/ModelInfo", json={"name": "tracer-posterior-normal"}).json()
    centre, factor = np.array(about["most_probable"]), np.linalg.cholesky(about["covariance"])
    with pm.Model():
        x = pm.Flat("x", shape=centre.size, initval=np.zeros(centre.size))
        z = pm.Deterministic("z", centre + factor @ x)
        pm.Potential("posterior", UmbridgeOp(url, "tracer-posterior-normal")(z)[0])
        trace = pm.sample(120, tune=60, chains=2, cores=1, init="adapt_diag", random_seed=1, progressbar=False)
    drawn = trace.posterior["z"].values.reshape(-1, centre.size)
    to_parameters = {"name": "tracer-from-normal", "config": {}}
    answers = (requests.post(f"{url}/Evaluate", json={**to_parameters, "input": [row.tolist()]}) for row in drawn)
    return np.array([answer.json()["output"][0] for answer in answers])


log = Path("serve.log")
with log.open("wb") as file:
    server = subprocess.Popen([sys.executable, "-m", "gnvpro", *command], stdout=subprocess.DEVNULL, stderr=file)
try:
    by_pymc = sample(address(server, log))
finally:
    server.terminate()
    server.wait()

# %%
# Compare with ``invert``
# -----------------------
# The same observations, by the sampler that comes with the package, and the equation itself accepts or refuses draws.

inversion = gnvpro.invert(
    surrogate, observed, deviation, problem=problem, chains=2, draws=500, pde_draws=150, starts=4, seed=0, truth=truth
)
by_invert = inversion.chains["surrogate"].draws.reshape(-1, truth.size)
print(inversion)
shift = (by_pymc.mean(axis=0) - by_invert.mean(axis=0)) / by_invert.std(axis=0)
ratio = by_pymc.std(axis=0) / by_invert.std(axis=0)
print("means differ by", shift.round(2), "standard deviations; ratios of deviations", ratio.round(2))
assert np.abs(shift).max() < 0.5
assert np.abs(np.log(ratio)).max() < 0.4

names, units = problem.parameters.names, ("m/s", "m²/s", "g/m²")
figure, axes = plt.subplots(1, 3, figsize=(10, 3.6), layout="constrained")
for j, panel in enumerate(axes):
    bins = np.linspace(*np.quantile(by_invert[:, j], (0.001, 0.999)), 22)
    panel.hist(by_invert[:, j], bins, density=True, color="#0072B2", alpha=0.45, label="gnvpro.invert")
    panel.hist(by_pymc[:, j], bins, density=True, histtype="step", color="#D55E00", linewidth=2, label="PyMC, served")
    panel.axvline(truth[j], color="black", linestyle="--", label="truth")
    panel.set(xlabel=f"{names[j]} ({units[j]})", yticks=[])
axes[0].set(ylabel="posterior density")
axes[0].legend(fontsize="small")
figure.suptitle("The same posterior from two samplers")
plt.show()

# %%
# Recipes for emcee, TinyDA, CUQIpy, OpenTURNS and QMCPy are in ``docs/clients``; what the server offers: :doc:`/serving`.
