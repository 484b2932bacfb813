"""
Your network, your loop: one line solves for the last layer
===========================================================

A network in PyTorch with a linear last layer, a training loop, Adam. Instead of training the last layer with the others,
``varpro_loss`` solves for it at every step, exactly: the rest of the loop stays as it is. Both ways start from the same
weights, at the same three learning rates, and what they reach is compared on data that trained neither.
"""

import matplotlib.pyplot as plt
import numpy as np
import torch

import gnvpro

# %%
# Data
# ----
# A damped oscillation: frequency, damping and phase give the displacement at forty times. 400 samples train and 200 judge.

rng = np.random.default_rng(0)
times = np.linspace(0, 6, 40)
y = rng.uniform(-1, 1, (600, 3))
frequency, damping, phase = 2 + 0.6 * y[:, :1], 0.3 + 0.2 * y[:, 1:2], 0.8 * y[:, 2:]
displacement = np.exp(-damping * times) * np.cos(frequency * times + phase)
x, targets = (torch.tensor(a, dtype=torch.float32) for a in (y, displacement))
train, test = slice(0, 400), slice(400, 600)


def features():
    """Two layers of 32; the last, linear one is not among them."""
    torch.manual_seed(1)
    return torch.nn.Sequential(torch.nn.Linear(3, 32), torch.nn.Tanh(), torch.nn.Linear(32, 32), torch.nn.Tanh())


def error(predicted):
    """Relative to the displacements, on samples that did not train."""
    return (torch.linalg.norm(predicted - targets[test]) / torch.linalg.norm(targets[test])).item()


# %%
# Adam on everything
# ------------------
# The last layer is a layer like the others.


def by_adam(rate, steps):
    network = features()
    last = torch.nn.Linear(32, times.size)
    optimiser = torch.optim.Adam([*network.parameters(), *last.parameters()], lr=rate)
    losses, errors = [], []
    for _ in range(steps):
        optimiser.zero_grad()
        loss = 0.5 * ((last(network(x[train])) - targets[train]) ** 2).sum(dim=1).mean()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
        with torch.no_grad():
            errors.append(error(last(network(x[test]))))
    return losses, errors


# %%
# Variable projection
# -------------------
# ``VarPro`` holds the last layer, and its call solves a linear least-squares problem for it, with a little
# regularisation. The gradient that goes back to the features is exact: at the optimum of the last layer, its own
# derivative is zero. ``gnvpro.varpro_loss(network(x), targets, alpha_w=1e-7)`` is the same as a function.


def by_projection(rate, steps):
    network = features()
    varpro = gnvpro.VarPro(32, times.size, alpha_w=1e-7)
    optimiser = torch.optim.Adam(network.parameters(), lr=rate)
    losses, errors = [], []
    for _ in range(steps):
        optimiser.zero_grad()
        loss = varpro(network(x[train]), targets[train])
        loss.backward()
        with torch.no_grad():  # the last layer is that of the features before the step
            errors.append(error(varpro.predict(network(x[test]))))
        optimiser.step()
        losses.append(loss.item())
    return losses, errors


# %%
# Which is better?
# ----------------
# The right learning rate is not the same for both, so each has three.

STEPS, RATES = 400, (1e-3, 3e-3, 1e-2)
methods = {"Adam on everything": by_adam, "variable projection": by_projection}
runs = {name: {rate: method(rate, STEPS) for rate in RATES} for name, method in methods.items()}

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 5), layout="constrained")
for (name, by_rate), colour in zip(runs.items(), ("#D55E00", "#0072B2"), strict=True):
    for (rate, (losses, errors)), style in zip(by_rate.items(), (":", "-", "--"), strict=True):
        label = f"{name}, rate {rate:g}"
        left.semilogy(losses, color=colour, linestyle=style, label=label)
        right.semilogy(errors, color=colour, linestyle=style)
left.set(xlabel="step", ylabel="loss on training data", title="training")
right.set(xlabel="step", ylabel="relative error", title="samples that trained neither")
figure.legend(loc="outside lower center", ncols=2, fontsize="small")
plt.show()

# %%
# Already the first loss differs: for random features, too, there is a best last layer. From then on the features are
# trained for the last layer that they will have, not for the one of a moment ago. Two things to know. A step also solves
# a least-squares problem of the batch; and the batch has to be several times as large as the last layer is wide, here 400
# samples for 32 features, since a smaller one would be fitted whatever the features are.

best = {name: min(min(errors) for _, errors in by_rate.values()) for name, by_rate in runs.items()}
print("best error of any rate and step:", {name: f"{value:.1e}" for name, value in best.items()})
assert best["variable projection"] < best["Adam on everything"] / 3

# %%
# Classes instead of numbers, batches, scikit-learn and our second-order solvers on your module: :doc:`/any-network`. Why
# solving for the last layer helps, in pictures: :doc:`/pictures/plot_variable_projection`.
