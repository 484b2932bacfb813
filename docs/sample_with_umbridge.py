"""Where is the body, given noisy potential differences? PyMC's NUTS drives a served surrogate over UM-Bridge.

In one shell, the surrogate of the README's "Step by step":

    gnvpro serve runs/dcr-model

In another, with an environment of its own, for this script knows nothing of gnvpro:

    python -m venv sampling
    sampling/bin/pip install umbridge pymc
    sampling/bin/python docs/sample_with_umbridge.py

Data are made of the model itself at known parameters, with noise; the posterior should then cover these. With
`--observations runs/inversion/observations.npz` the data of `gnvpro invert` are taken, and its posterior should come out.
Here the client has prior and likelihood; with `gnvpro serve --posterior` the server has them, and `clients/` a script for
each of PyMC, emcee, CUQIpy, tinyDA, QMCPy and OpenTURNS.
"""

from __future__ import annotations

import argparse
import time

import arviz as az
import numpy as np
import pymc as pm
import requests
import umbridge
from umbridge.pymc import UmbridgeOp

# Depth (m), volume (m³) and azimuth (rad).
TRUTH = np.array([0.62, 0.11, 0.6])


def main() -> None:
    """Make data, sample, print truth and posterior."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="http://localhost:4242")
    parser.add_argument("--model", default="dcr-model")
    parser.add_argument("--observations", help="data of `gnvpro invert --out`: observations.npz")
    parser.add_argument("--noise", type=float, default=0.3, help="in spreads of the observables over the prior")
    parser.add_argument("--draws", type=int, default=200)
    parser.add_argument("--tune", type=int, default=100)
    given = parser.parse_args()

    about = requests.post(f"{given.url}/ModelInfo", json={"name": given.model}).json()["parameters"]
    names, lower, upper = about["names"], about["lower"], about["upper"]
    if given.observations:
        with np.load(given.observations) as stored:
            data, noise = stored["observations"], stored["standard_deviation"]
    else:
        data, noise = synthetic(umbridge.HTTPModel(given.url, given.model), given.noise, lower, upper)
    measured = np.flatnonzero(np.isfinite(data))

    with pm.Model():
        y = pm.math.stack([pm.Uniform(*of) for of in zip(names, lower, upper, strict=True)])
        predicted = UmbridgeOp(given.url, given.model)(y)[measured]
        pm.Normal("observed", mu=predicted, sigma=noise[measured], observed=data[measured])
        began = time.perf_counter()
        trace = pm.sample(given.draws, tune=given.tune, chains=2, cores=1, random_seed=1, progressbar=False)
        seconds = time.perf_counter() - began

    steps = int(trace.sample_stats["n_steps"].sum())
    print(f"{2 * given.draws} draws in {seconds:.0f} s, {steps} evaluations with gradients after tuning")
    print(f"{'':>8} {'truth':>8} {'mean':>9} {'std':>9}  R-hat  effective draws")
    for name, truth in zip(names, TRUTH, strict=True):
        draws = trace.posterior[name].values  # (chain, draw)
        known = f"{truth:8.4f}" if given.observations is None else f"{'':>8}"
        print(f"{name:>8} {known} {draws.mean():9.5f} {draws.std():9.5f}  {az.rhat(draws):.3f}  {az.ess(draws):.0f}")


def synthetic(
    model: umbridge.HTTPModel, noise: float, lower: list[float], upper: list[float]
) -> tuple[np.ndarray, np.ndarray]:
    """Data at the truth, and the standard deviations of their noise, in spreads of the observables over the prior."""
    rng = np.random.default_rng(0)
    prior = np.array([model([y.tolist()])[0] for y in rng.uniform(lower, upper, (64, len(lower)))])
    spread = noise * prior.std(axis=0).mean()
    data = np.array(model([TRUTH.tolist()])[0]) + spread * rng.standard_normal(prior.shape[1])
    return data, np.full(len(data), spread)


if __name__ == "__main__":
    main()
