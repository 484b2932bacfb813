"""`gnvpro invert`: parameters from observations, by a surrogate, its PDE, or a model behind a server."""

from __future__ import annotations

import dataclasses
import json
import shlex
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from annotated_types import Ge
from typer import Argument, Option

from gnvpro.apps.comparison.costs import one_thread
from gnvpro.apps.console import Outcome, jsonable, progress, seconds, table
from gnvpro.apps.inversion.answer import invert
from gnvpro.apps.inversion.maximum import Minimum
from gnvpro.apps.inversion.question import ask
from gnvpro.apps.inversion.result import Inversion
from gnvpro.apps.inversion.routes import Route
from gnvpro.apps.reports.output import require_new_folder
from gnvpro.apps.settings import Assignments, Comma, to_dict


@dataclass(frozen=True, kw_only=True)
class InvertOptions:
    """Settings of `gnvpro invert`."""

    model: Annotated[
        str, Argument(help="Folder of a saved surrogate, or http://HOST:PORT/NAME, a model of a UM-Bridge server.")
    ]
    observations: Annotated[
        Path, Option("--observations", "-d", help="Measured values: .csv (value, observable), .npz or .npy.")
    ]
    noise: Annotated[
        str,
        Option("--noise", help="2%, 0.001 or 2%+0.001; data, where the file has it; or a file, also of a covariance."),
    ]
    out: Annotated[Path | None, Option("--out", "-o", help="New folder for report, numbers and draws.")] = None
    routes: Annotated[
        tuple[Route, ...] | None,
        Option(
            "--routes",
            help="surrogate, delayed (accepted by the PDE) and pde; without, the first, and the second if there is a PDE.",
        ),
        Comma,
    ] = None
    prior: Annotated[
        dict[str, Any] | None,
        Option("--prior", metavar="NAME=[MEAN,SD]", help="Normal prior of a parameter, else uniform; repeatable."),
        Assignments,
    ] = None
    like: Annotated[
        Path | None, Option("--like", help="Saved model whose names and bounds those of a server's model are.")
    ] = None
    chains: Annotated[int, Option("--chains", help="Chains of every route."), Ge(2)] = 4
    draws: Annotated[int, Option("--draws", help="Of every chain on the surrogate; 0 for the point alone."), Ge(0)] = (
        1600
    )
    tune: Annotated[int, Option("--tune", help="Draws before these that are thrown away."), Ge(10)] = 300
    pde_draws: Annotated[int, Option("--pde-draws", help="Of every chain that the PDE accepts or makes."), Ge(10)] = 250
    pde_tune: Annotated[int, Option("--pde-tune", help="PDE solves before these, a chain."), Ge(1)] = 30
    starts: Annotated[int, Option("--starts", help="Of the search for the most probable point."), Ge(1)] = 16
    seed: Annotated[int, Option("--seed", "-s", help="Of starts and chains."), Ge(0)] = 0
    checkpoint: Annotated[
        Path | None, Option("--checkpoint", help="File that keeps every PDE solve; the same command goes on with it.")
    ] = None
    truth: Annotated[
        Path | None, Option("--truth", help="Parameters that made the observations, where known: .csv, .npz or .npy.")
    ] = None
    problem: Annotated[
        str | None, Option("--problem", help="package.module:factory of the PDE, where it is not a registered one.")
    ] = None
    force: Annotated[bool, Option("--force", help="Also with a surrogate whose error is above the noise.")] = False


NUMBERS, REPORT, OBSERVATIONS = "inversion.json", "report.html", "observations.npz"
# Chains with a larger split R-hat have not found the same posterior; above 1.01 they may not have.
_DISAGREE = 1.05


def run(given: InvertOptions) -> Outcome:
    """Read, search, sample, confirm, write."""
    require_new_folder(given.out, "inversion")
    began = time.monotonic()
    question = ask(given)
    try:
        with progress("inverting") as report, one_thread():
            inversion = invert(question, given, report)
    except KeyboardInterrupt:
        kept = (
            ""
            if given.checkpoint is None
            else f"; the PDE solves are in {given.checkpoint}, and the same command goes on"
        )
        raise KeyboardInterrupt(f"nothing was written{kept}") from None
    numbers = {**inversion.numbers(), "wall_seconds": time.monotonic() - began, "settings": to_dict(given)}
    if given.out is not None:
        _write(given, inversion, numbers)
    return Outcome(numbers, table(f"Inversion of {given.observations}", rows(inversion)), _doubt(inversion))


def rows(inversion: Inversion) -> list[tuple[str, str]]:
    """For people: point, posterior, how far both can be relied on, what they cost."""
    best, answer = inversion.best, inversion.answer
    space = inversion.posterior.prior.space
    by = "the PDE" if inversion.corrected is not None else "the model that was given"
    found = [("observations", f"{inversion.posterior.n_data}"), ("minima found", _minima(inversion.minima))]
    shown = range(space.size) if space.size <= _MOST_SHOWN else np.argsort(best.standard_deviations)[:_MOST_SHOWN]
    for j in shown:
        unit = space.unit(j)
        text = f"most probable {best.parameters[j]:.5g}" + f" {unit}" * (unit not in ("1", "unknown"))
        if answer is not None:
            low, high = answer.quantiles(0.025, 0.975)[:, j]
            text += f", 95 % in {low:.5g} to {high:.5g}"
        if inversion.truth is not None:
            text += f", truth {inversion.truth[j]:.5g}"
        found.append((space.names[j], text))
    found.append(("fit", f"chi-squared {inversion.fit.chi_squared:.3g} per observation, by {by}"))
    if inversion.gate is not None:
        found.append(("surrogate", inversion.gate.text() + ("" if inversion.gate.passed else ": doubtful")))
    for route, chains in inversion.chains.items():
        found.append((
            f"posterior, {route}",
            f"{chains.route}: split R-hat {chains.split_rhat.max():.3f}, {chains.effective.min():.0f} effective samples, "
            + (f"{chains.accurate} PDE solves, " if chains.accurate else "")
            + seconds(chains.wall_seconds),
        ))  # fmt: skip
    for route, apart in inversion.shifts().items():
        moved = np.abs(apart["means"]).max()
        found.append((f"{route} against that", f"means within {moved:.2g} standard deviations"))
    return found


# Parameters that are listed: those that are known best.
_MOST_SHOWN = 8


def _minima(minima: list[Minimum]) -> str:
    if len(minima) == 1:
        return f"one, from all {minima[0].starts} starts"
    others = ", ".join(f"{one.value - minima[0].value:.3g} ({one.starts})" for one in minima[1:4])
    more = ", …" if len(minima) > 4 else ""
    return f"{len(minima)}; the best from {minima[0].starts} starts, others higher by {others}{more}"


def _doubt(inversion: Inversion) -> str | None:
    for route, chains in inversion.chains.items():
        if not chains.split_rhat.max() <= _DISAGREE:
            option = "--draws" if route == "surrogate" else "--pde-draws"
            return (
                f"the chains of {route} do not agree (split R-hat {chains.split_rhat.max():.2f}, expected at most "
                f"{_DISAGREE}); draw more with {option}, and look at the minima"
            )
    return None


def _write(given: InvertOptions, inversion: Inversion, numbers: dict[str, Any]) -> None:
    from gnvpro.apps.inversion.report.report import write_report

    out = given.out
    assert out is not None
    out.mkdir(parents=True, exist_ok=True)
    (out / NUMBERS).write_text(json.dumps(jsonable(numbers), indent=1))
    posterior = inversion.posterior
    deviations = np.where(posterior.measured, posterior.noise.standard_deviations, np.nan)
    np.savez(out / OBSERVATIONS, observations=posterior.data, standard_deviation=deviations)
    for route, chains in inversion.chains.items():
        tree = chains.tree(posterior.data, posterior.solves.observables.names)
        tree.to_netcdf(Path(out / f"posterior-{route}.nc"), engine="h5netcdf")
    write_report(out / REPORT, inversion, [_command(given)])


def _command(given: InvertOptions) -> str:
    """What to type to get the same again, defaults left out."""
    usual = {f.name: f.default for f in dataclasses.fields(given)}
    words = ["gnvpro", "invert", given.model]
    for name, value in to_dict(given).items():
        if name == "model" or getattr(given, name) == usual[name]:
            continue
        flag = f"--{name.replace('_', '-')}"
        if value is True:
            words.append(flag)
        elif name == "prior":
            words += [word for key, law in value.items() for word in (flag, f"{key}={json.dumps(law)}")]
        else:
            words += [flag, ",".join(value) if isinstance(value, list) else str(value)]
    return shlex.join(words)
