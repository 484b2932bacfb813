"""Study `sensitivity`: how near indices from a hundred solves come to the exact ones, and whether intervals hold these.

For every function and seed a surrogate is trained by defaults on scrambled Sobol points. Its indices are compared with the
exact ones twice: with intervals from its error bands, and corrected by fresh solves.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
from rich.table import Table
from scipy.stats import qmc

from gnvpro.apps.sensitivity.sensitivity import Sensitivity, sensitivity
from gnvpro.apps.studies.kept_runs import KeptRuns, Row
from gnvpro.apps.studies.result import StudyResult, study_table
from gnvpro.apps.studies.sensitivity.exact import EXACT
from gnvpro.apps.studies.settings import StudySettings
from gnvpro.apps.studies.surrogates.functions import FUNCTIONS, Function
from gnvpro.pde_data.problems.loading import as_problem
from gnvpro.pde_data.storage.provenance import definition_hash
from gnvpro.surrogate.model.surrogate import Surrogate
from gnvpro.surrogate.progress import Report
from gnvpro.surrogate.samples import Samples
from gnvpro.surrogate.spaces import Array, Space
from gnvpro.training.train import train


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How many solves.

    Attributes
    ----------
    n
        Solves that train each surrogate.
    fresh
        Further ones that correct its indices; none for none.
    functions
        Of `EXACT`.
    runs
        File that keeps what was measured.
    """

    n: int = 100
    fresh: int = 50
    functions: tuple[str, ...] = tuple(EXACT)
    runs: Path | None = None


class Run(NamedTuple):
    """One surrogate."""

    function: str
    n: int
    fresh: int
    seed: int


@dataclass(frozen=True, eq=False)
class Solver:
    """A test function as what is solved."""

    function: Function
    block_size: ClassVar = 1 << 20  # solved at once

    @property
    def parameters(self) -> Space:
        """Of the function."""
        return self.function.parameter_space

    @property
    def observables(self) -> Space:
        """Of the function."""
        return self.function.observable_space

    def evaluate(self, y: Array) -> Array:
        """Its values."""
        return self.function.observe(y)


def run(options: StudySettings, report: Report) -> StudyResult:
    """Train, analyse, count."""
    settings = options.own(Settings, dict(functions=("borehole",)))
    seeds = options.seeds_from(1 if options.quick else 20)
    plan = [Run(name, settings.n, settings.fresh, seed) for name in settings.functions for seed in seeds]
    rows = KeptRuns(Run, settings.runs).measured(plan, measured, lambda one: f"{one.function}, seed {one.seed}", report)
    summaries = [summary(name, [row for row in rows if row["function"] == name]) for name in settings.functions]
    return StudyResult(
        {"settings": asdict(settings) | {"runs": None}, "summary": summaries, "runs": rows}, [_table(summaries)]
    )


def origin_of(model: Any) -> dict[str, Any]:
    """What samples of a model are of, as `generate` writes it: what corrects a surrogate is compared with it."""
    problem = as_problem(model)
    definition = problem.definition
    return {"problem": problem.name, "definition": definition, "definition_hash": definition_hash(definition)}


def trained(function: Function, n: int, seed: int) -> Surrogate:
    """A surrogate of n scrambled Sobol points, by defaults."""
    m = math.ceil(math.log2(n))
    y = function.parameters(qmc.Sobol(len(function.bounds), rng=np.random.default_rng(seed)).random_base2(m)[:n])
    samples = Samples(
        y, function.observe(y), function.parameter_space, function.observable_space, origin_of(Solver(function))
    )
    return train(samples).surrogate


def measured(one: Run) -> Row:
    """Indices of one surrogate beside the exact ones."""
    function = FUNCTIONS[one.function]
    surrogate = trained(function, one.n, one.seed)
    y, c = function.test()
    error = float((surrogate.evaluate(y) - c).std() / c.std())
    by_bands = sensitivity(surrogate, seed=one.seed)
    stated = by_bands.error
    row: Row = {"error": error, "stated_error": None if stated is None else float(stated.relative[0])}
    row["bands"] = against(by_bands, EXACT[one.function]())
    if one.fresh:
        by_solves = sensitivity(surrogate, seed=one.seed, solves=one.fresh, problem=Solver(function))
        row["solves"] = against(by_solves, EXACT[one.function]())
    return row


def against(found: Sensitivity, exact: tuple[Array, Array]) -> dict[str, Any]:
    """Errors of indices, half widths of their intervals, and which intervals hold the exact ones."""
    shares = [found.shares["first order"], found.shares["total"]]
    estimate, lower, upper = (
        np.stack([getattr(of, name)[0] for of in shares]) for name in ("estimate", "lower", "upper")
    )
    truth = np.stack(exact)
    widest = np.stack([(of.most - of.least)[0] for of in shares])
    return {
        "widest": (widest / 2).tolist(),
        "error": np.abs(estimate - truth).tolist(),
        "half_width": ((upper - lower) / 2).tolist(),
        "within": ((truth >= lower - 1e-12) & (truth <= upper + 1e-12)).tolist(),
    }


def summary(function: str, rows: list[Row]) -> dict[str, Any]:
    """Over all seeds: errors of surrogates, and by kind of interval those of indices and what was covered."""
    kinds = [kind for kind in ("bands", "solves") if kind in rows[0]]
    of_all: dict[str, Any] = {"function": function, "seeds": len(rows), "kinds": {}}
    of_all["error"] = float(np.median([row["error"] for row in rows]))
    of_all["worst_error"] = max(row["error"] for row in rows)
    stated = [row["stated_error"] for row in rows if row["stated_error"] is not None]
    of_all["stated_error"] = float(np.median(stated)) if stated else None
    for kind in kinds:
        error, half, within = (
            np.array([row[kind][what] for row in rows]) for what in ("error", "half_width", "within")
        )
        worst = error.max(axis=(1, 2))
        widest = half.max(axis=(1, 2))
        of_all["kinds"][kind] = {
            "median_of_largest_error": float(np.median(worst)), "largest_error": float(worst.max()),
            "seeds_within_a_hundredth": int((worst <= 0.01).sum()), "median_half_width": float(np.median(widest)),
            "covered": float(within.mean()), "least_covered_index": float(within.mean(axis=0).min()),
            "all_indices_covered": float(within.all(axis=(1, 2)).mean()),
        }  # fmt: skip
    return of_all


def _table(summaries: list[dict[str, Any]]) -> Table:
    table = study_table(
        "indices against exact ones", "function", "surrogate's error, median", "intervals", "largest error, median",
        "worst seed", "widest half width, median", "covered, of all", "of the least covered", "all at once", box=None,
    )  # fmt: skip
    for one in summaries:
        for kind, of in one["kinds"].items():
            table.add_row(
                one["function"], f"{one['error']:.2%}", kind, f"{of['median_of_largest_error']:.4f}",
                f"{of['largest_error']:.4f}", f"{of['median_half_width']:.4f}", f"{of['covered']:.0%}",
                f"{of['least_covered_index']:.0%}", f"{of['all_indices_covered']:.0%}",
            )  # fmt: skip
    return table
