"""What `generate` returns: how many samples there are, what this run solved of them, and how accurate they are."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnvpro.pde_data.problems.accuracy import error_in_words
from gnvpro.pde_data.problems.contract import SolveStatus, has_failed
from gnvpro.pde_data.storage.derivatives import TIMES, derivatives_in_words, mean_cost
from gnvpro.pde_data.storage.integrity import read_sound
from gnvpro.pde_data.storage.schema import count_by_status, lacks_derivatives
from gnvpro.surrogate.formatting import seconds
from gnvpro.surrogate.result import Result


@dataclass(frozen=True, repr=False, eq=False)
class Generation(Result):
    """A data set, and what one call of `generate` did to it.

    Attributes
    ----------
    path
        The data set, absolute; `read_samples` reads it.
    attributes
        What the data set says of itself.
    status : (n_samples,)
        `SolveStatus` of every sample.
    n_solved_now
        Samples that this call solved.
    repaired
        Damaged chunks that were found and made again, None where they were not looked for.
    wall_seconds, cpu_seconds
        Of the call, the latter with its workers.
    samples_per_second
        Of the solves alone, set-up included; None where nothing was solved.
    """

    path: Path
    attributes: dict[str, Any]
    status: NDArray[np.int8]
    n_solved_now: int
    repaired: list[dict[str, Any]] | None
    wall_seconds: float
    cpu_seconds: float
    samples_per_second: float | None

    @property
    def n_samples(self) -> int:
        """Samples in the data set."""
        return len(self.status)

    @property
    def n_ok(self) -> int:
        """Those that are solved."""
        return int((self.status == SolveStatus.OK).sum())

    @property
    def n_failed(self) -> int:
        """Those whose solve failed."""
        return int(has_failed(self.status).sum())

    @property
    def n_partial(self) -> int:
        """Those that have some of their observables."""
        return int((self.status == SolveStatus.PARTIAL).sum())

    @property
    def counts(self) -> dict[str, int]:
        """Samples by status."""
        return count_by_status(self.status)

    @property
    def already_complete(self) -> bool:
        """Whether nothing was left to solve."""
        return self.n_solved_now == 0

    @property
    def first_failure(self) -> str:
        """What was said of the first failed sample of which anything was said, in one line."""
        return first_failure(self.path)

    @property
    def n_directions(self) -> int:
        """Derivatives of every sample."""
        return self.attributes.get("n_directions", 0)

    @property
    def n_derivatives_failed(self) -> int:
        """Solved samples that lack derivatives; the reason is in `failure`."""
        messages = read_sound(self.path, "failure", "") if self.n_directions else ""
        return int(lacks_derivatives(self.status, messages).sum())

    @property
    def cost(self) -> dict[str, float]:
        """Mean `seconds` of a solve and `derivative_seconds` of a derivative, as far as they are known."""
        names = TIMES if self.n_directions else TIMES[:1]
        return mean_cost(self.status, {n: read_sound(self.path, n, np.nan) for n in names}, self.n_directions)

    @property
    def estimated_error(self) -> dict[str, Any] | None:
        """As `problems.accuracy.estimated_error` gives it."""
        return self.attributes.get("estimated_error")

    @property
    def title(self) -> str:
        """Names the data set."""
        return f"Data set {self.path}"

    def rows(self) -> list[tuple[str, str]]:
        """What, and its value in words."""
        partial = f", {self.n_partial} more in part" if self.n_partial else ""
        failed = partial + (f", {self.n_failed} failed" if self.n_failed else "")
        cost = f"{seconds(self.wall_seconds)} ({seconds(self.cpu_seconds)} of CPU)"
        rows = [
            ("samples", f"{self.n_ok} of {self.n_samples}{failed}"),
            ("solved now", f"{self.n_solved_now} in {cost}" if not self.already_complete else "none, it was complete"),
            ("placed", self.attributes["design"] + (", for a model" if self.attributes.get("placement") else "")),
        ]
        if self.n_directions:
            method = self.attributes["derivative_method"]
            rows += derivatives_in_words(self.n_directions, method, self.n_derivatives_failed, self.cost)
        if self.repaired is not None:
            rows.append(("damaged chunks", f"{len(self.repaired)}, made again" if self.repaired else "none"))
        failure = self.attributes.get("estimated_error_failure")
        if self.estimated_error or failure:
            rows.append(("the PDE's own error", error_in_words(self.estimated_error, failure)))
        return rows

    @property
    def _of_derivatives(self) -> dict[str, Any]:
        names = "n_directions", "derivative_method"
        return {**{n: self.attributes[n] for n in names}, "n_derivatives_failed": self.n_derivatives_failed}

    def numbers(self) -> dict[str, Any]:
        """JSON-able."""
        failure = self.attributes.get("estimated_error_failure")
        return {
            "out": str(self.path),
            "problem": self.attributes["problem"],
            "design": self.attributes["design"],
            "n_samples": self.n_samples,
            "n_ok": self.n_ok,
            "n_partial": self.n_partial,
            "n_failed": self.n_failed,
            "counts": self.counts,
            "n_solved_now": self.n_solved_now,
            "already_complete": self.already_complete,
            "wall_seconds": self.wall_seconds,
            "cpu_seconds": self.cpu_seconds,
            "samples_per_second": self.samples_per_second,
            "cost": self.cost,
            **(self._of_derivatives if self.n_directions else {}),
            "estimated_error": self.estimated_error,
            **({"estimated_error_failure": failure} if failure else {}),
            "repaired": self.repaired or [],
        }


def first_failure(path: Path) -> str:
    """What was said of the first failed sample of a data set of which anything was said, in one line; empty for none."""
    said = (str(message) for message in read_sound(path, "failure", "") if message)
    return next(said, "").partition("\n")[0]
