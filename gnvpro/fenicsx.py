"""FEniCSx in a program of one's own, and what this package adds to it: random fields, observations, meshes of fields.

Import it before dolfinx: from then on dolfinx, torch, h5py and numba work in one process, in whatever order they are
imported. It raises an ImportError that says what to install where FEniCSx, or a C compiler for its forms, is missing; and
where it comes too late.
"""

import sys

from gnvpro.pde_data.fields.field_modes import FieldModes
from gnvpro.pde_data.fields.gaussian_field import GaussianField
from gnvpro.pde_data.observations.forms import FormValues, boundary_fluxes, residual_fluxes
from gnvpro.pde_data.observations.linear import LinearObservation, averages, points
from gnvpro.pde_data.problems.fenicsx import fenicsx
from gnvpro.pde_data.problems.meshes import mesh_of_dolfinx

__all__ = [
    "FieldModes",
    "FormValues",
    "GaussianField",
    "LinearObservation",
    "averages",
    "boundary_fluxes",
    "mesh_of_dolfinx",
    "points",
    "residual_fluxes",
]

# Imported by itself, with helpers for numba, it leads torch to another BLAS, which ends in a segmentation fault.
if "torch" not in sys.modules and hasattr(getattr(sys.modules.get("dolfinx.fem.petsc"), "numba_utils", None), "_numba"):
    raise ImportError(
        "expected gnvpro.fenicsx to be imported before dolfinx.fem.petsc; move it to the top of the program"
    )
fenicsx()
