"""What loads what: prediction without FEniCSx, data generation without torch, help without either."""

import subprocess
import sys

import pytest

from gnvpro.apps.cli import COMMANDS
from tests import MODELS

# A finder that refuses modules as if they were not installed.
BLOCK = """
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {blocked}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Refuse())
"""
FENICSX = {"dolfinx", "dolfinx_solver", "petsc4py", "mpi4py", "ufl", "basix", "ffcx"}


def python(code, blocked=frozenset(), *arguments):
    code = BLOCK.format(blocked=set(blocked) or "()") + code
    return subprocess.run([sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True)


def test_reading_training_and_predicting_need_no_fenicsx(data, tmp_path):
    code = """
import sys
from gnvpro.apps.cli import app
data, model, out = sys.argv[1:]
for words in (["train", data, "--out", model, "--widths", "4", "--budget", "20"],
              ["predict", model, "--parameters", data, "--out", out], ["info", model]):
    app(words, standalone_mode=False)
import gnvpro.surrogate.elimination.varpro_loss
assert "sklearn" not in sys.modules, "only the estimators need scikit-learn"
"""
    ran = python(code, FENICSX | {"numba"}, data, tmp_path / "m", tmp_path / "p.npz")
    assert ran.returncode == 0, ran.stderr
    assert (tmp_path / "p.npz").exists()


def test_solving_without_fenicsx_says_what_to_install(tmp_path):
    code = """
import sys
from gnvpro.apps.cli import app
app(["generate", "cdr", "--samples", "4", "--out", sys.argv[1]])
"""
    ran = python(code, FENICSX, tmp_path / "d.zarr")
    assert ran.returncode == 2
    assert "fenics-dolfinx" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_data_generation_loads_no_torch():
    code = """
import gnvpro.pde_data.generation.run, gnvpro.pde_data.problems.loading, gnvpro.pde_data.storage.dataset
import gnvpro.apps.commands.generate, gnvpro.pde_data.problems.convection.problem, gnvpro.pde_data.sampling
"""
    ran = python(code, {"torch"})
    assert ran.returncode == 0, ran.stderr


def test_a_data_set_is_made_without_torch(tmp_path):
    code = """
import sys
from gnvpro.apps.cli import app
app(["generate", "tests.pde_data.toy:DecayProblem", "--samples", "4", "--out", sys.argv[1]])
"""
    ran = python(code, {"torch"}, tmp_path / "d.zarr")
    assert ran.returncode == 0, ran.stderr


@pytest.mark.long
def test_torch_computes_with_its_own_blas_also_when_fenicsx_was_first(fenicsx):
    """dolfinx's helpers for numba put OpenBLAS in the place of torch's BLAS: a crash in batched products."""
    code = """
import numba
from gnvpro.pde_data.problems.fenicsx import fenicsx
fenicsx()
import torch
a, b = torch.eye(9, dtype=torch.float64), torch.ones(30, 9, 55, dtype=torch.float64)
assert torch.equal(a.t() @ b, b)
import sys
assert sys.modules["numba"] is numba
"""
    ran = python(code)
    assert ran.returncode == 0, ran.stderr


def test_a_base_install_predicts(tmp_path):
    """Nothing of the extras, nor what Windows does not have."""
    (tmp_path / "p.csv").write_text("1.0,0.5\n1.2,0.4\n")
    code = (
        "from gnvpro.apps.cli import app\n"
        f"app(['predict', {str(MODELS / 'schema-4')!r}, '-p', *sys.argv[1:2], '-o', sys.argv[2]], standalone_mode=False)"
    )
    extras = {"xarray", "zarr", "h5py", "h5netcdf", "distributed", "sklearn", "numba", "fcntl"}
    ran = python(code, FENICSX | extras, tmp_path / "p.csv", tmp_path / "out.csv")
    assert ran.returncode == 0, ran.stderr
    assert len((tmp_path / "out.csv").read_text().splitlines()) == 3


HEAVY = ("torch", "numpy", "scipy", "zarr", "xarray", "matplotlib", "jinja2", "aiohttp", "dolfinx")
LOADED = f"import sys; print(sorted({set(HEAVY)} & set(sys.modules)))"


def test_the_command_line_with_all_its_commands_loads_nothing_heavy():
    ran = python("import gnvpro.apps.cli; " + LOADED)
    assert ran.stdout.strip() == "[]", ran.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_loads_nothing_heavy_before_it_runs(command):
    ran = python(f"import gnvpro.apps.commands.{command}; " + LOADED)
    assert ran.stdout.strip() == "[]", ran.stderr
