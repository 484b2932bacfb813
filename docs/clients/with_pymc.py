"""A served posterior sampled by PyMC's NUTS, with the served gradient, in the normal variables behind the parameters.

    gnvpro serve runs/dcr-model --posterior field.csv --noise 2%
    python docs/clients/with_pymc.py http://localhost:4242 dcr-model

There nothing has a bound; NAME-from-normal maps draws back to parameters.
"""

import argparse
import time

import arviz as az
import numpy as np
import pymc as pm
import requests
import umbridge
from umbridge.pymc import UmbridgeOp

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("url")
parser.add_argument("model")
parser.add_argument("--draws", type=int, default=150)
parser.add_argument("--tune", type=int, default=60)
given = parser.parse_args()

name = f"{given.model}-posterior-normal"
about = requests.post(f"{given.url}/ModelInfo", json={"name": name}).json()
names, centre = about["parameters"]["names"], np.array(about["most_probable"])
factor = np.linalg.cholesky(about["covariance"])

with pm.Model():
    x = pm.Flat("x", shape=len(names), initval=np.zeros(len(names)))
    z = pm.Deterministic("z", centre + factor @ x)  # of x the posterior is about standard normal
    pm.Potential("posterior", UmbridgeOp(given.url, name)(z)[0])
    began = time.perf_counter()
    options = {"init": "adapt_diag", "chains": 2, "cores": 1, "random_seed": 1, "progressbar": False}
    trace = pm.sample(given.draws, tune=given.tune, **options)
    seconds = time.perf_counter() - began

to_parameters = umbridge.HTTPModel(given.url, f"{given.model}-from-normal")
model = requests.post(f"{given.url}/ModelInfo", json={"name": given.model}).json()
at = [model["parameters"]["names"].index(parameter) for parameter in names]  # fixed ones are among the parameters, too
z = trace.posterior["z"].values  # (chain, draw, variable)
draws = np.array([[to_parameters([point.tolist()])[0] for point in chain] for chain in z])[..., at]
effective = min(float(az.ess(draws[..., j])) for j in range(len(names)))
print(f"PyMC {pm.__version__}: {effective:.0f} effective of {draws[..., 0].size} draws in {seconds:.1f} s")
for j, parameter in enumerate(names):
    print(f"{parameter:>20} mean {draws[..., j].mean():.6g} standard deviation {draws[..., j].std():.4g}")
