"""What comes out under the law of the parameters: the function `gnvpro.propagate`."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gnvpro.apps.arguments import Folder, name_of, problem_of, refuse_without_solves, surrogate_of
from gnvpro.apps.comparison.costs import one_thread
from gnvpro.apps.inversion.posterior.solves import Solves as Memory
from gnvpro.apps.propagate.draws import Draws, by_law, of_posterior
from gnvpro.apps.propagate.estimating import estimate
from gnvpro.apps.propagate.files import write_numbers
from gnvpro.apps.propagate.limits import limits_of
from gnvpro.apps.propagate.population import Population
from gnvpro.apps.propagate.quantities import Quantities
from gnvpro.apps.propagate.report import write_report
from gnvpro.apps.propagate.result import PropagationResult
from gnvpro.apps.propagate.solving import FEWEST_SOLVES, solve
from gnvpro.pde_data.problems.limited import solved_within
from gnvpro.surrogate.checks import integer, numbers, path_of
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.model.classifier import Classifier
from gnvpro.surrogate.model.surrogate import Surrogate
from gnvpro.surrogate.progress import Report, silent
from gnvpro.surrogate.writing import require_new_folder, whole_folder

QUANTILES = (0.025, 0.25, 0.5, 0.75, 0.975)
DRAWS = 1 << 17


class Propagation(PropagationResult):
    """The result of `propagate`: numbers, and a folder of them."""

    def write(self, folder: str | Path, command: str = "", more: Mapping[str, Any] | None = None) -> None:
        """Write report, numbers and PDE solves into a new folder.

        The report tells the `command` to type for the same again; `more` is JSON-able, and stored beside the numbers.
        """
        folder = path_of(folder)
        require_new_folder(folder, "propagation")
        with whole_folder(folder) as new:
            write_numbers(new, self, more or {})
            write_report(new / "report.html", self, command)


def propagate(
    model: Folder | Surrogate | Classifier,
    problem: Any = None,
    *,
    limit: Any = None,
    of: str | Sequence[str] | None = None,
    quantiles: Sequence[float] = QUANTILES,
    pde_solves: int = 0,
    prior: Mapping[str, Any] | None = None,
    posterior: Folder | None = None,
    draws: int = DRAWS,
    level: float = 0.95,
    seed: int = 0,
    checkpoint: Folder | None = None,
    time_limit: float | None = None,
    ranks: int = 1,
    threads_per_solve: int = 1,
    progress: Report = silent,
) -> Propagation:
    """Mean, deviation, quantiles and probabilities of the observables under the law of the parameters.

    Each has an interval from the finite number of draws and from the error of the surrogate: by its error bands, or by PDE
    solves, which correct the answer (a control variate), so that it is unbiased however wrong the surrogate is.

    Parameters
    ----------
    problem
        The PDE, or its `package.module:factory`; needed for PDE solves where the surrogate's data are not of a registered
        one.
    limit
        What is not to be exceeded, or fallen below: see `gnvpro.apps.propagate.limits.limits_of`.
    of
        Scalars of the observables besides: `max`, `min`, `mean`, of all of them, or along an axis, such as `max:time`.
    quantiles
        Levels between 0 and 1.
    pde_solves
        How many, 0 for none; those of one limit say most about it.
    prior
        Laws of parameters by name, as those of `invert`; the others keep that of the data.
    posterior
        File of the draws of an inversion, `posterior-….nc`: in place of the law.
    draws
        Of the law, at which the surrogate is evaluated; of a posterior at most.
    level
        Of all intervals.
    checkpoint
        File that keeps every PDE solve; the same call goes on with it.
    time_limit, ranks, threads_per_solve
        How samples are solved: see `gnvpro.pde_data.problems.limited.solved_within`.

    Raises
    ------
    UsageError
        What is no limit, law or quantity; PDE solves without a PDE.
    NumericalFailure
        A surrogate that is not finite somewhere, or a PDE that could be solved nowhere.
    """
    began = time.monotonic()
    shown, surrogate = name_of(model, "the surrogate"), surrogate_of(model)
    levels = _checked(quantiles, level, pde_solves, draws, seed)
    quantities = Quantities.read(surrogate.observables, of)
    limits = limits_of(limit, quantities)
    if not pde_solves:
        refuse_without_solves("PDE solves", "pde_solves", problem, checkpoint, time_limit, ranks, threads_per_solve)
    pde = problem_of(surrogate, problem) if pde_solves else None
    draws_of = _draws(surrogate, quantities, prior, posterior, draws, seed)
    population = Population.of(surrogate, quantities, draws_of, progress)
    solves = None
    if pde is not None:
        with solved_within(pde, time_limit, ranks, threads_per_solve) as solvable, one_thread():
            remembering = Memory.of_pde(solvable, pde, checkpoint)
            n = pde_solves - pde_solves % 2  # in pairs
            solves = solve(solvable, remembering, population, limits, n, seed, progress)
    estimates = estimate(population, solves, limits, levels, level, progress)
    has_bands = any(population.sizes(j) is not None for j in range(len(quantities.names)))
    remarks: dict[str, str] = {}
    if population.outside:
        remarks["outside the training range"] = (
            f"{population.outside:.2g} of the law: the error bands do not hold there"
        )
    if draws_of.other and has_bands:
        remarks["other laws"] = (
            f"{draws_of.other}: the surrogate's error is taken to be as large as by the law of its samples"
        )
    return Propagation(
        model=shown, quantities=quantities, law=draws_of.law, n_draws=draws_of.count, level=level, seed=seed,
        quantile_levels=levels, limits=limits, has_bands=has_bands,
        pde_error=surrogate.provenance.get("estimated_error"), seconds=time.monotonic() - began,
        remarks=remarks, **vars(estimates),
    )  # fmt: skip


def _draws(
    surrogate: Surrogate,
    quantities: Quantities,
    prior: Mapping[str, Any] | None,
    posterior: Folder | None,
    draws: int,
    seed: int,
) -> Draws:
    """By the law, or of a posterior; as many as memory allows."""
    size = len(quantities.names) + (0 if quantities.with_observables else surrogate.observables.size // 8)
    if posterior is None:
        return by_law(surrogate.parameters, prior, draws, size, seed)
    if prior is not None:
        raise UsageError("`posterior` and `prior` are two laws of the parameters; leave one of them out")
    return of_posterior(path_of(posterior), surrogate.parameters, draws, size)


def _checked(quantiles: Sequence[float], level: float, pde_solves: int, draws: int, seed: int) -> tuple[float, ...]:
    levels = numbers(quantiles, "`quantiles`", ndim=1)
    if not ((levels > 0) & (levels < 1)).all():
        raise UsageError(f"expected quantiles between 0 and 1, got {levels.tolist()}")
    if isinstance(level, bool) or not isinstance(level, int | float) or not 0.5 <= level < 1:
        raise UsageError(f"expected the level of intervals from 0.5 on and below 1, such as 0.95, got {level!r}")
    integer("seed", seed, least=0)
    integer("draws", draws, least=1)
    if integer("pde_solves", pde_solves, least=0) and pde_solves < FEWEST_SOLVES:
        raise UsageError(f"expected pde_solves 0 or at least {FEWEST_SOLVES}, got {pde_solves}: fewer give no interval")
    return tuple(sorted(set(levels.tolist())))
