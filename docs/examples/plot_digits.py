"""
Handwritten digits: a convolutional network without its last layer
==================================================================

A network that tells images apart ends in a linear layer, and for given features the best such layer is a convex problem
of its own. Variable projection solves that problem and lets the convolutions learn what is left. This page trains the same
network on the same images with as many passes over them, once so and once with Adam on all weights.
"""

import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.metrics import ConfusionMatrixDisplay
from torch import nn

from gnvpro.surrogate.elimination.labels import one_hot
from gnvpro.surrogate.networks.module import ModuleNetwork
from gnvpro.surrogate.objectives.reduced import reduced_cross_entropy
from gnvpro.training.fitting.fit import Fit
from gnvpro.training.fitting.validation import ClassValidation, predicted_logits
from gnvpro.training.solvers.lbfgs import LimitedMemoryBFGS

# %%
# The images
# ----------
# scikit-learn ships 1,797 images of 8 by 8 pixels: 1000 train, 200 are watched on the way, and 597 judge at the end.

digits = load_digits()
order = torch.randperm(len(digits.target), generator=torch.Generator().manual_seed(0))
train, watched, test = order[:1000], order[1000:1200], order[1200:]
pixels, labels = torch.as_tensor(digits.data / 8 - 1), torch.as_tensor(digits.target)


# %%
# The network
# -----------
# Two convolutions, whose output is 64 features. The layer from there to the ten classes is left out: it is the one that is
# solved for. Adam gets it as a further layer.


def features(seed):
    torch.manual_seed(seed)
    images = nn.Unflatten(1, (1, 8, 8))  # solvers see flat inputs
    first = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.Tanh(), nn.AvgPool2d(2))
    second = nn.Sequential(nn.Conv2d(8, 16, 3, padding=1), nn.Tanh(), nn.AvgPool2d(2))
    return nn.Sequential(images, first, second, nn.Flatten())


# %%
# Variable projection
# -------------------
# L-BFGS on the convolutions alone; at each of its points the last layer is the one of least regularised cross-entropy. A work
# unit is a pass over the thousand images, forward or backward.

UNITS = 80


def by_variable_projection(seed):
    network = ModuleNetwork(features(seed), n_inputs=64)
    objective = reduced_cross_entropy(
        network, pixels[train], one_hot(labels[train], 10), alpha_w=1e-4, alpha_theta=1e-4
    )
    fit = Fit(
        objective,
        network.initial(seed),
        LimitedMemoryBFGS(),
        ClassValidation(network, pixels[watched], labels[watched]),
    )
    fit.advance(UNITS)
    measured = [record for record in fit.history if record.validation_error is not None]
    course = [(record.work_units, 1 - record.validation_error) for record in measured]
    logits = predicted_logits(network, fit.point.network_weights, fit.point.outer.compressed, pixels[test])
    return np.array(course), logits


# %%
# Adam
# ----
# The same network with its last layer, in batches of 50. An epoch is a pass forward and one backward, so 80 work units are
# 40 epochs. The step size is the best of three in these images, which is a help that the other method did not have.


def by_adam(seed, rate):
    network = nn.Sequential(features(seed), nn.Linear(64, 10)).double()
    optimiser, course = torch.optim.Adam(network.parameters(), lr=rate), []
    for epoch in range(UNITS // 2):
        for chosen in train[torch.randperm(len(train))].split(50):
            optimiser.zero_grad()
            nn.functional.cross_entropy(network(pixels[chosen]), labels[chosen]).backward()
            optimiser.step()
        with torch.no_grad():
            right = (network(pixels[watched]).argmax(1) == labels[watched]).double().mean().item()
        course.append((2 * epoch + 2, right))
    return np.array(course), network(pixels[test]).detach()


def accuracy(logits):
    return (logits.argmax(1) == labels[test]).double().mean().item()


projected, logits = by_variable_projection(0)
adam = {rate: by_adam(0, rate) for rate in (3e-3, 1e-2)}
rate = max(adam, key=lambda rate: adam[rate][0][-1, 1])
courses = {"variable projection, L-BFGS": projected, f"Adam, step size {rate:g}": adam[rate][0]}
print(f"right of 597 test images: {accuracy(logits):.1%}, by Adam {accuracy(adam[rate][1]):.1%}")
assert accuracy(logits) > 0.97
assert accuracy(logits) > accuracy(adam[rate][1]) - 0.01

figure, axes = plt.subplots(figsize=(7, 3.8), layout="constrained")
for (name, course), colour in zip(courses.items(), ("#0072B2", "#D55E00"), strict=True):
    axes.semilogy(
        course[:, 0], 100 * np.maximum(1 - course[:, 1], 0.0025), "o-", markersize=4, color=colour, label=name
    )
axes.set(xlabel="passes over the 1000 images, forward or backward", ylabel="watched images that are wrong (%)")
axes.set_title("The same network, the same budget")
axes.set_yticks([0.5, 1, 2, 5, 10, 20, 50], ["0.5", "1", "2", "5", "10", "20", "50"])
axes.minorticks_off()
axes.legend()
plt.show()

# %%
# A pass of variable projection costs more, since it solves for the last layer by some Newton steps: about three times the CPU
# seconds on this small network, less on larger ones. This is one seed; three are in :doc:`/any-network`.
#
# What is taken for what
# ----------------------
# Of the 597 images that no one looked at before:

predicted = logits.argmax(1)
figure, axes = plt.subplots(figsize=(5.4, 5), layout="constrained")
ConfusionMatrixDisplay.from_predictions(labels[test], predicted, cmap="Blues", colorbar=False, ax=axes)
axes.set(title=f"{accuracy(logits):.1%} right", xlabel="predicted digit", ylabel="written digit")
plt.show()

# %%
# And these are the mistakes, with the probability that the network gives to its answer; some of them one would make oneself.

probability = logits.softmax(1).max(1).values
wrong = (predicted != labels[test]).nonzero().flatten()[:8]
figure, axes = plt.subplots(2, 4, figsize=(6.4, 4.2), layout="constrained")
for panel in axes.flat:
    panel.set_axis_off()
for panel, i in zip(axes.flat, wrong.tolist(), strict=False):
    panel.imshow(pixels[test[i]].reshape(8, 8), cmap="gray_r")
    panel.set_title(f"{labels[test[i]]}, not {predicted[i]} ({probability[i]:.0%})", fontsize=10)
plt.show()

# %%
# Your own loop with any optimiser of PyTorch, where ``gnvpro.varpro_loss`` takes the place of the loss, scikit-learn's
# interface, and what batches have to look like: :doc:`/any-network`.
