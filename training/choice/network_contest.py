"""Networks among the contenders: raced on one fold, judged on all of them, then trained on with every sample.

The fold that the race is judged on has chosen shape and iterate, and tells little of the error where it is small; the
others are predicted by networks that start anew and take as much work as the winner took to its best iterate.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gnvpro.surrogate.model.surrogate import Surrogate
from gnvpro.surrogate.networks.dense import DenseNetwork
from gnvpro.surrogate.networks.none import NoFeatures
from gnvpro.surrogate.networks.protocol import FeatureNetwork
from gnvpro.surrogate.samples import Samples, Split
from gnvpro.surrogate.spaces import Array
from gnvpro.training.choice.candidates import Candidate, candidates_for
from gnvpro.training.choice.contenders import MARGIN, Member
from gnvpro.training.choice.folds import coarser
from gnvpro.training.choice.polynomials import PolynomialFeatures, polynomials_for
from gnvpro.training.choice.race import Entry, described_entry, race
from gnvpro.training.fitting.fit import Fit
from gnvpro.training.fitting.methods import TrainingTask
from gnvpro.training.fitting.preparation import Formulation, Preparation
from gnvpro.training.fitting.regularisation import best_regularisation, with_alphas
from gnvpro.training.fitting.run import Job, Run
from gnvpro.training.fitting.validation import ObjectiveValue
from gnvpro.training.settings import TrainSettings

# Whole networks are trained anew for so many folds at most.
MOST_FOLDS = 5
# Of the networks that are raced, so many once more without derivatives.
WITHOUT_DERIVATIVES = 2
# Work units of each trial of another regularisation.
_TRIAL = 150.0
# Work units on all samples after those of the race, relative to what the best iterate took, and at most (both for one row
# of a sample).
_FURTHER, _MOST_FURTHER = 0.4, 300.0


class NetworkContest:
    """The networks of one training.

    Parameters
    ----------
    samples
        All that may be seen.
    folds : (n,)
        The fold in which each is left out, or -1.
    budget
        Work units of the race.
    is_hopeless
        Of predictions (n_0, n_out) of the samples of fold zero, by the best network after the heats: whether to end there.
    """

    def __init__(
        self,
        run: Run,
        settings: TrainSettings,
        samples: Samples,
        folds: NDArray[np.intp],
        budget: float,
        is_hopeless: Callable[[Array, NDArray[np.bool_]], bool],
    ) -> None:
        self._run, self._settings, self._samples = run, settings, samples
        self._folds, self._has_derivatives = coarser(folds, MOST_FOLDS), samples.n_directions > 0
        self._prepared, self._alphas = self._preparation(0), dict[str, float]()
        n_train, rows = int((self._folds != 0).sum()), 1 + samples.n_directions
        n_inputs = samples.parameters.shape[1]
        smooth = settings.polynomial != "off" and self._polynomials is not None
        # Derivatives determine the last layer as further samples would; wrong ones are told by networks without them.
        raced = candidates_for(settings, rows * n_train, n_inputs, smooth)
        if rows > 1:
            alone = candidates_for(settings, n_train, n_inputs, False)[:WITHOUT_DERIVATIVES]
            raced += [replace(candidate, derivatives=False) for candidate in alone]
        self._formulations: dict[Candidate, Formulation] = {}
        self._winner, self.entries = race(
            raced,
            self._start,
            budget,
            run.advance,
            lambda entry: is_hopeless(self._predicted_first(entry), self.first),
        )
        self._fit, self._formulation = self._winner.fit, self._formulations[self._winner.candidate]
        if rows > 1 and not self._winner.candidate.derivatives:
            self._samples, self._prepared = samples.without_derivatives, self._values_alone
        self._work = self._fit.best.work_units
        self.alone: Fit | None = None
        self._final: PolynomialFeatures | None = None
        if any(candidate.polynomial for candidate in raced):
            self._judge_polynomial_alone()

    def try_regularisation(self) -> None:
        """More regularisation takes the place of the winner where it is better on the first fold: under noise it is."""
        settings, candidate, numbers = self._settings, self._winner.candidate, itertools.count(1)
        if not self.is_plain or settings.alpha_theta is not None or settings.alpha_w is not None:
            return
        method = "varpro-kf-lbfgs" if candidate.metric else "varpro-lbfgs"

        def begin(task: TrainingTask) -> Fit:
            stage = f"{candidate}, regularisation {next(numbers)}"
            return self._run.begin(method, task, stage, patience=settings.patience)

        task = self._prepared.task(DenseNetwork(self._n_inputs, candidate.widths), self._formulation)
        work = _TRIAL * task.reduced.meter.rows
        found = best_regularisation(task, begin, work, self._run.advance)
        if found.fit.best.validation_error < MARGIN * self._fit.best.validation_error:
            self._fit, self._work = found.fit, found.work_units
            self._alphas = {"alpha_w": found.alpha_w, "alpha_theta": found.alpha_theta}

    def _judge_polynomial_alone(self) -> None:
        """The polynomial without a network takes the place of the winner where it is as good: it has nothing to iterate."""
        formulation = self._with_polynomials(self._prepared)
        self.alone = self._begin(self._prepared, NoFeatures(self._n_inputs), formulation, False, "polynomial alone")
        self._run.advance([Job(self.alone, 1.0)])
        if self.alone.best.validation_error <= self._fit.best.validation_error:
            self._fit, self._formulation = self.alone, formulation
            self._work = self.alone.best.work_units

    @property
    def _n_inputs(self) -> int:
        return self._samples.parameters.shape[1]

    @property
    def first(self) -> NDArray[np.bool_]:
        """The samples on which the race was judged."""
        return self._folds == 0

    def _predicted_first(self, entry: Entry) -> Array:
        return self._predict(self._prepared, entry.fit, self._formulations[entry.candidate], self.first)

    def first_predictions(self) -> Array:
        """What the best of the race predicts of them, (n_0, n_out)."""
        return self._predict(self._prepared, self._fit, self._formulation, self.first)

    def left_out_predictions(self, directions: Array | None = None) -> tuple[Array, Array | None]:
        """What networks like the best predict of samples that they have not seen, (n, n_out); NaN where none is left out.

        And derivatives (n, r, n_out) along directions (n, r, n_in) where given. After Ctrl-C that is the first fold alone.
        """
        predictions = np.full(self._samples.observables.shape, np.nan)
        slopes = None if directions is None else np.full((*directions.shape[:2], predictions.shape[1]), np.nan)

        def predict(prepared: Preparation, fit: Fit, formulation: Formulation, rows: NDArray[np.bool_]) -> None:
            surrogate, y = self._surrogate(prepared, fit, formulation), self._samples.parameters[rows]
            predictions[rows] = surrogate.evaluate(y)
            if directions is not None and slopes is not None:
                for k in range(directions.shape[1]):
                    slopes[rows, k] = surrogate.jvp(y, directions[rows, k])

        predict(self._prepared, self._fit, self._formulation, self.first)
        if self._run.interrupted:
            return predictions, slopes
        others = range(1, int(self._folds.max()) + 1)
        prepared = [self._preparation(fold) for fold in others]
        formulations = [self._formulation_of(of_fold) for of_fold in prepared]
        fits: list[Fit] = []
        for fold, of_fold, formulation in zip(others, prepared, formulations, strict=True):
            stage = f"fold {fold + 1}"
            fits.append(self._begin(of_fold, self._fit.network, formulation, self._metric, stage, chosen=False))
            fits[-1].point.release()
        self._run.advance([Job(fit, max(self._work - fit.objective.meter.total, 1.0)) for fit in fits])
        if not self._run.interrupted:
            for fold, of_fold, fit, formulation in zip(others, prepared, fits, formulations, strict=True):
                predict(of_fold, fit, formulation, self._folds == fold)
        return predictions, slopes

    def on_all(self, everything: Preparation) -> tuple[Fit, Formulation]:
        """The best network, trained on from where the race left it, on every sample; as it is after Ctrl-C."""
        if self._run.interrupted:
            return self._fit, self._formulation
        if self._samples.n_directions != everything.split.train.n_directions:
            everything = Preparation.of_all(self._samples, self._settings)
        formulation, best = self._formulation, self._fit.best
        if not self.is_plain and (chosen := self._choose(everything, self._samples)) is not None:
            # More samples carry more terms, which do most of the work; the network has little to follow.
            scaling, own = everything.standardised(1.0, chosen.basis, chosen.amplitude).scaling, formulation.scaling
            # The weights belong to the scaling of the inputs that they were trained with.
            scaling = replace(scaling, input_shift=own.input_shift, input_scale=own.input_scale)
            formulation, self._final = Formulation(scaling, chosen.basis), chosen
        fit = self._begin(
            everything, self._fit.network, formulation, self._metric, "all samples", chosen=False, theta=best.theta
        )
        most = _MOST_FURTHER * fit.objective.meter.rows
        self._run.advance([Job(fit, min(_FURTHER * self._work, most))])
        return fit, formulation

    def member(self, fit: Fit, formulation: Formulation, common: Formulation) -> Member:
        """A network of `on_all` as a member of a stack: for inputs and outputs in the scaling that all have in common."""
        assert isinstance(fit.network, DenseNetwork)
        own, shared = formulation.scaling, common.scaling
        theta, weights = fit.best.theta.double().cpu().clone(), fit.best.weights.double().cpu()
        # own inputs = factor * common inputs + offset
        factor = own.input_scale / shared.input_scale
        offset = (shared.input_shift - own.input_shift) * own.input_scale
        first = fit.network.layer_weights(theta)[0]
        first[-1] += torch.from_numpy(offset) @ first[:-1]
        first[:-1] *= torch.from_numpy(factor)[:, None]
        outer = own.outer_weights(weights)
        if shared.centre is not None:
            outer[:, -1] -= torch.from_numpy(shared.centre)
        scale = torch.as_tensor(shared.output_scale, dtype=torch.float64).reshape(-1, 1)
        return Member(fit.network, theta, outer / scale)

    @property
    def gain(self) -> float:
        """Of the inputs of the best."""
        return self._winner.candidate.gain

    @property
    def is_plain(self) -> bool:
        """Whether the best is a network without polynomials beside it and an amplitude over it: one that may be stacked."""
        return self._formulation.polynomials is None

    def described(self) -> dict[str, Any]:
        """The best, JSON-able."""
        alone = self._fit is self.alone
        return {
            "kind": "network",
            "widths": [] if alone else list(self._winner.candidate.widths),
            "gain": self._winner.candidate.gain,
            "metric": self._winner.candidate.metric,
            **self._alphas,
            **({"directions": self._samples.n_directions} if self._has_derivatives else {}),
            "polynomial": None if self.is_plain else (self._final or self._polynomials_beside).described(),
        }

    def record(self) -> dict[str, Any]:
        """The race, JSON-able: all candidates, the best first, and how far the polynomial beside them gets alone."""
        record: dict[str, Any] = {"candidates": [described_entry(entry) for entry in self.entries]}
        if self.alone is not None:
            error = self.alone.best.validation_error
            record["polynomial_alone"] = {**self._polynomials_beside.described(), "validation_error": error}
        return record

    @property
    def _polynomials_beside(self) -> PolynomialFeatures:
        assert self._polynomials is not None
        return self._polynomials

    @cached_property
    def _polynomials(self) -> PolynomialFeatures | None:
        # Of those that are fitted in a fold: a basis that suits more samples would be too large there.
        return self._choose(self._prepared, self._prepared.split.train)

    def _choose(self, prepared: Preparation, samples: Samples) -> PolynomialFeatures | None:
        with self._run.outside:
            return self._run.coupling.from_first(polynomials_for(prepared, samples))

    @property
    def _metric(self) -> bool:
        return self._fit is not self.alone and self._winner.candidate.metric

    def _start(self, candidate: Candidate) -> Fit:
        formulation = (
            self._with_polynomials(self._prepared)
            if candidate.polynomial
            else self._prepared.standardised(candidate.gain)
        )
        self._formulations[candidate] = formulation
        network = DenseNetwork(self._n_inputs, candidate.widths)
        prepared = self._prepared if candidate.derivatives else self._values_alone
        return self._begin(prepared, network, formulation, candidate.metric, str(candidate))

    @cached_property
    def _values_alone(self) -> Preparation:
        """What the race is prepared with, without derivatives."""
        return Preparation(self._prepared.split.without_derivatives, self._settings)

    def _with_polynomials(self, prepared: Preparation) -> Formulation:
        chosen = self._polynomials_beside
        return prepared.standardised(1.0, chosen.basis, chosen.amplitude)

    def _formulation_of(self, prepared: Preparation) -> Formulation:
        return prepared.standardised(self.gain) if self.is_plain else self._with_polynomials(prepared)

    def _begin(
        self,
        prepared: Preparation,
        network: FeatureNetwork,
        formulation: Formulation,
        metric: bool,
        stage: str,
        *,
        chosen: bool = True,
        **origin: Any,
    ) -> Fit:
        """A fit whose iterate is `chosen` on samples that are left out, or else the last."""
        task = with_alphas(prepared.task(network, formulation, **origin), **self._alphas)
        patience = self._settings.patience
        if not chosen:
            task, patience = TrainingTask(task.reduced, task.theta, lambda _: ObjectiveValue()), math.inf
        method = "varpro-kf-lbfgs" if metric else "varpro-lbfgs"
        return self._run.begin(method, task, stage, patience=patience)

    def _preparation(self, fold: int) -> Preparation:
        out = self._folds == fold
        split = Split.of(self._samples.subset(np.flatnonzero(~out)), self._samples.subset(np.flatnonzero(out)))
        return Preparation(split, self._settings)

    def _predict(self, prepared: Preparation, fit: Fit, formulation: Formulation, rows: NDArray[np.bool_]) -> Array:
        return self._surrogate(prepared, fit, formulation).evaluate(self._samples.parameters[rows])

    @staticmethod
    def _surrogate(prepared: Preparation, fit: Fit, formulation: Formulation) -> Surrogate:
        return prepared.surrogate(fit.network, fit.best.theta, fit.best.weights, formulation)
