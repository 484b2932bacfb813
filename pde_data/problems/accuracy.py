"""How far a problem's observables are from more accurate ones: the same few numbers for every problem."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gnvpro.surrogate.checks import numbers
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.formatting import percent
from gnvpro.surrogate.spaces import Array

# Of a data set or a comparison: a reference costs far more than what it judges.
ERROR_ESTIMATE_SAMPLES = 8


def estimated_error(problem: Any, parameters: Array, observables: Array) -> dict[str, Any] | None:
    """The error of observables against the problem's `references()`; None where it has none.

    `observables` (n, n_out) are what the problem gave at `parameters` (n, n_in). JSON-able, against the first reference:
    `relative_l2` and `relative_l2_max`, mean and maximum over the samples of ‖observables − reference‖ / ‖reference‖;
    `n_samples` that the reference could solve; `against`, its name. With a `background`, `anomalous`: mean, median and
    max of ‖observables − reference‖ / ‖reference − background‖. `others`: the same by the name of every further
    reference, if there is one.

    Raises ArithmeticError: a reference solved none of the samples, or is zero in one of them.
    """
    references = problem.references() if hasattr(problem, "references") else {}
    if not references:
        return None
    background = getattr(problem, "background", None)
    errors = [_against(name, r, parameters, observables, background) for name, r in references.items()]
    others = {error["against"]: error for error in errors[1:]}
    return {**errors[0], **({"others": others} if others else {})}


def _against(
    name: str, reference: Callable[[Array], Array], parameters: Array, observables: Array, background: Array | None
) -> dict[str, Any]:
    exact = numbers(reference(parameters), "what the reference returns")
    if exact.shape != observables.shape:
        raise UsageError(f"reference {name!r}: expected observables {observables.shape}, got {exact.shape}")
    solved = np.isfinite(exact).all(axis=1)
    if not solved.any():
        raise ArithmeticError(f"reference {name!r} solved none of the {len(exact)} samples")
    exact, misfit = exact[solved], np.linalg.norm(observables[solved] - exact[solved], axis=1)
    relative = _ratio(misfit, exact, name)
    error = {
        "relative_l2": float(relative.mean()),
        "relative_l2_max": float(relative.max()),
        "n_samples": int(solved.sum()),
        "against": name,
    }
    if background is not None:
        anomalous = _ratio(misfit, exact - background, f"{name} without its background")
        error["anomalous"] = {what: float(getattr(np, what)(anomalous)) for what in ("mean", "median", "max")}
    return error


def _ratio(misfit: Array, exact: Array, name: str) -> Array:
    size = np.linalg.norm(exact, axis=1)
    if not size.all():
        raise ArithmeticError(f"reference {name!r} is zero in a sample: no error can be relative to it")
    return misfit / size


def error_in_words(error: dict[str, Any] | None, why_not: str | None = None) -> str:
    """The error of a PDE's own observables, and against what it is, or why there is none.

    `error` is as `estimated_error` makes it.
    """
    if error is None:
        return f"no estimate: {why_not}" if why_not else "no estimate"
    stated = []
    for estimate in (error, *error.get("others", {}).values()):
        against = f" against {estimate['against']}" if "against" in estimate else ""  # not in the first data sets
        anomalous = f" ({percent(estimate['anomalous']['mean'])} of the anomaly)" if "anomalous" in estimate else ""
        stated.append(f"{percent(estimate['relative_l2'])}{anomalous}{against}")
    return ", ".join(stated)
