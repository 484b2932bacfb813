"""Which parameters matter for an observable: Sobol indices by OpenTURNS's chaos on a served model.

gnvpro serve runs/dcr-model
python docs/clients/with_openturns.py http://localhost:4242 dcr-model
"""

import argparse
import time

import openturns as ot
import requests
import umbridge

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("url")
parser.add_argument("model")
parser.add_argument("--observable", type=int, default=0, help="its place")
parser.add_argument("--points", type=int, default=200)
given = parser.parse_args()

about = requests.post(f"{given.url}/ModelInfo", json={"name": given.model}).json()
names, bounds = about["parameters"]["names"], (about["parameters"]["lower"], about["parameters"]["upper"])
if {law["law"] for law in about["parameters"]["laws"]} != {"uniform"}:
    raise SystemExit("this recipe is for parameters that are uniform")
served = umbridge.HTTPModel(given.url, given.model)
model = ot.PythonFunction(len(names), 1, lambda y: [served([list(y)])[0][given.observable]])
law = ot.JointDistribution([ot.Uniform(*of) for of in zip(*bounds, strict=True)])

ot.RandomGenerator.SetSeed(1)
began = time.perf_counter()
y = ot.LowDiscrepancyExperiment(ot.SobolSequence(), law, given.points).generate()
algorithm = ot.FunctionalChaosAlgorithm(y, model(y), law)
algorithm.run()
seconds = time.perf_counter() - began
chaos = ot.FunctionalChaosRandomVector(algorithm.getResult())
indices = ot.FunctionalChaosSobolIndices(algorithm.getResult())
print(f"OpenTURNS {ot.__version__}: {given.points} evaluations in {seconds:.1f} s")
deviation = chaos.getCovariance()[0, 0] ** 0.5
print(
    f"{about['observables']['names'][given.observable]:>30} mean {chaos.getMean()[0]:.6g} standard deviation {deviation:.4g}"
)
for j, name in enumerate(names):
    first, total = indices.getSobolIndex(j), indices.getSobolTotalIndex(j)
    print(f"{name:>30} first order {first:.4f} total {total:.4f}")
