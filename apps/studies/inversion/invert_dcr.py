"""Study `invert-dcr`: depth, volume and azimuth of a body from noisy potential differences, by every route.

Four questions: what a posterior by the surrogate costs, how many PDE solves delayed acceptance saves, whether credible
intervals cover, and whether the most probable point is that of the PDE. All observations are made by the PDE or by
boundary elements, which share nothing with it but the equation.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from rich.table import Table

from gnvpro.apps.inversion.invert import invert
from gnvpro.apps.inversion.posterior.posterior import Posterior
from gnvpro.apps.inversion.sampling.chains import Chains, effective_samples
from gnvpro.apps.studies.inversion import calibration
from gnvpro.apps.studies.inversion import minima as inversion_minima
from gnvpro.apps.studies.inversion import routes as inversion_routes
from gnvpro.apps.studies.inversion.calibration import Calibration
from gnvpro.apps.studies.inversion.cases import Case, observed, pde_of, reference_of, samples_of, trained, truths
from gnvpro.apps.studies.inversion.routes import GOOD, POOR, WALK, Lengths
from gnvpro.apps.studies.result import StudyResult
from gnvpro.apps.studies.settings import StudySettings
from gnvpro.pde_data.problems.contract import Problem
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


def run(options: StudySettings, report: Report) -> StudyResult:
    """Train, invert, count."""
    settings = options.own(Settings, QUICK)
    seed, n, stages = options.seed, settings.coverage_truths, defaultdict(Stopwatch)
    with stages["training"]:
        problem, good, poor, source = _models(settings, options, report)
    with stages["observations"]:
        at = truths(problem, max(n, settings.minima, 1), seed)
        by_pde = observed(problem.evaluate, at, settings.noise, seed, report)
        oracle_name, oracle = reference_of(problem)
        by_oracle = observed(oracle, at[:n], settings.noise, seed, report)
    with stages["posterior on the surrogate"]:
        fast = _speed(by_pde[0], good, settings, seed, report)
    with stages["routes"]:
        routes = inversion_routes.compare_routes(by_pde[0], problem, good, poor, settings.lengths, seed, report)
    with stages["most probable points"]:
        minima = inversion_minima.numbers(inversion_minima.compare_minima(
            by_pde[: settings.minima], good, problem, 4, settings.scipy_starts, seed, report
        ))  # fmt: skip
    with stages["coverage"]:
        half = [replace(case, noise=case.estimated_noise) for case in by_pde[: (n + 1) // 2]]
        sets = {"by the PDE": by_pde[:n], "by boundary elements": by_oracle, "noise from data": half}
        covered = {name: _covered(cases, good, settings, seed, name, report) for name, cases in sets.items()}
    numbers = {
        "data": source, "noise": settings.noise, "oracle": oracle_name, "truth": by_pde[0].truth.tolist(),
        "errors": {"good": good.errors, "poor": poor.errors},
        "error_in_noise": {
            "surrogate against the PDE": _in_noise(by_pde[:n], good),
            "PDE against the oracle": _in_noise(by_oracle, problem),
        },
        "posterior_on_the_surrogate": fast, **routes.numbers(), "minima": minima,
        "coverage": {name: row.numbers() for name, row in covered.items()},
        "cpu_seconds": {name: stage.cpu_seconds for name, stage in stages.items()},
    }  # fmt: skip
    of_good, of_poor = routes.adequacy["good"], routes.adequacy["poor"]
    title = (
        f"poor surrogate: error {of_poor.error_in_noise:.2g} of the noise, shift {of_poor.shift:.2g} sd; "
        f"good one: {of_good.error_in_noise:.2g}, {of_good.shift:.2g}"
    )
    tables = [
        inversion_routes.table(numbers, title), inversion_minima.table(minima), calibration.table(covered),
        _goals(numbers),
    ]  # fmt: skip
    figures = {"routes": inversion_routes.figure(routes, by_pde[0].truth), "ranks": calibration.rank_figure(covered)}
    return StudyResult(numbers, tables, figures)


def _models(settings: Settings, options: StudySettings, report: Report) -> tuple[Problem, Surrogate, Surrogate, str]:
    """The PDE, a surrogate that is good enough and one that is not, and where their samples are from."""
    samples, source = samples_of("dcr", options.data, settings.train + settings.validation, report)
    good = trained(samples, settings.train, settings.validation, options.seed, settings.budget, report)
    few = settings.poor_train, max(5, settings.poor_train // 4)
    poor = trained(samples, *few, options.seed, settings.budget, report)
    return pde_of("dcr", options.data, good), good, poor, source


def _inverted(case: Case, surrogate: Surrogate, report: Report | None = None, **lengths: Any) -> Chains:
    """Draws by the surrogate alone, whatever its error."""
    inversion = invert(
        surrogate, case.data, case.noise, problem=False, routes=("surrogate",), force=True, progress=report, **lengths
    )
    return inversion.chains["surrogate"]


def _speed(case: Case, surrogate: Surrogate, settings: Settings, seed: int, report: Report) -> dict[str, Any]:
    """Seconds of a posterior from the observations to the draws, the search for its mode included."""
    watch = Stopwatch()
    with watch:
        chains = _inverted(
            case, surrogate, report, starts=settings.starts, chains=settings.chains, draws=settings.draws,
            tune=settings.tune, seed=seed,
        )  # fmt: skip
    seconds = {"wall_seconds": watch.wall_seconds, "cpu_seconds": watch.cpu_seconds}
    least = min(effective_samples(chain[None, :, j]) for chain in chains.draws for j in range(chains.space.size))
    return {**chains.numbers(), **seconds, "effective_of_a_chain_min": least}


def _covered(
    cases: list[Case], surrogate: Surrogate, settings: Settings, seed: int, name: str, report: Report
) -> Calibration:
    def posteriors() -> Iterator[tuple[Array, Posterior, Chains]]:
        for i, case in enumerate(cases):
            report(i, len(cases), f"coverage, {name}: posterior {i + 1} of {len(cases)}")
            lengths: dict[str, Any] = dict(draws=settings.coverage_draws, tune=settings.coverage_tune, seed=seed + i)
            yield case.truth, case.posterior(surrogate), _inverted(case, surrogate, starts=4, chains=4, **lengths)

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
