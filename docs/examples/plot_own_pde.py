"""
A PDE of your own, with derivatives
===================================

Two wells pump from an aquifer beside a river, and six observation wells show the head. The PDE is some thirty lines of
dolfinx in a class with three things: parameters, observables, ``evaluate``. A fourth, the derivative, is a few lines
more, and is checked before anything is built on it.
"""

# isort: off
from gnvpro.fenicsx import points  # first: it makes dolfinx, torch, h5py and numba work in one process

# isort: on
import matplotlib.pyplot as plt
import numpy as np
from dolfinx import fem, mesh
from dolfinx.fem.petsc import LinearProblem
from mpi4py import MPI
from ufl import SpatialCoordinate, TestFunction, TrialFunction, conditional, dx, exp, grad, inner, lt

import gnvpro

# %%
# The PDE
# -------
# The head :math:`u`, in metres above the river, follows :math:`-\nabla\cdot(T\nabla u) = r - q\,g`, with the rain
# :math:`r`, the pumping :math:`q` around two wells and a transmissivity :math:`T` of one value within 800 m of the
# river and another beyond. At the river u = 0, through the other sides nothing flows. The derivative of the
# equation along a direction of the parameters has the same left-hand side, so it is one more right-hand side.

OBSERVED = {"A": (300, 300), "B": (300, 700), "C": (900, 250), "D": (900, 800), "E": (1500, 300), "F": (1700, 700)}
PUMPED = ((600.0, 500.0), (1300.0, 600.0))


class Aquifer:
    parameters = gnvpro.Space.of_laws(
        {"T_near": (100, 400), "T_far": (100, 400), "rain": (3e-4, 1e-3), "pump_1": (0, 500), "pump_2": (0, 500)},
        units=("m2/d", "m2/d", "m/d", "m3/d", "m3/d"),
    )

    def __init__(self, cells=20):
        self.cells = cells
        self.name, self.definition = "aquifer", {"problem": "aquifer", "route": "P2", "options": {"cells": cells}}
        domain = mesh.create_rectangle(MPI.COMM_SELF, [(0, 0), (2000, 1000)], (2 * cells, cells))
        V = fem.functionspace(domain, ("Lagrange", 2))
        self.wells = points(V, list(OBSERVED.values()), list(OBSERVED), unit="m", length_unit="m")
        self.observables = self.wells.space

        self.y, self.dy = (fem.Constant(domain, np.ones(5)) for _ in range(2))
        self.u, self.du = fem.Function(V), fem.Function(V)
        x, v = SpatialCoordinate(domain), TestFunction(V)
        cones = [exp(-((x[0] - a) ** 2 + (x[1] - b) ** 2) / (2 * 60**2)) / (2 * np.pi * 60**2) for a, b in PUMPED]

        def flow(y, u):
            return conditional(lt(x[0], 800.0), y[0], y[1]) * inner(grad(u), grad(v)) * dx

        def sources(y):
            return (y[2] - y[3] * cones[0] - y[4] * cones[1]) * v * dx

        river = fem.dirichletbc(0.0, fem.locate_dofs_geometrical(V, lambda x: np.isclose(x[0], 0)), V)
        self.state, self.tangent = (
            LinearProblem(flow(self.y, TrialFunction(V)), right, u=u, bcs=[river],
                          petsc_options={"ksp_type": "preonly", "pc_type": "lu"}, petsc_options_prefix="aquifer_")
            for right, u in ((sources(self.y), self.u), (sources(self.dy) - flow(self.dy, self.u), self.du))
        )  # fmt: skip

    def head(self, y):
        self.y.value[:] = y
        self.state.solve()
        return self.u

    def evaluate(self, y):
        return np.array([self.wells(self.head(row)) for row in y])

    def jvp(self, y, dy):
        return np.array([self._derivative(row, direction) for row, direction in zip(y, dy, strict=True)])

    def _derivative(self, y, dy):
        self.head(y)
        self.dy.value[:] = dy
        self.tangent.solve()
        return self.wells(self.du)

    def references(self):
        return {"half the mesh width": Aquifer(2 * self.cells).evaluate}


problem = Aquifer()

# %%
# Look at one solution first
# --------------------------

middle = np.array([200.0, 300.0, 6e-4, 300.0, 400.0])
values = problem.head(middle).x.array.copy()
x = problem.u.function_space.tabulate_dof_coordinates()

figure, axes = plt.subplots(figsize=(8, 4), layout="constrained")
levels = axes.tricontourf(x[:, 0], x[:, 1], values, levels=20, cmap="viridis")
figure.colorbar(levels, label="head above the river (m)")
axes.plot(*np.transpose(PUMPED), "v", color="#D55E00", markersize=9, label="pumped wells")
axes.plot(
    *np.transpose(list(OBSERVED.values())), "o", color="white", markeredgecolor="black", label="observation wells"
)
for name, place in OBSERVED.items():
    axes.annotate(name, place, (6, 4), textcoords="offset points", color="white")
axes.axvline(800, color="white", linestyle=":", linewidth=1)
axes.set(xlabel="distance from the river (m)", ylabel="along the river (m)", title="Head, and where T changes (dotted)")
axes.set_aspect("equal")
axes.legend(loc="lower right", fontsize="small")
plt.show()

# %%
# Are the derivatives right?
# --------------------------
# What :math:`u(y + t\,\mathrm{d}y)` leaves of :math:`u(y) + t\,u'(y)\,\mathrm{d}y` has to fall like :math:`t^2`.

direction = np.array([[30.0, -20.0, 1e-4, 50.0, -80.0]])
slope, at = problem.jvp(middle[None], direction), problem.evaluate(middle[None])
steps = 0.5 ** np.arange(1, 6)
left = [np.linalg.norm(problem.evaluate(middle + t * direction) - at - t * slope) for t in steps]
order = np.diff(np.log2(left)) / np.diff(np.log2(steps))
print("orders:", order.round(2))
assert np.abs(order - 2).max() < 0.1

# %%
# Generate, train, compare
# ------------------------
# A finer mesh (``references``) tells the error of the solver itself. The surrogate's derivative is held against that of
# the PDE, too, since an inversion relies on it.

gnvpro.generate(problem, "runs/aquifer.zarr", n_samples=100, seed=0)
training = gnvpro.train("runs/aquifer.zarr", seed=0, quick=True, out="runs/aquifer")
surrogate = training.surrogate
comparison = gnvpro.compare(surrogate, problem, samples=32, seed=1)
errors = comparison.errors
print(comparison)
assert errors.mean() < 1e-3

derivative_error = np.linalg.norm(surrogate.jvp(middle[None], direction) - slope) / np.linalg.norm(slope)
print(f"error of the derivative: {derivative_error:.1e}")
assert derivative_error < 1e-3

# %%
# A question for the surrogate: how much may well 2 pump?
# -------------------------------------------------------
# Two hundred points along one parameter, with 90 % bands, and the PDE at five of them.

pumping = np.linspace(0, 500, 200)
along = np.repeat(middle[None], pumping.size, axis=0)
along[:, 4] = pumping
predictions = gnvpro.predict(surrogate, along)
few = np.linspace(0, pumping.size - 1, 5).astype(int)
solved = problem.evaluate(along[few])

figure, (first, second) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
for name, colour in zip("ADEF", ("#0072B2", "#D55E00", "#009E73", "#CC79A7"), strict=True):
    j = list(OBSERVED).index(name)
    value, band = predictions.observables[:, j], predictions.reliability.half_width[:, j]
    first.plot(pumping, value, color=colour, label=f"well {name}")
    first.fill_between(pumping, value - band, value + band, color=colour, alpha=0.25, linewidth=0)
    first.plot(pumping[few], solved[:, j], "o", color=colour, markerfacecolor="white")
first.set(xlabel="pumping of well 2 (m³/d)", ylabel="head above the river (m)", title="surrogate, PDE (circles)")
first.legend()
second.plot(comparison.expected.ravel(), comparison.predicted.ravel(), ".", color="#0072B2")
second.axline((0, 0), slope=1, color="black", linewidth=0.8)
second.set(xlabel="head by the PDE (m)", ylabel="head by the surrogate (m)")
second.set_title(f"fresh solves: mean error {errors.mean():.1e}, worst {errors.max():.1e}")
plt.show()

# %%
# In a file of its own, ``aquifer.py``, the class works on the command line too: ``gnvpro build aquifer:Aquifer --error
# 0.1% --out runs/built`` decides by itself how many solves that takes. What else a problem may say of itself:
# :doc:`/your-own-pde`. With ``derivatives=2`` a data set has them beside every solve, so that fewer solves are needed:
# :doc:`plot_few_solves`.
