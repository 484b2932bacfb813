"""The program of docs/fields.md runs, and its surrogate is a field."""

import subprocess
import sys

import pytest

from gnvpro.pde_data.problems.fenicsx import MissingFEniCSx, fenicsx
from tests.docs.pages import programs

try:
    fenicsx()
except MissingFEniCSx as missing:
    pytest.skip(str(missing), allow_module_level=True)

USE = """
import gnvpro

problem = Spot(12)
gnvpro.generate(problem, "spot.zarr", 60)
surrogate = gnvpro.train("spot.zarr", quick=True).surrogate
assert surrogate.observables.mesh == problem.mesh
comparison = gnvpro.compare(surrogate, problem, samples=8, repeats=1)
assert comparison.errors.mean() < 0.1, comparison
comparison.save_fields("spot.vtu")
"""


def test_the_page_runs(tmp_path):
    (program,) = programs("fields")
    (tmp_path / "spot.py").write_text(program + USE)
    ran = subprocess.run([sys.executable, "spot.py"], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert ran.returncode == 0, ran.stderr
    assert (tmp_path / "spot.vtu").stat().st_size > 1000
