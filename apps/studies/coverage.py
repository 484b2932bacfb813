"""Study `coverage`: do the error bands hold what they promise, and which in-domain score ranks errors best?

One surrogate is trained once. Its held-out samples are then shuffled many times into a part that calibrates and a part
that is judged: a band's level is a mean over calibrations, and one calibration tells little of it. Where the data name
a registered PDE, the same is done with fresh solves: they judge the calibrations by held-out samples, and, since all
of these share one pool of samples, are shuffled into both parts themselves.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
from rich.table import Table
from scipy.spatial import KDTree
from scipy.stats import rankdata

from gnvpro.apps.arguments import problem_of
from gnvpro.apps.comparison.fresh_solves import FRESH
from gnvpro.apps.studies.data import cdr_samples, sizes_for
from gnvpro.apps.studies.result import StudyResult
from gnvpro.apps.studies.settings import StudySettings
from gnvpro.pde_data.problems.loading import REGISTERED
from gnvpro.pde_data.problems.solving import solve_block
from gnvpro.pde_data.sampling import draw
from gnvpro.surrogate.model.calibration import residuals
from gnvpro.surrogate.model.surrogate import Surrogate
from gnvpro.surrogate.progress import Report
from gnvpro.surrogate.samples import Samples, Split
from gnvpro.surrogate.spaces import Array
from gnvpro.surrogate.trust.bands import Bands, law_weights, spread
from gnvpro.training.train import TrainSettings, train


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


def run(options: StudySettings, report: Report) -> StudyResult:
    """Train, shuffle, count."""
    settings = options.own(Settings, dict(splits=20, fresh=100, budget=100.0))
    samples, source = cdr_samples(options.data, report)
    sizes = dict(train=settings.train, validation=settings.validation, test=settings.test)
    split = samples.split(options.seed, **(sizes if any(sizes.values()) else sizes_for(samples)))
    surrogate = train(split, TrainSettings(seed=options.seed, budget=settings.budget)).surrogate
    rng, level, held_out = np.random.default_rng(options.seed), settings.level, split.test
    scale, errors = spread(residuals(surrogate, split.validation)), residuals(surrogate, held_out)
    coverage = partial(_coverage, scale=scale, level=level, rng=rng, n=settings.splits)
    rows = {"held-out samples, shuffled": coverage(errors)}
    numbers: dict[str, Any] = {
        "data": source, "errors": surrogate.errors, "n_held_out": len(held_out), "n_calibrate": len(held_out) // 2,
    }  # fmt: skip
    if surrogate.provenance.get("problem") in REGISTERED and "definition_hash" in surrogate.provenance:
        report(0, None, f"{settings.fresh} fresh solves")
        weighting = law_weights(surrogate.parameters, held_out.provenance.get("design"), held_out.parameters)
        held_out = _fresh(surrogate, samples, settings.fresh, options.seed)
        fresh = residuals(surrogate, held_out)
        rows["calibrated on held-out samples, judged on fresh solves"] = coverage(errors, fresh, weighting)
        rows["fresh solves, shuffled"] = coverage(fresh)
        numbers["weighted"], numbers["n_fresh"] = weighting is not None, len(held_out)
    ranks = _ranks(surrogate, split, held_out)
    numbers |= {"level": level, "splits": settings.splits, "coverage": rows, "ranks": ranks}
    return StudyResult(numbers, [_table(rows, level), _rank_table(ranks)])


def _fresh(surrogate: Surrogate, like: Samples, n: int, seed: int) -> Samples:
    problem = problem_of(surrogate)
    y = draw(problem.parameters, seed, FRESH + np.arange(n, dtype=np.int64))
    solved = solve_block(problem, y).observables
    ok = np.isfinite(solved).all(axis=1)
    return Samples(y[ok], solved[ok], like.parameter_space, like.observable_space, background=like.background)


def _coverage(
    calibrate: Array, judge: Array | None = None, weighting: tuple[Array, float] | None = None, *,
    scale: Array, level: float, rng: np.random.Generator, n: int,
) -> dict[str, float]:  # fmt: skip
    """Mean and standard deviation of the coverage over `n` shuffles: half of `calibrate` calibrates.

    Judged are residuals `judge`, or the other half where there are none.
    """
    rows = []
    for _ in range(n):
        first, second = np.split(rng.permutation(len(calibrate)), [len(calibrate) // 2])
        weights = weighting and (weighting[0][first], weighting[1])
        bands = Bands.calibrated(calibrate[first], scale, "calibration", weights)
        rows.append(asdict(bands.coverage(calibrate[second] if judge is None else judge, level)))
    return {
        f"{name}_{statistic}": float(of([row[name] for row in rows]))
        for name in ("marginal", "simultaneous")
        for statistic, of in (("mean", np.mean), ("std", np.std))
    }


def _ranks(surrogate: Surrogate, split: Split, judged: Samples) -> dict[str, float]:
    """Spearman correlation of scores with the size of the error of samples that chose nothing."""
    errors = np.linalg.norm(residuals(surrogate, judged), axis=1)
    shift, size = split.train.parameters.mean(0), np.maximum(split.train.parameters.std(0), 1e-300)
    at, fitted = ((s.parameters - shift) / size for s in (judged, split.train))
    mahalanobis = np.linalg.norm(at @ np.linalg.pinv(fitted / np.sqrt(len(fitted))), axis=1)
    scores = {
        "leverage in features (the score)": surrogate.score(judged.parameters),
        "Mahalanobis distance of parameters": mahalanobis,
        "distance to the nearest training sample": KDTree(fitted).query(at)[0],
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
