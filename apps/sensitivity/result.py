"""Which parameters matter, as a result: rows, numbers, a table of all indices, and a folder of them."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnvpro.apps.console import jsonable
from gnvpro.apps.sensitivity.directions import Directions
from gnvpro.apps.sensitivity.estimates import ModelError, Shares
from gnvpro.apps.sensitivity.groups import ALL, Groups
from gnvpro.surrogate.formatting import percent
from gnvpro.surrogate.names import listed
from gnvpro.surrogate.result import Result
from gnvpro.surrogate.spaces import Array

# Parameters that are printed, those that matter most, and components of a direction.
_MOST_PRINTED, _MOST_COMPONENTS = 12, 4
# A half width above which an interval says little.
WIDE = 0.1


@dataclass(frozen=True, repr=False, eq=False)
class SensitivityResult(Result):
    """Shares of the variance of observables that parameters have, by one or two measures.

    Attributes
    ----------
    model
        What was analysed, in words.
    names
        Of the parameters that vary.
    groups
        Of the observables: all, by axis, each.
    shares
        `first order` and `total`, or `Shapley effect`: (n_groups, n_parameters) each.
    standard_deviation : (n_groups,)
        Of the observables of every group together, over their scale.
    error
        Of the model; None where it is unknown or there is none.
    directions
        Of all observables; None where the model has no derivatives.
    about
        Numbers of points and of evaluations, seed and law, JSON-able.
    remarks
        What went otherwise than one might think, by subject.
    """

    model: str
    names: tuple[str, ...]
    groups: Groups
    shares: dict[str, Shares]
    standard_deviation: Array
    error: ModelError | None
    directions: Directions | None
    about: dict[str, Any]
    remarks: dict[str, str] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """What was analysed."""
        return f"Sensitivity of {self.model}: {' and '.join(self.shares)}"

    @property
    def leading(self) -> Shares:
        """What parameters are ordered by: total indices, or Shapley effects."""
        return list(self.shares.values())[-1]

    @cached_property
    def order(self) -> NDArray[np.intp]:
        """Parameters by how much they matter to all observables together."""
        return np.argsort(-np.nan_to_num(self.leading.estimate[0]), kind="stable")

    @cached_property
    def group_names(self) -> list[str]:
        """What the groups are called."""
        space = self.groups.space
        if space.size == 1:
            return [space.names[0]]
        by_axis = [
            f"{axis.name} {label if isinstance(label, str) else format(label, 'g')}"
            for axis in space.axes for label in axis.labels
        ] if len(space.axes) > 1 else []  # fmt: skip
        return [ALL, *by_axis, *space.names]

    def rows(self) -> list[tuple[str, str]]:
        """The parameters that matter most, how far that is known, and the leading directions."""
        rows = [
            (self.names[j], ", ".join(f"{what} {self.in_words(share, 0, j)}" for what, share in self.shares.items()))
            for j in self.order[:_MOST_PRINTED]
        ]
        if len(self.names) > _MOST_PRINTED:
            others = self.leading.upper[0, self.order[_MOST_PRINTED:]].max()
            rows.append((f"the other {len(self.names) - _MOST_PRINTED}", f"at most {others:.2g} each"))
        if self.groups.space.size > 1:
            rows.append(("of", self.about["norm"]))
        rows.append(("95 % intervals", self.about["intervals"]))
        if self.directions is not None:
            rows += self._direction_rows(self.directions)
        rows.append(("computed", self.about["computed"]))
        return rows + list(self.remarks.items())

    def _direction_rows(self, found: Directions) -> list[tuple[str, str]]:
        rows, beyond = [], beyond_it(found)
        for k in range(min(2, len(found.eigenvalues))):
            left = found.remainders[k + 1]
            rows.append(
                (
                    f"direction {k + 1}",
                    f"{components(found, k)}; beyond {beyond} at most {percent(left)} of the variance",
                )
            )
        return rows

    def in_words(self, share: Shares, group: int, j: int) -> str:
        """A share with its interval."""
        estimate, lower, upper = (of[group, j] for of in (share.estimate, share.lower, share.upper))
        if not np.isfinite(estimate):
            return "none: constant"
        digits = 4 if upper - lower < 0.002 else 3
        return f"{estimate:.{digits}f} ({lower:.{digits}f} to {upper:.{digits}f})"

    def numbers(self) -> dict[str, Any]:
        """Every index of every group, and the directions."""
        names = self.group_names
        told = {
            name: {what: share.to_dict(k) for what, share in self.shares.items()} | self._of_group(k)
            for k, name in enumerate(names)
        }
        single = names[self.groups.each] if len(names) > 1 else []
        by_axis = {axis: {name: told[name] for name in names[part]} for axis, part in self.groups.axes.items()}
        return jsonable({
            "model": self.model, "parameters": list(self.names), "ranking": [self.names[j] for j in self.order],
            "measures": list(self.shares), "all": told[names[0]],
            "by_axis": by_axis,
            "by_observable": {name: told[name] for name in single},
            "directions": None if self.directions is None else self.directions.to_dict(),
            **self.about, "remarks": self.remarks,
        })  # fmt: skip

    def _of_group(self, k: int) -> dict[str, Any]:
        error = None if self.error is None else float(self.error.relative[k])
        return {"standard_deviation_over_scale": float(self.standard_deviation[k]), "relative_error": error}

    def doubt(self) -> str | None:
        """Why the numbers say little, in words; None where they do."""
        doubts = []
        if failed := self.about["failed_share"]:
            doubts.append(f"{percent(failed)} of the points could not be computed, which intervals do not hold")
        widths = (self.leading.upper - self.leading.lower)[0] / 2
        widest = float(np.nan_to_num(widths).max())
        if widest > WIDE:
            doubts.append(
                f"intervals are up to ± {widest:.2g} wide; a better surrogate, more points or, where the PDE is at hand, "
                "solves=100 make them narrower"
            )
        return "; ".join(doubts) or None

    def save_table(self, path: Path) -> None:
        """Every index as a line of a .csv."""
        with path.open("w", newline="", encoding="utf-8") as file:
            lines = csv.writer(file)
            lines.writerow(["observables", "measure", "parameter", "estimate", "lower", "upper", "least", "most"])
            for k, name in enumerate(self.group_names):
                for what, share in self.shares.items():
                    for j, parameter in enumerate(self.names):
                        values = (
                            float(of[k, j])
                            for of in (share.estimate, share.lower, share.upper, share.least, share.most)
                        )
                        lines.writerow([name, what, parameter, *values])

    def save_numbers(self, path: Path, more: Mapping[str, Any]) -> None:
        """Numbers as JSON."""
        path.write_text(json.dumps(jsonable({**self.numbers(), **more}), indent=1), encoding="utf-8")


def beyond_it(found: Directions, it: str = "it") -> str:
    """A direction, and what directions say nothing of."""
    return f"{it} and what {listed(found.single)} do{'es' * (len(found.single) == 1)}" if found.single else it


def components(found: Directions, k: int) -> str:
    """The largest components of a direction by the names of its variables."""
    vector = found.vectors[k]
    largest = np.argsort(-np.abs(vector), kind="stable")[:_MOST_COMPONENTS]
    shown = [j for j in largest if abs(vector[j]) >= 0.05]
    text = " ".join(f"{'+' if vector[j] >= 0 else '−'} {abs(vector[j]):.2f} {found.names[j]}" for j in shown)
    return text.removeprefix("+ ") + (" …" if len(vector) > len(shown) else "")
