"""What `gnvpro invert` asks, from what the user wrote: models, observations, noise and prior."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gnvpro.apps.commands.invert import InvertOptions
from gnvpro.apps.inversion.posterior.noise import parse_noise
from gnvpro.apps.inversion.posterior.observations import read_observations
from gnvpro.apps.inversion.posterior.posterior import Posterior
from gnvpro.apps.inversion.posterior.prior import Prior
from gnvpro.apps.inversion.posterior.remote import RemoteModel
from gnvpro.apps.inversion.posterior.solves import Solves
from gnvpro.apps.inversion.routes import Route
from gnvpro.apps.trust.origin import problem_of
from gnvpro.pde_data.problems.contract import Problem
from gnvpro.pde_data.storage.provenance import definition_hash
from gnvpro.pde_data.storage.tables import read_parameters
from gnvpro.surrogate.forward_model import ForwardModel
from gnvpro.surrogate.model.surrogate import Surrogate
from gnvpro.surrogate.spaces import Array


@dataclass(frozen=True)
class Question:
    """What is asked, with all models that can answer.

    Attributes
    ----------
    name
        Of the model, as the user gave it.
    model
        The surrogate, or a model behind a server.
    cheap
        The posterior by it.
    accurate
        The same by the PDE behind the surrogate, `problem`; both None where there is none.
    routes
        That are to be taken.
    truth : (n_in,)
        Of synthetic observations.
    """

    name: str
    model: ForwardModel
    cheap: Posterior
    problem: Problem | None = None
    accurate: Posterior | None = None
    routes: tuple[Route, ...] = ()
    truth: Array | None = None


def ask(given: InvertOptions) -> Question:
    """Models, observations, noise and prior from what the user wrote.

    Raises
    ------
    ValueError, OSError
        Anything of it that is wrong.
    """
    model, problem, why = _models(given)
    observed = read_observations(given.observations, model.observables)
    noise = parse_noise(given.noise, observed.values, observed.standard_deviations)
    prior = Prior.of(model.parameters, _normal_laws(given.prior))
    cheap = Posterior(Solves(model), observed.values, noise, prior)
    accurate = None
    if problem is not None:
        if given.checkpoint is not None:
            given.checkpoint.parent.mkdir(parents=True, exist_ok=True)
        solves = Solves(problem, given.checkpoint, definition_hash(problem.definition))
        accurate = Posterior(solves, observed.values, noise, prior)
    elif given.checkpoint is not None:
        raise ValueError(f"--checkpoint keeps PDE solves, and there are none: {why}")
    routes = given.routes or (("surrogate",) if problem is None else ("surrogate", "delayed"))
    if problem is None and (wanted := [route for route in routes if route != "surrogate"]):
        raise ValueError(f"--routes {','.join(wanted)} needs the PDE: {why}")
    truth = None
    if given.truth is not None:
        rows = model.parameters.require(read_parameters(given.truth, names=model.parameters.names))
        if len(rows) != 1:
            raise ValueError(f"{given.truth}: expected one row of true parameters, got {len(rows)}")
        truth = rows[0]
    return Question(given.model, model, cheap, problem, accurate, tuple(dict.fromkeys(routes)), truth)


def _models(given: InvertOptions) -> tuple[ForwardModel, Problem | None, str]:
    """The model that is inverted; its PDE, or why there is none."""
    if given.model.startswith(("http://", "https://")):
        if given.problem is not None:
            raise ValueError("--problem names the PDE of a saved surrogate; a server's PDE is a model of the server")
        url, _, name = given.model.rstrip("/").rpartition("/")
        like = None if given.like is None else Surrogate.load(given.like)
        spaces = () if like is None else (like.parameters, like.observables)
        return RemoteModel(url, name, *spaces), None, f"{given.model} is a model of a server"
    if given.like is not None:
        raise ValueError("--like is for a server's model; a saved one knows its own names and bounds")
    surrogate = Surrogate.load(given.model)
    try:
        return surrogate, problem_of(surrogate, given.problem), ""
    except (ValueError, ImportError) as error:
        if given.problem is not None:
            raise
        return surrogate, None, str(error)


def _normal_laws(given: dict[str, Any] | None) -> dict[str, tuple[float, float]]:
    laws = {}
    for name, law in (given or {}).items():
        try:
            mean, deviation = map(float, law)
        except (TypeError, ValueError):
            raise ValueError(
                f"expected a prior such as {name}=[0.5, 0.1], mean and standard deviation; got {law!r}"
            ) from None
        laws[name] = (mean, deviation)
    return laws
