"""
Only a table: a surrogate with error bands from your data
=========================================================

Perhaps there is no PDE and no simulator that you could run, only a table of what somebody computed or measured. It
trains a surrogate, rows that were set aside tell its error, and the same rows show whether there are enough of them, and
what helps where there are not.
"""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import gnvpro

# %%
# The table
# ---------
# Two hundred rows: five parameters of a bridge's girder, and what follows from them. Here the theory of beams makes it (a
# load at the middle of a simply supported beam of square hollow section); with a table of your own, start below.

rng = np.random.default_rng(0)
lower, upper = np.array([8.0, 0.4, 0.01, 60, 20]), np.array([16.0, 0.8, 0.03, 210, 100])
length, height, wall, modulus, load = y = rng.uniform(lower, upper, (200, 5)).T
inertia = (height**4 - (height - 2 * wall) ** 4) / 12
mass = 7850 * (height**2 - (height - 2 * wall) ** 2)
deflection = 1e3 * (1e3 * load) * length**3 / (48 * 1e9 * modulus * inertia)
stress = 1e-6 * (1e3 * load * length / 4) * (height / 2) / inertia
frequency = np.pi / 2 / length**2 * np.sqrt(1e9 * modulus * inertia / mass)
table = np.column_stack([*y, deflection, stress, frequency])
np.savetxt(
    "girder.csv", table, "%.9g", ",", comments="", header="length,height,wall,modulus,load,deflection,stress,frequency"
)
print("\n".join(Path("girder.csv").read_text().splitlines()[:4]))

# %%
# Names and units
# ---------------
# A file is enough: ``gnvpro train girder.csv --parameters length,height,wall,modulus,load --out runs/girder``. In Python
# the columns get their units as well, so that every error below has one.

columns = np.loadtxt("girder.csv", delimiter=",", skiprows=1)
parameters = gnvpro.Space.vector(
    ["length", "height", "wall", "modulus", "load"], units=("m", "m", "m", "GPa", "kN"), lower=lower, upper=upper,
    law="uniform",
)  # fmt: skip
observables = gnvpro.Space.vector(["deflection", "stress", "frequency"], units=("mm", "MPa", "Hz"))


def rows(chosen):
    return gnvpro.Samples(columns[chosen, :5], columns[chosen, 5:], parameters, observables)


# %%
# Train, and judge on rows that were set aside
# --------------------------------------------
# The last 60 rows train nothing. Polynomials, kernels and a network compete on the others, and ``quick`` gives them less
# time. The error that training states comes from rows that were left out in turn.

held_out = rows(slice(140, 200))
training = gnvpro.train(rows(slice(0, 140)), seed=0, quick=True)
surrogate = training.surrogate
print(training)


def error(predicted):
    """Root mean square of each column over its spread."""
    deviation = predicted - held_out.observables
    return np.sqrt((deviation**2).mean(axis=0)) / held_out.observables.std(axis=0)


predicted = surrogate.evaluate(held_out.parameters)
print("error over the spread:", dict(zip(observables.names, error(predicted).round(4).tolist(), strict=True)))
assert error(predicted).max() < 0.2

# %%
# The bands have one width for all rows, whether a girder sags by 2 mm or by 60: some small deflections come out negative.
# Nine values in ten should be inside; a single column of a single table may have more or fewer.

half_width = surrogate.half_width(0.9)
inside = np.abs(predicted - held_out.observables) <= half_width
print(f"inside of the 90 % bands: {inside.mean():.0%} of all values set aside")
assert inside.mean() > 0.75
figure, axes = plt.subplots(1, 3, figsize=(10, 3.6), layout="constrained")
for j, panel in enumerate(axes):
    name, unit = observables.names[j], observables.unit(j)
    truth = held_out.observables[:, j]
    panel.errorbar(truth, predicted[:, j], half_width[j], fmt="o", markersize=4, color="#0072B2", ecolor="0.7")
    panel.axline((truth.mean(), truth.mean()), slope=1, color="black", linewidth=0.8)
    panel.set(xlabel=f"{name}, set aside ({unit})", ylabel=f"predicted ({unit})")
    panel.set_title(f"± {half_width[j]:.2g} {unit}; {inside[:, j].mean():.0%} of rows inside", fontsize=10)
plt.show()

# %%
# Enough rows?
# ------------
# Train on fewer and look how the error falls. Where the line still falls steeply, more rows will pay; what they will bring
# can be read off it.

sizes, course = [20, 35, 70], []
for n in sizes:
    course.append(error(gnvpro.train(rows(slice(0, n)), seed=0, quick=True).surrogate.evaluate(held_out.parameters)))
course.append(error(predicted))

# %%
# Too few, and no more to be had? Say what you know. These are positive quantities that come about by products and powers:
# the logarithms of the results are nearly linear in the logarithms of the parameters. Thirty-five rows of logarithms know
# more than 140 rows as they are.


def of_logarithms(n):
    return gnvpro.train((np.log(columns[:n, :5]), np.log(columns[:n, 5:])), seed=0, quick=True).surrogate


by_logarithm = [error(np.exp(of_logarithms(n).evaluate(np.log(held_out.parameters)))) for n in sizes]
print("35 rows of logarithms:", by_logarithm[1].round(4), "and as they are:", course[1].round(4))
assert (by_logarithm[1] < error(predicted)).all()

figure, axes = plt.subplots(figsize=(6.5, 4), layout="constrained")
for j, colour in enumerate(("#0072B2", "#D55E00", "#009E73")):
    axes.loglog([*sizes, 140], [100 * e[j] for e in course], "o-", color=colour, label=observables.names[j])
    axes.loglog(sizes, [100 * e[j] for e in by_logarithm], "s--", color=colour, markerfacecolor="white")
axes.plot([], [], "ks--", markerfacecolor="white", label="of logarithms")
axes.set(xlabel="rows in the table", ylabel="error of rows set aside (% of the spread)", title="Are there enough rows?")
axes.set_xticks([*sizes, 140], [str(n) for n in (*sizes, 140)], minor=False)
axes.minorticks_off()
axes.legend()
plt.show()

# %%
# Other tables: ``.npz``, ``.mat``, NetCDF and xarray Datasets, with gaps where a value is missing (:doc:`/data-sets`). What
# a band promises and when a row is outside of what the data know: :doc:`/trust`. Where you can run what made the rows,
# make it a problem instead, and ``gnvpro build`` decides how many are needed.
