"""What is analysed: observables as a function of the parameters, the law of these, and what is known of the error."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from gnvpro.apps.inversion.posterior.prior import Prior
from gnvpro.apps.inversion.posterior.solves import Solves
from gnvpro.apps.sensitivity.estimates import ModelError
from gnvpro.apps.sensitivity.groups import Groups
from gnvpro.pde_data.problems.contract import Problem
from gnvpro.pde_data.problems.solving import at_once, reasons, solve_block
from gnvpro.surrogate.error_measure import ErrorMeasure, measure_for
from gnvpro.surrogate.errors import NumericalFailure, UsageError
from gnvpro.surrogate.laws.joint import JointNormal, Parts
from gnvpro.surrogate.laws.law import Law
from gnvpro.surrogate.model.surrogate import Surrogate
from gnvpro.surrogate.spaces import Array, Space
from gnvpro.surrogate.trust.error_sizes import mean_square_errors

# Points at which the observables of a problem are computed for their scale, a power of two.
SCALE_POINTS = 16

# Numbers of parameters.
type Places = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Analysed:
    """A model, of a field its coefficients, and the law of its parameters.

    Attributes
    ----------
    compute
        Parameters (n, n_in) to observables (n, n_out), NaN where there are none.
    model
        For its derivatives.
    mean_square_error : (n_out,)
        Of every observable; None where it is unknown.
    total_error
        The most that the mean square errors of all sum to, in units of the scale; infinite where each is known.
    n_samples
        From which the model was fitted.
    modes : (n_out, n_values)
        Of a field, whose coefficients are the observables.
    """

    name: str
    prior: Prior
    groups: Groups
    compute: Callable[[Array], Array]
    model: Surrogate | Problem
    mean_square_error: Array | None = None
    total_error: float = math.inf
    n_samples: int = 1
    modes: Array | None = None

    @property
    def space(self) -> Space:
        """Of the observables."""
        return self.groups.space

    @cached_property
    def names(self) -> list[str]:
        """Of the parameters that vary."""
        names = self.prior.space.names
        return [names[j] for j in np.flatnonzero(self.prior.free)]

    @cached_property
    def blocks(self) -> list[tuple[Places, Law]]:
        """Laws of parameters that vary, and their places (size,) among these."""
        place = np.cumsum(self.prior.free) - 1
        of_law = [(np.arange(c.start, c.stop), law) for c, law in self.prior.transport.columns]
        return [(place[columns], law) for columns, law in of_law if self.prior.free[columns].all()]

    @cached_property
    def dependent(self) -> list[Law]:
        """Laws that make parameters depend on each other."""
        return [law for _, law in self.blocks if law.size > 1 and not _independent(law)]

    @cached_property
    def variables(self) -> list[str]:
        """Of the normal variables behind the parameters that vary: their names, unless a law joins them."""
        names = list(self.names)
        for places, law in self.blocks:
            if law in self.dependent:
                joined = [self.names[j] for j in places]
                whole = ", ".join(joined) if len(joined) <= 3 else f"{joined[0]}, …, {joined[-1]}"
                for k, j in enumerate(places):
                    is_part = isinstance(law, Parts)  # one behind every share of the sum
                    names[j] = f"part behind {names[j]}" if is_part else f"normal variable {k + 1} of ({whole})"
        return names

    def model_error(self, variances: Array) -> ModelError | None:
        """Of every group, from variances (n_groups,); None where it is unknown."""
        if self.mean_square_error is None:
            return None
        errors = np.minimum(self.groups.sums(self.mean_square_error), self.total_error)
        with np.errstate(divide="ignore", invalid="ignore"):
            return ModelError(np.sqrt(errors / variances), self.n_samples)

    def normal_points(self, n: int, seed: list[int], sets: int = 1) -> Array:
        """Points of a scrambled Sobol sequence as normal variables, n a power of two: (sets, n, n_free)."""
        return self.prior.normal_design(n, seed, sets=sets)


def analysed(model: Surrogate | Problem, name: str, prior: Prior, memory: Solves | None = None) -> Analysed:
    """What is to be analysed of a model; the scale of the observables of a problem is one until `scaled`.

    Raises
    ------
    UsageError
        A field that is not of a surrogate, no parameter that varies.
    """
    if not prior.n_free:
        raise UsageError(f"{name}: all parameters are fixed, so none matters; expected one at least that varies")
    if isinstance(model, Surrogate):
        return _of_surrogate(model, name, prior)
    if model.observables.mesh is not None:
        raise UsageError(
            f"{name} gives a field of {model.observables.size:,} values; train a surrogate on it, whose modes are analysed"
        )
    return Analysed(
        name, prior, Groups(model.observables, np.ones(model.observables.size)), solver(model, memory), model
    )


def scaled(found: Analysed, seed: int) -> Analysed:
    """With the scale that observables have at `SCALE_POINTS` points by the law."""
    values = found.compute(found.prior.parameters(found.normal_points(SCALE_POINTS, [seed, 99])[0]))
    values = values[np.isfinite(values).all(axis=1)]
    if len(values) < 2:
        raise NumericalFailure(f"{found.name} could be computed at {len(values)} of {SCALE_POINTS} points by its law")
    scale = measure_for(values, found.space)[0].output_scale
    return found if scale is None else replace(found, groups=Groups(found.space, scale))


def solver(problem: Problem, memory: Solves | None = None) -> Callable[[Array], Array]:
    """Observables by a problem, or from its memory; where nothing at all could be solved, it raises why."""

    def compute(y: Array) -> Array:
        if memory is None:
            block = solve_block(problem, y)
            observables, why = block.observables, reasons(block.failures)
        else:
            together = at_once(problem, len(y))  # what was solved is kept before the next are
            pieces = [memory.evaluate(y[i : i + together]) for i in range(0, len(y), together)]
            observables, why = np.concatenate(pieces), str(memory.failures) or "as the checkpoint says"
        if not np.isfinite(observables).all(axis=1).any():
            raise NumericalFailure(f"the PDE could be solved at none of {len(y)} points ({why})")
        return observables

    return compute


def _of_surrogate(model: Surrogate, name: str, prior: Prior) -> Analysed:
    measure = ErrorMeasure.of(model.training)
    errors = None if model.trust is None else mean_square_errors(model.trust.bands.levels, model.trust.bands.marginal)
    if errors is not None and np.isnan(errors).any():  # an observable has too few samples to give any finite band
        errors = None
    fitted = _n_fitted(model)
    if model.modes is None:
        scale = np.ones(model.observables.size) if measure.output_scale is None else measure.output_scale
        return Analysed(name, prior, Groups(model.observables, scale), model.evaluate, model, errors, n_samples=fitted)
    # The modes are orthonormal: distances of fields are those of their coefficients, and errors sum to those of the values.
    n = len(model.weights)
    unit = model.observables.units[0]
    space = Space.vector([f"mode {k + 1}" for k in range(n)], axis="mode", units=(unit,) * n)
    coefficients = replace(model, modes=None, observables=space, trust=None)
    total = None if errors is None else float(errors.sum())
    found = Analysed(name, prior, Groups(space, np.ones(n)), coefficients.evaluate, coefficients)
    found = replace(found, n_samples=fitted, modes=model.modes.double().numpy())
    return found if total is None else replace(found, mean_square_error=np.full(n, total), total_error=total)


def _n_fitted(model: Surrogate) -> int:
    """Samples that a model was fitted to, by the record of its training; those of its bands where there is none."""
    numbers = model.training.get("samples")
    trained = numbers.get("train") if isinstance(numbers, dict) else None
    if isinstance(trained, int) and trained > 0:
        return trained
    return 1 if model.trust is None else model.trust.bands.n_samples


def _independent(law: Law) -> bool:
    if not isinstance(law, JointNormal):
        return False
    covariance = np.array(law.covariance)
    return bool((covariance == np.diag(np.diag(covariance))).all())
