"""Study `surrogates`: the default on data of other people, beside what else they would fit.

All methods see the same samples and are measured at the same points, each fit in a process of its own on one thread. Ours
is `gnvpro.train(samples)` without settings; the peers are in `gnvpro.apps.studies.surrogates.peers`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gnvpro.apps.studies.kept_runs import KeptRuns, Row
from gnvpro.apps.studies.result import StudyResult
from gnvpro.apps.studies.settings import StudySettings
from gnvpro.apps.studies.surrogates.analysis import compared, summary
from gnvpro.apps.studies.surrogates.data import GROUPS, Data, Folders, named
from gnvpro.apps.studies.surrogates.peers import PEERS, REQUIRED
from gnvpro.apps.studies.surrogates.presentation import figures, tables
from gnvpro.apps.studies.surrogates.runs import OURS, Run, measured
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.extras import require
from gnvpro.surrogate.progress import Report

# Samples up to which a method is tried: beyond them its fit takes more than minutes.
MOST = {"kriging": 200, "gp": 2000, "polynomials": 5000}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Which methods on which data.

    Attributes
    ----------
    cases
        Names of data or of their groups: functions, kept-aside, few, fields, tables, many.
    sizes
        Numbers of samples; those of each data set without.
    methods
        gnvpro is ours; gp, polynomials, trees, adam, kriging and ridge are its peers.
    tables
        Folder of `concrete.csv` and `boston.csv`: a header, parameters, and what is predicted in the last column.
    cache
        Folder for the solves of darcy, which are made once.
    runs
        File to which every run is appended, one JSON document a line; what stands there is not run again.
    limit
        Seconds after which a run is ended.
    """

    cases: tuple[str, ...] = ("functions",)
    sizes: tuple[int, ...] | None = None
    methods: tuple[str, ...] = (OURS, "gp", "polynomials", "trees", "adam")
    tables: Path | None = None
    cache: Path | None = None
    runs: Path | None = None
    limit: float = 1800.0

    def __post_init__(self) -> None:
        if unknown := [method for method in self.methods if method not in (OURS, *PEERS)]:
            raise UsageError(f"expected methods among {', '.join((OURS, *PEERS))}, got {', '.join(unknown)}")
        if not self.methods or not self.cases:
            raise UsageError("expected a method and a case at least; the groups of cases are " + ", ".join(GROUPS))
        if self.sizes is not None and min(self.sizes, default=0) < 3:
            raise UsageError(f"expected numbers of samples of 3 and more, got {list(self.sizes)}")
        if not self.limit > 0:
            raise UsageError(f"expected a limit > 0 seconds, got {self.limit:g}")


QUICK = dict(cases=("borehole", "friedman"), sizes=(30,), methods=(OURS, "gp", "polynomials"))


def run(options: StudySettings, report: Report) -> StudyResult:
    """Every method on every case, for every seed."""
    settings = options.own(Settings, QUICK)
    for method in settings.methods:
        for module in REQUIRED.get(method, ()):
            require(module, f"the method {method} needs it; leave it out of methods or", "peers")
    folders = Folders(settings.tables, settings.cache)
    plan = [
        Run(data.name, n, seed, method)
        for data in named(settings.cases)
        for n in _sizes(data, settings)
        for seed in options.seeds_from(1 if options.quick else 3)
        for method in settings.methods
        if n <= MOST.get(method, n)
    ]

    def measure(run: Run) -> Row:
        return measured(run, folders, options.threads, settings.limit)

    rows = KeptRuns(Run, settings.runs).measured(plan, measure, _in_words, report)
    comparisons = compared(rows)
    numbers = dict(runs=rows, cases=[comparison.numbers() for comparison in comparisons], summary=summary(comparisons))
    return StudyResult(numbers, tables(comparisons), figures(comparisons))


def _in_words(run: Run) -> str:
    size = f" from {run.n:,} samples" if run.n else ""
    return f"{run.method}: {run.data}{size}, seed {run.seed}"


def _sizes(data: Data, settings: Settings) -> tuple[int, ...]:
    """A table is taken whole, which is the size 0."""
    return (0,) if data.sizes is None else settings.sizes or data.sizes
