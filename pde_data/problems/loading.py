"""A problem found by name, one that ships or `module:factory` of a user, and made complete (`contract` says what it offers).

A user's own class needs `parameters`, `observables` and `evaluate`; what is missing beside is filled in.
"""

from __future__ import annotations

import importlib
import inspect
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from importlib.metadata import entry_points
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from gnvpro.pde_data.problems.contract import Problem, SolveStatus, coarser_version
from gnvpro.pde_data.problems.fenicsx import MissingFEniCSx, keep_mpi_to_itself
from gnvpro.pde_data.problems.options import make
from gnvpro.pde_data.problems.program.program import Program
from gnvpro.pde_data.problems.solving import attribute_on_copies, checked
from gnvpro.pde_data.problems.source import former_source_definition, source_definition
from gnvpro.pde_data.problems.um_bridge import UMBridge
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.forward_model import offers
from gnvpro.surrogate.names import did_you_mean
from gnvpro.surrogate.spaces import Array, Space

REGISTERED = {
    "cdr": "gnvpro.pde_data.problems.convection.problem:ConvectionDiffusionReaction",
    "dcr": "gnvpro.pde_data.problems.resistivity.problem:Resistivity",
    "nonlinear-diffusion": "gnvpro.pde_data.problems.nonlinear_diffusion.problem:NonlinearDiffusion",
}
_CDR_REFERENCE = "gnvpro.pde_data.problems.convection.reference_solver:PlainConvectionDiffusionReaction"
_DCR_REFERENCE = "gnvpro.pde_data.problems.resistivity.reference_solver:PlainResistivity"
# What scripts, settings files and models may still call the problems of this package.
_FORMERLY = {
    "pde_data.convection:ConvectionDiffusionReaction": REGISTERED["cdr"],
    "pde_data.resistivity:Resistivity": REGISTERED["dcr"],
    "pde_data.convection_newton:PlainConvectionDiffusionReaction": _CDR_REFERENCE,
    "gnvpro.pde_data.problems.convection.plain:PlainConvectionDiffusionReaction": _CDR_REFERENCE,
    "pde_data.resistivity_plain:PlainResistivity": _DCR_REFERENCE,
    "gnvpro.pde_data.problems.resistivity.plain:PlainResistivity": _DCR_REFERENCE,
}
_YOUR_OWN = "give your own: package.module:factory, a program's file (.toml) or the URL of a UM-Bridge model (http://HOST:PORT/NAME)"


def load_problem(name: str, options: dict[str, Any] | None = None, comm: Any = None) -> Problem:
    """The problem that a user names, with these options.

    `name` is a registered one, or that of an installed package (an entry point of the group `gnvpro.problems`); a TOML file
    that describes a program; the URL of a UM-Bridge model; or `package.module:factory`, whose module is searched for in the
    current directory too, as with `python -m`. `comm`: the communicator of MPI ranks that solve together, for a factory
    that takes one (`takes_communicator`); it is no option, and no part of the definition.

    Raises UsageError: nothing of that name, options it does not have, or what the factory returns is not a problem;
    says what is missing.
    """
    name = _FORMERLY.get(name, name)
    if name.endswith(".toml"):
        return as_problem(Program.from_file(name, options))
    if name.startswith(("http://", "https://")):
        return as_problem(UMBridge.at(name, options))
    if ":" not in name and name not in REGISTERED and name in (installed := _installed()):
        name = installed[name]
    if ":" not in name:
        return registered_problem(name, options)
    factory = _factory(name)
    if comm is None:
        model = make(factory, options)
    elif hasattr(factory, "__dataclass_fields__"):
        model = replace(make(factory, options), comm=comm)
    else:
        model = make(partial(factory, comm=comm), options)
    return as_problem(model, name, options or {})


def takes_communicator(name: str) -> bool:
    """Whether what `package.module:factory` names has an argument `comm`."""
    try:
        return ":" in name and "comm" in inspect.signature(_factory(name)).parameters
    except ValueError:  # compiled, without a signature
        return False


def registered_problem(name: str, options: dict[str, Any] | None = None) -> Problem:
    """The problem registered under `name`; the only look-up for names and options that come out of a file.

    Those of installed packages are not among them: a saved model chooses no code to import and gives it no options.

    Raises UsageError: unknown name or option; lists the known ones.
    """
    if name not in REGISTERED:
        raise UsageError(
            f"unknown problem {name!r}; {did_you_mean(name, known_problems())}known: {', '.join(known_problems())}, "
            f"or {_YOUR_OWN}"
        )
    return as_problem(make(_factory(REGISTERED[name]), options), name, options or {})


def known_problems() -> list[str]:
    """Names of problems: those that ship with the package, and those of installed packages."""
    return sorted({*REGISTERED, *_installed()})


def _installed() -> dict[str, str]:
    """`package.module:factory` of the problems that installed packages register, by name."""
    return {point.name: f"{point.module}:{point.attr}" for point in entry_points(group="gnvpro.problems")}


def as_problem(model: Any, factory: str | None = None, options: dict[str, Any] | None = None) -> Problem:
    """A model of the user's with what it lacks of a `Problem`, called on copies of its arrays; one of ours as it is.

    `factory`, `options`: what `load_problem` makes the same model of; None for an object that was handed over.

    Raises UsageError: no `parameters`, `observables` (both a `Space`) or `evaluate`; a `solve` that is no method.
    """
    keep_mpi_to_itself()  # in processes that get a copy of the model
    if factory is None and isinstance(model, type):
        raise UsageError(f"expected a problem, got a class; create it: {model.__name__}()")
    made_by = factory or f"{type(model).__module__}:{type(model).__qualname__}"
    missing = [what for what in ("parameters", "observables", "evaluate") if not hasattr(model, what)]
    if missing:
        if factory is None:
            expected = "a problem (an object with parameters, observables, evaluate)"
            raise UsageError(f"expected {expected}, got {model!r} without {', '.join(missing)}")
        raise UsageError(
            f"{made_by} gave a {type(model).__name__} without {', '.join(missing)}; see docs/your-own-pde.md"
        )
    for what in ("parameters", "observables"):
        if not isinstance(getattr(model, what), Space):
            raise UsageError(f"{what} of {made_by}: expected a Space, got {type(getattr(model, what)).__name__}")
    if not callable(getattr(model, "solve", as_problem)):
        raise UsageError(
            f"solve of {made_by}: expected a method, which gives observables and a status of each sample, got "
            f"{type(model.solve).__name__}; call it otherwise, as a problem needs `evaluate` alone"
        )
    ours = type(model) is CompletedProblem or type(model).__module__.startswith("gnvpro.pde_data.")
    if ours and all(hasattr(model, what) for what in ("name", "definition", "solve")):
        return cast(Problem, model)
    return cast(Problem, CompletedProblem(model, made_by, options))


@dataclass(frozen=True)
class CompletedProblem:
    """A user's model with what data generation needs besides; all else is the model's own, called on copies.

    Attributes
    ----------
    made_by
        `package.module:factory` or the class; names the problem, and defines it with the source of that module.
    options
        What the factory was called with; None where the model was not made by it, but handed over.
    level
        How many times coarser the model is than what the factory makes.
    made_of
        What the model was made of when it was completed (`source_definition`); it goes with an object to other processes.
    time_limit
        Seconds that the model was asked to keep itself, by its `with_time_limit`; no part of the definition.
    """

    model: Any
    made_by: str
    options: dict[str, Any] | None = None
    level: int = 0
    made_of: dict[str, Any] = field(default_factory=dict)
    time_limit: float | None = None

    def __post_init__(self) -> None:
        if not self.made_of and getattr(self.model, "definition", None) is None:
            object.__setattr__(self, "made_of", source_definition(self.made_by))

    def __reduce__(self) -> Any:
        # A model may hold what cannot be pickled; its factory makes it again. Only an object can but be copied.
        if self.options is None:
            return CompletedProblem, (self.model, self.made_by, None, self.level, self.made_of, self.time_limit)
        return _made_again, (self.made_by, self.options, self.level, self.time_limit)

    def __getattr__(self, attribute: str) -> Any:
        if attribute == "model" or attribute.startswith("__"):  # not yet there while unpickling
            raise AttributeError(attribute)
        value = attribute_on_copies(self.model, attribute)
        if attribute == "coarser":
            return lambda: self._coarser(value())
        if attribute == "with_time_limit":
            return lambda seconds: replace(self, model=value(seconds), time_limit=seconds)
        if attribute == "tangents":
            return lambda y, directions: self._tangents(value(y, directions), directions)
        if attribute in ("jvp", "vjp"):
            if not offers(self.model, attribute):  # the empty one of a protocol that the model's class says it keeps
                raise AttributeError(attribute)
            size = (self.model.observables if attribute == "jvp" else self.model.parameters).size
            return lambda y, along: checked(value(y, along), f"derivatives of {self.made_by}", (len(y), size))
        return value

    def _coarser(self, model: Any) -> CompletedProblem | None:
        return None if model is None else replace(self, model=model, level=self.level + 1, made_of={})

    def _tangents(self, result: Any, directions: Array) -> tuple[Array, Array]:
        n, r, _ = directions.shape
        n_out = self.model.observables.size
        observables, derivatives = result
        return (
            checked(observables, f"observables of {self.made_by}", (n, n_out)),
            checked(derivatives, f"derivatives of {self.made_by}", (n, r, n_out)),
        )

    @property
    def name(self) -> str:
        """The model's own name, or the factory."""
        return getattr(self.model, "name", self.made_by)

    @property
    def definition(self) -> dict[str, Any]:
        """The model's own definition, or the factory, hashes of what its source imports, any options and the level."""
        definition = getattr(self.model, "definition", None)
        return self._with_options(self.made_of) if definition is None else definition

    @property
    def former_definition(self) -> dict[str, Any] | None:
        """As it was when the file of the factory alone counted; None where the model has a definition of its own."""
        return self._with_options(former_source_definition(self.made_by)) if self.made_of else None

    def _with_options(self, definition: dict[str, Any]) -> dict[str, Any]:
        options = {"options": self.options} if self.options else {}
        return definition | options | ({"coarser": self.level} if self.level else {})

    def evaluate(self, y: Array) -> Array:
        """The model's own.

        Raises UsageError: another shape than (n, n_out), or numbers that are not real; whatever the model raises.
        """
        observables = attribute_on_copies(self.model, "evaluate")(y)
        return checked(observables, f"observables of {self.made_by}", (len(y), self.model.observables.size))

    def solve(self, y: Array) -> tuple[Array, NDArray[np.int8]]:
        """The model's own `solve`, or `evaluate` with the rows that are not finite marked."""
        if hasattr(self.model, "solve"):
            return attribute_on_copies(self.model, "solve")(y)
        return self.evaluate(y), np.full(len(y), SolveStatus.OK, dtype=np.int8)


def _made_again(name: str, options: dict[str, Any], level: int, time_limit: float | None) -> Problem:
    problem = load_problem(name, options)
    if time_limit is not None:
        problem = problem.with_time_limit(time_limit)  # pyright: ignore[reportAttributeAccessIssue]
    return coarser_version(problem, level)


def _factory(path: str) -> Callable[..., Any]:
    module_name, _, attribute = path.partition(":")
    if not module_name or not attribute:
        raise UsageError(f"expected package.module:factory, got {path!r}")
    keep_mpi_to_itself()  # the module may import FEniCSx
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise  # the module is there, and something it imports is not
        raise UsageError(
            f"no module {error.name!r} (for {path!r}) in {os.getcwd()} or among the installed ones"
        ) from error
    except ImportError as error:
        if "libmpi" not in str(error):
            raise
        raise MissingFEniCSx(
            f"{module_name} imports FEniCSx before its libraries are loaded; begin it with `import gnvpro.fenicsx` ({error})"
        ) from error
    if not hasattr(module, attribute):
        raise UsageError(
            f"module {module_name!r} ({module.__file__}) has no {attribute!r}; check the name after the colon"
        )
    factory = getattr(module, attribute)
    if not callable(factory):
        raise UsageError(f"{path}: expected something to call, got a {type(factory).__name__}")
    return factory
