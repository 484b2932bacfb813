"""FEniCSx, torch, h5py and numba in one process, whatever the order, once `gnvpro.fenicsx` was first."""

import random
import subprocess
import sys

import pytest

MODULES = ("torch", "h5py", "numba", "dolfinx.fem.petsc", "xarray, h5netcdf")
WORK = """
import io, h5py, numba, numpy as np, torch, ufl
from dolfinx import fem, mesh
from dolfinx.fem.petsc import LinearProblem
from mpi4py import MPI

def batched():
    a, b = torch.eye(9, dtype=torch.float64), torch.ones(30, 9, 55, dtype=torch.float64)
    assert torch.equal(a.t() @ b, b)
    matrices = torch.ones(40, 9, 9, dtype=torch.float64) + torch.eye(9, dtype=torch.float64)
    assert abs(torch.linalg.svdvals(matrices)[:, 0] - 10).max() < 1e-9

batched()
with h5py.File(io.BytesIO(), "w") as file:
    file["numbers"], file["text"] = np.arange(3.0), "x"
    assert file["numbers"][2] == 2
V = fem.functionspace(mesh.create_unit_square(MPI.COMM_SELF, 4, 4), ("Lagrange", 1))
u, v = ufl.TrialFunction(V), ufl.TestFunction(V)
direct = {"ksp_type": "preonly", "pc_type": "lu"}
problem = LinearProblem(
    ufl.inner(ufl.grad(u), ufl.grad(v)) * ufl.dx + u * v * ufl.dx, v * ufl.dx,
    petsc_options=direct, petsc_options_prefix="one_",
)
assert abs(problem.solve().x.array - 1).max() < 1e-10
assert abs(numba.njit(lambda x: x @ x)(np.eye(3)) - np.eye(3)).max() == 0
batched()
"""


def python(*lines):
    return subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True)


def works_in_the_order(*modules):
    ran = python(*(f"import {module}" for module in modules), WORK)
    assert ran.returncode == 0, f"{modules}: {ran.stderr}"


def test_all_work_together(fenicsx):
    # The order that failed most: torch after dolfinx.fem.petsc after numba, h5py after dolfinx.
    works_in_the_order("gnvpro.fenicsx", "numba", "dolfinx.fem.petsc", "h5py", "torch")


def orders():
    """Each of them first, second, …; every pair both ways round; and some more."""
    turned = [MODULES[i:] + MODULES[:i] for i in range(len(MODULES))]
    backwards = [tuple(reversed(order)) for order in turned[::2]]
    draw = random.Random(3)
    # Not all have to come after it, only dolfinx.
    mixed = [("torch", "gnvpro.fenicsx", *draw.sample(MODULES, 5)), ("h5py", "numba", "gnvpro.fenicsx", *MODULES)]
    return [("gnvpro.fenicsx", *order) for order in turned + backwards] + mixed


@pytest.mark.exhaustive
@pytest.mark.parametrize("order", orders(), ids=" ".join)
def test_all_work_together_in_every_order(fenicsx, order):
    works_in_the_order(*order)


def test_too_late_is_said_and_does_not_crash(fenicsx):
    pytest.importorskip("dolfinx_solver")
    ran = python("import dolfinx_solver, dolfinx.fem.petsc, gnvpro.fenicsx")
    assert ran.returncode == 1
    assert "before dolfinx.fem.petsc; move it to the top of the program" in ran.stderr


def test_a_problem_that_forgets_it_is_told(fenicsx, tmp_path):
    pytest.importorskip("dolfinx_solver")
    (tmp_path / "forgetful.py").write_text("from dolfinx import fem\n")
    code = f"import os; os.chdir({str(tmp_path)!r}); from gnvpro.apps.cli import main; main()"
    ran = subprocess.run(
        [sys.executable, "-c", code, "generate", "forgetful:Problem", "--samples", "2", "--out", "x.zarr"],
        capture_output=True, text=True,
    )  # fmt: skip
    assert ran.returncode == 2
    assert "begin it with `import gnvpro.fenicsx`" in " ".join(ran.stderr.split())


def test_without_fenicsx_it_says_what_to_install():
    refuse = "import sys; sys.modules.update(dict.fromkeys(['dolfinx', 'dolfinx_solver']))"
    ran = python(refuse, "import gnvpro.fenicsx")
    assert ran.returncode == 1
    assert 'pip install "gnvpro[pde]"' in ran.stderr
