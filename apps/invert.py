"""`gnvpro invert`: parameters from observations, by a surrogate, its PDE, or a model behind a server."""

from __future__ import annotations

import dataclasses
import json
import shlex
import time
from pathlib import Path
from typing import Any

import numpy as np

from gnvpro.apps.console import Outcome, jsonable, progress, seconds, table
from gnvpro.apps.costs import one_thread
from gnvpro.apps.inversion.answer import invert
from gnvpro.apps.inversion.maximum import Minimum
from gnvpro.apps.inversion.question import ask
from gnvpro.apps.inversion.result import Inversion
from gnvpro.apps.options import InvertOptions
from gnvpro.apps.output import require_new_folder
from gnvpro.apps.settings import to_dict

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
    from gnvpro.apps.inversion.report import write_report

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
