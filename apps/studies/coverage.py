"""Study `coverage`: do the error bands hold what they promise, and which in-domain score ranks errors best?

One surrogate is trained once. Its held-out samples are then shuffled many times into a part that calibrates and a part
that is judged: a band's level is a mean over calibrations, and one calibration tells little of it. Where the data name
a registered PDE, the same is done with fresh solves: they judge the calibrations by held-out samples, and, since all
of these share one pool of samples, are shuffled into both parts themselves.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from rich.table import Table
from scipy.spatial import KDTree
from scipy.stats import rankdata

from gnvpro.apps.arguments import problem_of
from gnvpro.apps.comparison.fresh_solves import FRESH
from gnvpro.apps.progress import Report
from gnvpro.apps.studies.data import cdr_samples, sizes_for
from gnvpro.apps.studies.result import StudyResult
from gnvpro.apps.studies.settings import StudySettings
from gnvpro.pde_data.problems.loading import REGISTERED
from gnvpro.pde_data.problems.options import make
from gnvpro.pde_data.problems.solving import solve_block
from gnvpro.pde_data.sampling import draw
from gnvpro.surrogate.model.calibration import residuals
from gnvpro.surrogate.model.surrogate import Surrogate
from gnvpro.surrogate.samples import Samples, Split
from gnvpro.surrogate.spaces import Array
from gnvpro.surrogate.trust.bands import Bands, law_weights, spread
from gnvpro.training.train import TrainSettings, train

Weighting = tuple[Array, float]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How often and how much.

    Attributes
    ----------
    splits
        Shuffles of calibration and judged samples.
    fresh
        Fresh PDE solves, half of which calibrate where they do both.
    budget
        Work units of the training; the default of `gnvpro train` without.
    """

    splits: int = 100
    fresh: int = 1000
    level: float = 0.9
    budget: float | None = None
    train: int | None = None
    validation: int | None = None
    test: int | None = None


def run(given: StudySettings, report: Report) -> StudyResult:
    """Train, shuffle, count."""
    quick = dict(splits=20, fresh=100, budget=100.0) if given.quick else {}
    settings = make(Settings, {**quick, **(given.set or {})})
    samples, source = cdr_samples(given.data, report)
    split = _split(samples, settings, given.seed)
    surrogate = train(split, TrainSettings(seed=given.seed, budget=settings.budget)).surrogate
    rng, level = np.random.default_rng(given.seed), settings.level
    scale, held_out = spread(residuals(surrogate, split.validation)), split.test
    found = residuals(surrogate, held_out)
    weighting = law_weights(surrogate.parameters, held_out.provenance.get("design"), held_out.parameters)
    rows = {"held-out samples, shuffled": _judged(_halves(found, found, rng, settings.splits), scale, level)}
    numbers: dict[str, Any] = {
        "data": source,
        "errors": surrogate.errors,
        "n_held_out": len(held_out),
        "n_calibrate": len(held_out) // 2,
    }
    if surrogate.provenance.get("problem") in REGISTERED and "definition_hash" in surrogate.provenance:
        report(0, None, f"{settings.fresh} fresh solves")
        fresh = _fresh(surrogate, samples, settings.fresh, given.seed)
        judged = residuals(surrogate, fresh)
        by_held_out = _against(found, weighting, judged, rng, settings.splits)
        rows["calibrated on held-out samples, judged on fresh solves"] = _judged(by_held_out, scale, level)
        rows["fresh solves, shuffled"] = _judged(_halves(judged, judged, rng, settings.splits), scale, level)
        numbers["weighted"], numbers["n_fresh"] = weighting is not None, len(fresh)
        held_out = fresh
    numbers |= {
        "level": level,
        "splits": settings.splits,
        "coverage": rows,
        "ranks": _ranks(surrogate, split, held_out),
    }
    return StudyResult(numbers, [_table(rows, level), _rank_table(numbers["ranks"])])


def _split(samples: Samples, settings: Settings, seed: int) -> Split:
    asked = dict(train=settings.train, validation=settings.validation, test=settings.test)
    return samples.split(seed, **(asked if any(asked.values()) else sizes_for(samples)))


def _fresh(surrogate: Surrogate, like: Samples, n: int, seed: int) -> Samples:
    problem = problem_of(surrogate)
    y = draw(problem.parameters, seed, FRESH + np.arange(n, dtype=np.int64))
    solved = solve_block(problem, y).observables
    ok = np.isfinite(solved).all(axis=1)
    return Samples(y[ok], solved[ok], like.parameter_space, like.observable_space, background=like.background)


# Residuals that calibrate, their weights, and residuals that are judged.
_Shuffle = tuple[Array, Weighting | None, Array]


def _halves(calibrate: Array, judge: Array, rng: np.random.Generator, n: int) -> Iterator[_Shuffle]:
    for _ in range(n):
        first, second = np.split(rng.permutation(len(calibrate)), [len(calibrate) // 2])
        yield calibrate[first], None, judge[second]


def _against(
    calibrate: Array, weighting: Weighting | None, judge: Array, rng: np.random.Generator, n: int
) -> Iterator[_Shuffle]:
    for _ in range(n):
        some = rng.permutation(len(calibrate))[: len(calibrate) // 2]
        yield calibrate[some], weighting and (weighting[0][some], weighting[1]), judge


def _judged(shuffles: Iterator[_Shuffle], scale: Array, level: float) -> dict[str, float]:
    """Mean and standard deviation of the coverage over shuffles."""
    found = [
        asdict(Bands.calibrated(calibrate, scale, "calibration", weighting).coverage(judge, level))
        for calibrate, weighting, judge in shuffles
    ]
    return {
        f"{name}_{what}": float(of([one[name] for one in found]))
        for name in ("marginal", "simultaneous")
        for what, of in (("mean", np.mean), ("std", np.std))
    }


def _ranks(surrogate: Surrogate, split: Split, judged: Samples) -> dict[str, float]:
    """Spearman correlation of scores with the size of the error of samples that chose nothing."""
    errors = np.linalg.norm(residuals(surrogate, judged), axis=1)
    shift, size = split.train.parameters.mean(0), np.maximum(split.train.parameters.std(0), 1e-300)
    tree = KDTree((split.train.parameters - shift) / size)
    nearest = tree.query((judged.parameters - shift) / size)[0]
    at, fitted = ((s.parameters - shift) / size for s in (judged, split.train))
    mahalanobis = np.linalg.norm(at @ np.linalg.pinv(fitted / np.sqrt(len(fitted))), axis=1)
    scores = {
        "leverage in features (the score)": surrogate.score(judged.parameters),
        "Mahalanobis distance of parameters": mahalanobis,
        "distance to the nearest training sample": nearest,
    }
    return {name: float(np.corrcoef(rankdata(score), rankdata(errors))[0, 1]) for name, score in scores.items()}


def _table(rows: dict[str, dict[str, float]], level: float) -> Table:
    table = Table("", "each observable", "sd", "whole samples", "sd", title=f"coverage of {level:.0%} bands", box=None)
    for name, row in rows.items():
        values = (row[f"{of}_{what}"] for of in ("marginal", "simultaneous") for what in ("mean", "std"))
        table.add_row(name, *(f"{value:.1%}" for value in values))
    return table


def _rank_table(ranks: dict[str, float]) -> Table:
    table = Table("score", "rank correlation with the error", title="which score tells errors", box=None)
    for name, value in ranks.items():
        table.add_row(name, f"{value:.2f}")
    return table
