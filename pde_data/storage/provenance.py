"""What a data set says of its origin: the recipe that fixes its numbers, library versions, git revision."""

from __future__ import annotations

import hashlib
import json
import platform
import re
import subprocess
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnvpro.pde_data.problems.contract import Problem
from gnvpro.pde_data.problems.source import difference_of_definitions, first_difference
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.spaces import Axis, Space

# In place of a design: the parameters were given, no law or sequence makes them again.
GIVEN = "given"
# Of samples out of several data sets, each with a design of its own.
SEVERAL = "several"

# What has become of a data set, an entry a line.
HISTORY = "history"

# Names in a data set that no axis may have, and those of one with derivatives.
VARIABLES = (
    "sample", "parameters", "observables", "background", "anomalous", "status", "failure", "wall_time",
    "parameter_units", "observable_units",
)  # fmt: skip
OF_DERIVATIVES = ("direction", "derivative", "derivative_wall_time")

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

    Raises UsageError: something JSON cannot hold: an array, NaN, an object.
    """
    try:
        return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise UsageError(f"expected numbers, texts, lists and dicts that JSON can hold: {error}") from error


def definition_hash(definition: dict[str, Any]) -> str:
    """SHA-256 of the canonical JSON of a problem's definition, in hexadecimal."""
    return hashlib.sha256(canonical_json(definition).encode()).hexdigest()


@dataclass(frozen=True)
class Recipe:
    """Everything that fixes parameters, observables, derivatives and status of a data set; JSON-able as attributes.

    Attributes
    ----------
    n_directions, derivative_method
        Derivatives of every sample, and how they are made; None where there are none.
    placement
        Where samples were placed for a model: `numbers` of the points of the design, one a sample, and `models`, a hash by
        the first sample placed for it. None where sample i is point i.
    """

    problem: str
    definition: dict[str, Any]
    parameter_space: dict[str, Any]
    observable_space: dict[str, Any]
    seed: int
    n_samples: int
    block_size: int
    design: str
    n_directions: int = 0
    derivative_method: str | None = None
    placement: dict[str, Any] | None = None

    def points(self, index: NDArray[np.intp]) -> NDArray[np.intp]:
        """Numbers (n,) of the points of the design at which samples number `index` are."""
        return index if self.placement is None else np.array(self.placement["numbers"], dtype=np.intp)[index]

    @property
    def attributes(self) -> dict[str, Any]:
        """As a data set holds it: one without derivatives says nothing of them."""
        of_derivatives = () if self.n_directions else ("n_directions", "derivative_method")
        left_out = (*of_derivatives, *(() if self.placement else ("placement",)))
        return {name: value for name, value in asdict(self).items() if name not in left_out}

    @classmethod
    def of(
        cls,
        problem: Problem,
        n_samples: int,
        seed: int,
        block_size: int,
        design: str,
        n_directions: int = 0,
        derivative_method: str | None = None,
        placement: dict[str, Any] | None = None,
    ) -> Recipe:
        """What `problem` gives with these settings.

        Raises UsageError: a definition that is not JSON-able, or spaces that cannot share one data set.
        """
        try:
            definition = json.loads(canonical_json(problem.definition))
        except UsageError as error:
            raise UsageError(f"definition of problem {problem.name!r}: {error}") from error
        taken = {*VARIABLES, *(("along", *OF_DERIVATIVES) if n_directions else ())}
        _require_distinct_names(problem.parameters, problem.observables, taken)
        parameters, observables = (
            json.loads(json.dumps(space.to_dict())) for space in (problem.parameters, problem.observables)
        )
        placed = seed, n_samples, block_size, design
        return cls(
            problem.name, definition, parameters, observables, *placed, n_directions, derivative_method, placement
        )

    def difference(self, asked: Recipe) -> str | None:
        """The first thing in which `asked` differs, both values named; None if they are the same.

        The number of samples may differ: fewer samples are the beginning of the same data set.
        """
        index = np.arange(min(self.n_samples, asked.n_samples))
        own, others = self.points(index), asked.points(index)
        if (differ := np.flatnonzero(own != others)).size:
            i = int(differ[0])
            return f"sample {i} at point {own[i]} of the design there, {others[i]} asked"
        # A law that differs is told as such, before the bounds that differ with it.
        mine, theirs = (
            {
                "problem": recipe.problem,
                "law": recipe.parameter_space["law"],
                **asdict(replace(recipe, n_samples=self.n_samples, placement=None)),
            }
            for recipe in (self, asked)
        )
        if self.problem == asked.problem and (changed := difference_of_definitions(self.definition, asked.definition)):
            return changed
        return first_difference(mine, theirs)


def _require_distinct_names(parameters: Space, observables: Space, taken: set[str]) -> None:
    for what, space in (("parameters", parameters), ("observables", observables)):
        for name in (n for axis in space.axes for n in _names_of(axis)):
            if name in taken or "/" in name or " " in name:
                raise UsageError(
                    f"axis or coordinate {name!r} of the {what}: the name is taken in the data set, or has a space or "
                    "slash; give it another, for example Space.vector(..., axis='sensor')"
                )
            taken.add(name)


def _names_of(axis: Axis) -> tuple[str, ...]:
    of_mesh = () if axis.mesh is None else mesh_variables(axis.name)
    return axis.name, *(coordinate.name for coordinate in axis.coordinates), *of_mesh


def mesh_variables(axis: str) -> tuple[str, str]:
    """What points and cells of the mesh of an axis are called in a data set."""
    return f"{axis}_points", f"{axis}_cells"


def in_words(name: str) -> str:
    """A name of a variable as a `long_name`."""
    return name.replace("_", " ")


def origin_in_words(recipe: Recipe) -> dict[str, str]:
    """The attributes `title`, `source` and `history` of the CF conventions, as a data set begins with them.

    What is in words is not under the checksum of the metadata, and no run depends on it: a user may change it.
    """
    spaces = (Space.from_dict(space) for space in (recipe.parameter_space, recipe.observable_space))
    maps = " to ".join(
        f"{space.size} {what}" for space, what in zip(spaces, ("parameters", "observables"), strict=True)
    )
    route = recipe.definition.get("route")
    made = f"PDE solves of problem {recipe.problem}{f' ({route})' if isinstance(route, str) else ''}"
    return {
        "title": f"Solves of {recipe.problem}: {maps}",
        "source": f"{made} by gnvpro {version_of_gnvpro()}",
        HISTORY: history_line(f"made for {recipe.n_samples} samples of problem {recipe.problem}"),
    }


def history_line(event: str) -> str:
    """An entry of `history`: when, by which version, what."""
    return f"{datetime.now(UTC).isoformat(timespec='seconds')} gnvpro {version_of_gnvpro()}: {event}"


def with_history(attributes: dict[str, Any], event: str, *, once: str | None = None) -> dict[str, Any]:
    """Attributes with one more entry in their `history`; in place of the last one if that, too, has the words `once`.

    Of an event `from … to …` the first `from` stays.
    """
    lines = [line for line in str(attributes.get(HISTORY, "")).split("\n") if line]
    if once is not None and lines and once in lines[-1]:
        before = re.search(r", from (\d+) to ", lines.pop())
        event = re.sub(r", from \d+ to ", before[0], event) if before else event
    return {**attributes, HISTORY: "\n".join([*lines, history_line(event)])}


def version_of_gnvpro() -> str:
    """The version of this package; `unknown` where it is not installed."""
    try:
        return version("gnvpro")
    except PackageNotFoundError:
        return "unknown"


def library_versions() -> dict[str, str]:
    """Versions of Python and of the installed libraries whose version can change the numbers."""
    versions = {"python": platform.python_version()}
    for library, distributions in _LIBRARIES.items():
        for distribution in distributions:
            try:
                versions[library] = version(distribution)
            except PackageNotFoundError:
                continue
            break
    return versions


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
