"""What a model says at parameters, with all that is known of its errors there."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnvpro.apps import field_files
from gnvpro.surrogate.checks import path_of
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.model.classifier import Classifier
from gnvpro.surrogate.model.model import held_out
from gnvpro.surrogate.model.surrogate import Surrogate
from gnvpro.surrogate.result import Result
from gnvpro.surrogate.spaces import Array
from gnvpro.surrogate.writing import require_writable, whole_file

FORMATS = (".npz", ".csv", *field_files.FORMATS)


@dataclass(frozen=True, eq=False)
class Reliability:
    """How far the predictions of a surrogate with error bands can be trusted, point by point.

    Attributes
    ----------
    level
        Of the bands.
    half_width, half_width_simultaneous : (n, n_out)
        Of the bands; zero where the PDE answered.
    score : (n,)
        In-domain score.
    trusted, by_pde, failed : (n,)
        Inside the training range with a score of at most 1; solved by the PDE; not solved, although it was tried.
    """

    level: float
    half_width: Array
    half_width_simultaneous: Array
    score: Array
    trusted: NDArray[np.bool_]
    by_pde: NDArray[np.bool_]
    failed: NDArray[np.bool_]


@dataclass(frozen=True, repr=False, eq=False)
class Predictions(Result):
    """Observables at parameters.

    Attributes
    ----------
    parameters : (n, n_in)
    observables : (n, n_out)
        Of a classifier probabilities.
    inside : (n,)
        Where the error stated for the model holds: inside the training range.
    reliability
        None of a model without error bands.
    n_appended
        PDE solves that were added to a data set.
    log
        What became of the points that the PDE was to solve, a sentence each; None where it was not asked.
    """

    model: Surrogate | Classifier
    parameters: Array
    observables: Array
    inside: NDArray[np.bool_]
    reliability: Reliability | None = None
    n_appended: int = 0
    log: tuple[str, ...] | None = None

    @classmethod
    def of(cls, model: Surrogate | Classifier, parameters: Array, level: float) -> Predictions:
        """At parameters (n, n_in), with bands of a level where the model has any."""
        predictions = cls(model, parameters, model.evaluate(parameters), model.inside(parameters))
        if isinstance(model, Classifier) or model.trust is None:
            return predictions
        n, score = len(parameters), model.score(parameters)
        half, together = (np.tile(model.half_width(level, simultaneous=s), (n, 1)) for s in (False, True))
        nowhere = np.zeros(n, dtype=bool)
        reliability = Reliability(level, half, together, score, model.trusted(parameters, score), nowhere, nowhere)
        return cls(model, parameters, predictions.observables, predictions.inside, reliability)

    @property
    def labels(self) -> NDArray[np.intp] | None:
        """The most probable class of every point, (n,) from 0; None of a surrogate."""
        return self.model.labels(self.parameters) if isinstance(self.model, Classifier) else None

    @property
    def columns(self) -> dict[str, NDArray[Any]]:
        """All but parameters and observables, as arrays of length n by their names in a file."""
        columns: dict[str, NDArray[Any]] = {"inside_training_range": self.inside}
        if (labels := self.labels) is not None:
            columns["labels"] = labels
        if (known := self.reliability) is not None:
            columns |= {"score": known.score, "trusted": known.trusted, "by_pde": known.by_pde}
            for suffix, half in (("", known.half_width), ("_simultaneous", known.half_width_simultaneous)):
                columns |= {f"lower{suffix}": self.observables - half, f"upper{suffix}": self.observables + half}
        return columns

    @property
    def expected_error(self) -> float | None:
        """What the model's error was on data that neither trained nor chose it, if there were any."""
        model = self.model
        stated = model.errors if isinstance(model, Surrogate) else {k: 1 - v for k, v in model.accuracy.items()}
        kind = held_out(stated)
        return None if kind is None else stated[kind]

    @property
    def title(self) -> str:
        """How many there are."""
        return f"Predictions at {len(self.parameters)} points"

    def rows(self) -> list[tuple[str, str]]:
        """Counts, and what the bands are worth."""
        outside, known = int((~self.inside).sum()), self.reliability
        flagged = f"{outside}; the error stated for the model does not hold there" if outside else "none"
        rows = [("samples", str(len(self.parameters))), ("outside the training range", flagged)]
        if isinstance(self.model, Classifier):
            return rows
        if known is None or self.model.trust is None:
            return [*rows, ("error bands", "none: see gnvpro.calibrate")]
        everywhere = f"{known.level:.0%} of each observable, and of all together"
        rows.append(("error bands", self.model.trust.bands.shortage(known.level) or everywhere))
        rows.append(("not to be trusted", str((~known.trusted).sum())))
        if self.log is not None:
            failed = f", {known.failed.sum()} more could not be solved" if known.failed.any() else ""
            rows.append(("answered by the PDE", f"{known.by_pde.sum()}{failed}"))
        return rows

    def numbers(self) -> dict[str, Any]:
        """JSON-able."""
        numbers: dict[str, Any] = {
            "n_samples": len(self.parameters),
            "n_outside_training_range": int((~self.inside).sum()),
            "expected_error": self.expected_error,
        }
        if isinstance(self.model, Classifier):
            return numbers
        if (known := self.reliability) is None or self.model.trust is None:
            return {**numbers, "bands": None}
        return {
            **numbers,
            "bands": {"level": known.level, **self.model.trust.bands.about()},
            "n_not_trusted": int((~known.trusted).sum()),
            "n_by_pde": int(known.by_pde.sum()),
            "n_pde_failed": int(known.failed.sum()),
            "n_appended": self.n_appended,
        }

    def save(self, path: str | Path, record: dict[str, Any] | None = None) -> None:
        """Write a new file: `.npz` with parameters, observables and all columns, or `.csv` with a header.

        A `.csv` has observables and flags, then a column `NAME lower` for every observable, and so on; of a classifier
        the class. `.vtu` and `.xdmf` have the observables as fields, with the half width of the band, see
        `gnvpro.apps.field_files`. `record`, how they were made, is JSON-able and kept in an `.npz` as `settings`.
        """
        path = path_of(path)
        require_new_file(path)
        if path.suffix in field_files.FORMATS:
            fields = {"prediction": self.observables}
            if (known := self.reliability) is not None and np.isfinite(known.half_width).all():
                fields["half_width"] = known.half_width
            field_files.write_fields(path, self.model.observables, fields)
            return
        with whole_file(path) as file:
            if path.suffix == ".csv":
                self._write_csv(file)
            else:
                arrays: dict[str, Any] = {**self.columns, "settings": json.dumps(record or {})}
                np.savez(file, parameters=self.parameters, observables=self.observables, **arrays)

    def _write_csv(self, path: Path) -> None:
        names = self.model.observables.names
        header, blocks = list(names), [self.observables.tolist()]
        for name, values in self.columns.items():
            if name == "labels":
                header.append("class")
                blocks.append([[names[label]] for label in values])
            elif values.ndim == 2:
                header += [f"{observable} {name.replace('_', ' ')}" for observable in names]
                blocks.append(values.tolist())
            else:
                header.append(name)
                blocks.append([[int(value) if values.dtype == bool else float(value)] for value in values])
        with path.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(header)
            writer.writerows([item for part in row for item in part] for row in zip(*blocks, strict=True))


def require_new_file(path: Path) -> None:
    """FileExistsError or UsageError unless predictions can be written to `path`, of one of `FORMATS`, where nothing is."""
    if path.exists():
        raise FileExistsError(f"{path} is there already; choose another name")
    if path.suffix not in FORMATS:
        raise UsageError(f"expected an output that ends in {' or '.join(FORMATS)}, got {path}")
    require_writable(path)
