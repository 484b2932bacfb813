"""The one place that imports FEniCSx; everything else asks `fenicsx()` for it."""

from __future__ import annotations

import os
import shutil
import sys
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from types import ModuleType
from typing import Any

from gnvpro.surrogate.extras import import_h5py

_HOW_TO_INSTALL = (
    'FEniCSx is needed to solve this PDE and is not installed: on Linux x86-64 use pip install "gnvpro[pde]", '
    "elsewhere conda-forge's fenics-dolfinx (conda install -c conda-forge fenics-dolfinx)"
)
_NO_COMPILER = (
    "FEniCSx compiles its forms with a C compiler and none was found: install gcc (Debian, Ubuntu: apt install gcc; "
    "conda: conda install -c conda-forge c-compiler)"
)


class MissingFEniCSx(ImportError):
    """FEniCSx, or the C compiler it needs, is not there; the message says what to install."""


@dataclass(frozen=True)
class FEniCSx:
    """The modules of FEniCSx that the solvers use."""

    MPI: ModuleType
    PETSc: ModuleType
    basix_ufl: ModuleType
    basix: ModuleType
    cpp: ModuleType
    fem: ModuleType
    fem_petsc: ModuleType
    geometry: ModuleType
    mesh: ModuleType
    ufl: ModuleType
    version: str


# Of MPICH's and Open MPI's launchers, of Slurm's, Cray's and IBM's.
_LAUNCHERS = (
    *("PMI_RANK", "PMI_FD", "PMIX_RANK", "HYDI_CONTROL_FD", "MPI_LOCALRANKID", "OMPI_COMM_WORLD_SIZE"),
    *("MV2_COMM_WORLD_SIZE", "SLURM_STEP_ID", "PALS_RANKID", "ALPS_APP_PE", "JSM_NAMESPACE_SIZE", "FLUX_TASK_RANK"),
)


def keep_mpi_to_itself() -> None:
    """Before MPI is imported, here or in a process that this one starts: let it listen at no address of the network.

    The wheel's MPI opens ports for processes on other machines as soon as it is imported. Without a launcher there are none;
    with one, or where the user has set UCX_TLS, nothing is changed.
    """
    if not any(name in os.environ for name in _LAUNCHERS):
        os.environ.setdefault("UCX_TLS", "self,sm")


@cache
def fenicsx() -> FEniCSx:
    """Import FEniCSx once, in the order its parts need.

    Raises MissingFEniCSx: it is not installed, or there is no C compiler for its forms.
    """
    # PETSc turns SIGTERM into MPI_Abort, which takes a worker's whole pool down with it.
    os.environ.setdefault("PETSC_OPTIONS", "-no_signal_handler")
    keep_mpi_to_itself()
    with suppress(ImportError):
        import_h5py()
    with suppress(ModuleNotFoundError):  # conda-forge's package has no such module
        import_module("dolfinx_solver")  # the pip wheel's libraries, which must be loaded before dolfinx
    try:
        dolfinx = import_module("dolfinx")
        modules = FEniCSx(
            MPI=import_module("mpi4py.MPI"),
            PETSc=import_module("petsc4py.PETSc"),
            basix_ufl=import_module("basix.ufl"),
            basix=import_module("basix"),
            cpp=import_module("dolfinx.cpp"),
            fem=import_module("dolfinx.fem"),
            fem_petsc=_assembly_module(),
            geometry=import_module("dolfinx.geometry"),
            mesh=import_module("dolfinx.mesh"),
            ufl=import_module("ufl"),
            version=dolfinx.__version__,
        )
    except ImportError as missing:
        raise MissingFEniCSx(_HOW_TO_INSTALL) from missing
    if not _has_compiler():
        raise MissingFEniCSx(_NO_COMPILER)
    return modules


def geometry_part(mesh: Any, name: str) -> Any:
    """`dofmap` or `cmap` of a mesh's geometry: dolfinx 0.11 deprecates both for plurals that 0.10 has not."""
    plural = getattr(mesh.geometry, name + "s", None)
    return getattr(mesh.geometry, name) if plural is None else (plural[0] if not callable(plural) else plural(0))


def _assembly_module() -> ModuleType:
    """`dolfinx.fem.petsc` without its helpers for numba, which we do not use.

    They load PETSc's libraries for the whole process. Torch, if imported afterwards, then finds OpenBLAS in the place
    of its own BLAS, of another interface: batched products end in a segmentation fault.
    """
    hidden = {name: module for name, module in sys.modules.items() if name == "numba"}
    sys.modules["numba"] = None  # pyright: ignore[reportArgumentType]  makes its import fail
    try:
        return import_module("dolfinx.fem.petsc")
    finally:
        del sys.modules["numba"]
        sys.modules.update(hidden)


def _has_compiler() -> bool:
    return any(shutil.which(name.split()[0]) for name in (os.environ.get("CC") or "cc", "gcc", "cc", "clang"))
