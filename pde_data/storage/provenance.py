"""What a data set says of its origin: a hash of its definition, library versions, git revision."""

from __future__ import annotations

import hashlib
import json
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from gnvpro.surrogate.errors import UsageError

# Distributions whose version can change the numbers; FEniCSx goes by different names on PyPI and conda-forge.
_LIBRARIES = {
    "gnvpro": ("gnvpro",),
    "numpy": ("numpy",),
    "scipy": ("scipy",),
    "numba": ("numba",),
    "zarr": ("zarr",),
    "xarray": ("xarray",),
    "dolfinx": ("dolfinx-solver-real", "fenics-dolfinx"),
}


def canonical_json(value: Any) -> str:
    """One text per value: sorted keys, no spaces, floats exact.

    Raises ValueError: something JSON cannot hold: an array, NaN, an object.
    """
    try:
        return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise UsageError(f"expected numbers, texts, lists and dicts that JSON can hold: {error}") from error


def definition_hash(definition: dict[str, Any]) -> str:
    """SHA-256 of the canonical JSON of a problem's definition, in hexadecimal."""
    return hashlib.sha256(canonical_json(definition).encode()).hexdigest()


def library_versions() -> dict[str, str]:
    """Versions of Python and of the installed libraries whose version can change the numbers."""
    found = {"python": platform.python_version()}
    for library, distributions in _LIBRARIES.items():
        for distribution in distributions:
            try:
                found[library] = version(distribution)
            except PackageNotFoundError:
                continue
            break
    return found


def git_revision() -> dict[str, Any] | None:
    """Revision of the checkout this package runs from, and whether it is modified; None outside a checkout."""
    here = Path(__file__).resolve()
    # An installed package may lie inside somebody else's repository: ask for this very file.
    if _git(here.parent, "ls-files", "--error-unmatch", here.name) is None:
        return None
    revision = _git(here.parent, "rev-parse", "HEAD")
    changes = _git(here.parent, "status", "--porcelain", "--untracked-files=no")
    return {"revision": revision, "modified": bool(changes)} if revision else None


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
