"""Study `invert-dcr`: depth, volume and azimuth of a body from noisy potential differences, by every route.

Four questions: what a posterior by the surrogate costs, how many PDE solves delayed acceptance saves, whether credible
intervals cover, and whether the most probable point is that of the PDE. All observations are made by the PDE or by
boundary elements, which share nothing with it but the equation.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from rich.table import Table

from gnvpro.apps.inversion.invert import invert
from gnvpro.apps.inversion.posterior.noise import Noise
from gnvpro.apps.inversion.sampling.chains import Chains, effective_samples
from gnvpro.apps.studies.inversion import calibration
from gnvpro.apps.studies.inversion import minima as inversion_minima
from gnvpro.apps.studies.inversion import routes as inversion_routes
from gnvpro.apps.studies.inversion.calibration import Calibration
from gnvpro.apps.studies.inversion.cases import (
    Case,
    observed,
    pde_of,
    reference_of,
    samples_of,
    trained,
    truths,
)
from gnvpro.apps.studies.inversion.routes import GOOD, POOR, WALK, Lengths
from gnvpro.apps.studies.result import StudyResult
from gnvpro.apps.studies.settings import StudySettings
from gnvpro.pde_data.problems.contract import Problem
from gnvpro.pde_data.problems.options import make
from gnvpro.surrogate.model.surrogate import Surrogate
from gnvpro.surrogate.progress import Report
from gnvpro.surrogate.spaces import Array
from gnvpro.surrogate.stopwatch import Stopwatch

QUICK: dict[str, Any] = dict(
    train=60, validation=20, poor_train=30, budget=60.0, draws=30, tune=20, starts=2, coverage_truths=2, coverage_draws=10,
    coverage_tune=10, minima=1, scipy_starts=1,
    lengths=dict(chains=2, walk=20, gradient=4, delayed=6, walk_tune=4, gradient_tune=2, delayed_tune=4, cheap=10,
                 cheap_tune=10),
)  # fmt: skip
# Goals: seconds of a posterior, PDE solves saved, and distance of the most probable points in standard deviations.
SECONDS, EFFECTIVE, FEWER, DISTANCE = 60.0, 1000, 5.0, 1e-3


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How much of everything.

    Attributes
    ----------
    noise
        Of every datum, as `gnvpro invert --noise`.
    train, validation, budget
        Of the good surrogate; the default budget of `gnvpro train` without.
    poor_train
        Samples of the deliberately poor one; a quarter as many choose it.
    chains, draws, tune
        Of the posterior whose seconds are measured.
    coverage_truths, coverage_draws, coverage_tune
        Truths by the prior, half of them for noise that is taken from the data, and draws and warm-up of each of four chains.
    minima, scipy_starts
        Problems whose most probable points are compared, and starts of scipy's search of each.
    lengths
        Of the chains whose PDE solves are compared.
    """

    noise: str = "2%"
    train: int = 480
    validation: int = 160
    budget: float | None = None
    poor_train: int = 100
    chains: int = 4
    draws: int = 1500
    tune: int = 300
    coverage_truths: int = 100
    coverage_draws: int = 75
    coverage_tune: int = 40
    minima: int = 20
    scipy_starts: int = 2
    starts: int = 16
    lengths: Lengths = field(default_factory=Lengths)


@dataclass(frozen=True)
class Models:
    """The PDE, a surrogate that is good enough and one that is not."""

    problem: Problem
    good: Surrogate
    poor: Surrogate


def run(given: StudySettings, report: Report) -> StudyResult:
    """Train, invert, count."""
    settings: Settings = make(Settings, {**(QUICK if given.quick else {}), **(given.set or {})})
    seed, n, stages = given.seed, settings.coverage_truths, defaultdict(Stopwatch)
    with stages["training"]:
        models, source = _models(settings, given, report)
    with stages["observations"]:
        at = truths(models.problem, max(n, settings.minima, 1), seed)
        by_pde = observed(models.problem.evaluate, at, settings.noise, seed, report)
        oracle_name, oracle = reference_of(models.problem)
        by_oracle = observed(oracle, at[:n], settings.noise, seed, report)
    with stages["posterior on the surrogate"]:
        fast = _speed(by_pde[0], models.good, settings, seed, report)
    with stages["routes"]:
        routes = inversion_routes.compare_routes(
            by_pde[0], models.problem, models.good, models.poor, settings.lengths, seed, report
        )
    with stages["most probable points"]:
        minima = inversion_minima.numbers(inversion_minima.compare_minima(
            by_pde[: settings.minima], models.good, models.problem, 4, settings.scipy_starts, seed, report
        ))  # fmt: skip
    with stages["coverage"]:
        covered = {
            "by the PDE": _covered(by_pde[:n], models.good, settings, seed, "by the PDE", report),
            "by boundary elements": _covered(by_oracle, models.good, settings, seed, "by the oracle", report),
            "noise from data": _covered(
                by_pde[: (n + 1) // 2], models.good, settings, seed, "noise from data", report, estimated=True
            ),
        }
    numbers = {
        "data": source, "noise": settings.noise, "oracle": oracle_name, "truth": by_pde[0].truth.tolist(),
        "errors": {"good": models.good.errors, "poor": models.poor.errors},
        "error_in_noise": {
            "surrogate against the PDE": _in_noise(by_pde[:n], models.good),
            "PDE against the oracle": _in_noise(by_oracle, models.problem),
        },
        "posterior_on_the_surrogate": fast, **routes.numbers(), "minima": minima,
        "coverage": {name: row.numbers() for name, row in covered.items()},
        "cpu_seconds": {name: stage.cpu_seconds for name, stage in stages.items()},
    }  # fmt: skip
    gates = numbers["gates"]
    title = f"poor surrogate: error {gates['poor']['error_in_noise']:.2g} of the noise, shift " + (
        f"{gates['poor']['shift_in_standard_deviations']:.2g} sd; good one: {gates['good']['error_in_noise']:.2g}, "
        f"{gates['good']['shift_in_standard_deviations']:.2g}"
    )
    tables = [
        inversion_routes.table(numbers, title), inversion_minima.table(minima), calibration.table(covered),
        _goals(numbers),
    ]  # fmt: skip
    figures = {"routes": inversion_routes.figure(routes, by_pde[0].truth), "ranks": calibration.rank_figure(covered)}
    return StudyResult(numbers, tables, figures)


def _models(settings: Settings, given: StudySettings, report: Report) -> tuple[Models, str]:
    samples, source = samples_of("dcr", given.data, settings.train + settings.validation, report)
    good = trained(samples, settings.train, settings.validation, given.seed, settings.budget, report)
    few = settings.poor_train, max(5, settings.poor_train // 4)
    poor = trained(samples, *few, given.seed, settings.budget, report)
    return Models(pde_of("dcr", given.data, good), good, poor), source


def _inverted(case: Case, noise: Noise, surrogate: Surrogate, report: Report | None = None, **lengths: Any) -> Chains:
    """Draws by the surrogate alone, whatever its error."""
    inversion = invert(
        surrogate, case.data, noise, problem=False, routes=("surrogate",), force=True, progress=report, **lengths
    )
    return inversion.chains["surrogate"]


def _speed(case: Case, surrogate: Surrogate, settings: Settings, seed: int, report: Report) -> dict[str, Any]:
    """Seconds of a posterior from the observations to the draws, the search for its mode included."""
    watch = Stopwatch()
    lengths: dict[str, Any] = dict(
        starts=settings.starts, chains=settings.chains, draws=settings.draws, tune=settings.tune, seed=seed
    )
    with watch:
        chains = _inverted(case, case.noise, surrogate, report, **lengths)
    seconds = {"wall_seconds": watch.wall_seconds, "cpu_seconds": watch.cpu_seconds}
    least = min(effective_samples(chain[None, :, j]) for chain in chains.draws for j in range(chains.space.size))
    return {**chains.numbers(), **seconds, "effective_of_a_chain_min": least}


def _covered(
    cases: list[Case], surrogate: Surrogate, settings: Settings, seed: int, name: str, report: Report,
    estimated: bool = False,
) -> Calibration:  # fmt: skip
    def posteriors() -> Iterator[tuple[Array, Chains]]:
        for i, case in enumerate(cases):
            report(i, len(cases), f"coverage, {name}: posterior {i + 1} of {len(cases)}")
            noise = case.estimated_noise if estimated else case.noise
            lengths: dict[str, Any] = dict(draws=settings.coverage_draws, tune=settings.coverage_tune, seed=seed + i)
            yield case.truth, _inverted(case, noise, surrogate, starts=4, chains=4, **lengths)

    return Calibration.of(posteriors())


def _in_noise(cases: list[Case], model: Any) -> dict[str, float]:
    """Of the errors at the truths: root mean square over data, median and largest over truths, and the largest datum."""
    errors = np.array([case.error_in_noise(model) for case in cases])
    sizes = np.sqrt((errors**2).mean(axis=1))
    return {"median": float(np.median(sizes)), "max": float(sizes.max()), "largest_datum": float(np.abs(errors).max())}


def _goals(numbers: dict[str, Any]) -> Table:
    """What was to be reached, and what was."""
    fast, minima = numbers["posterior_on_the_surrogate"], numbers["minima"]
    effective = fast["effective_of_a_chain_min"]
    rows = [(
        f"{fast['chains']} chains, effective samples of the least {effective:.0f}",
        f"≤ {SECONDS:g} s for {EFFECTIVE} each", f"{fast['wall_seconds']:.1f} s, {fast['cpu_seconds']:.1f} s of CPU",
        fast["wall_seconds"] <= SECONDS and effective >= EFFECTIVE,
    )]  # fmt: skip
    for name in (GOOD, POOR):
        row = numbers["routes"][name]
        errors = max(np.abs(row[f"{of}_in_monte_carlo_errors"]).max() for of in ("means", "standard_deviations"))
        fewer = row["fewer_solves_than_random_walk"]
        measured = f"{fewer:.1f} ×, within {errors:.1f} Monte Carlo errors"
        rows.append((f"{name} against {WALK}", f"≥ {FEWER:g} × fewer PDE solves", measured, fewer >= FEWER))
    for name, row in numbers["coverage"].items():
        (low, high), pooled = row["limits"], row["pooled"]
        limits = f"{low:.1%} to {high:.1%}"
        rows.append((f"coverage, observations {name}", limits, f"{pooled:.1%}", low <= pooled <= high))
    goal, distance = f"≤ {DISTANCE:g} sd from scipy's on the PDE", minima["distance_max"]
    rows.append(("most probable point", goal, f"{distance:.1e} sd", distance <= DISTANCE))
    table = Table("what", "goal", "measured", "reached", title="goals", box=None)
    for *texts, reached in rows:
        table.add_row(*texts, "yes" if reached else "no")
    return table
