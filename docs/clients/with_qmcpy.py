"""Means of the observables over uniform parameters, by QMCPy's quasi-Monte Carlo to a tolerance.

gnvpro serve runs/dcr-model
python docs/clients/with_qmcpy.py http://localhost:4242 dcr-model
"""

import argparse
import time

import qmcpy as qp
import requests
import umbridge
from qmcpy.integrand import UMBridgeWrapper

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("url")
parser.add_argument("model")
parser.add_argument("--tolerance", type=float, default=1e-3, help="relative")
given = parser.parse_args()

about = requests.post(f"{given.url}/ModelInfo", json={"name": given.model}).json()
parameters, observables = about["parameters"], about["observables"]
if {law["law"] for law in parameters["laws"]} != {"uniform"}:
    raise SystemExit("this recipe is for parameters that are uniform; NAME-from-normal makes others of qp.Gaussian")

points = qp.DigitalNetB2(len(parameters["names"]), seed=7)
measure = qp.Uniform(points, lower_bound=parameters["lower"], upper_bound=parameters["upper"])
integrand = UMBridgeWrapper(measure, umbridge.HTTPModel(given.url, given.model))
began = time.perf_counter()
means, found = qp.CubQMCNetG(integrand, rel_tol=given.tolerance, abs_tol=0, n_init=2**8).integrate()
seconds = time.perf_counter() - began
print(f"QMCPy {qp.__version__}: {int(found.n_total)} evaluations in {seconds:.1f} s")
for name, mean in zip(observables["names"], means, strict=True):
    print(f"{name:>30} mean {mean:.6g}")
