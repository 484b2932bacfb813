"""The solves of a build: data sets in the folder beside the model, which grow as the build asks for more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from gnvpro.pde_data.generation.result import first_failure
from gnvpro.pde_data.generation.run import generate
from gnvpro.pde_data.problems.contract import Problem, SolveStatus
from gnvpro.pde_data.sampling import LAW
from gnvpro.pde_data.storage import store
from gnvpro.pde_data.storage.dataset import read_samples
from gnvpro.pde_data.storage.provenance import SEVERAL
from gnvpro.surrogate.draws import draw
from gnvpro.surrogate.errors import NumericalFailure
from gnvpro.surrogate.progress import Report, noted, silent
from gnvpro.surrogate.samples import Samples
from gnvpro.surrogate.spaces import Array

SAMPLES, FRESH, PLACED, COARSE = "samples.zarr", "fresh.zarr", "placed.zarr", "coarse.zarr"
# Seeds of a build's data sets, from its own: none is that of a data set that somebody makes by hand.
_SEEDS = {name: 2**62 + k * 2**32 for k, name in enumerate((SAMPLES, FRESH, PLACED, COARSE))}
# Points of the law among which samples are placed.
CANDIDATES = 2000


@dataclass
class BuildData:
    """The data sets of a build.

    Attributes
    ----------
    coarse_problem
        What cheap solves are made of; None where there are none.
    options
        How solves are run, as `generate` takes them: workers, scheduler.
    cpu_seconds
        Of the solves of this process and its workers so far.
    """

    problem: Problem
    folder: Path
    seed: int
    coarse_problem: Problem | None = None
    options: dict[str, Any] = field(default_factory=dict)
    progress: Report = silent
    cpu_seconds: float = 0.0

    def samples(self, n: int, n_directions: int) -> Samples | None:
        """The first n samples of the default design with their derivatives; they only train. None where all failed."""
        return self._solved(SAMPLES, self.problem, n, derivatives=n_directions)[0]

    def fresh(self, n: int) -> tuple[Samples | None, NDArray[np.intp]]:
        """The first n samples drawn by the law, values alone, and the number of each: failed ones are missing."""
        return self._solved(FRESH, self.problem, n, design=LAW)

    def placed(self, points: list[int], n_directions: int) -> Samples | None:
        """Samples at points of the sequence of draws that were chosen for a model."""
        placement = {"numbers": points, "models": {}}
        asked = dict(design=LAW, derivatives=n_directions, placement=placement)
        return self._solved(PLACED, self.problem, len(points), **asked)[0]

    def candidates(self, taken: Sequence[int]) -> tuple[NDArray[np.intp], Array]:
        """Numbers and points (N, n_in) of the sequence of draws, after those that `placed` has taken."""
        numbers = (max(taken) + 1 if taken else 0) + np.arange(CANDIDATES)
        return numbers, draw(self.problem.parameters, self.seed_of(PLACED), numbers)

    def coarse(self, n: int, n_directions: int) -> Samples:
        """The first n samples of the cheap version, drawn by the law.

        Raises NumericalFailure: none of them could be solved.
        """
        assert self.coarse_problem is not None
        samples = self._solved(COARSE, self.coarse_problem, n, design=LAW, derivatives=n_directions)[0]
        return samples if samples is not None else self.fail()

    def seed_of(self, name: str) -> int:
        """That of one of the data sets."""
        return _SEEDS[name] + self.seed

    def estimated_error(self) -> dict[str, Any] | None:
        """Of the solves against the problem's reference, where it has one."""
        for name in (FRESH, SAMPLES):
            if (path := self.folder / name).exists():
                n = len(store.read_status(path))
                generate(self.problem, path, n, self.seed_of(name), **self.options, progress=self._noted(name))
                return read_samples(path).provenance.get("estimated_error")
        return None

    def fail(self) -> NoReturn:
        """Say that nothing could be solved, and why.

        Raises NumericalFailure.
        """
        reasons = [first_failure(path) for name in _SEEDS if (path := self.folder / name).exists()]
        why = next(filter(None, reasons), "no numbers came out that are finite")
        raise NumericalFailure(f"no sample of {self.problem.name} could be solved ({why})")

    def _solved(self, name: str, problem: Problem, n: int, **asked: Any) -> tuple[Samples | None, NDArray[np.intp]]:
        path = self.folder / name
        there = store.read_status(path) if path.exists() else np.empty(0, np.int8)
        if not path.exists() and any(self.options.values()) and not hasattr(problem, "block_size"):
            asked["block_size"] = 1  # whatever few are asked for, every worker has some
        if n > len(there) or (there[:n] == SolveStatus.PENDING).any():  # the latter of a build that was stopped
            generation = generate(
                problem, path, max(n, len(there)), self.seed_of(name), **self.options, **asked,
                estimates_error=False, progress=self._noted(name),
            )  # fmt: skip
            self.cpu_seconds += generation.cpu_seconds
        status = store.read_status(path)[:n]
        numbers = np.flatnonzero(status == SolveStatus.OK)
        if not len(numbers):
            return None, numbers
        samples = read_samples(path, allow_partial=True)  # beyond these a build that was stopped may have left some
        return samples.subset(np.arange(len(numbers))), numbers

    def _noted(self, name: str) -> Report:
        return noted(self.progress, f"solving {self.problem.name}, {name}")


def together(parts: list[Samples]) -> Samples:
    """Samples of one problem as one set; where some have fewer derivatives, what is missing is not known."""
    parts = [part for part in parts if len(part)]
    most = max(part.n_directions for part in parts)
    joined = _with_directions(parts[0], most)
    for part in parts[1:]:
        joined = joined.joined(_with_directions(part, most))
    if len(parts) == 1:
        return joined
    first = parts[0].provenance
    provenance = {**first, "design": SEVERAL, "n_samples": len(joined)}
    return replace(joined, provenance=provenance, n_failed=sum(part.n_failed for part in parts))


def _with_directions(samples: Samples, n: int) -> Samples:
    if samples.n_directions == n:
        return samples

    def padded(values: Array | None, size: int) -> Array:
        there = np.empty((len(samples), 0, size)) if values is None else values
        return np.pad(there, ((0, 0), (0, n - there.shape[1]), (0, 0)))

    directions = padded(samples.directions, samples.parameter_space.size)
    return replace(
        samples, directions=directions, derivatives=padded(samples.derivatives, samples.observable_space.size)
    )
