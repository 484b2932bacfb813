"""Study `invert-cdr`: what 72 noisy observables know of 55 parameters that sum to one.

For several surrogates (seeds of split and training), truths and sizes of the noise: the directions that the observations
inform, by the surrogate and by the PDE at the same draws, the posterior against the prior by direction and by parameter,
and whether credible intervals cover where most parameters are hardly informed at all. Observations are made by the
refined discretisation of the PDE.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from rich.table import Table

from gnvpro.apps.inversion.adequacy import adequacy_from_solves
from gnvpro.apps.inversion.posterior.posterior import Posterior, Whitening
from gnvpro.apps.inversion.posterior.prior import Prior
from gnvpro.apps.inversion.sampling.chains import Chains
from gnvpro.apps.inversion.sampling.nuts import sample_nuts
from gnvpro.apps.studies.inversion import calibration
from gnvpro.apps.studies.inversion.calibration import Calibration
from gnvpro.apps.studies.inversion.cases import Case, observed, pde_of, reference_of, samples_of, trained, truths
from gnvpro.apps.studies.inversion.informed import Informed, agreement, directions, informed, ratios, spectrum
from gnvpro.apps.studies.result import StudyResult
from gnvpro.apps.studies.settings import StudySettings
from gnvpro.pde_data.problems.contract import Problem
from gnvpro.surrogate.model.surrogate import Surrogate
from gnvpro.surrogate.progress import Report
from gnvpro.surrogate.spaces import Array
from gnvpro.surrogate.stopwatch import Stopwatch

QUICK: dict[str, Any] = dict(
    noise=["2%"], train=150, validation=50, budget=60.0, seeds=1, truths=2, chains=2, draws=10, tune=10, points=2
)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How much of everything.

    Attributes
    ----------
    noise
        Sizes, each as `gnvpro invert --noise`.
    train, validation, budget
        Of every surrogate; the default budget of `gnvpro train` without.
    seeds
        Surrogates, each with a split of its own.
    truths
        Of every surrogate, by the prior.
    chains, draws, tune
        Of every posterior.
    points
        Draws from it over which the Hessian is averaged.
    """

    noise: tuple[str, ...] = ("2%", "1%")
    train: int = 400
    validation: int = 200
    budget: float | None = None
    seeds: int = 3
    truths: int = 8
    chains: int = 4
    draws: int = 300
    tune: int = 200
    points: int = 8


@dataclass(frozen=True, eq=False)
class Inverted:
    """One posterior by the surrogate: its draws, the directions that are informed by both models, JSON-able numbers."""

    truth: Array
    posterior: Posterior
    chains: Chains
    by_surrogate: Informed
    by_pde: Informed
    numbers: dict[str, Any]


def run(options: StudySettings, report: Report) -> StudyResult:
    """Train, invert, look at the directions, count."""
    settings = options.own(Settings, QUICK)
    stages, seeds = defaultdict(Stopwatch), options.seeds_from(settings.seeds)
    with stages["samples"]:
        samples, source = samples_of("cdr", options.data, settings.train + settings.validation, report)
    inverted: list[Inverted] = []
    errors, reference, total = {}, "", len(seeds) * len(settings.noise) * settings.truths

    def told(_done: float, _total: float | None, note: str) -> None:
        report(len(inverted), total, f"posterior {len(inverted) + 1} of {total}: {note}")

    for seed in seeds:
        with stages["training"]:
            surrogate = trained(samples, settings.train, settings.validation, seed, settings.budget, report)
            problem, errors[seed] = pde_of("cdr", options.data, surrogate), surrogate.errors
        reference, solve = reference_of(problem)
        at = truths(problem, settings.truths, seed)
        for noise in settings.noise:
            with stages["observations"]:
                cases = observed(solve, at, noise, seed, report)
            with stages["posteriors"]:
                for i, case in enumerate(cases):
                    posterior = _inverted(case, noise, 1000 * seed + i, surrogate, problem, settings, told)
                    posterior.numbers["seed"] = seed
                    inverted.append(posterior)
    by_noise = {noise: [row for row in inverted if row.numbers["noise"] == noise] for noise in settings.noise}
    covered = {
        f"noise {noise}": Calibration.of((row.truth, row.posterior, row.chains) for row in rows)
        for noise, rows in by_noise.items()
    }
    space = samples.parameter_space
    numbers = {
        "data": source, "observations_by": reference, "errors": {str(seed): error for seed, error in errors.items()},
        "names": list(space.names), "n_data": samples.observable_space.size,
        "posteriors": [row.numbers for row in inverted],
        "coverage": {name: row.numbers() for name, row in covered.items()},
        "cpu_seconds": {name: stage.cpu_seconds for name, stage in stages.items()},
    }  # fmt: skip
    tables = [_table(numbers["posteriors"], settings.noise), calibration.table(covered)]
    figures = {
        "spectrum": spectrum({
            noise: [(row.by_surrogate, row.by_pde, row.numbers["variance_ratio_by_direction"]) for row in rows]
            for noise, rows in by_noise.items()
        }),
        "parameters": ratios(space.names, {
            noise: np.array([row.numbers["standard_deviation_ratio_by_parameter"] for row in rows])
            for noise, rows in by_noise.items()
        }),
        "directions": directions(
            inverted[0].by_pde, space, samples.observable_space, np.sqrt(np.diagonal(Prior.of(space).moments[1]))
        ),
        "ranks": calibration.rank_figure(covered, pooled=True),
    }  # fmt: skip
    return StudyResult(numbers, tables, figures)


def _inverted(
    case: Case, noise: str, seed: int, surrogate: Surrogate, problem: Problem, settings: Settings, report: Report
) -> Inverted:
    posterior = case.posterior(surrogate)
    mean, covariance = posterior.prior.moments
    chains = sample_nuts(
        posterior, chains=settings.chains, draws=settings.draws, tune=settings.tune, seed=seed,
        whitening=Whitening.at_mode(posterior, mean), report=report,
    )  # fmt: skip
    y = chains.pooled[np.linspace(0, len(chains.pooled) - 1, settings.points).astype(int)]
    by_surrogate, by_pde = informed(posterior, y), informed(case.posterior(problem), y)
    numbers = {
        "noise": noise, "truth": case.truth.tolist(),
        "informed_by_surrogate": by_surrogate.count, "informed_by_pde": by_pde.count, "nats": by_pde.nats,
        "against_pde": agreement(by_surrogate, by_pde),
        "eigenvalues_by_surrogate": by_surrogate.eigenvalues.tolist(), "eigenvalues_by_pde": by_pde.eigenvalues.tolist(),
        "variance_ratio_by_direction": by_surrogate.variance_ratios(chains).tolist(),
        "standard_deviation_ratio_by_parameter": (chains.standard_deviation / np.sqrt(np.diagonal(covariance))).tolist(),
        "split_rhat_max": float(chains.split_rhat.max()), "effective_min": float(chains.effective.min()),
        "divergences": chains.about["divergences"], "evaluations": chains.cheap, "cpu_seconds": chains.cpu_seconds,
        "gate": adequacy_from_solves(posterior, y, problem.evaluate(y), np.cov(chains.pooled.T)).numbers(),
    }  # fmt: skip
    return Inverted(case.truth, posterior, chains, by_surrogate, by_pde, numbers)


def _table(rows: list[dict[str, Any]], noises: tuple[str, ...]) -> Table:
    """Of every size of the noise: median, smallest and largest over surrogates and truths."""
    table = Table(
        "", *(f"noise {noise}" for noise in noises), title=f"{len(rows) // len(noises)} posteriors each", box=None
    )
    shown: dict[str, tuple[Callable[[dict[str, Any]], float], str]] = {
        "directions informed, by the surrogate": (lambda row: row["informed_by_surrogate"], ".0f"),
        "directions informed, by the PDE": (lambda row: row["informed_by_pde"], ".0f"),
        "information of the observations, nats": (lambda row: row["nats"], ".1f"),
        "largest eigenvalue": (lambda row: row["eigenvalues_by_pde"][0], ".2g"),
        "largest relative difference of an informed eigenvalue": (lambda row: row["against_pde"]["eigenvalues_max"], ".1e"),
        "angle between informed subspaces, degrees": (lambda row: row["against_pde"]["angle"], ".2g"),
        "sd of a parameter, posterior / prior: mean": (
            lambda row: float(np.mean(row["standard_deviation_ratio_by_parameter"])), ".2f"),
        "the same of the best informed": (lambda row: min(row["standard_deviation_ratio_by_parameter"]), ".2f"),
        "error of the surrogate, in noise": (lambda row: row["gate"]["error_in_noise"], ".1e"),
        "shift of a parameter by it, in sd": (lambda row: row["gate"]["shift_in_standard_deviations"], ".1e"),
        "split R-hat": (lambda row: row["split_rhat_max"], ".3f"),
        "effective samples": (lambda row: row["effective_min"], ".0f"),
        "CPU seconds": (lambda row: row["cpu_seconds"], ".1f"),
    }  # fmt: skip
    for name, (value, form) in shown.items():
        cells = []
        for noise in noises:
            of = [value(row) for row in rows if row["noise"] == noise]
            cells.append(f"{np.median(of):{form}} ({min(of):{form}} to {max(of):{form}})")
        table.add_row(name, *cells)
    return table
