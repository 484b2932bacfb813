"""Parameters from observations, by a surrogate and confirmed by the PDE behind it."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from xarray import DataTree

from gnvpro.apps.arguments import parameters_of, problem_of
from gnvpro.apps.console import jsonable
from gnvpro.apps.inversion import Route, Sampler
from gnvpro.apps.inversion.adequacy import Adequacy, adequacy_from_bands, adequacy_from_solves, advice
from gnvpro.apps.inversion.inference_data import labels
from gnvpro.apps.inversion.maximum_a_posteriori import Minimum, find_minima
from gnvpro.apps.inversion.modes import modes_of
from gnvpro.apps.inversion.posterior.posterior import Posterior, Whitening
from gnvpro.apps.inversion.posterior.remote import RemoteModel
from gnvpro.apps.inversion.posterior.solves import Solves
from gnvpro.apps.inversion.report.report import write_report
from gnvpro.apps.inversion.result import InversionResult
from gnvpro.apps.inversion.sampling.chains import Chains
from gnvpro.apps.inversion.sampling.choice import sample_surrogate, starts_among
from gnvpro.apps.inversion.sampling.metropolis import sample_delayed, sample_metropolis
from gnvpro.apps.inversion.sampling.nuts import sample_nuts
from gnvpro.pde_data.problems.contract import Problem
from gnvpro.pde_data.problems.limited import solved_within
from gnvpro.pde_data.problems.loading import as_problem
from gnvpro.pde_data.storage.tables import read_parameters
from gnvpro.surrogate.checks import integer, path_of
from gnvpro.surrogate.errors import NumericalFailure, UsageError
from gnvpro.surrogate.extras import import_h5py
from gnvpro.surrogate.forward_model import ForwardModel
from gnvpro.surrogate.model.surrogate import Surrogate
from gnvpro.surrogate.names import order_of
from gnvpro.surrogate.progress import Report
from gnvpro.surrogate.spaces import Array, Space
from gnvpro.surrogate.writing import require_new_folder, whole_file, whole_folder

# PDE solves that the error of the surrogate is measured by.
_ADEQUACY_SOLVES = 8
# Halves of a chain are compared, and a half has two draws at least.
_FEWEST_DRAWS = 4
# Modes that sampling begins from, at most: those of all signs of six parameters.
_MOST_MODES = 64


@dataclass(frozen=True, repr=False, eq=False)
class Inversion(InversionResult):
    """The result of `invert`: numbers, chains, and a folder of them."""

    def write(self, folder: str | Path, command: str = "", more: Mapping[str, Any] | None = None) -> None:
        """Write report, numbers, observations and the draws of every route into a new folder.

        The report tells the `command` to type for the same again; `more` is JSON-able, and stored beside the numbers.
        """
        folder = path_of(folder)
        require_new_folder(folder, "inversion")
        with whole_folder(folder) as new:
            (new / "inversion.json").write_text(json.dumps(jsonable({**self.numbers(), **(more or {})}), indent=1))
            self._write_observations(new / "observations.npz")
            for route in self.chains:
                write_draws(new, route, self.tree(route))
            write_report(new / "report.html", self, command)

    def _write_observations(self, path: Path) -> None:
        """As `observations` and other samplers read them; with the names of observables where some were measured twice."""
        density = self.density
        arrays: dict[str, Any] = {
            "observations": density.data,
            "standard_deviation": np.where(density.measured, density.noise.scales, np.nan),
        }
        if density.which is not None:
            arrays["observable"] = np.array([density.solves.observables.names[place] for place in density.which])
        np.savez(path, **arrays)


def write_draws(folder: Path, route: str, tree: DataTree) -> None:
    """The draws of a route in a folder, as ArviZ reads them: the file is there whole or not at all."""
    import_h5py()  # before xarray does, which knows nothing of the library that FEniCSx brings
    packed = {name: {"d": {"zlib": True, "complevel": 4}} for name in ("posterior_predictive", "log_likelihood")}
    encoding = {f"/{name}": how for name, how in packed.items() if name in tree.children}
    with whole_file(folder / f"posterior-{route}.nc") as file:
        tree.to_netcdf(file, engine="h5netcdf", encoding=encoding)


def invert(
    surrogate: ForwardModel | str | Path,
    observations: object,
    noise: object = "2%",
    prior: Mapping[str, Sequence[float]] | None = None,
    problem: Problem | str | Literal[False] | None = None,
    *,
    routes: Sequence[Route] | None = None,
    sampler: Sampler = "auto",
    like: Surrogate | str | Path | None = None,
    chains: int = 4,
    draws: int = 1600,
    tune: int = 300,
    pde_draws: int = 250,
    pde_tune: int = 30,
    starts: int = 16,
    seed: int = 0,
    checkpoint: str | Path | None = None,
    keep_draws: str | Path | None = None,
    truth: object = None,
    force: bool = False,
    time_limit: float | None = None,
    ranks: int = 1,
    threads_per_solve: int = 1,
    progress: Report | None = None,
) -> Inversion:
    """Find parameters from observations: maximum a posteriori point, posterior, and both confirmed by the PDE.

    Parameters
    ----------
    surrogate
        A surrogate or any other forward model, the folder of a saved one, or http://HOST:PORT/NAME, a model of a
        UM-Bridge server.
    observations
        An array (n_out,), NaN where nothing was measured; values by name, one or several of each; or a file, .csv, .npz or
        .npy (`observations_of`).
    noise
        `2%` of each value, `0.001`, `2%+0.001`, or `data`, where the file of observations has it; standard deviations,
        one or (n_out,); a covariance (n_out, n_out); or a file of these. `student-t(4): 2%` where there are outliers, beside
        an array ("student-t(4)", array). Relative noise alone has a floor, `2%, at least 0` none (`noise_of`).
    prior
        Mean and standard deviation of a normal law by parameter; the others are uniform between their bounds.
    problem
        The PDE: a problem, `package.module:factory`, without it the surrogate's own where it has one, or False for none.
    routes
        `surrogate`, `delayed` (accepted by the PDE) and `pde`; without, the first, and the second if there is a PDE.
    sampler
        On the surrogate: `nuts`, `importance` (tempered importance sampling by mixtures, up to about a dozen parameters) or
        `walk`; `auto` takes what suits the posterior, and another one where that does not converge.
    like
        Surrogate whose names and bounds those of a server's model are.
    chains, draws, tune
        Chains of every route; draws of each on the surrogate, none for the maximum a posteriori point alone; and
        warm-up before these.
    pde_draws, pde_tune
        The same of chains that the PDE accepts or makes.
    starts
        Of the search for the maximum a posteriori point.
    checkpoint
        File that keeps every PDE solve; the same call goes on with it.
    keep_draws
        Folder that keeps the draws of every route as soon as they are there, whatever happens afterwards; those of the same
        route that it has are replaced.
    truth
        Parameters that made the observations, where known: an array (n_in,) or (1, n_in), values by name, or a file.
    force
        Also with a surrogate whose error is above the noise.
    time_limit, ranks, threads_per_solve
        How the PDE is solved: see `gnvpro.pde_data.problems.limited.solved_within`.
    progress
        Is told how far the work is.

    Raises
    ------
    UsageError
        Arguments that are wrong or do not fit each other.
    OSError
        A file that is not there.
    NumericalFailure
        A surrogate whose error is above the noise, without `force`; a model that could not be solved.
    """
    began = time.monotonic()
    counts = dict(
        chains=chains, draws=draws, tune=tune, pde_draws=pde_draws, pde_tune=pde_tune, starts=starts, seed=seed
    )
    for name, value in counts.items():
        integer(name, value)
    integer("chains", chains, least=1)
    for name, value in (("draws", draws), ("pde_draws", pde_draws)):
        if 0 < value < _FEWEST_DRAWS:
            raise UsageError(
                f"expected {name} of at least {_FEWEST_DRAWS} a chain, which R-hat needs, or 0; got {value}"
            )
    if prior is not None and not isinstance(prior, Mapping):
        raise UsageError(f"expected prior a mean and a standard deviation by name, got {prior!r}")
    model, pde, why_none = _models(surrogate, like, problem)
    limits, settings = ExitStack(), (time_limit, ranks, threads_per_solve)
    if not isinstance(model, Surrogate | RemoteModel):
        model = limits.enter_context(solved_within(as_problem(model), *settings))
    cheap = Posterior.of(model, observations, noise, prior)
    true_parameters = None if truth is None else _true_parameters(truth, model.parameters)
    if pde is None and checkpoint is not None:
        raise UsageError(f"`checkpoint` keeps PDE solves, and there are none: {why_none}")
    accurate = None
    if pde is not None:
        solvable = limits.enter_context(solved_within(pde, *settings))
        accurate = replace(cheap, solves=Solves.of_pde(solvable, pde, checkpoint, cheap.prior.scale))
    if sampler not in get_args(Sampler):
        raise UsageError(f"expected sampler {', '.join(get_args(Sampler))}, got {sampler!r}")
    if unknown := set(routes or ()) - set(get_args(Route)):
        raise UsageError(f"expected routes {', '.join(get_args(Route))}, got {', '.join(map(repr, sorted(unknown)))}")
    by_pde_alone = [route for route in routes or () if route != "surrogate"]
    if accurate is None and by_pde_alone:
        raise UsageError(f"`routes` {','.join(by_pde_alone)} need the PDE: {why_none}")

    tell = progress or (lambda done, total, note: None)

    def stage(name: str) -> Report:
        tell(0, None, f"{name}: begins")
        return lambda done, total, note: tell(done, total, f"{name}: {note}")

    try:
        stage("most probable point")
        minima, whitening = approximate(cheap, starts, seed)
        stage("error of the surrogate")
        try:
            adequacy = measure_adequacy(cheap, accurate, minima[0], whitening, seed)
        except ImportError as missing:  # of what solves the PDE, which is imported to solve it
            if problem is not None or by_pde_alone or checkpoint is not None:
                raise
            accurate = pde = None
            why_none = str(missing)
            adequacy = measure_adequacy(cheap, None, minima[0], whitening, seed)
        except NumericalFailure as failure:
            if by_pde_alone or not routes:
                raise
            accurate, pde, why_none = None, None, str(failure)  # nothing that is asked for needs it
            adequacy = measure_adequacy(cheap, None, minima[0], whitening, seed)
        if adequacy is not None and adequacy.refused and not force:
            raise NumericalFailure(_refusal(adequacy, model))
        corrected = None
        if accurate is not None:
            stage("most probable point by the PDE")
            corrected = _corrected(accurate, minima, whitening, seed)
        sampled: dict[Route, Chains] = {}
        # Where all parameters are fixed, the posterior is the point.
        sampling = set(routes or ("surrogate", "delayed")) if draws and cheap.prior.n_free else set()
        modes = [whitening, *(Whitening.at_mode(cheap, mode.parameters) for mode in modes_of(minima)[1:_MOST_MODES])]
        start, jumps = starts_among(modes, chains, cheap, seed) if sampling else np.zeros((0, 0)), None

        def keep(route: Route, drawn: Chains) -> None:
            sampled[route] = drawn
            if keep_draws is not None:
                folder = path_of(keep_draws)
                folder.mkdir(parents=True, exist_ok=True)
                write_draws(folder, route, drawn.tree(cheap.values, tuple(labels(cheap))))

        if "surrogate" in sampling:
            lengths: dict[str, Any] = dict(chains=chains, draws=draws, tune=tune, seed=seed)
            report = stage("sampling on the surrogate")
            drawn, jumps = sample_surrogate(cheap, modes, sampler, **lengths, report=report)
            keep("surrogate", drawn)
            start = drawn.latent[:, -1]
        by_pde: dict[str, Any] = dict(draws=pde_draws, tune=pde_tune)
        walk: dict[str, Any] = dict(seed=seed, start=start, factor=whitening.factor, jumps=jumps, **by_pde)
        if accurate is not None and "delayed" in sampling:
            keep("delayed", sample_delayed(cheap, accurate, report=stage("sampling accepted by the PDE"), **walk))
        if accurate is not None and "pde" in sampling:
            by_pde |= dict(accurate=True, report=stage("sampling on the PDE"))
            # Gradients tell nothing of other modes, nor of jumps where a parameter has single values.
            if accurate.solves.differentiable and len(modes) == 1 and not cheap.prior.single.any():
                keep("pde", sample_nuts(accurate, chains=chains, seed=seed, whitening=whitening, **by_pde))
            else:
                keep("pde", sample_metropolis(accurate, **(walk | by_pde)))
        best, point = accurate or cheap, corrected or minima[0]
        fitted = best.solves.evaluate(point.parameters[None])[0]
    except NumericalFailure as failure:
        reasons = [f"{name}: {why}" for name, why in _unsolved(cheap, accurate).items()]
        raise NumericalFailure("; ".join([str(failure), *reasons])) from failure
    finally:
        limits.close()
    remarks = _unsolved(cheap, accurate) | _other_remarks(cheap, accurate)
    named = problem is not None or "definition_hash" in getattr(model, "provenance", {})
    if pde is None and problem is not False and named:
        remarks["PDE"] = f"none, {why_none}"
    return Inversion(
        model=str(surrogate) if isinstance(surrogate, str | Path) else type(surrogate).__name__,
        density=cheap, minima=minima, corrected=corrected,
        chains={route: sampled[route] for route in ("pde", "delayed", "surrogate") if route in sampled},
        fitted=fitted, determined=whitening.determined,
        adequacy=adequacy, truth=true_parameters, problem=pde, seconds=time.monotonic() - began,
        remarks=remarks, solved=None if accurate is None else accurate.solves,
    )  # fmt: skip


def _corrected(accurate: Posterior, minima: list[Minimum], whitening: Whitening, seed: int) -> Minimum | None:
    """The most probable point by the PDE, from that of the surrogate; from a point near it where the PDE fails there.

    None where the PDE can be solved at none of these.
    """
    points = [minimum.parameters for minimum in minima]
    points += list(accurate.prior.parameters(whitening.draw(np.random.default_rng([seed, 2]), _ADEQUACY_SOLVES)))
    for point in points:
        with suppress(NumericalFailure):
            return find_minima(accurate, 0, seed, at=point[None])[0]
    return None


def _named(cheap: Posterior, accurate: Posterior | None) -> dict[str, Solves]:
    return {"the model": cheap.solves} | ({} if accurate is None else {"the PDE": accurate.solves})


def _unsolved(cheap: Posterior, accurate: Posterior | None) -> dict[str, str]:
    """How often a model could not be solved, and why."""
    return {
        f"{name} failed": f"at {solves.failed} points" + (f": {solves.failures}" if solves.failures else "")
        for name, solves in _named(cheap, accurate).items()
        if solves.failed or solves.failures
    }


def _other_remarks(cheap: Posterior, accurate: Posterior | None) -> dict[str, str]:
    remarks = {
        f"derivatives of {name}": how
        for name, solves in _named(cheap, accurate).items()
        if (how := solves.derivatives) is not None
    }
    if cheap.noise.notes:
        remarks["noise"] = "; ".join(cheap.noise.notes)
    if accurate is not None and accurate.solves.damaged:
        remarks["checkpoint"] = f"{accurate.solves.damaged} of its results were damaged, and were solved again"
    return remarks


def approximate(posterior: Posterior, starts: int, seed: int) -> tuple[list[Minimum], Whitening]:
    """Maximum a posteriori points, the best first, and the normal approximation around the best."""
    minima = find_minima(posterior, starts, seed)
    return minima, Whitening.at_mode(posterior, minima[0].parameters)


def measure_adequacy(
    cheap: Posterior, accurate: Posterior | None, minimum: Minimum, whitening: Whitening, seed: int
) -> Adequacy | None:
    """Whether the cheap model is accurate enough: by solves of the accurate one, else by error bands; None without both."""
    if accurate is not None:
        n = _ADEQUACY_SOLVES if cheap.prior.n_free else 1
        y = cheap.prior.parameters(whitening.draw(np.random.default_rng(seed), n))
        return adequacy_from_solves(cheap, y, accurate.solves.evaluate(y), minimum.covariance)
    if isinstance(model := cheap.solves.model, Surrogate):
        return adequacy_from_bands(cheap, model, minimum.parameters[None], minimum.covariance)
    return None


def _models(
    surrogate: ForwardModel | str | Path,
    like: Surrogate | str | Path | None,
    problem: Problem | str | Literal[False] | None,
) -> tuple[ForwardModel, Problem | None, str]:
    """The model that is inverted; its PDE, or why there is none."""
    if isinstance(surrogate, str) and surrogate.startswith(("http://", "https://")):
        if isinstance(problem, str):
            raise UsageError("`problem` names the PDE of a saved surrogate; a server's PDE is a model of the server")
        alike = Surrogate.load(like) if isinstance(like, str | Path) else like
        spaces = () if alike is None else (alike.parameters, alike.observables)
        model, why_none = RemoteModel(surrogate, *spaces), f"{surrogate} is a model of a server"
    elif like is not None:
        raise UsageError("`like` is for a server's model; a saved one knows its own names and bounds")
    else:
        model = Surrogate.load(surrogate) if isinstance(surrogate, str | Path) else surrogate
        if not isinstance(model, Surrogate):
            as_problem(model)  # refuses what is no forward model
        why_none = f"a {type(model).__name__} names no PDE; give one as `problem`"
    if problem is False:
        return model, None, "problem=False says that there is no PDE"
    if isinstance(model, Surrogate) and (problem is None or isinstance(problem, str | Path)):
        try:
            return model, problem_of(model, problem), ""
        except (UsageError, ImportError) as error:
            if problem is not None:
                raise
            return model, None, str(error)
    if problem is None:
        return model, None, why_none
    if isinstance(problem, str):
        raise UsageError(f"expected a problem for a {type(model).__name__}, got {problem!r}: names are for surrogates")
    problem = as_problem(problem)
    for pde_space, space in ((problem.parameters, model.parameters), (problem.observables, model.observables)):
        if difference := pde_space.difference(space):
            raise UsageError(f"problem and model disagree on {space.axes[0].name}: {difference}")
    return model, problem, ""


def _true_parameters(truth: Any, space: Space) -> Array:
    if isinstance(truth, Mapping):
        order = order_of(space.names, list(map(str, truth)), "true parameters")
        truth = [list(truth.values())[place] for place in order]
    if isinstance(truth, str | Path):
        truth = read_parameters(truth, names=space.names)
    if np.ndim(truth) == 1:  # one row
        truth = np.asarray(truth)[None]
    rows = space.require(parameters_of(truth, space))
    if len(rows) != 1:
        raise UsageError(f"expected one row of true parameters, got {len(rows)}")
    return rows[0]


def _refusal(adequacy: Adequacy, model: ForwardModel) -> str:
    remedy = advice(model, adequacy) if isinstance(model, Surrogate) else "ask who serves it for a better one"
    return (
        f"the surrogate is not fit for this inversion: {adequacy}. {remedy}. With force=True it is used all the same; "
        "the routes delayed and pde are right even then"
    )
