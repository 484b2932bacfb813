"""What comes out under the law of the parameters: the function `gnvpro.propagate`."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gnvpro.apps.arguments import Folder, name_of, problem_of, surrogate_of
from gnvpro.apps.comparison.costs import one_thread
from gnvpro.apps.inversion.posterior.solves import Solves as Memory
from gnvpro.apps.propagate.design import choose
from gnvpro.apps.propagate.draws import Draws, by_law, of_posterior
from gnvpro.apps.propagate.exceedance import Drawn, Exceedance, Sizes, Solved, exceedance
from gnvpro.apps.propagate.limits import Limit, limits_of
from gnvpro.apps.propagate.moments import Estimate, moments
from gnvpro.apps.propagate.quantiles import Curve, curve, quantiles_of
from gnvpro.apps.propagate.quantities import Quantities
from gnvpro.apps.propagate.report import write_report
from gnvpro.apps.propagate.result import PropagationResult, Solves
from gnvpro.pde_data.problems.contract import Problem
from gnvpro.pde_data.problems.limited import solved_within
from gnvpro.pde_data.problems.solving import at_once
from gnvpro.pde_data.storage.provenance import definition_hash
from gnvpro.surrogate.checks import integer, numbers, path_of
from gnvpro.surrogate.errors import NumericalFailure, UsageError
from gnvpro.surrogate.model.classifier import Classifier
from gnvpro.surrogate.model.surrogate import Surrogate
from gnvpro.surrogate.progress import Report, silent
from gnvpro.surrogate.spaces import Array
from gnvpro.surrogate.writing import require_new_folder, whole_folder

# With fewer solves there is no interval: half of them give the coefficient for the other half.
FEWEST_SOLVES = 20
# The level of the bands that distances from a limit are measured by.
_BAND = 0.9
# Distributions that are kept for pictures.
_PICTURED = 6
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
            self.write_numbers(new, more or {})
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
        Of the law, at which the surrogate is evaluated.
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
        given = (problem, checkpoint, time_limit) != (None,) * 3 or max(ranks, threads_per_solve) > 1
        if given:
            raise UsageError(
                "`problem`, `checkpoint`, `time_limit`, `ranks` and `threads_per_solve` belong to PDE solves; say how many "
                "with `pde_solves`, or leave them out"
            )
    pde = problem_of(surrogate, problem) if pde_solves else None
    size = len(quantities.names) + surrogate.observables.size // 8
    if posterior is not None:
        if prior is not None:
            raise UsageError("`posterior` and `prior` are two laws of the parameters; leave one of them out")
        drawn = of_posterior(path_of(posterior), surrogate.parameters, size)
    else:
        drawn = by_law(surrogate.parameters, prior, draws, size, seed)
    values = _evaluated(surrogate, quantities, drawn, progress)
    bands = None if surrogate.trust is None else surrogate.trust.bands
    widths = None if bands is None else quantities.widths(bands)
    sizes: list[Sizes | None] = [None] * len(quantities.names)
    if bands is not None and widths is not None:
        sizes = [Sizes.of_bands(np.array(bands.levels), widths[:, j]) for j in range(len(sizes))]
    solves = None
    if pde is not None:
        at = _distances(values, limits, widths if bands is None or widths is None else widths[bands.levels.index(_BAND)])
        with solved_within(pde, time_limit, ranks, threads_per_solve) as solvable, one_thread():
            memory = _memory(solvable, pde, checkpoint)
            solves = _solved(solvable, memory, quantities, drawn, values, at, pde_solves - pde_solves % 2, seed, progress)
    return _estimated(
        shown, surrogate, quantities, drawn, values, sizes, solves, limits, levels, level, seed, began, progress
    )


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


def _evaluated(surrogate: Surrogate, quantities: Quantities, drawn: Draws, progress: Report) -> Array:
    """Quantities (r, m, k) by the surrogate."""
    found = []
    for done, part in enumerate(drawn.points):
        progress(done, len(drawn.points), f"surrogate at {drawn.count} draws")
        found.append(quantities.of(surrogate.evaluate(part)))
        if not np.isfinite(found[-1]).all():
            bad = int((~np.isfinite(found[-1]).all(axis=1)).sum())
            raise NumericalFailure(
                f"the surrogate is not finite at {bad} of {len(part)} draws: does it take the logarithm of a parameter that "
                "this law lets be zero or negative? give a law that does not"
            )
    return np.array(found)


def _distances(values: Array, limits: Sequence[Limit], widths: Array | None) -> tuple[Array, Array | None]:
    """In which order draws are alike, (N,), and how many widths of the bands they are from the nearest limit."""
    flat = values.reshape(-1, values.shape[2])
    if not limits:
        spread = flat.std(axis=0)
        return (flat / np.where(spread > 0, spread, 1.0)).mean(axis=1), None
    nearest = np.full(len(flat), np.inf)
    signed = np.zeros(len(flat))
    for limit in limits:
        column = flat[:, limit.column] - limit.value
        width = np.nan if widths is None else float(widths[limit.column])
        if not (np.isfinite(width) and width > 0):  # no band: a thousandth of what it varies by
            width = 1e-3 * float(column.std()) or 1.0
        distance = np.abs(column) / width
        nearer = distance < nearest
        nearest[nearer], signed[nearer] = distance[nearer], np.sign(column[nearer])
    return signed * np.log1p(nearest), nearest


def _memory(solvable: Problem, pde: Problem, checkpoint: Folder | None) -> Memory:
    path = None if checkpoint is None else path_of(checkpoint)
    return Memory(solvable, path, "" if path is None else definition_hash(pde.definition))


def _solved(
    solvable: Problem,
    memory: Memory,
    quantities: Quantities,
    drawn: Draws,
    values: Array,
    at: tuple[Array, Array | None],
    n: int,
    seed: int,
    progress: Report,
) -> Solves:
    chosen = choose(n, *at, np.random.default_rng([seed, 1]))
    rows, back = np.unique(chosen.rows, return_inverse=True)
    points = drawn.points.reshape(-1, drawn.points.shape[2])[rows]
    together = at_once(solvable, len(points))
    observables = []
    for first in range(0, len(points), together):
        progress(first, len(points), f"{first} of {len(points)} PDE solves")
        observables.append(memory.evaluate(points[first : first + together]))
    solved = np.concatenate(observables)
    whole = np.isfinite(solved).all(axis=1)
    failures = Counter(memory.failures)
    if (untold := int((~whole).sum()) - failures.total()) > 0:
        failures["failed before, says the checkpoint"] += untold
    if whole.sum() < FEWEST_SOLVES // 2:
        raise NumericalFailure(
            f"the PDE could be solved at {whole.sum()} of {len(points)} points ({memory.failures}): too few to say anything"
        )
    found = np.full((len(points), len(quantities.names)), np.nan)
    found[whole] = quantities.of(solved[whole])
    predicted = values.reshape(-1, values.shape[2])[chosen.rows]
    return Solves(
        points[back], chosen.weights, found[back], predicted, np.ones(found.shape[1]), len(points), dict(failures),
        memory.remembered,
    )  # fmt: skip


def _estimated(
    shown: str,
    surrogate: Surrogate,
    quantities: Quantities,
    drawn: Draws,
    values: Array,
    sizes: Sequence[Sizes | None],
    solves: Solves | None,
    limits: tuple[Limit, ...],
    levels: tuple[float, ...],
    level: float,
    seed: int,
    began: float,
    progress: Report,
) -> Propagation:
    k = len(quantities.names)
    errors = None
    if all(one is not None for one in sizes):
        errors = np.array([one.mean for one in sizes if one]), np.array([one.root_mean_square for one in sizes if one])
    control = None if solves is None else (solves.solved, solves.predicted, solves.weights)
    flat = values.reshape(-1, k)
    mean, deviation, coefficients = moments(values, level, errors, control, (flat.min(axis=0), flat.max(axis=0)))
    if solves is not None and coefficients is not None:
        solves = Solves(**{**vars(solves), "coefficients": coefficients})
    pictured = _pictured(quantities, limits)
    of_levels: list[Estimate] = []
    exceedances: dict[Limit, Exceedance] = {}
    curves: dict[int, Curve] = {}
    for j in range(k):
        progress(j, k, "quantiles and probabilities")
        of_draws, solved, size = Drawn.of(values[:, :, j], drawn.effective), None, sizes[j]
        if solves is not None:
            least = 0.0 if size is None else float(size.widths[size.shares.cumsum() <= 0.99 + 1e-9].max(initial=0.0))
            solved = Solved(solves.solved[:, j], solves.predicted[:, j], solves.weights, least)
        found = curve(levels, of_draws, level, size, solved)
        of_levels.append(quantiles_of(levels, found))
        if j in pictured:
            curves[j] = found
        for limit in limits:
            if limit.column == j:
                exceedances[limit] = _of_limit(limit, of_draws, level, size, solved)
    remarks = {}
    outside = ~surrogate.inside(drawn.points.reshape(-1, drawn.points.shape[2]))
    if outside.any():
        remarks["outside the training range"] = f"{outside.mean():.2g} of the law: the error bands do not hold there"
    return Propagation(
        model=shown, quantities=quantities, law=drawn.law, n_draws=drawn.count, level=level, seed=seed,
        mean=mean, deviation=deviation, quantile_levels=levels,
        quantiles=tuple(
            Estimate(*(np.array([getattr(one, name)[i] for one in of_levels]) for name in Estimate.__dataclass_fields__))
            for i in range(len(levels))
        ),
        limits=limits, exceedances=tuple(exceedances[limit] for limit in limits), curves=curves, solves=solves,
        has_bands=all(one is not None for one in sizes), pde_error=surrogate.provenance.get("estimated_error"),
        seconds=time.monotonic() - began, remarks=remarks,
    )  # fmt: skip


def _of_limit(limit: Limit, drawn: Drawn, level: float, size: Sizes | None, solved: Solved | None) -> Exceedance:
    """P(quantity > limit); below it, that of what is times -1."""
    if limit.above:
        return exceedance(np.array([limit.value]), drawn, level, size, solved)
    if solved is not None:
        solved = Solved(-solved.pde, -solved.surrogate, solved.weights, solved.least)
    return exceedance(np.array([-limit.value]), drawn.negated(), level, size, solved)


def _pictured(quantities: Quantities, limits: Sequence[Limit]) -> list[int]:
    """Quantities whose distribution is shown: scalars, then those with limits, then the first."""
    scalars = range(quantities.n_observables, len(quantities.names))
    columns = [*scalars, *(limit.column for limit in limits), 0]
    return list(dict.fromkeys(columns))[:_PICTURED]
