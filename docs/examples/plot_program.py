"""
A shell program as the simulator
================================

A simulator that is no Python becomes a problem by a small file that says how it is run. Here it is a rod with a flame at
one end, computed by an AWK program, which gives up where the rod melts. Two hundred runs later a surrogate answers in
its place, and fresh runs tell how well.
"""

import subprocess
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr

import gnvpro

# %%
# The program
# -----------
# An aluminium rod of 40 cm gets the power of a flame at its left end and loses heat to the air, by convection and by
# radiation: :math:`k u'' = (P/A) (h (u - 20) + \varepsilon\sigma (T^4 - T_0^4))`. Twelve sweeps of the linearised
# equation are enough. What it prints are the temperatures of eight thermometers; what melts ends it with exit code 3.

PROGRAM = r"""
# awk -f rod.awk CONDUCTIVITY LOSS POWER: temperatures (deg C) of eight thermometers, every 5 cm from the flame
BEGIN {
    k = ARGV[1]; h = ARGV[2]; power = ARGV[3]
    n = 160; dx = 0.4 / n; radius = 0.003; flux = power / (3.14159265358979 * radius ^ 2)
    for (i = 0; i <= n; i++) u[i] = 20
    for (sweep = 1; sweep <= 12; sweep++) {
        for (i = 0; i <= n; i++) {   # a row of the tridiagonal system, half a cell at both ends
            T = u[i] + 273.15
            loss = 2 / radius * dx ^ 2 / k * (h + 0.3 * 5.67e-8 * (T ^ 2 + 293.15 ^ 2) * (T + 293.15))
            share = (i == 0 || i == n) ? 0.5 : 1
            diagonal = 2 * share + share * loss
            right = share * loss * 20 + (i == 0 ? flux * dx / k : 0)
            if (i > 0) { diagonal -= 1 / d[i - 1]; right += r[i - 1] / d[i - 1] }
            d[i] = diagonal; r[i] = right
        }
        u[n] = r[n] / d[n]
        for (i = n - 1; i >= 0; i--) u[i] = (r[i] + u[i + 1]) / d[i]
    }
    if (u[0] > 660) { printf "the rod melts: %.0f deg C\n", u[0] > "/dev/stderr"; exit 3 }
    for (i = 0; i < 8; i++) printf "%.9g\n", u[20 * i]
}
"""
Path("rod.awk").write_text(PROGRAM)
print(subprocess.run(["awk", "-f", "rod.awk", "180", "15", "20"], capture_output=True, text=True, check=True).stdout)

# %%
# The problem
# -----------
# This file makes it one: the command with its parameters, the law of each, their units, and what comes out. Nothing is
# registered, and nothing of the program changes.

DESCRIPTION = """
command = "awk -f rod.awk {conductivity} {loss} {power}"
time_limit = 10
at_once = 2

[parameters]
conductivity = {law = "lognormal", mean_of_log = 5.2, standard_deviation_of_log = 0.15}
loss = [5, 30]
power = [5, 35]

[units]
conductivity = "W/m/K"
loss = "W/m2/K"
power = "W"

[observables]
axes = [{name = "position", labels = [0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35], unit = "m"}]
unit = "degC"
"""
Path("rod.toml").write_text(DESCRIPTION)

generation = gnvpro.generate("rod.toml", "runs/rod.zarr", 200, seed=0)
print(f"{generation.n_samples} runs, of which {generation.n_failed} failed")
assert generation.n_failed > 0

# %%
# What failed is kept
# -------------------
# A run that fails costs one sample, and is not lost: its parameters, its exit code and the end of what it said are in the
# data set, which xarray reads.

with xr.open_zarr("runs/rod.zarr", consolidated=False) as data:
    parameters, failed = data["parameters"].values, data["status"].values != 0
    print(data["failure"].values[failed][0])

figure, axes = plt.subplots(figsize=(6, 3.8), layout="constrained")
axes.plot(*parameters[~failed][:, [2, 1]].T, ".", color="#0072B2", label=f"{(~failed).sum()} solved")
axes.plot(*parameters[failed][:, [2, 1]].T, "x", color="#D55E00", label=f"{failed.sum()} melted (exit code 3)")
axes.set(xlabel="power of the flame (W)", ylabel="loss to the air (W/m²/K)", ylim=(4, 34))
axes.set_title("Where the program gives up")
axes.legend(loc="upper left", ncols=2)
plt.show()

# %%
# The surrogate
# -------------
# It is trained on the runs that came to an end, and compared with 64 fresh ones, of which those that melt are left out.

training = gnvpro.train("runs/rod.zarr", seed=0, out="runs/rod")
comparison = gnvpro.compare(training.surrogate, "rod.toml", samples=64, seed=1)
errors = comparison.errors
print(comparison)
assert errors.mean() < 1e-3

position = np.arange(8) * 5
order = np.argsort(comparison.expected[:, 0])
half_width = training.surrogate.half_width(0.9, simultaneous=True)
figure, (left, right) = plt.subplots(1, 2, figsize=(9.5, 3.8), layout="constrained")
for row, colour in zip(order[[2, len(order) // 2, -2]], ("#009E73", "#0072B2", "#D55E00"), strict=True):
    y = comparison.parameters[row]
    left.plot(position, comparison.predicted[row], color=colour, label=f"{y[2]:.0f} W, loss {y[1]:.0f} W/m²/K")
    left.plot(position, comparison.expected[row], "o", color=colour, markerfacecolor="white")
left.set(xlabel="distance from the flame (cm)", ylabel="temperature (°C)", title="program (circles) and surrogate")
left.legend()
deviation = np.abs(comparison.predicted - comparison.expected)
right.semilogy(position, deviation.T, color="#0072B2", alpha=0.15)
right.semilogy(position, deviation.mean(axis=0), "k", label="mean of the fresh runs")
right.semilogy(position, half_width, "--", color="#D55E00", label="half width of the 90 % band")
right.set(xlabel="distance from the flame (cm)", ylabel="|surrogate − program| (°C)")
right.set_title(f"mean error {errors.mean():.1e}, worst {errors.max():.1e}")
right.legend()
plt.show()

# %%
# The surrogate now goes where a program is too slow: ``gnvpro invert runs/rod --problem rod.toml …`` finds the power of a
# flame from thermometers, ``gnvpro serve runs/rod`` shows sliders. Input files from templates, output in JSON or CSV, time
# limits, programs in Fortran, C or Python, and models behind a server: :doc:`/programs`.
