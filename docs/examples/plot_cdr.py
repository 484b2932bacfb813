"""
From a PDE to answers in microseconds, with their error
=======================================================

A substance drifts with a flow, spreads, is fed by a source and reacts: 55 parameters say how it reacts, six sensors
record it. The PDE is solved 320 times, a surrogate is trained on the solves, and 64 fresh solves, which it has never
seen, tell how far it can be trusted.
"""

import matplotlib.pyplot as plt
import numpy as np

import gnvpro

# %%
# The PDE
# -------
# :math:`\partial_t u = D\,\Delta u - v \cdot \nabla u + f + \sum_j y_j r_j(u)` on the unit square, without flux through
# its boundary. The reactions :math:`r_j` saturate, ignite or inhibit themselves; their weights :math:`y_j` are the
# parameters, not negative and of sum one. Everything is without dimension. What is observed is :math:`u` at six sensors
# and twelve times.

problem = gnvpro.ConvectionDiffusionReaction()
times, sensors = (np.array(axis.labels) for axis in problem.observables.axes)
print(f"{problem.parameters.size} parameters, {times.size} times × {sensors.size} sensors")

# %%
# Solve it
# --------
# Parameters are drawn by their law, and the solves go into a data set on disk. The same call goes on where an earlier one
# was interrupted. It also tells the error of the solver itself, against a refined one: no surrogate of these data can be
# closer to the truth.

generation = gnvpro.generate(problem, "runs/cdr.zarr", n_samples=320, seed=0)
print(generation)
solver_error = generation.numbers()["estimated_error"]["relative_l2"]

# %%
# Train
# -----
# Polynomials, kernels and networks compete for what predicts samples best that were left out in turn. The folder
# ``runs/cdr`` is the model, which ``gnvpro.load`` reads.

training = gnvpro.train("runs/cdr.zarr", seed=0, out="runs/cdr")
surrogate = training.surrogate
print(training)

# %%
# Compare with fresh solves
# -------------------------
# The PDE is solved at 64 parameters that are in no data set. The error of a sample is
# :math:`\|\text{surrogate} - \text{PDE}\| / \|\text{PDE}\|`. (``gnvpro.compare(surrogate, problem)`` does the same, and
# times both, the PDE as one would write it in FEniCSx included.)

gnvpro.generate(problem, "runs/fresh.zarr", n_samples=64, seed=1)
fresh = gnvpro.read_samples("runs/fresh.zarr")
predictions = gnvpro.predict(surrogate, fresh.parameters, level=0.9)
expected, predicted = fresh.observables, predictions.observables
errors = np.linalg.norm(predicted - expected, axis=1) / np.linalg.norm(expected, axis=1)
print(f"error: mean {errors.mean():.1e}, worst {errors.max():.1e}; of the solver itself: {solver_error:.1e}")
assert errors.mean() < 1e-3
assert solver_error < 2e-4

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.2), layout="constrained")
left.plot(expected.ravel(), predicted.ravel(), ".", color="#0072B2", markersize=3, alpha=0.5)
left.axline((0, 0), slope=1, color="black", linewidth=0.8)
left.set(
    xlabel="u by the PDE", ylabel="u by the surrogate", title=f"{expected.size:,} sensor values of 64 fresh solves"
)
right.hist(errors, bins=np.geomspace(errors.min() / 1.5, errors.max() * 1.5, 24), color="#0072B2", alpha=0.7)
right.axvline(errors.mean(), color="#0072B2", label=f"surrogate, mean {errors.mean():.1e}")
right.axvline(solver_error, color="#D55E00", linestyle="--", label=f"the PDE solver itself, mean {solver_error:.1e}")
right.set(xscale="log", xlabel="relative error of a fresh sample", ylabel="samples")
right.set_title(f"worst of 64: {errors.max():.1e}")
right.legend()
plt.show()

# %%
# What a prediction says of itself
# --------------------------------
# ``predict`` gives every value an error band, here one that nine predictions in ten are inside of with all 72 values at
# once, and says which points the training data do not cover. The bands come from solves that did not train the model.
# Below is the sample with the median error. Curves and circles lie on each
# other, so their difference has a panel of its own.

median = np.argsort(errors)[errors.size // 2]
half_width = surrogate.half_width(0.9, simultaneous=True)
inside = (np.abs(predicted - expected) <= half_width).all(axis=1)
print(f"wholly inside of the 90 % band: {inside.sum()} of {inside.size} fresh samples")
assert inside.mean() > 0.75

shape = (times.size, sensors.size)
curves, solved, widths = (v.reshape(shape) for v in (predicted[median], expected[median], half_width))
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.2), layout="constrained", sharex=True)
for j, colour in enumerate(plt.get_cmap("viridis")(np.linspace(0, 0.9, sensors.size))):
    left.plot(times, curves[:, j], color=colour, label=sensors[j])
    left.plot(times, solved[:, j], "o", color=colour, markerfacecolor="white", markersize=4)
    right.semilogy(times, np.abs(curves[:, j] - solved[:, j]), color=colour)
    right.semilogy(times, widths[:, j], "--", color=colour)
left.set(xlabel="time", ylabel="u", title="surrogate (lines), PDE (circles)")
left.legend(title="sensor", fontsize="small", ncols=6, columnspacing=1, loc="upper left")
left.set_ylim(top=1.25 * solved.max())
right.set(
    xlabel="time", ylabel="|surrogate − PDE|", title=f"difference, 90 % bands (dashed); error {errors[median]:.1e}"
)
plt.show()

# %%
# A point that training does not cover
# ------------------------------------
# One reaction alone is a corner of the simplex that random weights do not come near. The model answers, and says that it
# should not be believed; with ``fallback="pde"`` the PDE answers in its place.

corner = np.eye(problem.parameters.size)[:1]
trusted = gnvpro.predict(surrogate, np.vstack([corner, fresh.parameters[:3]])).reliability.trusted
print("trusted:", trusted.tolist())
assert not trusted[0]
assert trusted[1:].all()

# %%
# A gradient costs as little as a value: ``surrogate.vjp(y, w)`` is what an inversion asks for. Next: find parameters from
# measurements (:doc:`plot_resistivity`), a PDE of your own (:doc:`plot_own_pde`), how bands are made (:doc:`/trust`).
