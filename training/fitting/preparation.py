"""From a split of samples to training tasks: scaling, weights and polynomial columns, as tensors on the device."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from gnvpro.surrogate.coupling import ALONE, Coupling
from gnvpro.surrogate.elimination.least_squares import GaussNewtonKind
from gnvpro.surrogate.error_measure import ErrorMeasure, measure_for
from gnvpro.surrogate.model.surrogate import Surrogate
from gnvpro.surrogate.networks.polynomials import Amplitude, PolynomialBasis
from gnvpro.surrogate.networks.protocol import FeatureNetwork
from gnvpro.surrogate.networks.tangents import interleaved, tangents_of
from gnvpro.surrogate.objectives.reduced import ReducedObjective, reduced_least_squares
from gnvpro.surrogate.objectives.streamed import StreamedObjective
from gnvpro.surrogate.rounding import spread_or_size
from gnvpro.surrogate.samples import Samples, Split
from gnvpro.surrogate.scaling import Scaling, logarithmic_parameters
from gnvpro.surrogate.spaces import Array
from gnvpro.training.device import device_named
from gnvpro.training.fitting.methods import TrainingTask
from gnvpro.training.fitting.validation import ValidationSet
from gnvpro.training.settings import COMPRESSION, POLYNOMIAL_ALPHA_W, POLYNOMIAL_COMPRESSION, TrainSettings


class Tangents(NamedTuple):
    """Derivatives of the targets, `slopes` (n, r, n_out), along `directions` (n, r, n_in) of the network inputs.

    All directions have one length, the root of the number of inputs in standard deviations of these: a derivative then has
    the size of a value's change over the data, and the length of what was given means nothing. `factors` (n, r) are what
    that was multiplied with, `weights` (n, r) those of the rows over those of the values, sqrt(1 / derivatives known).
    """

    directions: Array
    slopes: Array
    factors: Array
    weights: Array


@dataclass(frozen=True)
class Formulation:
    """Scaling of inputs and outputs, and the polynomials beside the network."""

    scaling: Scaling
    polynomials: PolynomialBasis | None = None


class Preparation:
    """The data of one training, for any network and scaling.

    Errors are those of the observables less the background, where there is one: so are the weights of samples. Of the
    settings it reads `goal`, `network`, `alpha_w`, `alpha_theta`, `seed`, `device` and `dtype`. A device that cannot be
    used raises `UsageError`.

    Attributes
    ----------
    goal, reason
        What samples are weighted for, and why.
    measure
        What errors are relative to.
    """

    coupling: Coupling = ALONE

    def __init__(self, split: Split, settings: TrainSettings) -> None:
        self.split, self._settings = split, settings
        self.device, self._dtype = device_named(settings.device), getattr(torch, settings.dtype)
        self._objectives: dict[tuple[bool, bytes, str], ReducedObjective] = {}
        train = split.train
        # Of all samples: none must be where there is no logarithm, and the folds of one training must agree.
        parameters = np.concatenate([s.parameters for s in (train, split.validation, split.calibration, split.test)])
        self._logarithmic = logarithmic_parameters(parameters, train.parameter_space)
        goal = "absolute" if settings.goal == "auto" and settings.network == "paper" else settings.goal
        self.measure, self.goal, self.reason = measure_for(
            train.anomalous, train.observable_space, None if goal == "auto" else goal
        )

    def record(self) -> dict[str, Any]:
        """Entries `goal` and `error_measure` of the record of a training, JSON-able."""
        return {"goal": {"used": self.goal, "reason": self.reason}, "error_measure": self.measure.to_dict()}

    @classmethod
    def of_all(cls, samples: Samples, settings: TrainSettings) -> Preparation:
        """Of samples none of which is held out."""
        return cls(Split.of(samples), settings)

    def standardised(
        self, gain: float, polynomials: PolynomialBasis | None = None, amplitude: Amplitude | None = None
    ) -> Formulation:
        """Inputs scaled to the gain; polynomials beside them, and observables over an amplitude, where given."""
        train = self.split.train
        scaling = Scaling.standardised(
            train.parameters,
            train.observables,
            gain,
            train.background,
            amplitude,
            unit=self.measure.output_scale,
            # The mean goes into the bias, which an amplitude would multiply.
            centred=self.measure.output_scale is not None and self.measure.spread is not None and amplitude is None,
            logarithmic=self._logarithmic,
        )
        return Formulation(scaling, polynomials)

    def raw(self) -> Formulation:
        """Inputs as they are."""
        train = self.split.train
        return Formulation(
            Scaling.raw(train.parameters, train.observables, train.background, self.measure.output_scale)
        )

    def task(
        self,
        network: FeatureNetwork,
        formulation: Formulation,
        alpha_theta: float | None = None,
        *,
        theta: Tensor | None = None,
        seed: int | None = None,
        curvature: GaussNewtonKind = "golub-pereyra",
    ) -> TrainingTask:
        """The network's training on the training samples, from `theta` or the initial weights of a seed.

        `alpha_theta` and `seed` are those of the settings where left out; `curvature` is that of Gauss-Newton products, see
        `gnvpro.surrogate.objectives.reduced.reduced_least_squares`.
        """
        if alpha_theta is None:
            alpha_theta = 1e-9 if self._settings.alpha_theta is None else self._settings.alpha_theta
        # Formulations of one kind differ in the scale of the inputs only: targets and fixed columns are prepared once.
        key = formulation.polynomials is not None, np.asarray(formulation.scaling.output_scale).tobytes(), curvature
        if key not in self._objectives:
            self._objectives[key] = self._objective(network, formulation, self.split.train, alpha_theta, curvature)
        train, tangents = self.split.train, self.tangents(formulation, self.split.train)
        directions = None if tangents is None else self._tensor(tangents.directions).to(self._dtype)
        objective = self._objectives[key].sibling(network, self._inputs(formulation, train), alpha_theta, directions)
        unit = self._root_mean_square(self._scaled_weights(formulation, self.split.train))

        def measures(name: str) -> ValidationSet:
            return self._validation(objective, formulation, getattr(self.split, name), unit)

        return TrainingTask(objective, self._start(network, theta, seed), measures)

    def _start(self, network: FeatureNetwork, theta: Tensor | None, seed: int | None) -> Tensor:
        """First weights: these, or the initial ones of a seed."""
        start = network.initial(self._settings.seed if seed is None else seed) if theta is None else theta
        return start.to(device=self.device, dtype=self._dtype)

    def _validation(
        self, objective: ReducedObjective | StreamedObjective, formulation: Formulation, samples: Samples, unit: float
    ) -> ValidationSet:
        """Of samples whose weights are over this unit."""
        return ValidationSet(
            objective,
            self._inputs(formulation, samples),
            self._targets(formulation, samples),
            self._tensor(self._scaled_weights(formulation, samples) / unit),
            self._fixed(formulation, samples),
            self._norms(formulation, samples),
        )

    def surrogate(self, network: FeatureNetwork, theta: Tensor, weights: Tensor, formulation: Formulation) -> Surrogate:
        """The model of theta and W of the scaled problem, not yet judged."""
        train = self.split.train
        spaces = train.parameter_space, train.observable_space
        surrogate = Surrogate.assemble(
            network, theta, weights, formulation.scaling, *spaces, train.provenance, formulation.polynomials
        )
        return replace(surrogate, training=self.record())

    def refitted_weights(self, network: FeatureNetwork, theta: Tensor, formulation: Formulation) -> Tensor:
        """W in the unit of the observables, solved on training and validation samples together, theta as it is.

        The polynomial's coefficients are most of the model: on DC resistivity from 288 solves this lowers the mean
        error by 15-35 % and halves the largest at best. A network's alone gain nothing.
        """
        everything = self.split.train.joined(self.split.validation)
        weights = self._objective(network, formulation, everything, 0.0).at(theta).outer_weights
        return formulation.scaling.outer_weights(weights)

    def row_weights(self, samples: Samples) -> Array:
        """Weights omega of the samples in the error, in one over the unit of the scaled observables, (n,)."""
        if self.goal == "absolute":
            return np.ones(len(samples))
        return 1 / self.measure.norms(samples.anomalous)

    def scaled(self, anomalous: Array) -> Array:
        """Observables less the background (n, n_out) in the unit of `row_weights`."""
        return anomalous if self.measure.output_scale is None else anomalous / self.measure.output_scale

    def tangents(self, formulation: Formulation, samples: Samples) -> Tangents | None:
        """The derivatives of samples in a formulation; None where they have none."""
        if samples.directions is None or samples.derivatives is None:
            return None
        scaling, train = formulation.scaling, formulation.scaling.inputs(self.split.train.parameters)
        along = samples.directions, samples.derivatives
        directions, slopes = scaling.tangents(samples.parameters, samples.observables, *along)
        lengths = np.linalg.norm(directions / spread_or_size(train, train.std(0)), axis=2)
        known = lengths > 0
        factors = np.divide(math.sqrt(train.shape[1]), lengths, out=np.zeros_like(lengths), where=known)
        weights = np.repeat(1 / np.sqrt(np.maximum(known.sum(1), 1))[:, None], known.shape[1], 1)
        return Tangents(directions * factors[..., None], slopes * factors[..., None], factors, weights)

    def _objective(
        self,
        network: FeatureNetwork,
        formulation: Formulation,
        samples: Samples,
        alpha_theta: float,
        curvature: GaussNewtonKind = "golub-pereyra",
    ) -> ReducedObjective:
        weights, alpha_w = self._scaled_weights(formulation, samples), self._settings.alpha_w
        if alpha_w is None:
            alpha_w = 1e-10 if formulation.polynomials is None else POLYNOMIAL_ALPHA_W
        row_weights, fixed = self._tensor(weights / self._root_mean_square(weights)), self._fixed(formulation, samples)
        targets, directions = self._targets(formulation, samples), None
        if (tangents := self.tangents(formulation, samples)) is not None:
            directions = self._tensor(tangents.directions).to(self._dtype)
            row_weights = interleaved(row_weights, row_weights[:, None] * self._tensor(tangents.weights))
            targets = interleaved(targets, self._tensor(tangents.slopes))
            if fixed is not None and formulation.polynomials is not None:
                along = self._tensor(np.asarray(samples.directions) * tangents.factors[..., None])
                terms, parameters = formulation.polynomials.bind(self.device), self._tensor(samples.parameters)
                fixed = interleaved(fixed, tangents_of(terms, parameters, along))
        return reduced_least_squares(
            network,
            self._inputs(formulation, samples),
            targets,
            row_weights=row_weights,
            fixed=fixed,
            alpha_w=alpha_w,
            alpha_theta=alpha_theta,
            compression=COMPRESSION if formulation.polynomials is None else POLYNOMIAL_COMPRESSION,
            curvature=curvature,
            norms=self._norms(formulation, samples),
            directions=directions,
            coupling=self.coupling,
        )

    def _root_mean_square(self, weights: Array) -> float:
        """Of the weights of training samples, what they are over."""
        return math.sqrt(float((weights**2).mean()))

    def _norms(self, formulation: Formulation, samples: Samples) -> Tensor | None:
        """What errors of the scaled residuals are relative to, (n,); None: the norms of the targets, which are that."""
        anomalous, scaling = samples.anomalous, formulation.scaling
        if self.measure == ErrorMeasure() and samples.missing is None and anomalous.any(axis=1).all():
            return None
        unit = np.ravel(scaling.output_scale / (1.0 if (s := self.measure.output_scale) is None else s))[0]
        return self._tensor(self.measure.norms(anomalous) / (unit * scaling.amplitudes(samples.parameters)[:, 0]))

    def _scaled_weights(self, formulation: Formulation, samples: Samples) -> Array:
        """Weights of the scaled residuals: times the amplitude, so that the error weighted is the one in true units."""
        weights = self.row_weights(samples)
        if formulation.scaling.amplitude is None:
            return weights
        return weights * formulation.scaling.amplitudes(samples.parameters)[:, 0]

    def _inputs(self, formulation: Formulation, samples: Samples) -> Tensor:
        return self._tensor(formulation.scaling.inputs(samples.parameters)).to(self._dtype)

    def _targets(self, formulation: Formulation, samples: Samples) -> Tensor:
        return self._tensor(formulation.scaling.targets(samples.parameters, samples.observables))

    def _fixed(self, formulation: Formulation, samples: Samples) -> Tensor | None:
        return None if formulation.polynomials is None else formulation.polynomials(self._tensor(samples.parameters))

    def _tensor(self, values: Array) -> Tensor:
        return torch.as_tensor(values, device=self.device)
