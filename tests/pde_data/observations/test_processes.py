"""Observations and fields on a mesh that several processes share are those on the mesh of one."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

PROGRAM = """
from gnvpro.fenicsx import GaussianField, averages, boundary_fluxes, points, residual_fluxes
import sys
import numpy as np
from dolfinx import fem, mesh
from mpi4py import MPI
from ufl import TestFunction, as_ufl, conditional, dx, exp, grad, inner, lt

domain = mesh.create_unit_square(MPI.COMM_WORLD, 8, 8)
V = fem.functionspace(domain, ("Lagrange", 1))
alone = fem.functionspace(mesh.create_unit_square(MPI.COMM_SELF, 8, 8), ("Lagrange", 1))
field = GaussianField(alone, 0.5, n_modes=4).on(V)
u, k = fem.Function(V), fem.Function(V)
u.interpolate(lambda x: np.sin(3 * x[0]) + x[1] ** 2)
field.assign(k, np.array([1.0, -0.5, 0.3, 0.2]))
# On faces and corners too, which several processes know.
at = [(i / 8, j / 8) for i in range(9) for j in range(9)] + [(0.3, 0.41), (1.0, 0.7), (1 + 1e-13, 0.5)]
parts = {"left": lambda x: np.isclose(x[0], 0), "right": lambda x: np.isclose(x[0], 1)}
residual = exp(k) * inner(grad(u), grad(TestFunction(V))) * dx
direct = boundary_fluxes(u, parts, exp(k))
values = [
    points(V, at)(u), points(V, at)(k), averages(V, {"half": lambda x: conditional(lt(x[0], 0.5), 1.0, 0.0)})(k),
    direct(), residual_fluxes(residual, u, parts)(), domain.comm.allreduce(direct.derivative(k) @ k.x.array),
]
try:
    points(V, [(0.5, 0.5), (0.5, 1.5)])
except ValueError as error:
    assert "0.5 outside" in str(error)
else:
    raise AssertionError
if domain.comm.rank == 0:
    np.save(sys.argv[1], np.concatenate(values))
"""


@pytest.mark.long
def test_two_processes_measure_what_one_does(fenicsx, tmp_path):
    launcher = Path(sys.executable).with_name("mpiexec")
    launcher = str(launcher) if launcher.exists() else shutil.which("mpiexec")
    if launcher is None:
        pytest.skip("mpiexec is not installed")
    results = []
    for n in (1, 2):
        file = tmp_path / f"{n}.npy"
        command = [launcher, "-n", str(n), sys.executable, "-c", PROGRAM, str(file)]
        ran = subprocess.run(command, capture_output=True, text=True, timeout=300)
        assert ran.returncode == 0, ran.stderr
        results.append(np.load(file))
    np.testing.assert_allclose(results[1], results[0], rtol=1e-10)
