"""Laws out of what a user writes: objects of ours or of scipy.stats, pairs of bounds, numbers, dicts of a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from numbers import Real
from typing import Any

from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.laws.discrete import Choices, Integers
from gnvpro.surrogate.laws.joint import Dirichlet, JointNormal, NormalisedUniform
from gnvpro.surrogate.laws.law import Law
from gnvpro.surrogate.laws.of_scipy import OfScipy
from gnvpro.surrogate.laws.scalar import Lognormal, LogUniform, Normal, TruncatedNormal, Uniform
from gnvpro.surrogate.names import did_you_mean, listed, shortened

_KINDS: dict[str, type[Any]] = {
    law.kind: law
    for law in (
        *(Uniform, LogUniform, Normal, Lognormal, TruncatedNormal, Integers, Choices),
        *(JointNormal, Dirichlet, NormalisedUniform, OfScipy),
    )
}


def law_of(value: Any) -> Law:
    """A law, however it is given.

    A law; a frozen distribution of scipy.stats; a dict such as {"law": "normal", "mean": 0, "standard_deviation": 1}; a pair
    of bounds, which means uniform; a number, which is fixed.

    Raises UsageError: anything else; says what is expected.
    """
    if isinstance(value, Law):
        return value
    if isinstance(value, Real) and not isinstance(value, bool):
        return Uniform(float(value), float(value))
    if isinstance(value, Mapping):
        return _law_of_dict(value)
    if isinstance(value, Sequence) and not isinstance(value, str):
        if len(value) != 2 or not all(isinstance(bound, Real) for bound in value):
            raise UsageError(f"expected a lower and an upper bound, got {shortened(value)}")
        return Uniform(*map(float, value))
    return OfScipy.of(value)


def laws_of(laws: Mapping[Any, Any]) -> tuple[list[str], tuple[Law, ...]]:
    """Names of parameters and their laws, of a mapping from a name, or several names together, to a law.

    In files, which have no keys of several names, the law has these as its `parameters`, and the key says what they are.

    Raises UsageError: as `law_of`, a law of another number of parameters than it has names, or a name that is there twice.
    """
    names: list[str] = []
    found: list[Law] = []
    for key, value in laws.items():
        of = [key] if isinstance(key, str) else list(key)
        if isinstance(value, Mapping) and "parameters" in value:
            of, value = list(value["parameters"]), {k: v for k, v in value.items() if k != "parameters"}
        try:
            law = law_of(value)
        except UsageError as error:
            raise UsageError(f"law of {listed(of)}: {error}") from None
        if law.size != len(of):
            raise UsageError(f"law of {listed(of)}: expected {law.size} names of parameters, got {len(of)}")
        names += map(str, of)
        found.append(law)
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UsageError(f"expected one law for every parameter, {twice[0]} has two")
    if not names:
        raise UsageError("expected a law for one parameter at least, got none")
    return names, tuple(found)


def _law_of_dict(value: Mapping[str, Any]) -> Law:
    kind = value.get("law")
    if not isinstance(kind, str) or kind not in _KINDS:
        hint = did_you_mean(kind, _KINDS).rstrip()
        raise UsageError(f"expected a law among {', '.join(_KINDS)}, got {kind!r}{hint and '; ' + hint}")
    known = [field.name for field in fields(_KINDS[kind])]
    numbers = {name: _tuples(part) for name, part in value.items() if name != "law"}
    if unknown := [name for name in numbers if name not in known]:
        raise UsageError(
            f"law {kind}: unknown {unknown[0]!r}; {did_you_mean(unknown[0], known)}it has {', '.join(known)}"
        )
    try:
        return _KINDS[kind](**numbers)
    except UsageError:
        raise
    except (TypeError, ValueError, OverflowError) as error:
        raise UsageError(f"law {kind}: expected {', '.join(known)} ({error})") from None


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list | tuple) else value
