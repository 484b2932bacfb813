"""
A whole field on a mesh, predicted and seen in 3D
=================================================

Observables need not be a few sensors: here they are the temperatures at all points of a mesh. A surrogate of the field is
trained like any other, its prediction is drawn by pyvista beside the truth and their difference, and the same arrays go
into a file that ParaView opens.
"""

import os
import sys

if sys.platform == "linux":
    os.environ.setdefault("VTK_DEFAULT_OPENGL_WINDOW", "vtkEGLRenderWindow")  # VTK then draws without a display

import matplotlib.pyplot as plt
import numpy as np
import pyvista as pv
from scipy.sparse import coo_array, diags_array
from scipy.sparse.linalg import splu
from scipy.spatial import Delaunay

import gnvpro
from gnvpro.surrogate.mesh import Mesh

# %%
# The mesh
# --------
# A round plate of triangles. Points and cells are arrays, from whatever makes them: a file that meshio reads, Gmsh, or
# FEniCSx (``gnvpro.fenicsx.mesh_of_dolfinx``).

ring = np.arange(1, 31)
angle = np.concatenate([2 * np.pi * np.arange(6 * n) / (6 * n) for n in ring])
radius = np.repeat(ring / 30, 6 * ring)
points = np.vstack([[0, 0], np.column_stack([radius * np.cos(angle), radius * np.sin(angle)])])
cells = Delaunay(points).simplices
corners = points[cells]
area = 0.5 * np.abs(np.linalg.det(corners[:, 1:] - corners[:, :1]))
cells, corners, area = cells[area > 1e-9], corners[area > 1e-9], area[area > 1e-9]
mesh = Mesh.of(points, cells, "triangle")
print(f"{len(points)} points, {len(cells)} triangles")

# %%
# The solver
# ----------
# Linear elements for heat in the plate, :math:`-\Delta u + b u = q`, whose rim is kept at zero. A burner heats it: its place
# and its width vary, and so does the loss *b* to the air. The observables are one axis, that of the mesh.

gradients = np.linalg.inv(np.concatenate([np.ones((len(cells), 3, 1)), corners], axis=2))[:, 1:]
local = np.einsum("cki,ckj,c->cij", gradients, gradients, area)
rows, columns = np.repeat(cells, 3, axis=1), np.tile(cells, 3)
stiffness = coo_array((local.ravel(), (rows.ravel(), columns.ravel()))).tocsc()
mass = np.bincount(cells.ravel(), np.repeat(area / 3, 3))
free = np.flatnonzero(np.linalg.norm(points, axis=1) < 1 - 1e-9)


class Plate:
    name = "plate"
    definition = {"problem": "plate", "route": "linear elements", "options": {}}  # noqa: RUF012
    parameters = gnvpro.Space.vector(
        ["x", "y", "width", "loss"], units=("m", "m", "m", "1/m2"),
        lower=(-0.3, -0.3, 0.2, 0.0), upper=(0.3, 0.3, 0.4, 10.0), law="uniform",
    )  # fmt: skip
    observables = gnvpro.Space((gnvpro.Axis.of_mesh("node", mesh),), units=("K",))

    def evaluate(self, y):
        fields = np.zeros((len(y), len(points)))
        for field, (a, b, width, loss) in zip(fields, y, strict=True):
            source = 50 * np.exp(-((points - (a, b)) ** 2).sum(axis=1) / (2 * width**2))
            matrix = (stiffness + loss * diags_array(mass)).tocsc()[free][:, free]
            field[free] = splu(matrix.tocsc()).solve((mass * source)[free])
        return fields


# %%
# The surrogate
# -------------
# 120 fields train it, through the few modes that they vary in; 16 fresh ones judge it.

problem = Plate()
gnvpro.generate(problem, "runs/plate.zarr", 120, seed=0)
training = gnvpro.train("runs/plate.zarr", seed=0, contender="kernel")
comparison = gnvpro.compare(training.surrogate, problem, samples=16, seed=1, repeats=1)
errors = comparison.errors
print(training)
print(f"error of 16 fresh fields: mean {errors.mean():.2%}, worst {errors.max():.2%}")
assert errors.mean() < 0.02

# %%
# Seen
# ----
# The fresh plate with the median error, as a hill of temperatures: by the solver, by the surrogate, and their difference,
# which is drawn higher by as much as its scale says.

median = np.argsort(errors)[len(errors) // 2]
truth, predicted = comparison.expected[median], comparison.predicted[median]
plate = pv.PolyData.from_regular_faces(np.column_stack([points, np.zeros(len(points))]), cells)
shown = {"solver": truth, "surrogate": predicted, "surrogate − solver": predicted - truth}


def drawn(fields):
    plotter = pv.Plotter(shape=(1, 3), off_screen=True, window_size=(1500, 480), border=False)
    for column, (title, values) in enumerate(fields.items()):
        plotter.subplot(0, column)
        hill, largest = plate.copy(), np.abs(values).max()
        hill["K"] = values
        limits = (0, truth.max()) if column < 2 else (-largest, largest)
        bar = {"title": f"{title} (K)", "fmt": "%.2g", "n_labels": 3, "color": "black", "title_font_size": 22}
        bar |= {"label_font_size": 20, "width": 0.6, "position_x": 0.2, "position_y": 0.03}
        hill = hill.warp_by_scalar("K", factor=0.5 / largest)
        plotter.add_mesh(hill, cmap="inferno" if column < 2 else "RdBu_r", clim=limits, scalar_bar_args=bar)
        plotter.camera_position = [(2.7, -2.7, 2.4), (0, 0, 0), (0, 0, 1)]
    plotter.set_background("white")
    picture = plotter.screenshot(return_img=True)
    plotter.close()
    return picture


figure, axes = plt.subplots(figsize=(10, 3.5), layout="constrained")
axes.imshow(drawn(shown))
axes.set_axis_off()
axes.set_title(f"{len(points)} temperatures: error {errors[median]:.2%} of the field")
plt.show()

# %%
# For ParaView
# ------------
# The comparison writes truth, prediction and difference on the mesh, and pyvista reads them back.

comparison.save_fields("runs/plate.vtu")
saved = pv.read("runs/plate.vtu")
print(saved.n_points, saved.n_cells, saved.array_names[:3])
assert saved.n_points == len(points)
assert saved.n_cells == len(cells)

# %%
# From the command line: ``gnvpro compare runs/plate --vtu runs/plate.vtu`` and ``gnvpro predict … --out field.vtu``.
# Fields at several times, of vectors, in cells, and of a million values: :doc:`/fields`.
