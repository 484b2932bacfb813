"""Which parameters matter: the function `gnvpro.sensitivity`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from gnvpro.apps.arguments import name_of, problem_of, refuse_without_solves
from gnvpro.apps.comparison.costs import one_thread
from gnvpro.apps.inversion.posterior.prior import Prior
from gnvpro.apps.inversion.posterior.solves import Solves
from gnvpro.apps.sensitivity.analysed import SCALE_POINTS, Analysed, analysed, scaled, solver
from gnvpro.apps.sensitivity.correction import corrected, shapley_projections, sobol_projections
from gnvpro.apps.sensitivity.directions import Directions, directions, products
from gnvpro.apps.sensitivity.estimates import Shares, power_of_two, ratios
from gnvpro.apps.sensitivity.remarks import about, left_out, remarks_on
from gnvpro.apps.sensitivity.report import write_report
from gnvpro.apps.sensitivity.result import SensitivityResult
from gnvpro.apps.sensitivity.shapley import evaluations as shapley_evaluations
from gnvpro.apps.sensitivity.shapley import shapley_sums
from gnvpro.apps.sensitivity.sobol import REPLICATES, sampling, sobol_sums, until_precise
from gnvpro.apps.sensitivity.subject import remembering, subject_of
from gnvpro.pde_data.problems.contract import Problem
from gnvpro.pde_data.problems.limited import solved_within
from gnvpro.surrogate.checks import integer, path_of
from gnvpro.surrogate.errors import NumericalFailure, UsageError
from gnvpro.surrogate.forward_model import ForwardModel
from gnvpro.surrogate.model.surrogate import Surrogate
from gnvpro.surrogate.progress import Report, noted, silent
from gnvpro.surrogate.spaces import Array
from gnvpro.surrogate.writing import require_new_folder, whole_folder

Measure = Literal["auto", "sobol", "shapley"]

# Half width of the 95 % interval of sampling that a surrogate is evaluated for, and how often at most.
_TOLERANCE, _MOST_EVALUATIONS = 0.002, 1 << 21
# Points of derivatives; and of all that a model that solves a PDE is asked for without `points`, and with `force` alone.
_POINTS_OF_DIRECTIONS, _NUMBERS_OF_DIRECTIONS = 1 << 10, 1 << 24
_POINTS_OF_PDE, _POINTS_OF_PDE_DIRECTIONS, MOST_SOLVES = 256, 64, 5000
# The fewest solves that tell how they vary.
_FEWEST_SOLVES = 10


@dataclass(frozen=True, repr=False, eq=False)
class Sensitivity(SensitivityResult):
    """The result of `sensitivity`: rows, numbers, and a folder of them."""

    def write(self, folder: str | Path, command: str = "", more: Mapping[str, Any] | None = None) -> None:
        """Write report, pictures, numbers and a table of all indices into a new folder.

        The report tells the `command` to type for the same again; `more` is JSON-able, and stored beside the numbers.
        """
        folder = path_of(folder)
        require_new_folder(folder, "sensitivity")
        with whole_folder(folder) as new:
            self.save_numbers(new / "sensitivity.json", more or {})
            self.save_table(new / "indices.csv")
            write_report(new, self, command)


def sensitivity(
    model: ForwardModel | str | Path,
    prior: Mapping[str, Sequence[float]] | None = None,
    *,
    measure: Measure = "auto",
    points: int | None = None,
    solves: int = 0,
    problem: Any = None,
    seed: int = 0,
    force: bool = False,
    checkpoint: str | Path | None = None,
    time_limit: float | None = None,
    ranks: int = 1,
    threads_per_solve: int = 1,
    progress: Report = silent,
) -> Sensitivity:
    """Shares of the variance of the observables that parameters have, and the directions in which these matter.

    First-order and total Sobol indices of independent parameters; Shapley effects where their law makes them depend on each
    other. 95 % intervals hold the error of sampling and, of a surrogate, its own: as it is known from its error bands, or
    from fresh solves of the PDE, which correct the indices too.

    Parameters
    ----------
    model
        A surrogate or the folder of one; or any other forward model, the name of a problem, `package.module:factory`, a
        program's .toml, a URL: it is then solved at every point.
    prior
        Other laws by parameter, as of `gnvpro.invert`; the law of the space without.
    measure
        `sobol`, `shapley`, or `auto`: Sobol indices where parameters are independent.
    points
        Points of sampling in all; every one takes an evaluation for each parameter, and two more. Without, as many as a
        precision of .002 needs of a surrogate, and 256 of a PDE.
    solves
        Fresh solves of the surrogate's PDE that correct its indices; none without.
    problem
        The PDE for these, or its `package.module:factory`, where it is not a registered one.
    force
        Also where a model that is no surrogate has to be solved more than 5,000 times.
    checkpoint
        File that keeps every PDE solve, but no derivatives; the same call goes on with it.
    time_limit, ranks, threads_per_solve
        How the PDE is solved: see `gnvpro.pde_data.problems.limited.solved_within`.

    Raises
    ------
    UsageError
        Arguments that are wrong or do not fit each other; Sobol indices of parameters that depend on each other.
    NumericalFailure
        A model that could be computed nowhere.
    """
    _check(measure, points, solves, seed, prior)
    name, subject = name_of(model, "the model"), subject_of(model)
    settings = time_limit, ranks, threads_per_solve
    with ExitStack() as limits:
        memory = None
        if not isinstance(subject, Surrogate):
            if solves or problem is not None:
                raise UsageError(f"`solves` and `problem` correct a surrogate; {name} is solved itself, leave them out")
            pde, solved = None, subject
            subject = limits.enter_context(solved_within(solved, *settings))
            memory = remembering(subject, solved, checkpoint)
        elif solves:
            solved = problem_of(subject, problem)
            pde = limits.enter_context(solved_within(solved, *settings))
            memory = remembering(pde, solved, checkpoint)
        else:
            refuse_without_solves("fresh solves", "solves", problem, checkpoint, *settings)
            pde = None
        is_pde = not isinstance(subject, Surrogate)
        if is_pde or pde is not None:
            limits.enter_context(one_thread())
        found = analysed(subject, name, Prior.of(subject.parameters, prior), memory)
        by_shapley = measure == "shapley" or (measure == "auto" and bool(found.dependent))
        if measure == "sobol" and found.dependent:
            raise UsageError(
                f"parameters of {name} depend on each other ({found.dependent[0].kind}), which Sobol indices are not for; "
                "take measure='shapley'"
            )
        if is_pde:
            if not force:
                _refuse_dear(found, by_shapley, points or _POINTS_OF_PDE)
            found = scaled(found, seed)
        parts, variances, evaluations, failed = _sampled(
            found, by_shapley, points, seed, is_pde, noted(progress, "sampling")
        )
        variance = variances.mean(axis=0)
        error = found.model_error(np.where(variance > 0, variance, np.nan))
        shares = {what: Shares.of(*ratios(part, variances), error) for what, part in parts.items()}
        remarks = remarks_on(found, subject, by_shapley, failed)
        if pde is not None:
            shares = _corrected(
                found, pde, memory, shares, variance, solves, seed, remarks, noted(progress, "correcting")
            )
        progress(0, None, "directions")
        return Sensitivity(
            name, tuple(found.names), found.groups, shares, np.sqrt(variance), error,
            _directions(found, float(variance[0]), seed, is_pde),
            about(found, by_shapley, evaluations + SCALE_POINTS * is_pde, failed, solves, seed, error), remarks,
        )  # fmt: skip


def _check(measure: Any, points: Any, solves: Any, seed: Any, prior: Any) -> None:
    if measure not in get_args(Measure):
        raise UsageError(f"expected measure {', '.join(get_args(Measure))}, got {measure!r}")
    if points is not None:
        integer("points", points, least=2 * REPLICATES)
    if integer("solves", solves, least=0) and solves < _FEWEST_SOLVES:
        raise UsageError(f"expected solves 0 or at least {_FEWEST_SOLVES}, got {solves}")
    integer("seed", seed, least=0)
    if prior is not None and not isinstance(prior, Mapping):
        raise UsageError(f"expected prior a mean and a standard deviation by name, got {prior!r}")


def _refuse_dear(found: Analysed, by_shapley: bool, points: int) -> None:
    size = found.prior.n_free
    sobol = math.prod(sampling(found, points)) * (size + 2)
    solves = (shapley_evaluations(size, points) if by_shapley else sobol) + SCALE_POINTS
    derivatives = _POINTS_OF_PDE_DIRECTIONS * products(found)
    if solves + derivatives > MOST_SOLVES:
        and_derivatives = f" and differentiated {derivatives:,} times" if derivatives else ""
        raise UsageError(
            f"{found.name} would be solved {solves:,} times{and_derivatives}, for {points} points of {size} parameters; take "
            f"a surrogate of it, fewer `points`, or force=True for more than {MOST_SOLVES:,}"
        )


def _sampled(
    found: Analysed, by_shapley: bool, points: int | None, seed: int, is_pde: bool, progress: Report
) -> tuple[dict[str, Array], Array, int, float]:
    """Parts of the variance by measure, the variance, how often the model was evaluated, and the share that failed."""
    if points is None and is_pde:
        points = _POINTS_OF_PDE

    def report(done: int) -> None:
        progress(done, None, f"{done:,} evaluations")

    if by_shapley:
        sums = shapley_sums(found, seed, _TOLERANCE, _MOST_EVALUATIONS, points, report)
        return {"Shapley effect": sums.parts}, sums.variance, sums.evaluations, sums.failed_share
    if points is None:
        sums = until_precise(found, _TOLERANCE, _MOST_EVALUATIONS, seed, report)
    else:
        sums = sobol_sums(found, *sampling(found, points), seed, report)
    return {"first order": sums.first, "total": sums.total}, sums.variance, sums.evaluations, sums.failed_share


def _corrected(
    found: Analysed, pde: Problem, memory: Solves | None, shares: dict[str, Shares], variance: Array, n: int, seed: int,
    remarks: dict[str, str], progress: Report,
) -> dict[str, Shares]:  # fmt: skip
    """Shares of the PDE's variance, by fresh solves."""
    progress(0, None, f"{n} solves of {pde.name}")
    z = np.random.default_rng([seed, 20]).standard_normal((n, found.prior.n_free))
    y = found.prior.parameters(z)
    truth, at = solver(pde, memory)(y), found.compute(y)
    if found.modes is not None:
        truth = truth @ found.modes.T  # orthonormal: what is no sum of them is left out, as in training
    good = np.isfinite(truth).all(axis=1) & np.isfinite(at).all(axis=1)
    if good.sum() < _FEWEST_SOLVES:
        raise NumericalFailure(f"{pde.name} could be solved at {good.sum()} of {n} points, {_FEWEST_SOLVES} are needed")
    if not good.all():
        remarks["not solved"] = left_out(1 - float(good.mean()), f"{n} fresh solves")
    z, truth, at = z[good], truth[good], at[good]
    how = shapley_projections if len(shares) == 1 else sobol_projections
    projected = how(found, z, at, seed, lambda done: progress(done, None, f"{done:,} evaluations"))
    return {
        what: corrected(found, share, variance, truth - at, at, part)
        for (what, share), part in zip(shares.items(), projected, strict=True)
    }


def _directions(found: Analysed, variance: float, seed: int, is_pde: bool) -> Directions | None:
    if not variance > 0:
        return None
    most = power_of_two(_NUMBERS_OF_DIRECTIONS // found.prior.n_free**2)
    n = min(_POINTS_OF_PDE_DIRECTIONS if is_pde else _POINTS_OF_DIRECTIONS, most)
    return directions(found, variance, n, seed)
