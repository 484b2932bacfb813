"""
Classes of pixels from their spectra
====================================

An imaging spectrometer gives a spectrum for every pixel, and somebody has walked over a part of the ground and noted what
is there. A classifier learns it from these pixels and fills the map. Here the scene is made up, so that the truth is known
of every pixel, also of those that nobody labelled.
"""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import ListedColormap
from scipy.ndimage import gaussian_filter
from sklearn.metrics import ConfusionMatrixDisplay

import gnvpro

# %%
# Five materials
# --------------
# Simple reflectances over the wavelength, with what tells them apart: the red edge of plants, absorption by water near 1.4
# and 1.9 µm, by iron below .9 µm, by clay at 2.2 µm.

wavelength = np.linspace(0.4, 2.4, 60)


def dip(centre, width, depth):
    return 1 - depth * np.exp(-(((wavelength - centre) / width) ** 2) / 2)


water_bands = dip(1.4, 0.06, 0.5) * dip(1.9, 0.08, 0.7)
edge = 1 / (1 + np.exp(-(wavelength - 0.71) / 0.02))
soil = (0.12 + 0.2 * (1 - np.exp(-2 * (wavelength - 0.4)))) * dip(0.87, 0.08, 0.12)
spectra = {
    "crop": (0.05 + 0.42 * edge * np.exp(-0.5 * (wavelength - 0.7))) * dip(0.67, 0.04, 0.5) * water_bands,
    "dry crop": (0.07 + 0.34 * edge * np.exp(-0.4 * (wavelength - 0.7))) * dip(0.67, 0.05, 0.3) * water_bands**0.6,
    "soil": soil,
    "clay": soil * dip(2.2, 0.04, 0.25) * dip(0.87, 0.08, 0.1),
    "road": 0.13 + 0.05 * (wavelength - 0.4),
}

# %%
# The scene
# ---------
# Fields in a mosaic of 90 by 90 pixels, a road across. Every pixel is blurred with its neighbours, in light or in shade,
# which takes up to half of it, and noisy. Two fifths of the fields were visited.

rng = np.random.default_rng(3)
side = 90
rows, columns = np.mgrid[:side, :side]
seeds = rng.uniform(0, side, (70, 2))
field = ((rows[..., None] - seeds[:, 0]) ** 2 + (columns[..., None] - seeds[:, 1]) ** 2).argmin(axis=2)
truth = rng.permutation(np.arange(70) % 4 + 1)[field]
visited = (rng.permutation(70) < 28)[field]
truth[np.abs(rows - 0.6 * columns - 20) < 3] = 5
visited |= (truth == 5) & (columns < 50)
labels = np.where(visited, truth, 0)

reflectance = np.stack(list(spectra.values()))[truth - 1]
reflectance = gaussian_filter(reflectance, (0.8, 0.8, 0))
shade = (
    1
    - 0.5
    * gaussian_filter(rng.random((side, side)), 4, mode="wrap").argsort(axis=None).argsort().reshape(side, side)
    / side**2
)
cube = reflectance * shade[..., None] * (1 + 0.04 * rng.standard_normal((side, side, 1)))
cube += 0.012 * rng.standard_normal(cube.shape)

# %%
# Train and judge
# ---------------
# Neighbouring pixels are nearly copies, so that a fair test is on other ground: blocks of 9 by 9 pixels go to training,
# validation or test as a whole.

segmentation = gnvpro.segment(cube, labels, class_names=tuple(spectra), split="blocks", seed=0)
print(segmentation)
result = segmentation.splits["blocks"]
predicted = result.predicted
unvisited = labels == 0
right = predicted == truth
print(f"right: {right[~unvisited].mean():.1%} of the visited pixels, {right[unvisited].mean():.1%} of all others")
assert right[unvisited].mean() > 0.8

# %%
# The map
# -------

figure, grid = plt.subplots(2, 2, figsize=(8, 6.8), layout="constrained")
axes = grid.ravel()
colours = ListedColormap(["white", "#1b9e3f", "#b5b33c", "#8c5a2b", "#d98b5f", "#555555"])
red, green, blue = (np.abs(wavelength - centre).argmin() for centre in (0.85, 0.65, 0.55))
axes[0].imshow(np.clip(cube[..., [red, green, blue]] / np.quantile(cube[..., [red, green, blue]], 0.99, (0, 1)), 0, 1))
for panel, shown in zip(axes[1:], (labels, predicted, truth), strict=True):
    image = panel.imshow(shown, cmap=colours, vmin=-0.5, vmax=5.5, interpolation="nearest")
for panel, title in zip(axes, ("the scene (.85, .65, .55 µm)", "visited", "predicted", "truth"), strict=True):
    panel.set(title=title, xticks=[], yticks=[])
bar = figure.colorbar(image, ax=grid, ticks=range(6), shrink=0.7)
bar.ax.set_yticklabels(["not visited", *spectra])
plt.show()

# %%
# What is taken for what
# ----------------------
# On the pixels that nobody visited, in per cent of each class. Most mistakes are between the two crops; others lie at the
# edges of fields, whose pixels are mixtures.

figure, (left, middle) = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
for (name, spectrum), colour in zip(spectra.items(), colours.colors[1:], strict=True):
    left.plot(wavelength, spectrum, color=colour, label=name)
left.set(xlabel="wavelength (µm)", ylabel="reflectance", title="the materials, without noise")
left.legend()
ConfusionMatrixDisplay.from_predictions(
    truth[unvisited], predicted[unvisited], display_labels=list(spectra), normalize="true", values_format=".0%",
    cmap="Blues", colorbar=False, ax=middle,
)  # fmt: skip
middle.set(title=f"{right[unvisited].mean():.1%} right where nobody was", xlabel="predicted", ylabel="truth")
plt.show()

# %%
# With ``out`` the call writes a report, maps, probabilities and models. From the command line it is
# ``gnvpro segment cube.hdr --labels labels.hdr``, and without a cube the scene Indian Pines, with results beside those of
# others: :doc:`/segmentation`.
