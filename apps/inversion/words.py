"""An inversion in words, for people."""

from __future__ import annotations

import numpy as np

from gnvpro.apps.inversion.maximum import Minimum
from gnvpro.apps.inversion.result import Inversion
from gnvpro.surrogate.formatting import seconds

# Chains with a larger split R-hat have not found the same posterior; above 1.01 they may not have.
_DISAGREE = 1.05
# Parameters that are listed: those that are known best.
_MOST_SHOWN = 8


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


def _minima(minima: list[Minimum]) -> str:
    if len(minima) == 1:
        return f"one, from all {minima[0].starts} starts"
    others = ", ".join(f"{one.value - minima[0].value:.3g} ({one.starts})" for one in minima[1:4])
    more = ", …" if len(minima) > 4 else ""
    return f"{len(minima)}; the best from {minima[0].starts} starts, others higher by {others}{more}"


def doubt(inversion: Inversion) -> str | None:
    """Why the posterior is not to be relied on; None where nothing says so."""
    for route, chains in inversion.chains.items():
        if not chains.split_rhat.max() <= _DISAGREE:
            option = "--draws" if route == "surrogate" else "--pde-draws"
            return (
                f"the chains of {route} do not agree (split R-hat {chains.split_rhat.max():.2f}, expected at most "
                f"{_DISAGREE}); draw more with {option}, and look at the minima"
            )
    return None
