"""
Which parameters matter, with intervals that hold
=================================================

Sobol indices say which share of an observable's variance each parameter has. They take tens of thousands of
evaluations, so a surrogate gives them, and its error goes into their intervals. On a function whose indices are known
exactly, Ishigami's, the truth can be seen beside them.
"""

import matplotlib.pyplot as plt
import numpy as np

import gnvpro

# %%
# A function with known indices
# -----------------------------
# :math:`\sin y_1 + 7 \sin^2 y_2 + 0.1\, y_3^4 \sin y_1`, each :math:`y` uniform between −π and π. The third parameter does
# nothing alone: it acts through the first. What a parameter does alone is its *first-order* index, what vanishes if it is
# held fixed, interactions included, its *total* index.

A, B = 7.0, 0.1


class Ishigami:
    parameters = gnvpro.Space.of_laws(dict.fromkeys(("y1", "y2", "y3"), (-np.pi, np.pi)))
    observables = gnvpro.Space.vector(["value"], axis="result")
    name, definition = "ishigami", {"problem": "ishigami", "a": A, "b": B}

    def evaluate(self, y):
        first, second, third = y.T
        return (np.sin(first) * (1 + B * third**4) + A * np.sin(second) ** 2)[:, None]


alone = np.array([0.5 * (1 + B * np.pi**4 / 5) ** 2, A**2 / 8, 0.0])
together = np.array([0.0, 0.0, 8 * B**2 * np.pi**8 / 225])  # y1 and y3
variance = alone.sum() + together.sum()
exact = {"first order": alone / variance, "total": (alone + together + [together.sum(), 0, 0]) / variance}

# %%
# Few solves are enough
# ---------------------
# The function is evaluated 100 times; one evaluation might as well be an hour of a PDE solver. Everything else is asked
# of the surrogate. ``found.shares["total"].estimate`` has a row for each group of observables, of which the first is all
# of them.

problem = Ishigami()
gnvpro.generate(problem, "runs/ishigami.zarr", n_samples=100, seed=0, design="sobol")
surrogate = gnvpro.train("runs/ishigami.zarr", seed=0).surrogate
found = gnvpro.sensitivity(surrogate, seed=0)
print(found)

# %%
# The interval is wider where the surrogate is poor
# -------------------------------------------------
# With 30 evaluations in place of 100 the surrogate knows less, its error bands say so, and the intervals become wide. The
# truth, the black lines, stays inside.

gnvpro.generate(problem, "runs/few.zarr", n_samples=30, seed=0, design="sobol")
poor = gnvpro.sensitivity(gnvpro.train("runs/few.zarr", seed=0).surrogate, seed=0)

figure, axes = plt.subplots(1, 2, figsize=(9.5, 4), layout="constrained", sharey=True)
for panel, measure in zip(axes, exact, strict=True):
    for result, shift, colour, label in (
        (poor, -0.2, "#D55E00", "surrogate of 30 evaluations"),
        (found, 0.2, "#0072B2", "surrogate of 100 evaluations"),
    ):
        share = result.shares[measure]
        estimate, lower, upper = share.estimate[0], share.lower[0], share.upper[0]
        panel.bar(np.arange(3) + shift, estimate, 0.36, color=colour, alpha=0.55, label=label)
        panel.errorbar(
            np.arange(3) + shift, estimate, [estimate - lower, upper - estimate], fmt="none", color=colour, capsize=4
        )
    panel.hlines(exact[measure], np.arange(3) - 0.42, np.arange(3) + 0.42, color="black", label="exact")
    panel.set_xticks(range(3), problem.parameters.names)
    panel.set_title({"first order": "alone (first-order index)", "total": "with interactions (total index)"}[measure])
axes[0].set(ylabel="share of the variance")
axes[0].legend(fontsize="small")
plt.show()

# %%
print("largest error of an index:")
for n, result in ((30, poor), (100, found)):
    off = max(np.abs(result.shares[measure].estimate[0] - exact[measure]).max() for measure in exact)
    widest = max((result.shares[m].upper - result.shares[m].lower)[0].max() / 2 for m in exact)
    print(f"  {n} evaluations: {off:.4f}; widest interval ± {widest:.4f}")
    assert off < widest
assert off < 0.01

# %%
# On a PDE of your own the call is the same. Parameters whose law makes them depend on each other get Shapley effects,
# which share out the whole variance. Observables with times and sensors get indices for each, and
# ``found.write("folder")`` writes a report. Where the surrogate's error bands are few or old, ``solves=100`` corrects the
# indices by fresh solves: :doc:`/sensitivity`.
