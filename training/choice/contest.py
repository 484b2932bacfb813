"""The contest: which contender, or which of them together, predicts best what it has not seen.

Sparse polynomials and kernels come first, as they are the cheapest; networks are raced beside them and trained for every
fold only where the race says that they may win. What wins is mostly a stack: the columns of several contenders side by
side in one last layer, with shares by least squares on residuals that were left out.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnvpro.surrogate.elimination.compression import rotation_of_arrays
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.model.surrogate import Surrogate
from gnvpro.surrogate.samples import Samples
from gnvpro.surrogate.spaces import Array
from gnvpro.surrogate.stopwatch import Stopwatch
from gnvpro.training.choice.closed_forms import closed_forms
from gnvpro.training.choice.contenders import MARGIN, Contender, Problem, Stack, best_stack
from gnvpro.training.choice.filling import filled
from gnvpro.training.choice.network_contest import NetworkContest
from gnvpro.training.fitting.fit import Fit
from gnvpro.training.fitting.preparation import Preparation, Tangents
from gnvpro.training.fitting.run import Run
from gnvpro.training.interrupts import came
from gnvpro.training.settings import TrainSettings

# Fewer samples say nothing of an error; fewer than the second choose no polynomial that stands alone, fewer than the
# third train no network.
FEWEST, FEWEST_FOR_POLYNOMIALS = 3, 20
FEWEST_FOR_NETWORKS = 40
# Derivatives count as samples there, down to this number of samples.
FEWEST_WITH_DERIVATIVES = 10
# Of the least error so far: below the first a network is so much better that further kernels are not tried, above the
# second it is left alone.
_DECIDED, _HOPELESS = 0.15, 1.3
# Up to this factor, more regularisation may bring a network back: noise spoils what is trained to the end.
_NEAR = 3.0
# The same factor after the heats of the race, from which on the best network is not trained to the end.
_LOST = 10.0
# Closed forms with `quick`: the polynomial and the first kernel.
_QUICK_FORMS = 2
# Up to this number, outputs have shares of their own in a stack and are not rotated.
_FEW_OUTPUTS = 12
# Directions of the targets below this fraction of the largest do not enter, nor more than so many.
_COMPRESSION, _MOST_TARGETS = 1e-8, 100


@dataclass(frozen=True, eq=False)
class Decision:
    """The model, fitted to all samples, and what its like predicts of those that were left out.

    Attributes
    ----------
    predictions : (n, n_out)
        Observables of the samples by fits that did not see them; NaN for samples that were never left out.
    fit
        Of the network in it, where there is one.
    choice
        What competed, what won and why, JSON-able.
    derivative_error
        Of the derivatives of samples that were left out; None where there are none.
    """

    surrogate: Surrogate
    predictions: Array
    fit: Fit | None
    choice: dict[str, Any]
    derivative_error: float | None = None


class Contest:
    """One contest on samples of which every one with a fold is left out once.

    Parameters
    ----------
    folds : (n,)
        The fold in which a sample is left out; -1 for samples that never are.
    budget
        Work units of the race of networks.
    on_contender
        Called with a word on each contender that was fitted.
    """

    def __init__(
        self,
        run: Run,
        settings: TrainSettings,
        samples: Samples,
        folds: NDArray[np.intp],
        budget: float,
        on_contender: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._run, self._settings, self._samples, self._folds, self._budget = run, settings, samples, folds, budget
        self._on_contender = on_contender
        if len(samples) < FEWEST:
            raise UsageError(f"expected at least {FEWEST} samples, got {len(samples)}; solve some more")
        self._prepared = Preparation.of_all(samples, settings)
        self._formulation = self._prepared.standardised(1.0)
        self._problem = self._scaled_problem()
        self._contenders: list[Contender] = []
        self._raced: NetworkContest | None = None

    def decide(self) -> Decision:
        """Let everything compete that may win, and fit the winner to all samples."""
        wanted = self._settings.contender
        few = wanted == "auto" and len(self._samples) < FEWEST_FOR_POLYNOMIALS
        closed: Iterator[Contender] = iter(())
        if wanted != "network":
            closed = closed_forms(self._problem, "kernel" if few else wanted)
        if self._settings.quick:
            closed = itertools.islice(closed, _QUICK_FORMS)
        rows = len(self._samples) * (1 + self._samples.n_directions)
        enough = rows >= FEWEST_FOR_NETWORKS and len(self._samples) >= FEWEST_WITH_DERIVATIVES
        if wanted == "auto" and enough:
            # These tell what a network has to beat.
            self._take(itertools.islice(closed, 1 if self._settings.quick else 2))
        if wanted in ("auto", "network") and enough and not self._run.interrupted:
            self._raced = NetworkContest(
                self._run,
                self._settings,
                self._samples,
                self._folds,
                self._budget,
                lambda predictions, rows: self._error_at(predictions, rows) > _LOST * self._least(),
            )
            error = self._error_at(self._raced.first_predictions(), self._raced.first)
            if error < _DECIDED * self._least():
                closed = iter(())
            elif error < _NEAR * self._least() and not self._settings.quick:
                self._raced.try_regularisation()
                error = self._error_at(self._raced.first_predictions(), self._raced.first)
            self._take(closed)
            if error < _HOPELESS * self._least():
                self._contenders.append(self._judged(self._raced))
        self._take(closed)
        if not self._contenders:
            raise UsageError(
                f"expected at least {FEWEST_FOR_NETWORKS} samples for a network, got {len(self._samples)}; leave the "
                "contender to `auto`"
            )
        return self._fitted(self._winner())

    def _take(self, closed: Iterator[Contender]) -> None:
        while not self._run.interrupted:
            if self._run.coupling.size > 1 and came(self._run.coupling):
                if not self._contenders:
                    raise KeyboardInterrupt
                return self._run.stop()
            stopwatch = Stopwatch()
            try:
                with self._run.outside, stopwatch:
                    contender = next(closed, None)
            except KeyboardInterrupt:
                if not self._contenders:
                    raise
                self._run.stop()
                return
            # Rounding must not part the processes.
            contender = self._run.coupling.from_first(contender)
            if contender is None:
                return
            self._contenders.append(replace(contender, cpu_seconds=stopwatch.cpu_seconds))
            self._on_contender(f"{contender.described['kind']}: {self._problem.error(contender.left_out):.2g}")

    def _least(self) -> float:
        return min((self._problem.error(one.left_out) for one in self._contenders), default=math.inf)

    def _error_at(self, predictions: Array, rows: NDArray[np.bool_]) -> float:
        """Of predictions (m, n_out) of these samples."""
        error = self._problem.error_at(rows, self._problem.targets[rows] - self._targets(predictions, rows))
        return self._run.coupling.from_first(error)

    def _judged(self, raced: NetworkContest) -> Contender:
        """The best network as a contender."""
        everything, problem, tangents = np.ones(len(self._samples), bool), self._problem, self._tangents
        predictions, derivatives = raced.left_out_predictions(None if tangents is None else self._samples.directions)
        left_out, slopes_left_out = problem.targets - self._targets(predictions, everything), None
        if problem.slopes is not None and tangents is not None and derivatives is not None:
            scaled = derivatives * tangents.factors[..., None] / self._formulation.scaling.output_scale
            slopes_left_out = problem.slopes - scaled @ problem.rotation.T
        spent = sum(fit.cpu_seconds for fit in self._run.fits)
        if self._run.interrupted:
            self._problem = replace(problem, folds=np.where(raced.first, 0, -1))
        return Contender(raced.described(), left_out, cpu_seconds=spent, slopes_left_out=slopes_left_out)

    def _winner(self) -> Stack:
        """A network with polynomials beside it and an amplitude over it cannot stand in a stack: it wins alone or not."""
        problem = self._problem
        stackable = [
            one for one in self._contenders if one.model is not None or self._raced is None or self._raced.is_plain
        ]
        alone = [one for one in self._contenders if one not in stackable]
        by_target = problem.rotation.shape[1] <= _FEW_OUTPUTS
        if not alone:
            return best_stack(stackable, problem, by_target)
        single = best_stack(alone, problem, by_target)
        if not stackable:
            return single
        stack = best_stack(stackable, problem, by_target)
        return single if single.error < MARGIN * stack.error else stack

    def _fitted(self, winner: Stack) -> Decision:
        predictions = self._observables(self._problem.targets - winner.left_out)
        choice, fit, formulation = self._record(winner), None, None
        derivative_error = self._problem.derivative_error(winner.slopes_left_out)
        members = [one.model for one in winner.contenders]
        if None in members:
            assert self._raced is not None
            fit, formulation = self._raced.on_all(self._prepared)
            if len(members) == 1:
                choice |= self._raced.described()
                surrogate = self._prepared.surrogate(fit.network, fit.best.theta, fit.best.weights, formulation)
                return Decision(surrogate, predictions, fit, choice, derivative_error)
            members[members.index(None)] = self._raced.member(fit, formulation, self._formulation)
        network, theta, weights = winner.model([one for one in members if one is not None])
        surrogate = self._prepared.surrogate(network, theta, weights, self._formulation)
        return Decision(surrogate, predictions, fit, choice, derivative_error)

    def _record(self, winner: Stack) -> dict[str, Any]:
        problem = self._problem
        shares = {id(one): share for one, share in zip(winner.contenders, winner.shares, strict=True)}
        ranked = sorted(self._contenders, key=lambda one: problem.error(one.left_out))
        contenders = [
            {
                **one.described,
                "name": _name(one),
                "error": problem.error(one.left_out),
                "standard_error": problem.standard_error(one.left_out),
                "error_one_by_one": None if one.close is None else problem.error(one.close),
                "share": float(np.mean(shares[id(one)])) if id(one) in shares else 0.0,
                "cpu_seconds": one.cpu_seconds,
            }
            for one in ranked
        ]
        names = " + ".join(_name(one) for one in winner.contenders)
        rest = "" if len(ranked) == 1 else f" of {len(ranked)} contenders; next: {_name(ranked[1])} alone"
        if len(ranked) > 1:
            rest += f" ({contenders[1]['error']:.2g})"
        return {
            **(winner.contenders[0].described if len(winner.contenders) == 1 else {"kind": "stack"}),
            "reason": f"{names}: least error on samples left out ({winner.error:.3g}){rest}",
            "error_left_out": winner.error,
            "folds": problem.n_folds,
            "contenders": contenders,
            **({} if problem.slopes is None else {"derivatives": self._on_derivatives(winner)}),
            **({} if self._raced is None else self._raced.record()),
        }

    def _on_derivatives(self, winner: Stack) -> str:
        """Whether the winner was trained on derivatives, in a sentence."""
        used = [one for one in self._contenders if one.described.get("directions")]
        shares = [
            float(share.mean()) for one, share in zip(winner.contenders, winner.shares, strict=True) if one in used
        ]
        if sum(shares) > 0.5:
            return f"trained on, {self._problem.n_directions} directions a sample"
        errors = [self._problem.error(one.left_out) for one in used]
        least = f"{min(errors):.3g}" if errors else "larger"
        return f"left out: values alone predict samples left out better ({winner.error:.3g}, with derivatives {least})"

    def _targets(self, observables: Array, rows: NDArray[np.bool_]) -> Array:
        """Observables (m, n_out) of these samples as targets (m, k)."""
        return self._formulation.scaling.targets(self._samples.parameters[rows], observables) @ self._problem.rotation.T

    def _observables(self, targets: Array) -> Array:
        return self._formulation.scaling.observables(self._samples.parameters, targets @ self._problem.rotation)

    def _scaled_problem(self) -> Problem:
        samples, scaling = self._samples, self._formulation.scaling
        weights = self._prepared.row_weights(samples)
        weights = weights / math.sqrt(float((weights**2).mean()))
        targets = scaling.targets(samples.parameters, samples.observables)
        rotation = np.eye(targets.shape[1])
        if len(rotation) > _FEW_OUTPUTS and samples.missing is None:  # outputs with gaps are fitted one by one
            rotation = rotation_of_arrays(targets, weights, _COMPRESSION)[:_MOST_TARGETS]
        space = samples.parameter_space
        normal = space.own_laws.straight if space.laws else None
        inputs = scaling.inputs(samples.parameters)
        targets = filled(inputs, targets, weights)
        absent = samples.missing
        problem = Problem(inputs, targets @ rotation.T, rotation, weights, self._folds, normal=normal, absent=absent)
        if (tangents := self._tangents) is None:
            return problem
        slopes, directions = tangents.slopes @ rotation.T, tangents.directions
        return replace(problem, slopes=slopes, directions=directions, slope_weights=tangents.weights)

    @cached_property
    def _tangents(self) -> Tangents | None:
        return self._prepared.tangents(self._formulation, self._samples)


def _name(contender: Contender) -> str:
    described = contender.described
    if described.get("directions") == 0:
        alone = replace(contender, described={**described, "directions": None})
        return f"{_name(alone)} of values alone"
    terms = described.get("terms")
    if described["kind"] == "polynomial":
        return f"polynomial of {terms} terms"
    if described["kind"] == "network":
        smooth = described["polynomial"] and f"polynomial of {described['polynomial']['n_terms']} terms"
        network = described["widths"] and f"network {','.join(map(str, described['widths']))}"
        return " beside ".join(filter(None, (network, smooth)))
    return f"{described['kind']} kernels" + (f" beside {terms} terms" if terms else "")
