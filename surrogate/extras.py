"""Libraries that an installation may lack, and the extra of gnvpro that brings each."""

from __future__ import annotations

import importlib.util
import os
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType

EXTRAS = {
    "data": ("h5netcdf", "h5py", "urllib3", "xarray", "zarr"),
    "parallel": ("dask", "distributed"),
    "pde": ("basix", "dolfinx", "dolfinx_solver", "ffcx", "mpi4py", "numba", "petsc4py", "ufl"),
    "learn": ("sklearn",),
    "serve": ("aiohttp", "orjson", "uvloop"),
    "invert": ("arviz", "arviz_base", "arviz_plots", "arviz_stats", "nutpie"),
    "onnx": ("onnx", "onnxruntime"),
    "fields": ("meshio",),
    "segmentation": ("spectral", "tensorly"),
    "mesh": ("gmsh",),
    "remote": ("aiohttp", "fsspec", "s3fs"),
    "peers": ("openturns", "smt"),
}


class MissingLibrary(ModuleNotFoundError):
    """A library that is not installed; the message says what to install."""


def require(module: str, purpose: str, extra: str | None = None) -> ModuleSpec:
    """Refuse to go on where a library is missing; where it is there, say where.

    Parameters
    ----------
    purpose
        What it is needed for, as a sentence such as `it reads ENVI files`.
    extra
        What to install, where one that brings the library alone is not enough.

    Raises
    ------
    MissingLibrary
        It is not installed.
    """
    try:
        spec = importlib.util.find_spec(module)
    except ModuleNotFoundError:  # a finder may refuse it
        spec = None
    if spec is None:
        raise MissingLibrary(how_to_get(module, purpose, extra), name=module)
    return spec


def how_to_get(module: str, purpose: str = "", extra: str | None = None) -> str:
    """What is said of a missing module: its name, what it is for, and what to install."""
    name = module.partition(".")[0]
    reason = f" ({purpose})" if purpose else ""
    extra = extra or next((extra for extra, modules in EXTRAS.items() if name in modules), None)
    return f"{name} is not installed{reason}; " + (f'pip install "gnvpro[{extra}]"' if extra else f"install {name}")


def import_h5py() -> ModuleType:
    """h5py, imported so that it works beside FEniCSx, whichever was there first.

    Both bring an HDF5 library, and dolfinx shows its own to the whole process: h5py, loaded afterwards, would find that one
    and fail ("Not a datatype"). It is made to look among its own libraries first.

    Raises
    ------
    ImportError
        It is not installed.
    """
    if "h5py" in sys.modules or not {"dolfinx", "dolfinx_solver"} & sys.modules.keys():
        return importlib.import_module("h5py")
    flags = sys.getdlopenflags()
    sys.setdlopenflags(os.RTLD_NOW | getattr(os, "RTLD_DEEPBIND", 0))  # macOS has no such flag, and needs none
    try:
        return importlib.import_module("h5py")
    finally:
        sys.setdlopenflags(flags)
