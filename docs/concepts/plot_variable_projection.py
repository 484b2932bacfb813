"""
Variable projection: never train what can be solved for
=======================================================

The last layer of a network is linear. For any weights before it, the best last layer is the solution of a linear
problem, so it need not be trained: it is solved for, and what is left to train is smaller and better behaved.
"""

import matplotlib.pyplot as plt
import numpy as np
import torch

import gnvpro

# %%
# Two unknowns, one of them linear
# --------------------------------
# Fit :math:`w\,e^{-\theta t}` to a decay that was measured. The sum of squares is a function of both unknowns, with a
# curved valley. For every :math:`\theta` the best :math:`w` is known in closed form; the white line is that
# :math:`w(\theta)`, the floor of the valley. Variable projection walks along the floor: it sees the function of
# :math:`\theta` alone on the right.

t = np.linspace(0, 3, 30)
measured = 2.0 * np.exp(-1.3 * t)


def half_squares(theta, w):
    return 0.5 * np.sum((w * np.exp(-theta * t) - measured) ** 2)


def best_w(theta):
    decay = np.exp(-theta * t)
    return decay @ measured / (decay @ decay)


thetas, ws = np.linspace(0.1, 3.5, 120), np.linspace(0, 4, 120)
surface = np.array([[half_squares(theta, w) for theta in thetas] for w in ws])
floor = np.array([best_w(theta) for theta in thetas])


def descend(theta, w, steps, rate):
    """Gradient descent in both unknowns."""
    path = [(theta, w)]
    for _ in range(steps):
        decay = np.exp(-theta * t)
        residual = w * decay - measured
        theta, w = theta + rate * residual @ (w * t * decay), w - rate * residual @ decay
        path.append((theta, w))
    return np.array(path)


path = descend(3.0, 0.3, steps=60, rate=0.05)

figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
left.contourf(thetas, ws, np.log10(surface + 1e-3), levels=14, cmap="viridis")
left.plot(thetas, floor, "w", linewidth=2, label="best w for each θ")
left.plot(*path.T, "o-", color="#E69F00", markersize=3, linewidth=1, label="60 steps of gradient descent in both")
left.plot(1.3, 2.0, "*", color="white", markersize=12, label="minimum")
left.set(xlabel="θ (nonlinear)", ylabel="w (linear)", ylim=(0, 4), title="both unknowns: a curved valley")
left.legend(fontsize=8, labelcolor="white", facecolor="#333333", framealpha=0.8)
right.semilogy(thetas, [half_squares(theta, w) for theta, w in zip(thetas, floor, strict=True)], color="#0072B2")
right.set(xlabel="θ", ylabel="half the sum of squares", title="w eliminated: one unknown is left")
plt.show()

# %%
# At the floor the derivative with respect to :math:`w` is zero, so the gradient of the reduced function is the plain
# gradient at :math:`w(\theta)`: it costs one backward pass, as before. Here by a difference:

theta, step = 2.0, 1e-6
decay = np.exp(-theta * t)
residual = best_w(theta) * decay - measured
plain = -residual @ (best_w(theta) * t * decay)
reduced = [half_squares(theta + side * step, best_w(theta + side * step)) for side in (-1, 1)]
assert abs((reduced[1] - reduced[0]) / (2 * step) - plain) < 1e-6 * abs(plain)

# %%
# The same in a network
# ---------------------
# Points of the square, blue inside of a tilted ellipse. A network turns every point into two features, so that what it
# makes of them can be drawn, and the last layer draws a straight line between the classes. Both trainings have the
# same initial weights and the same optimiser (Adam, rate 0.02). One moves the line by gradient steps; the other asks
# :class:`gnvpro.VarPro` for the best line at every step.

torch.manual_seed(0)
points = 2 * torch.rand(400, 2, dtype=torch.float64) - 1
cos, sin = np.cos(np.radians(30)), np.sin(np.radians(30))
along = points @ torch.tensor([[cos, -sin], [sin, cos]], dtype=torch.float64)
inside = ((along / torch.tensor([0.85, 0.5], dtype=torch.float64)).square().sum(1) < 1).long()
SHOWN = (0, 10, 30, 100)


def features():
    torch.manual_seed(1)
    layers = (torch.nn.Linear(2, 8), torch.nn.Tanh(), torch.nn.Linear(8, 2), torch.nn.Tanh())
    return torch.nn.Sequential(*layers).double()


def train(network, last, loss):
    """Adam on all points; features, line and loss at the steps that are shown."""
    optimiser = torch.optim.Adam([*network.parameters(), *last.parameters()], lr=0.02)
    frames = []
    for step in range(max(SHOWN) + 1):
        optimiser.zero_grad()
        z = network(points)
        value = loss(z)
        value.backward()
        if step in SHOWN:
            weights = last.weights if isinstance(last, gnvpro.VarPro) else torch.vstack([last.weight.T, last.bias])
            frames.append((z.detach().numpy(), (weights[:, 1] - weights[:, 0]).detach().numpy(), value.item()))
        optimiser.step()
    return frames


linear = torch.nn.Linear(2, 2).double()
varpro = gnvpro.VarPro(2, 2, alpha_w=1e-4, classes=True)
runs = {
    "line by gradient steps": train(features(), linear, lambda z: torch.nn.functional.cross_entropy(linear(z), inside)),
    "line solved for": train(features(), varpro, lambda z: varpro(z, inside)),
}

figure, axes = plt.subplots(2, len(SHOWN), figsize=(9, 4.8), layout="constrained", sharex=True, sharey=True)
for row, (name, frames) in zip(axes, runs.items(), strict=True):
    for panel, step, (z, (a, b, c), value) in zip(row, SHOWN, frames, strict=True):
        x, y = np.meshgrid([-1.1, 1.1], [-1.1, 1.1])
        panel.contourf(x, y, a * x + b * y + c, levels=[-1e9, 0, 1e9], colors=["#D55E00", "#0072B2"], alpha=0.15)
        panel.scatter(*z.T, s=3, c=np.where(inside.numpy() == 1, "#0072B2", "#D55E00"))
        panel.set_title(f"step {step}: loss {value:.3f}", fontsize=9)
        panel.set(xticks=[], yticks=[], aspect="equal")
    row[0].set_ylabel(name)
figure.supxlabel("first feature", fontsize=9)
figure.supylabel("second feature", fontsize=9)
plt.show()

# %%
# With the line always in its best place, features are pulled apart from the first step on:

for (_, _, trained), (_, _, solved) in list(zip(*runs.values(), strict=True))[:3]:
    assert solved < trained

# %%
# What this picture does not say: with first-order steps the advantage does not last, and after some hundred steps the
# training that moves the line has the lower loss (:doc:`/studies-of-the-method`). Elimination pays when the
# network's own steps are of second order: :doc:`why <plot_second_order>`. The mathematics, also of how an eliminated
# layer is differentiated, is in :doc:`/method`.
