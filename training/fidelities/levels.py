"""The levels of a training from several fidelities: samples that agree with the fine ones, and what all of them cost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gnvpro.surrogate.error_measure import ErrorMeasure
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.model.surrogate import Surrogate
from gnvpro.surrogate.names import shortened
from gnvpro.surrogate.samples import Samples


def coarse_levels(coarse: Samples | Sequence[Samples] | None, fine: Samples) -> list[Samples]:
    """The coarse data sets, cheapest first, with their columns in the order of the fine one.

    Raises UsageError: a data set with other parameters or observables than the fine one, or with other units.
    """
    if coarse is None:
        return []
    levels = [coarse] if isinstance(coarse, Samples) else list(coarse)
    return [
        _agreeing(level, fine, "coarse" if len(levels) == 1 else f"level {i + 1}") for i, level in enumerate(levels)
    ]


def _agreeing(coarse: Samples, fine: Samples, which: str) -> Samples:
    if not isinstance(coarse, Samples):
        raise UsageError(f"expected coarse samples, got {shortened(repr(coarse))}")
    for what in ("parameter", "observable"):
        own, wanted = getattr(coarse, f"{what}_space"), getattr(fine, f"{what}_space")
        remedy = f"; {which} and fine samples have to have the same {what}s"
        if own.size != wanted.size:
            raise UsageError(f"expected {wanted.size} {what}s in the {which} samples, got {own.size}{remedy}")
        try:
            order = own.order_of(wanted.names, f"{what}s of the {which} samples")
        except UsageError as error:
            raise UsageError(f"{error}{remedy}") from None
        for name, j, k in zip(wanted.names, order, range(wanted.size), strict=True):
            if own.unit(j) != wanted.unit(k):
                raise UsageError(
                    f"expected {name} in {wanted.unit(k)}, got {own.unit(j)} in the {which} samples{remedy}"
                )
    return coarse.in_order_of(fine.parameter_space, fine.observable_space)


def fidelities_record(levels: Sequence[Samples], models: Sequence[Surrogate]) -> dict[str, Any]:
    """Sizes and costs of all levels, how far coarse models are off, and the cost of all in fine solves; JSON-able.

    Parameters
    ----------
    levels
        From the cheapest to the fine one.
    models
        Of all levels.
    """
    seconds = [_seconds(samples) for samples in levels]
    fine, model = levels[-1], models[-1]
    measure = ErrorMeasure.of(model.training)
    described = []
    for samples, of_level, cost in zip(levels, models, seconds, strict=True):
        misfit = of_level.evaluate(fine.parameters) - fine.observables
        described.append(
            {
                "samples": len(samples),
                "seconds": cost,
                "error": next((of_level.errors[name] for name in _STATED if name in of_level.errors), None),
                # The fine model has seen these samples.
                "off": None if samples is fine else float(measure.errors(misfit, fine.observables).mean()),
                "chosen": of_level.training["choice"]["reason"],
            }
        )
    total = None
    own_cost = (fine.provenance.get("cost") or {}).get("seconds")
    if own_cost and None not in seconds:
        total = float(np.dot([len(samples) for samples in levels], [cost or 0.0 for cost in seconds]) / own_cost)
    return {"levels": described, "fine_equivalents": total}


# Which of a model's errors are of samples that it has not seen, the best first.
_STATED = ("test", "cross-validated", "validation")


def _seconds(samples: Samples) -> float | None:
    """Of one sample with its derivatives, where the data set says."""
    cost = samples.provenance.get("cost") or {}
    if "seconds" not in cost:
        return None
    return float(cost["seconds"] + samples.n_directions * (cost.get("derivative_seconds") or 0.0))
