"""What the methods are compared on: samples that all of them see, and further ones that measure them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from gnvpro.apps.studies.data import cdr_samples
from gnvpro.apps.studies.surrogates import darcy, many
from gnvpro.apps.studies.surrogates.functions import FUNCTIONS, Function
from gnvpro.apps.studies.surrogates.kept_aside import KEPT_ASIDE
from gnvpro.pde_data.files import read_table
from gnvpro.pde_data.storage.dataset import read_samples
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.extras import require
from gnvpro.surrogate.progress import silent
from gnvpro.surrogate.samples import Samples
from gnvpro.surrogate.spaces import Array, Space

# Samples that only measure: the last ones of the fields, drawn apart for `many`, a share of a table.
CDR_TEST, MANY_TEST, TABLE_SHARE = 200, 5000, 5
TABLES = ("concrete", "boston", "diabetes")

Measure = Literal["nrmse", "relative"]


class Folders(NamedTuple):
    """Where tables are read from, and where solves are kept."""

    tables: Path | None = None
    cache: Path | None = None


class Case(NamedTuple):
    """Samples, others that measure, and which parameters are to be taken by their logarithm."""

    samples: Samples
    test: Samples
    logarithmic: tuple[str, ...] = ()

    def errors(self, predicted: Array) -> dict[str, float]:
        """Of predictions for the test samples.

        `nrmse`: RMSE over the standard deviation, the mean over outputs that vary. `relative`: the mean over samples of
        ‖error‖ / ‖observables‖; samples of zeros are left out.
        """
        misfit, c = predicted - self.test.observables, self.test.observables
        spread, sizes = c.std(0), np.linalg.norm(c, axis=1)
        varying = spread > 1e-12 * np.abs(c).max(0)
        rmse = np.sqrt((misfit**2).mean(0))
        relative = np.linalg.norm(misfit, axis=1)[sizes > 0] / sizes[sizes > 0]
        return dict(nrmse=float((rmse[varying] / spread[varying]).mean()), relative=float(relative.mean()))


@dataclass(frozen=True)
class Data:
    """Cases by number of samples, seed and folders.

    Attributes
    ----------
    sizes
        Numbers of samples that are tried unless others are asked for; None for a table, which is taken whole.
    measure
        Of the errors, the one that is compared: `relative` for fields.
    """

    name: str
    group: str
    case: Callable[[int, int, Folders], Case]
    sizes: tuple[int, ...] | None
    measure: Measure = "nrmse"


def _of_function(function: Function, n: int, seed: int, _: Folders) -> Case:
    spaces = function.parameter_space, function.observable_space
    design, test = (Samples(*pair, *spaces) for pair in (function.design(n, seed), function.test()))
    return Case(design, test, function.logarithmic)


def _of_darcy(n: int, seed: int, folders: Folders) -> Case:
    if folders.cache is None:
        raise UsageError("darcy keeps its 1,400 solves in a folder; name one with --set cache=FOLDER")
    y, c = darcy.solved(folders.cache)
    samples, n_train = Samples(y, c, *darcy.spaces()), len(y) - darcy.TEST
    chosen = np.random.default_rng(seed).permutation(n_train)[:n]
    return Case(samples.subset(chosen), samples.subset(np.arange(n_train, len(y))))


def _of_cdr(n: int, seed: int, _: Folders) -> Case:
    samples, _source = cdr_samples(None, silent)
    order = np.random.default_rng(seed).permutation(len(samples))
    return Case(samples.subset(order[CDR_TEST:][:n]), samples.subset(order[:CDR_TEST]))


def _of_many(n: int, seed: int, _: Folders) -> Case:
    # An odd seed measures, an even one trains: no sample does both.
    design, test = (Samples(*many.draw(*drawn), *many.spaces()) for drawn in ((n, 2 * seed), (MANY_TEST, 1)))
    return Case(design, test)


def _of_table(name: str, _n: int, seed: int, folders: Folders) -> Case:
    samples = _diabetes() if name == "diabetes" else _table(name, folders.tables)
    order = np.random.default_rng(seed).permutation(len(samples))
    tested = len(samples) // TABLE_SHARE
    return Case(samples.subset(order[tested:]), samples.subset(order[:tested]))


def _table(name: str, folder: Path | None) -> Samples:
    if folder is None:
        raise UsageError(f"{name} is read from {name}.csv of a folder; name it with --set tables=FOLDER")
    file = folder / f"{name}.csv"
    return read_samples(file, parameters=read_table(file).header[:-1])


def _diabetes() -> Samples:
    require("sklearn", "it brings the table diabetes", "peers")
    from sklearn.datasets import load_diabetes

    table: Any = load_diabetes()
    names = [str(name) for name in table.feature_names]
    observed = Space.observed(table.target[:, None], "observable", ["progression"])
    return Samples(table.data, table.target[:, None], Space.observed(table.data, "parameter", names), observed)


def _all() -> dict[str, Data]:
    functions = [Data(f.name, "functions", partial(_of_function, f), (50, 200, 1000)) for f in FUNCTIONS.values()]
    aside = [Data(f.name, "kept-aside", partial(_of_function, f), (50, 200)) for f in KEPT_ASIDE.values()]
    few = Data("borehole, few", "few", partial(_of_function, FUNCTIONS["borehole"]), (10, 20, 30))
    fields = [
        Data("darcy", "fields", _of_darcy, (200, 1000), "relative"),
        Data("cdr", "fields", _of_cdr, (600,), "relative"),
    ]
    tables = [Data(name, "tables", partial(_of_table, name), None) for name in TABLES]
    return {
        data.name: data
        for data in (*functions, *aside, few, *fields, *tables, Data("many", "many", _of_many, (50_000, 500_000)))
    }


DATA = _all()
GROUPS = tuple(dict.fromkeys(data.group for data in DATA.values()))


def named(names: tuple[str, ...]) -> list[Data]:
    """Data by their names or those of their groups."""
    known = {
        **{group: [d for d in DATA.values() if d.group == group] for group in GROUPS},
        **{n: [d] for n, d in DATA.items()},
    }
    if unknown := [name for name in names if name not in known]:
        raise UsageError(f"expected data among {', '.join(known)}, got {', '.join(unknown)}")
    return list(dict.fromkeys(data for name in names for data in known[name]))
