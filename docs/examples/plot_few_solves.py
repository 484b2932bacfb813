"""
Few solves: what derivatives and a coarse version are worth
===========================================================

A solver that takes ten minutes leaves you a few dozen solves. Two things make them count for more: derivatives, which a
solver has for a fraction of a solve, and cheap solves on a coarser mesh. Here both are measured on a diffusion problem with
six parameters that is solved in milliseconds, so that its errors can be measured too.
"""

import matplotlib.pyplot as plt
import numpy as np
from scipy.linalg import cho_solve_banded, cholesky_banded

import gnvpro

# %%
# The problem
# -----------
# :math:`-(k u')' = 1` on the unit interval, zero at its ends, where the logarithm of *k* is a sum of six cosines whose
# coefficients are the parameters, and *u* at eight places is observed. Beside ``evaluate`` it offers two methods:
# ``tangents``, values and derivatives along given directions, for which the matrix is factorised once, and ``coarser``, the
# same problem on nine cells.


class Diffusion:
    name = "diffusion"
    parameters = gnvpro.Space.vector([f"a{j}" for j in range(6)], lower=6 * (-1.0,), upper=6 * (1.0,), law="uniform")
    observables = gnvpro.Space.vector([f"u{i}" for i in range(1, 9)], axis="sensor")

    def __init__(self, cells=288):
        self.cells = cells
        self.definition = {"problem": "diffusion", "route": "finite volumes", "options": {"cells": cells}}
        middle = (np.arange(cells) + 0.5) / cells
        self.modes = np.array([0.5 * np.cos(np.pi * j * middle) / (1 + 0.3 * j) for j in range(6)])
        self.sensors = cells // 9 * np.arange(1, 9) - 1

    def coarser(self):
        return Diffusion(9) if self.cells > 9 else None

    def evaluate(self, y):
        return self.tangents(y, np.empty((len(y), 0, 6)))[0]

    def tangents(self, y, directions):
        values, derivatives = np.empty((len(y), 8)), np.empty((*directions.shape[:2], 8))
        for i, row in enumerate(y):
            k = np.exp(row @ self.modes) * self.cells**2
            factor = cholesky_banded([np.append(0, -k[1:-1]), k[:-1] + k[1:]])
            u = cho_solve_banded((factor, False), np.ones(self.cells - 1))
            values[i] = u[self.sensors]
            change = directions[i] @ self.modes * k * np.diff(u, prepend=0, append=0)  # of k u', k changing alone
            derivatives[i] = cho_solve_banded((factor, False), np.diff(change).T)[self.sensors].T
        return values, derivatives


problem = Diffusion()
fresh = np.random.default_rng(0).uniform(-1, 1, (500, 6))
truth = problem.evaluate(fresh)


def error(observables):
    return float(np.mean(np.linalg.norm(observables - truth, axis=1) / np.linalg.norm(truth, axis=1)))


off = error(problem.coarser().evaluate(fresh))
print(f"the coarse version is off by {off:.2%}")

# %%
# Derivatives
# -----------
# ``derivatives=3`` asks for derivatives of every sample along three random directions; training takes them as further rows
# of its least squares. Nothing else is to be set. (Polynomials alone, so that this page is quick; by default networks and
# kernels compete with them.)

sizes, errors = [10, 20, 40], {0: [], 3: []}
for n in sizes:
    for directions, course in errors.items():
        gnvpro.generate(problem, f"runs/{n}-with-{directions}.zarr", n, seed=0, derivatives=directions)
        training = gnvpro.train(f"runs/{n}-with-{directions}.zarr", seed=0, contender="polynomial")
        course.append(error(training.surrogate.evaluate(fresh)))
print("values alone:", *(f"{e:.2%}" for e in errors[0]), "with three derivatives:", *(f"{e:.2%}" for e in errors[3]))
assert all(with_them < without for without, with_them in zip(*errors.values(), strict=True))
assert errors[3][2] < errors[0][2] / 3

# %%
# Coarse solves
# -------------
# Solves on nine cells cost next to nothing, and are off. From 200 of them the surrogate learns its shape, and twenty on the
# fine mesh correct it: what is left is less than what the coarse version is off itself.

gnvpro.generate(problem, "runs/coarse.zarr", 200, seed=1, coarser=1)
corrected = []
for n in sizes[:2]:
    fine = f"runs/{n}-with-0.zarr"
    training = gnvpro.train(fine, coarse="runs/coarse.zarr", seed=0, contender="polynomial")
    corrected.append(error(training.surrogate.evaluate(fresh)))
print("with 200 coarse solves:", *(f"{e:.2%}" for e in corrected))
assert corrected[1] < off

figure, axes = plt.subplots(figsize=(7, 4.2), layout="constrained")
axes.loglog(sizes, 100 * np.array(errors[0]), "o-", color="#0072B2", label="values alone")
axes.loglog(sizes, 100 * np.array(errors[3]), "s-", color="#D55E00", label="and three derivatives of each")
axes.loglog(sizes[:2], 100 * np.array(corrected), "^-", color="#009E73", label="and 200 coarse solves")
axes.axhline(100 * off, color="0.5", linestyle=":", label="error of the coarse version itself")
axes.set(
    xlabel="solves on the fine mesh", ylabel="mean error at 500 fresh points (%)", title="Few solves, made to count"
)
axes.set_xticks(sizes, [str(n) for n in sizes])
axes.xaxis.set_minor_locator(plt.NullLocator())
axes.yaxis.set_major_formatter("{x:g}")
axes.legend()
plt.show()

# %%
# Measured on PDEs, with what derivatives and coarse solves cost there: :doc:`/few-solves`. ``gnvpro.build`` decides by itself
# what to buy (:doc:`plot_build`).
