"""What `gnvpro invert` asks, from what the user wrote: models, observations, noise and prior."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gnvpro.apps.arguments import problem_of
from gnvpro.apps.inversion.posterior.noise import parse_noise
from gnvpro.apps.inversion.posterior.observations import read_observations
from gnvpro.apps.inversion.posterior.posterior import Posterior
from gnvpro.apps.inversion.posterior.prior import Prior
from gnvpro.apps.inversion.posterior.remote import RemoteModel
from gnvpro.apps.inversion.posterior.solves import Solves
from gnvpro.apps.inversion.routes import Route
from gnvpro.pde_data.problems.contract import Problem
from gnvpro.pde_data.storage.provenance import definition_hash
from gnvpro.pde_data.storage.tables import read_parameters
from gnvpro.surrogate.errors import UsageError
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


def ask(
    named: str,
    observations: Path,
    noise: str,
    *,
    routes: tuple[Route, ...] | None = None,
    prior: dict[str, Any] | None = None,
    like: Path | None = None,
    checkpoint: Path | None = None,
    truth: Path | None = None,
    problem: str | None = None,
) -> Question:
    """Models, observations, noise and prior from what the user wrote.

    Parameters
    ----------
    named
        Folder of a surrogate, or the address of a server's model.
    noise
        As `gnvpro.apps.inversion.posterior.noise.parse_noise` takes it.
    routes
        By the surrogate, and accepted by the PDE where there is one, without.
    prior
        Mean and standard deviation by parameter; uniform without.
    like
        Surrogate whose names and bounds those of a server's model are.
    checkpoint
        File of PDE solves.
    truth
        File of the parameters behind synthetic observations.
    problem
        `package.module:factory` of the PDE, where it is not a registered one.

    Raises
    ------
    ValueError, OSError
        Anything of it that is wrong.
    """
    model, pde, why = _models(named, like, problem)
    observed = read_observations(observations, model.observables)
    law = parse_noise(noise, observed.values, observed.standard_deviations)
    believed = Prior.of(model.parameters, _normal_laws(prior))
    cheap = Posterior(Solves(model), observed.values, law, believed)
    accurate = None
    if pde is not None:
        if checkpoint is not None:
            checkpoint.parent.mkdir(parents=True, exist_ok=True)
        solves = Solves(pde, checkpoint, definition_hash(pde.definition))
        accurate = Posterior(solves, observed.values, law, believed)
    elif checkpoint is not None:
        raise UsageError(f"--checkpoint keeps PDE solves, and there are none: {why}")
    taken = routes or (("surrogate",) if pde is None else ("surrogate", "delayed"))
    if pde is None and (wanted := [route for route in taken if route != "surrogate"]):
        raise UsageError(f"--routes {','.join(wanted)} needs the PDE: {why}")
    return Question(named, model, cheap, pde, accurate, tuple(dict.fromkeys(taken)), _truth(truth, model))


def _truth(file: Path | None, model: ForwardModel) -> Array | None:
    if file is None:
        return None
    rows = model.parameters.require(read_parameters(file, names=model.parameters.names))
    if len(rows) != 1:
        raise UsageError(f"{file}: expected one row of true parameters, got {len(rows)}")
    return rows[0]


def _models(named: str, like: Path | None, problem: str | None) -> tuple[ForwardModel, Problem | None, str]:
    """The model that is inverted; its PDE, or why there is none."""
    if named.startswith(("http://", "https://")):
        if problem is not None:
            raise UsageError("--problem names the PDE of a saved surrogate; a server's PDE is a model of the server")
        url, _, name = named.rstrip("/").rpartition("/")
        alike = None if like is None else Surrogate.load(like)
        spaces = () if alike is None else (alike.parameters, alike.observables)
        return RemoteModel(url, name, *spaces), None, f"{named} is a model of a server"
    if like is not None:
        raise UsageError("--like is for a server's model; a saved one knows its own names and bounds")
    surrogate = Surrogate.load(named)
    try:
        return surrogate, problem_of(surrogate, problem), ""
    except (ValueError, ImportError) as error:
        if problem is not None:
            raise
        return surrogate, None, str(error)


def _normal_laws(given: dict[str, Any] | None) -> dict[str, tuple[float, float]]:
    laws = {}
    for name, law in (given or {}).items():
        try:
            mean, deviation = map(float, law)
        except (TypeError, ValueError):
            raise UsageError(
                f"expected a prior such as {name}=[0.5, 0.1], mean and standard deviation; got {law!r}"
            ) from None
        laws[name] = (mean, deviation)
    return laws
