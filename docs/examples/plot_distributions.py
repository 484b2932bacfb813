"""
Laws of parameters, and what follows from them
==============================================

A conductivity that varies over decades, a number of pumps, shares of sand, silt and clay that sum to one: what is known of
the parameters is written once, as their laws. The design, the surrogate, the error that is stated and the chance of a limit
then follow from it.
"""

import matplotlib.pyplot as plt
import numpy as np
import scipy.stats as stats

import gnvpro
from gnvpro.surrogate.draws import draw
from gnvpro.surrogate.laws import Dirichlet, Integers, Lognormal

# %%
# An excavation that is to stay dry
# ---------------------------------
# Wells around a building pit lower the water table. How far depends on the conductivity of the ground, on what it is made
# of, on the number of pumps that run, on the recharge by rain, and on the depth of the aquifer.

parameters = gnvpro.Space.of_laws(
    {
        "conductivity": Lognormal(mean_of_log=np.log(20), standard_deviation_of_log=0.4),
        ("sand", "silt", "clay"): Dirichlet((6, 3, 1)),
        "pumps": Integers(5, 8),
        "recharge": stats.gamma(4, scale=0.5),  # any distribution of scipy.stats
        "depth": (18.0, 22.0),  # two bounds: uniform
    },
    units=["m/d", "1", "1", "1", "1", "mm/d", "m"],
)


class Pit:
    name = "pit"
    definition = {"problem": "pit", "route": "formula of Dupuit and Thiem", "options": {}}  # noqa: RUF012
    parameters = parameters
    observables = gnvpro.Space.vector(["middle", "edge", "garden"], units=("m", "m", "m"), axis="place")

    def evaluate(self, y):
        """Height of the water table over the bottom of the aquifer, at three distances from the middle."""
        conductivity, sand, silt, clay, pumps, recharge, depth = y.T
        k = conductivity * sand * np.exp(-2 * clay) + 0.1 * silt
        reach, heights = 600.0, []
        for distance in (20.0, 35.0, 120.0):
            drawn = 120 * pumps / (np.pi * k) * np.log(reach / distance)
            rain = 1e-3 * recharge * (reach**2 - distance**2) / (2 * k)
            squared = depth**2 + rain - drawn
            heights.append(np.sqrt(np.where(squared > 0, squared, np.nan)))
        return np.stack(heights, axis=1)


# %%
# What a draw looks like
# ----------------------
# Samples are drawn by the laws: whole numbers of pumps, shares that sum to one, conductivities with a long tail.

y = draw(parameters, 0, range(4000))
assert np.allclose(y[:, 1:4].sum(axis=1), 1)
assert set(y[:, 4]) == {5, 6, 7, 8}
figure, grid = plt.subplots(2, 2, figsize=(8, 5.6), layout="constrained")
axes = grid.ravel()
axes[0].hist(y[:, 0], 60, color="#0072B2", alpha=0.7)
axes[0].set(xlabel="conductivity (m/d)", ylabel="draws of 4,000", title="lognormal", xlim=(0, 80))
axes[1].plot(y[:1500, 1], y[:1500, 2], ".", markersize=2, color="#0072B2")
axes[1].set(xlabel="share of sand", ylabel="share of silt", title="Dirichlet")
axes[2].hist(y[:, 4], np.arange(4.75, 9, 0.5), color="#0072B2", alpha=0.7)
axes[2].set(xlabel="pumps that run", ylabel="draws of 4,000", title="integers")
axes[3].hist(y[:, 5], 60, color="#0072B2", alpha=0.7)
axes[3].set(xlabel="recharge (mm/d)", title="gamma, of SciPy")
plt.show()

# %%
# Data, surrogate, error
# ----------------------
# The same laws place the samples, scale the parameters (a lognormal one enters by its logarithm) and choose the fresh points
# that the error is a mean over.

problem = Pit()
gnvpro.generate(problem, "runs/pit.zarr", 200, seed=0)
surrogate = gnvpro.train("runs/pit.zarr", seed=0, quick=True).surrogate
fresh = draw(parameters, 7, range(20_000))
truth, predicted = problem.evaluate(fresh), surrogate.evaluate(fresh)
wet = np.isfinite(truth).all(axis=1)  # the formula knows no height where the wells run dry
error = np.linalg.norm((predicted - truth)[wet], axis=1) / np.linalg.norm(truth[wet], axis=1)
print(f"mean error {error.mean():.2%} at {wet.sum()} fresh points; {np.mean(~wet):.2%} of the law have no answer")
assert error.mean() < 0.02

# %%
# Laws also say what is not a value. Six and a half pumps, or shares that do not sum to one, are outside of the space, and the
# surrogate does not trust itself there.

half_a_pump, too_much_sand = fresh[wet][:1].copy(), fresh[wet][:1].copy()
half_a_pump[0, 4] += 0.5
too_much_sand[0, 1] += 0.1
print("trusted:", surrogate.trusted(np.vstack([fresh[wet][:1], half_a_pump, too_much_sand])))
assert not surrogate.trusted(np.vstack([half_a_pump, too_much_sand])).any()

# %%
# The chance of a wet floor
# -------------------------
# The floor of the pit is 21 m above the bottom of the aquifer. How likely is the water above it, in the middle? The surrogate
# tells it by many draws of the laws, and 100 solves correct it, so that the interval holds however good it is.

FLOOR = 21.0
outcome = gnvpro.propagate(surrogate, limit=f"middle={FLOOR}", pde_solves=100, problem=problem, seed=0)
print(outcome)
chance = outcome.numbers()["quantities"][0]["limits"][0]
counted = np.mean(truth[:, 0] > FLOOR)
print(f"{chance['value']:.2%} [{chance['lower']:.2%}, {chance['upper']:.2%}]; counted in 20,000 solves {counted:.2%}")
assert chance["lower"] < counted + 0.005
assert chance["upper"] > counted - 0.005

# %%
# The laws differ in what they do to it: each further pump lowers the chance.

figure, (left, right) = plt.subplots(1, 2, figsize=(9.5, 3.7), layout="constrained")
bins = np.linspace(12, 24, 80)
left.hist(predicted[wet, 0], bins, density=True, color="#0072B2", alpha=0.6, label="surrogate")
left.hist(truth[wet, 0], bins, density=True, color="black", histtype="step", label="formula")
left.axvline(FLOOR, color="#D55E00", linestyle="--", label=f"floor: {chance['value']:.1%} above")
left.set(xlabel="water table in the middle (m)", ylabel="density (1/m)", title="what comes out", ylim=(0, 0.3))
left.legend()
pumps = np.arange(5, 9)
right.plot(pumps, [100 * np.mean(truth[fresh[:, 4] == n, 0] > FLOOR) for n in pumps], "ko", label="formula")
right.plot(pumps, [100 * np.mean(predicted[fresh[:, 4] == n, 0] > FLOOR) for n in pumps], "x-", label="surrogate")
right.set(xlabel="pumps that run", xticks=pumps, ylabel="chance of a wet floor (%)", title="by the number of pumps")
right.legend()
plt.show()

# %%
# More laws, joint ones too, in Python, in files and on the command line: :doc:`/laws`. What else comes out, with its
# interval: :doc:`/propagate`.
