"""A served posterior sampled by CUQIpy's NUTS, with the served gradient, in the normal variables behind the parameters.

gnvpro serve runs/dcr-model --posterior field.csv --noise 2%
python docs/clients/with_cuqipy.py http://localhost:4242 dcr-model
"""

import argparse
import time

import arviz as az
import cuqi
import numpy as np
import requests
import umbridge

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("url")
parser.add_argument("model")
parser.add_argument("--draws", type=int, default=300)
parser.add_argument("--tune", type=int, default=80)
given = parser.parse_args()

name = f"{given.model}-posterior-normal"
about = requests.post(f"{given.url}/ModelInfo", json={"name": name}).json()
posterior = umbridge.HTTPModel(given.url, name)
to_parameters = umbridge.HTTPModel(given.url, f"{given.model}-from-normal")
names, centre = about["parameters"]["names"], np.array(about["most_probable"])
factor = np.linalg.cholesky(about["covariance"])

# Of x, with z = centre + factor x, the posterior is about standard normal.
target = cuqi.distribution.UserDefinedDistribution(
    dim=len(names),
    logpdf_func=lambda x: posterior([(centre + factor @ x).tolist()])[0][0],
    gradient_func=lambda x: factor.T @ posterior.gradient(0, 0, [(centre + factor @ x).tolist()], [1.0]),
)
np.random.seed(1)  # noqa: NPY002 (the generator that the sampler draws from)
cuqi.config.PROGRESS_BAR_DYNAMIC_UPDATE = False
sampler = cuqi.sampler.NUTS(target, initial_point=np.zeros(len(names)))
began = time.perf_counter()
sampler.warmup(given.tune)
sampler.sample(given.draws)
seconds = time.perf_counter() - began

x = sampler.get_samples().samples[:, -given.draws :].T
model = requests.post(f"{given.url}/ModelInfo", json={"name": given.model}).json()
at = [model["parameters"]["names"].index(parameter) for parameter in names]  # fixed ones are among the parameters, too
draws = np.array([to_parameters([(centre + factor @ point).tolist()])[0] for point in x])[:, at]
effective = min(float(az.ess(draws[None, :, j])) for j in range(len(names)))
print(f"CUQIpy {cuqi.__version__}: {effective:.0f} effective of {len(draws)} draws in {seconds:.1f} s")
for j, parameter in enumerate(names):
    print(f"{parameter:>20} mean {draws[:, j].mean():.6g} standard deviation {draws[:, j].std():.4g}")
