"""The answer to the question of an inversion, by every route that was asked for, and its confirmation by the PDE."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from gnvpro.apps.inversion.gate import Gate, advice, gate_from_bands, gate_from_solves
from gnvpro.apps.inversion.maximum import Minimum, find_minima
from gnvpro.apps.inversion.posterior.whitening import Whitening
from gnvpro.apps.inversion.question import Question
from gnvpro.apps.inversion.result import Fit, Inversion
from gnvpro.apps.inversion.routes import Route
from gnvpro.apps.inversion.sampling.chains import Chains
from gnvpro.apps.inversion.sampling.delayed_acceptance import sample_delayed
from gnvpro.apps.inversion.sampling.metropolis import sample_metropolis
from gnvpro.apps.inversion.sampling.nuts import sample_nuts
from gnvpro.apps.progress import Report
from gnvpro.surrogate.errors import NumericalFailure
from gnvpro.surrogate.model.surrogate import Surrogate

# PDE solves that the error of the surrogate is measured by.
GATE_SOLVES = 8
# From what is trusted most.
_ORDER: tuple[Route, ...] = ("pde", "delayed", "surrogate")


@dataclass(frozen=True)
class Lengths:
    """How long to look.

    Attributes
    ----------
    starts
        Of the search for the most probable point.
    chains
        Of every route.
    draws, tune
        Of every chain on the surrogate, and before these; no draws: the point alone.
    pde_draws, pde_tune
        The same of chains that the PDE accepts or makes.
    """

    starts: int
    chains: int
    draws: int
    tune: int
    pde_draws: int
    pde_tune: int


def invert(
    question: Question, lengths: Lengths, seed: int, *, force: bool = False, report: Report | None = None
) -> Inversion:
    """Answer by every route that was asked for.

    Parameters
    ----------
    force
        Also with a surrogate that is not fit for it.

    Raises
    ------
    NumericalFailure
        A surrogate whose error is above the noise, without `force`; a model that could not be solved.
    """

    def stage(what: str) -> Report:
        def say(done: float, total: float | None, note: str) -> None:
            if report is not None:
                report(done, total, f"{what}: {note}")

        say(0, None, "begins")
        return say

    began, cheap, accurate = time.monotonic(), question.cheap, question.accurate
    try:
        stage("most probable point")
        minima = find_minima(cheap, lengths.starts, seed)
        whitening = Whitening.at_mode(cheap, minima[0].parameters)
        stage("error of the surrogate")
        gate = _gate(question, minima[0], whitening, seed)
        if gate is not None and gate.refused and not force:
            raise NumericalFailure(
                f"the surrogate is not fit for this inversion: {gate.text()}. {_advised(question, gate)}. With --force it is "
                "used all the same; --routes delayed and pde are right even then"
            )
        corrected = None
        if accurate is not None:
            stage("most probable point by the PDE")
            corrected = find_minima(accurate, 0, seed, at=minima[0].parameters[None])[0]
        chains = _sample(question, lengths, seed, whitening, stage) if lengths.draws else {}
    except ArithmeticError as error:
        raise NumericalFailure(str(error)) from error
    best = corrected or minima[0]
    by = accurate or cheap
    observables = by.solves.evaluate(best.parameters[None])
    fit = Fit(
        "most probable point, by the " + ("PDE" if accurate is not None else "surrogate"),
        best.parameters, observables[0], by.whitened(observables)[0],
    )  # fmt: skip
    ordered = {route: chains[route] for route in _ORDER if route in chains}
    return Inversion(
        question.name, cheap, minima, corrected, ordered, fit, gate, question.truth, question.problem,
        time.monotonic() - began,
    )  # fmt: skip


def _gate(question: Question, minimum: Minimum, whitening: Whitening, seed: int) -> Gate | None:
    cheap = question.cheap
    if question.accurate is not None:
        y = cheap.prior.parameters(whitening.draw(np.random.default_rng(seed), GATE_SOLVES))
        return gate_from_solves(cheap, y, question.accurate.solves.evaluate(y), minimum.covariance)
    if isinstance(question.model, Surrogate):
        return gate_from_bands(cheap, question.model, minimum.parameters[None], minimum.covariance)
    return None


def _advised(question: Question, gate: Gate) -> str:
    model = question.model
    return advice(model, gate) if isinstance(model, Surrogate) else "ask who serves it for a better one"


def _sample(
    question: Question, lengths: Lengths, seed: int, whitening: Whitening, stage: Callable[[str], Report]
) -> dict[Route, Chains]:
    chains: dict[Route, Chains] = {}
    cheap, accurate = question.cheap, question.accurate
    start = whitening.draw(np.random.default_rng(seed), lengths.chains)
    if "surrogate" in question.routes:
        say = stage("sampling on the surrogate")
        chains["surrogate"] = sample_nuts(
            cheap,
            chains=lengths.chains,
            draws=lengths.draws,
            tune=lengths.tune,
            seed=seed,
            whitening=whitening,
            report=say,
        )
        start = chains["surrogate"].latent[:, -1]
    draws, tune = lengths.pde_draws, lengths.pde_tune
    if accurate is not None and "delayed" in question.routes:
        say = stage("sampling accepted by the PDE")
        chains["delayed"] = sample_delayed(
            cheap, accurate, draws=draws, tune=tune, seed=seed, start=start, factor=whitening.factor, report=say
        )
    if accurate is not None and "pde" in question.routes:
        say = stage("sampling on the PDE")
        if hasattr(question.problem, "jvp"):
            chains["pde"] = sample_nuts(
                accurate, chains=lengths.chains, draws=draws, tune=tune, seed=seed, whitening=whitening,
                accurate=True, report=say,
            )  # fmt: skip
        else:
            chains["pde"] = sample_metropolis(
                accurate, draws=draws, tune=tune, seed=seed, start=start, factor=whitening.factor,
                accurate=True, report=say,
            )  # fmt: skip
    return chains
