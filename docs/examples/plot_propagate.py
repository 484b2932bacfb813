"""
How likely is it that a limit is exceeded?
==========================================

A fin cools a chip, and nobody knows the wind, the metal and the load exactly. How often does the chip get hotter than
126 °C? Two hundred solves by chance see about two such cases, too few to say. A surrogate sees them all, and two hundred
solves, placed where they matter, take its error out of the answer.
"""

import matplotlib.pyplot as plt
import numpy as np
from scipy import stats

import gnvpro

# %%
# The equation and the law
# ------------------------
# A straight fin loses heat to the air on both sides, :math:`k\,d\,u'' = 2 h (u - u_\text{air})`. The chip's power comes
# in at its foot, nothing leaves at its tip. Each parameter has a law, here a distribution of SciPy. The solution is known
# in closed form, so that for once the truth can be had from millions of solves.

LIMIT, WIDTH, LENGTH = 126.0, 0.05, 0.04  # °C, m, m
LAWS = {
    "power": stats.norm(9, 0.9),
    "loss": stats.lognorm(0.2, scale=45),
    "conductivity": stats.uniform(120, 80),
    "thickness": stats.uniform(0.8e-3, 0.4e-3),
    "air": stats.norm(25, 3),
}


class Fin:
    parameters = gnvpro.Space.of_laws(LAWS, units=("W", "W/m2/K", "W/m/K", "m", "degC"))
    observables = gnvpro.Space.vector(["chip", "tip"], axis="place", units=("degC",))
    name, definition = "fin", {"problem": "fin", "width": WIDTH, "length": LENGTH}

    def evaluate(self, y):
        power, loss, conductivity, thickness, air = y.T
        m = np.sqrt(2 * loss / (conductivity * thickness))
        chip = power / (WIDTH * thickness * conductivity * m * np.tanh(m * LENGTH))
        return np.stack([air + chip, air + chip / np.cosh(m * LENGTH)], axis=1)


problem, rng = Fin(), np.random.default_rng(0)


def chip(n):
    """Temperatures of the chip by n solves at parameters drawn by their law."""
    drawn = np.column_stack([law.rvs(n, random_state=rng) for law in LAWS.values()])
    return problem.evaluate(drawn)[:, 0]


hot = np.array([(chip(200_000) > LIMIT).mean() for _ in range(10)])
truth = hot.mean()
print(f"chance by two million solves: {truth:.5f} ± {hot.std() / np.sqrt(10):.5f}")

# %%
# The surrogate alone
# -------------------
# It is trained on 30 solves, so it is a poor one, and its answer comes with an interval as wide as its error bands
# deserve.

gnvpro.generate(problem, "runs/fin.zarr", n_samples=30, seed=0)
surrogate = gnvpro.train("runs/fin.zarr", seed=0, quick=True).surrogate


def chance(seed, pde_solves=0):
    """Estimate, and the ends of its 95 % interval."""
    more = {"pde_solves": pde_solves, "problem": problem} if pde_solves else {}
    outcome = gnvpro.propagate(surrogate, limit={"chip": LIMIT}, draws=1 << 15, seed=seed, **more)
    (found,) = outcome.numbers()["quantities"][0]["limits"]
    return found["value"], found["lower"], found["upper"]


alone = chance(0)

# %%
# Corrected by 200 solves, and beside plain Monte Carlo
# -----------------------------------------------------
# ``propagate`` draws 32,768 parameters, asks the surrogate at all of them, and solves the equation at 200, most of them
# where the surrogate is close to the limit. What these say is weighted so that the answer is unbiased however wrong the
# surrogate is. Plain Monte Carlo spends 200 solves on the law; its interval is Clopper and Pearson's. Both are done ten
# times, with other draws each time.

corrected = np.array([chance(seed, 200) for seed in range(10)])
plain = []
for _ in range(10):
    seen = stats.binomtest(int((chip(200) > LIMIT).sum()), 200)
    plain.append((seen.statistic, *seen.proportion_ci(0.95)))
plain = np.array(plain)

figure, axes = plt.subplots(figsize=(8, 5), layout="constrained")
for rows, start, colour, label in (
    (plain, 0, "0.45", "plain Monte Carlo, 200 solves"),
    (np.array([alone]), 11, "#D55E00", "surrogate of 30 solves alone"),
    (corrected, 13, "#0072B2", "surrogate, corrected by 200 solves"),
):
    value, lower, upper = 100 * rows.T
    at = start + np.arange(len(rows))
    axes.errorbar(at, value, [value - lower, upper - value], fmt="o", color=colour, capsize=3, label=label)
axes.axhline(100 * truth, color="black", linewidth=0.8, label=f"truth, {100 * truth:.2f} %")
axes.set(ylabel=f"chance of more than {LIMIT:.0f} °C (%)", xticks=[], xlabel="repetitions, each with its own draws")
axes.set_title("Estimates with their 95 % intervals")
figure.legend(loc="outside lower center", ncols=2)
plt.show()

# %%
# The corrected estimates are several times closer to the truth, from as many solves. Their intervals are not always
# narrow: where one of the 200 solves meets a large error of the surrogate, more such errors may be where no solve was, and
# the interval says so. A better surrogate makes them narrow, and costs the solves that train it.


def off(rows):
    """Root mean square distance of the estimates from the truth."""
    return np.sqrt(((rows[:, 0] - truth) ** 2).mean())


for name, rows in (("plain Monte Carlo", plain), ("corrected", corrected)):
    width = np.ptp(rows[:, 1:], axis=1).mean() / 2
    covered = ((rows[:, 1] <= truth) & (truth <= rows[:, 2])).sum()
    print(f"{name}: off by {off(rows):.4f}, half width {width:.4f}; {covered} of 10 intervals hold the truth")
    assert covered >= 8
assert off(corrected) < off(plain) / 2.5

# %%
# Besides chances, ``outcome`` has means, deviations and quantiles of every observable with such intervals. After an
# inversion its draws take the place of the law, ``propagate(…, posterior="runs/inversion/posterior-delayed.nc")``: what
# comes out, given what was measured. :doc:`/propagate` says what is assumed, and where it ends.
