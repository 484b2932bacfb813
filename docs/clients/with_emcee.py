"""A served posterior sampled by emcee's ensemble of walkers, which needs no derivatives.

    gnvpro serve runs/dcr-model --posterior field.csv --noise 2%
    python docs/clients/with_emcee.py http://localhost:4242 dcr-model

Outside the prior's support the log density is -inf, as emcee expects; where the PDE behind it fails, too.
"""

import argparse
import time

import emcee
import numpy as np
import requests
from umbridge.emcee import UmbridgeLogProb

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("url")
parser.add_argument("model")
parser.add_argument("--steps", type=int, default=400)
given = parser.parse_args()

name = f"{given.model}-posterior"
about = requests.post(f"{given.url}/ModelInfo", json={"name": name}).json()
names, log_density = about["parameters"]["names"], UmbridgeLogProb(given.url, name)

# Walkers begin by the normal approximation around the most probable point; some may begin outside, and come in.
rng, walkers = np.random.default_rng(1), max(12, 2 * len(names) + 2)
start = rng.multivariate_normal(about["most_probable"], about["covariance"], walkers)
sampler = emcee.EnsembleSampler(walkers, len(names), log_density)
sampler.random_state = np.random.RandomState(1).get_state()
began = time.perf_counter()
sampler.run_mcmc(start, given.steps)
seconds = time.perf_counter() - began

draws = sampler.get_chain(discard=given.steps // 5)  # (step, walker, parameter)
effective = min(draws[..., 0].size / sampler.get_autocorr_time(discard=given.steps // 5, tol=0))
print(f"emcee {emcee.__version__}: {effective:.0f} effective of {draws[..., 0].size} draws in {seconds:.1f} s")
for j, parameter in enumerate(names):
    print(f"{parameter:>20} mean {draws[..., j].mean():.6g} standard deviation {draws[..., j].std():.4g}")
