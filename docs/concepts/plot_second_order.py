"""
Why second order
================

A surrogate is worth its digits: 1 % of error is easily had, 0.01 % is what an inversion needs. Gradients point across
the valleys in which the last digits lie; steps that know the curvature go along them.
"""

import matplotlib.pyplot as plt
import numpy as np
from scipy.optimize import minimize

# %%
# A function with a valley
# ------------------------
# Two decays, :math:`w_1 e^{-\theta_1 t} + w_2 e^{-\theta_2 t}`, fitted to data of the same kind. The two :math:`w` are
# eliminated (:doc:`variable projection <plot_variable_projection>`), and the reduced function of
# :math:`\theta_1, \theta_2` can be drawn. :math:`P` projects onto what the decays cannot express, and the residual is
# :math:`r(\theta) = P d`; its Jacobian is that of Kaufman, one column a parameter.

t = np.linspace(0, 4, 60)
data = np.exp(-0.6 * t) + 1.5 * np.exp(-1.6 * t)


def solved(theta):
    """Residual with the best w, and its Jacobian with respect to theta."""
    decays = np.exp(-np.outer(t, theta))
    basis, triangle = np.linalg.qr(decays)
    w = np.linalg.solve(triangle, basis.T @ data)
    moved = -t[:, None] * decays * w  # of decays @ w, along every theta
    return decays @ w - data, moved - basis @ (basis.T @ moved)


def value(theta):
    return 0.5 * np.sum(solved(theta)[0] ** 2)


def gradient(theta):
    residual, jacobian = solved(theta)
    return jacobian.T @ residual


# %%
# Three ways down, each of them told only the residual and its Jacobian. Gradient descent has the best of twelve step
# lengths. Gauss–Newton solves a linear least-squares problem at each step. L-BFGS learns the curvature from the gradients
# on its way. A step that would go up is halved.

START = np.array([0.25, 2.6])


def shortened(theta, step):
    """The step, halved until it does not go up."""
    while value(theta + step) > value(theta) and np.abs(step).max() > 1e-12:
        step = step / 2
    return theta + step


def gradient_descent(rate, steps=200):
    path = [START]
    for _ in range(steps):
        path.append(shortened(path[-1], -rate * gradient(path[-1])))
    return np.array(path)


def gauss_newton(steps=12):
    path = [START]
    for _ in range(steps):
        residual, jacobian = solved(path[-1])
        path.append(shortened(path[-1], -np.linalg.lstsq(jacobian, residual)[0]))
    return np.array(path)


def quasi_newton():
    path = [START]
    minimize(value, START, jac=gradient, method="L-BFGS-B", callback=path.append, options=dict(ftol=0, gtol=1e-12))
    return np.array(path)


descents = [gradient_descent(rate) for rate in np.geomspace(0.03, 100, 12)]
paths = {
    "gradient descent, best rate": min(descents, key=lambda path: value(path[-1])),
    "L-BFGS": quasi_newton(),
    "Gauss–Newton": gauss_newton(),
}
colours = dict(zip(paths, ("#E69F00", "#56B4E9", "#D55E00"), strict=True))

first, second = np.linspace(0.05, 1.4, 110), np.linspace(1.2, 3.0, 110)
surface = np.array([[value(np.array([a, b])) for a in first] for b in second])
figure, (left, right) = plt.subplots(1, 2, figsize=(9.5, 4), layout="constrained")
left.contourf(first, second, np.log10(surface + 1e-9), levels=16, cmap="Greys_r")
for name, path in paths.items():
    left.plot(*path.T, "o-", color=colours[name], markersize=3, linewidth=1.2, label=name)
    relative = [np.sqrt(2 * value(theta)) / np.linalg.norm(data) for theta in path]
    right.loglog(np.arange(len(path)) + 1, relative, "o-", color=colours[name], markersize=3, linewidth=1.2, label=name)
left.set(xlim=(0.05, 1.4), ylim=(1.2, 3.0), xlabel="θ₁", ylabel="θ₂", title="the reduced function, and the steps")
right.axhline(1e-4, color="0.6", linestyle=":", linewidth=1)
right.text(1, 1.2e-4, "0.01 %", fontsize=8, color="0.4")
right.set(xlabel="steps", ylabel="relative error of the fit", ylim=(1e-9, 1), title="digits")
right.legend(fontsize=8)
plt.show()

# %%
# All of them are at 1 % soon; the digits after that are what takes gradient descent hundreds of steps.

final = {name: np.sqrt(2 * value(path[-1])) / np.linalg.norm(data) for name, path in paths.items()}
for name, error in final.items():
    print(f"{name:28s} {len(paths[name]) - 1:4d} steps, error {error:.0e}")
assert final["Gauss–Newton"] < 1e-6
assert final["L-BFGS"] < 1e-6
assert len(paths["L-BFGS"]) < 40
assert final["gradient descent, best rate"] > 1e-5

# %%
# Why the valley is there: the curvatures of the reduced function at the minimum differ by a large factor, and a
# gradient step that is short enough for the steep direction is far too short for the flat one. Gauss–Newton measures
# both. Elimination matters here: with the two :math:`w` among the unknowns the factor is larger still.

best = paths["Gauss–Newton"][-1]
reduced = np.linalg.svd(solved(best)[1], compute_uv=False)
decays = np.exp(-np.outer(t, best))
w = np.linalg.lstsq(decays, data)[0]
full = np.linalg.svd(np.hstack([-t[:, None] * decays * w, decays]), compute_uv=False)
print(
    f"largest over smallest curvature: reduced {(reduced[0] / reduced[-1]) ** 2:.0f}, full {(full[0] / full[-1]) ** 2:.0f}"
)
assert (full[0] / full[-1]) > (reduced[0] / reduced[-1])

# %%
# On real problems the networks have hundreds of weights, the Gauss–Newton matrix is never formed, and the choice
# between L-BFGS and a trust-region method is made by measurement: :doc:`/studies-of-the-method` has what each part is
# worth, :doc:`/studies` compares with Adam and SGD, and :doc:`/method` tells how.
