"""
Name a problem and an error: how many solves does it take?
==========================================================

How many solves does a surrogate need? Nobody knows beforehand. ``gnvpro.build`` finds out: it is given a problem and an
error, solves a few, trains, judges the model on fresh solves, and buys more where they pay until that error is confirmed.
"""

import matplotlib.pyplot as plt
import numpy as np

import gnvpro

# %%
# The problem
# -----------
# Water flows through a borehole from an upper aquifer into a lower one; its rate is a formula of eight parameters that the
# literature on surrogates knows well (Harper and Gupta 1983). Parameters with their laws, observables, and ``evaluate``
# are a problem.

RANGES = {
    "radius": (0.05, 0.15, "m"),
    "radius_of_influence": (100, 50_000, "m"),
    "upper_transmissivity": (63_070, 115_600, "m2/yr"),
    "upper_head": (990, 1110, "m"),
    "lower_transmissivity": (63.1, 116, "m2/yr"),
    "lower_head": (700, 820, "m"),
    "length": (1120, 1680, "m"),
    "conductivity": (9855, 12_045, "m/yr"),
}
lower, upper, units = zip(*RANGES.values(), strict=True)


class Borehole:
    name = "borehole"
    definition = {"problem": "borehole", "route": "formula", "options": {}}  # noqa: RUF012
    parameters = gnvpro.Space.vector(list(RANGES), units=units, lower=lower, upper=upper, law="uniform")
    observables = gnvpro.Space.vector(["flow"], units=("m3/yr",), axis="output")

    def evaluate(self, y):
        radius, influence, upper_t, upper_head, lower_t, lower_head, length, conductivity = y.T
        logarithm = np.log(influence / radius)
        resistance = 1 + 2 * length * upper_t / (logarithm * radius**2 * conductivity) + upper_t / lower_t
        return (2 * np.pi * upper_t * (upper_head - lower_head) / (logarithm * resistance))[:, None]


problem = Borehole()

# %%
# Ask for one per cent
# --------------------
# That is the mean over the law of the parameters. The model is written to ``runs/borehole``, its data and a report beside
# it; a build that is killed goes on with the same call.

built = gnvpro.build(problem, "runs/borehole", error=0.01, seed=0)
for name, said in built.rows()[:4]:
    print(f"{name}: {said}")
assert built.confirmed

# %%
# Round by round
# --------------
# Every round trains on all there is. What the model predicts of samples that were left out is its own estimate; where that
# gives it a chance, fresh solves judge it, and their upper limit has to be below the error asked for. The judges of one
# model train the next.

rounds = built.record["rounds"]


def solves(holding):
    return holding["samples"] + holding["fresh"] + len(holding["placed"])


trained_on = [solves(r["has"]) for r in rounds]
estimates = [100 * r["estimate"] for r in rounds]
tests = [(solves(r["has"]), *(100 * r["judged"][key] for key in ("mean", "upper"))) for r in rounds if r["judged"]]
at, mean, limit = np.array(tests).T

figure, axes = plt.subplots(figsize=(7, 4.2), layout="constrained")
axes.semilogy(trained_on, estimates, "o-", color="#0072B2", label="its own estimate, from samples left out")
axes.semilogy(at, mean, "s", color="#D55E00", label="mean error of fresh solves")
axes.vlines(at, mean, limit, color="#D55E00")
axes.semilogy(at, limit, "_", color="#D55E00", markersize=14, label="upper limit of the true mean")
axes.axhline(1, color="black", linestyle=":", label="asked for")
axes.set(xlabel="solves that trained the model", ylabel="mean error (%)", title="One per cent, confirmed")
axes.yaxis.set_major_formatter("{x:g}")
axes.legend()
plt.show()

# %%
# Was it right?
# -------------
# The formula costs nothing, so that here, and only here, the statement can be checked at ten thousand fresh points.

y = np.random.default_rng(1).uniform(lower, upper, (10_000, 8))
error = np.abs(built.surrogate.evaluate(y) / problem.evaluate(y) - 1)[:, 0]
print(f"true mean error {error.mean():.2%}, 95 % of the points below {np.quantile(error, 0.95):.2%}")
assert error.mean() < 0.01

figure, axes = plt.subplots(figsize=(7, 3.6), layout="constrained")
axes.hist(100 * error, np.geomspace(1e-3, 10, 60), color="#0072B2", alpha=0.6)
axes.axvline(100 * error.mean(), color="#0072B2", label=f"true mean, {error.mean():.2%}")
axes.axvline(1, color="black", linestyle=":", label="asked for, 1 %")
axes.set(xscale="log", xlabel="error of the surrogate (%)", ylabel="points of 10,000", title="The errors themselves")
axes.xaxis.set_major_formatter("{x:g}")
axes.legend()
plt.show()

# %%
# A PDE of ten minutes a solve would now be replaced at the price printed above. With a ``jvp`` or a ``coarser`` version of
# the problem, a build also weighs derivatives and cheap solves against solves (:doc:`plot_few_solves`). What "confirmed"
# means, and where it can fail, is counted in :doc:`/build`.
