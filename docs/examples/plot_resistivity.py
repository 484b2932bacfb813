"""
Find a body in the ground from measured potentials
==================================================

A current flows through the ground, electrodes on the surface measure potential differences, and somewhere below lies a
body that conducts better. A hundred solves of the PDE make a surrogate; with it, the measurements give the body's depth,
volume and direction, with their uncertainty, which the PDE then confirms.
"""

import matplotlib.pyplot as plt
import numpy as np

import gnvpro

# %%
# The PDE
# -------
# :math:`-\nabla \cdot (m \nabla u) = I (\delta_A - \delta_B)` below the surface: 1 A enters at A and leaves at B, 3 m
# apart. The ground conducts with 1 S/m, the body, an ellipsoid with semi-axes 2b : b : b, with 10 S/m. What is measured
# are 882 potential differences between neighbours of 22 × 22 electrodes, 10 cm apart.

problem = gnvpro.Resistivity(mesh="coarsest")
for name, unit, lower, upper in zip(
    problem.parameters.names, problem.parameters.units, problem.parameters.lower, problem.parameters.upper, strict=True
):
    print(f"{name}: {lower:.3g} to {upper:.3g} {unit}")

# %%
# A surrogate from 100 solves
# ---------------------------
# ``coarsest`` is the mesh for a quick look. Its error is that against boundary elements, which the data set states: small
# beside the noise of 2 % that the measurements have.

generation = gnvpro.generate(problem, "runs/dcr.zarr", n_samples=100, seed=0)
training = gnvpro.train("runs/dcr.zarr", seed=0, quick=True, out="runs/dcr")
surrogate = training.surrogate
print(generation, training, sep="\n\n")

# %%
# Measurements
# ------------
# Here they are made on a *finer* mesh than the surrogate has seen, at parameters that we then pretend not to know, with
# noise. (A file of a survey works as well: ``gnvpro.invert(surrogate, "field.csv", …)``.)

rng = np.random.default_rng(3)
truth = np.array([0.58, 0.12, 0.7])
clean = gnvpro.Resistivity(mesh="coarse").evaluate(truth[None])[0]
deviation = 0.02 * np.abs(clean) + 2e-5
measured = clean + deviation * rng.standard_normal(clean.size)

# %%
# The inversion
# -------------
# First the most probable point, by Gauss–Newton from several starts. Eight solves of the PDE tell whether the
# surrogate's error matters beside the noise. Then come draws of the posterior: by the surrogate, and by the surrogate
# with every draw accepted or refused by the PDE (delayed acceptance), so that its error cannot change the answer.

inversion = gnvpro.invert(
    surrogate, measured, deviation, problem=problem, truth=truth,
    chains=2, draws=150, tune=100, pde_draws=140, pde_tune=20, starts=4, seed=0,
)  # fmt: skip
print(inversion)

# %%
# The chains are short here, so that this page is built quickly, and the verdict says what it thinks of them; leave the
# numbers of draws out for an answer that matters. The residuals have the size of the noise: the model can explain the
# measurements.

found, spread = inversion.map.parameters, inversion.map.standard_deviations
draws = inversion.chains["delayed"].draws.reshape(-1, 3)
print("off by", (np.abs(found - truth) / spread).round(1), "standard deviations")
assert (np.abs(found - truth) < 4 * spread).all()
assert 0.8 < inversion.chi_squared < 1.2

# %%
# The body in the ground
# ----------------------
# Left, what the survey sees: the potential differences in direction x1, less those of the ground without a body. The
# outlines are draws of the posterior, from above and in the vertical section along the body.


def semi_axis(volume):
    """The shorter one, b, of the ellipsoid 2b : b : b."""
    return np.cbrt(3 * volume / (8 * np.pi))


def from_above(depth, volume, azimuth):
    angle = np.linspace(0, 2 * np.pi, 100)
    along, across = semi_axis(volume) * np.array([2 * np.cos(angle), np.sin(angle)])
    cosine, sine = np.cos(azimuth), np.sin(azimuth)
    return along * cosine - across * sine, along * sine + across * cosine


def in_section(depth, volume, azimuth):
    angle = np.linspace(0, 2 * np.pi, 100)
    return 2 * semi_axis(volume) * np.cos(angle), semi_axis(volume) * np.sin(angle) - depth


x1, x2 = (np.array(axis.labels) for axis in problem.observables.axes[1:])
anomaly = 1e3 * (measured - problem.background).reshape(problem.observables.shape)[0]
figure, axes = plt.subplots(1, 3, figsize=(11, 4.5), layout="constrained", width_ratios=(1.3, 1, 1))
size = np.abs(anomaly).max()
image = axes[0].pcolormesh(x1, x2, anomaly.T, cmap="RdBu_r", vmin=-size, vmax=size)
figure.colorbar(image, ax=axes[0], label="anomaly along x1 (mV/A)", shrink=0.6)
axes[0].set(xlabel="x1 (m)", ylabel="x2 (m)", title="measured, with noise")
for panel, outline in ((axes[0], from_above), (axes[1], from_above), (axes[2], in_section)):
    if panel is not axes[0]:
        for y in draws[:: max(1, len(draws) // 60)]:
            panel.plot(*outline(*y), color="#0072B2", linewidth=0.5, alpha=0.4)
        panel.plot([], [], color="#0072B2", label="draws of the posterior")
        panel.plot(*outline(*found), color="black", label="most probable")
    panel.plot(*outline(*truth), "--", color="#D55E00", label="true body")
    panel.set_aspect("equal")
axes[1].set(xlabel="x1 (m)", ylabel="x2 (m)", title="from above")
axes[2].axhline(0, color="black", linewidth=1)
axes[2].set(xlabel="along the body (m)", ylabel="height (m)", title="vertical section", ylim=(-1.0, 0.15))
figure.legend(*axes[1].get_legend_handles_labels(), loc="outside lower center", ncols=3)
plt.show()

# %%
# How well is each known?
# -----------------------
# Depth and volume trade against each other: a larger body farther down looks almost the same. With this noise both are
# off together, by two standard deviations, as happens once in some twenty surveys.

units = ("m", "m³", "rad")
figure, axes = plt.subplots(1, 3, figsize=(10, 3.4), layout="constrained")
for j, panel in enumerate(axes[:2]):
    other = (1, 2)[j]
    panel.plot(draws[:, 0], draws[:, other], ".", color="#0072B2", markersize=4, alpha=0.5)
    panel.plot(truth[0], truth[other], "x", color="#D55E00", markersize=9, markeredgewidth=2, label="truth")
    panel.set(xlabel=f"depth ({units[0]})", ylabel=f"{problem.parameters.names[other]} ({units[other]})")
axes[0].legend()
axes[2].hist(inversion.residuals, bins=40, density=True, color="#0072B2", alpha=0.6)
r = np.linspace(-4, 4, 100)
axes[2].plot(r, np.exp(-(r**2) / 2) / np.sqrt(2 * np.pi), color="black", label="standard normal")
axes[2].set(xlabel="residual over noise", yticks=[])
axes[2].set_title(f"χ² per observation {inversion.chi_squared:.2f}")
axes[2].legend(fontsize="small")
plt.show()

# %%
# A survey as it is measured, with electrodes and files of the field: :doc:`/resistivity`. What each line of the table
# means, outliers, several modes, and many parameters: :doc:`/inversion`.
