"""A served posterior sampled by tinyDA: delayed acceptance, where the PDE decides about what the surrogate proposes.

    gnvpro serve runs/dcr-model --posterior field.csv --noise 2% --with-pde
    python docs/clients/with_tinyda.py http://localhost:4242 dcr-model

Without `--with-pde` the surrogate alone is sampled. The prior is that of the normal variables behind the parameters.
"""

import argparse
import time
from importlib.metadata import version

import arviz as az
import numpy as np
import requests
import tinyDA as tda
import umbridge
from scipy.stats import multivariate_normal

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("url")
parser.add_argument("model")
parser.add_argument("--draws", type=int, default=300)
given = parser.parse_args()


class Served:
    """What the server answers is the log likelihood already."""

    def loglike(self, model_output):  # noqa: D102
        return model_output[0]


about = requests.post(f"{given.url}/ModelInfo", json={"name": f"{given.model}-posterior-normal"}).json()
model = requests.post(f"{given.url}/ModelInfo", json={"name": given.model}).json()
names = about["parameters"]["names"]
at = [model["parameters"]["names"].index(parameter) for parameter in names]  # fixed ones are among the parameters, too
from_normal = umbridge.HTTPModel(given.url, f"{given.model}-from-normal")
to_parameters = lambda z: np.array(from_normal([z.tolist()])[0])[at]  # noqa: E731
prior = multivariate_normal(np.zeros(len(names)), np.eye(len(names)))

likelihoods = [f"{given.model}-log-likelihood", f"{given.model}-pde-log-likelihood"]
served = [level for level in likelihoods if level in umbridge.supported_models(given.url)]
posteriors = [
    tda.Posterior(prior, Served(), tda.UmBridgeModel(umbridge.HTTPModel(given.url, level), pre=to_parameters))
    for level in served
]
proposal = tda.GaussianRandomWalk(C=np.array(about["covariance"]) * 2.4**2 / len(names))
np.random.seed(1)  # noqa: NPY002 (the generator that the sampler draws from)
start = [np.array(about["most_probable"])] * 2
began = time.perf_counter()
levels = posteriors if len(posteriors) > 1 else posteriors[0]
chains = tda.sample(
    levels, proposal, given.draws, n_chains=2, initial_parameters=start, subchain_length=5, force_sequential=True
)
seconds = time.perf_counter() - began

kind = "chain_fine" if len(posteriors) > 1 else "chain"
finest = [[link.parameters for link in chains[f"{kind}_{i}"]] for i in range(2)]
draws = np.array([[to_parameters(z) for z in chain] for chain in finest])  # (chain, draw, parameter)
effective = min(float(az.ess(draws[..., j])) for j in range(len(names)))
print(
    f"tinyDA {version('tinyDA')}: {effective:.0f} effective of {draws[..., 0].size} draws in {seconds:.1f} s, by {served[-1]}"
)
for j, parameter in enumerate(names):
    print(f"{parameter:>20} mean {draws[..., j].mean():.6g} standard deviation {draws[..., j].std():.4g}")
