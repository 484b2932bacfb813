"""Invertible scaling of parameters and observables, fitted to training data."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch

from gnvpro.surrogate.equality import ComparedByValue
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.networks.polynomials import Amplitude
from gnvpro.surrogate.rounding import spread_or_size
from gnvpro.surrogate.spaces import Array


@dataclass(frozen=True, eq=False)
class Scaling(ComparedByValue):
    """Network inputs (y - input_shift) * input_scale, network targets (c - background) / (amplitude(y) output_scale).

    One number scales all observables: scaling each by its own spread would change what a relative error means. The
    amplitude, likewise the same for all observables of a sample, takes out how their size depends on the parameters.
    """

    input_shift: Array
    input_scale: Array
    output_scale: float
    background: Array | None = None
    amplitude: Amplitude | None = None

    @classmethod
    def standardised(
        cls,
        parameters: Array,
        observables: Array,
        gain: float,
        background: Array | None = None,
        amplitude: Amplitude | None = None,
    ) -> Scaling:
        """Inputs of zero mean and standard deviation gain / sqrt(n_inputs), targets of unit RMS.

        The gain sets how nonlinear the first layer starts: 0.1 keeps tanh nearly linear. A parameter that does
        not vary is shifted, and scaled by its own size.
        """
        shift, spread = parameters.mean(0), spread_or_size(parameters, parameters.std(0))
        unscaled = cls(shift, gain / math.sqrt(parameters.shape[1]) / spread, 1.0, background, amplitude)
        return replace(unscaled, output_scale=_rms(unscaled.targets(parameters, observables)))

    @classmethod
    def raw(cls, parameters: Array, observables: Array, background: Array | None = None) -> Scaling:
        """Inputs as they are (the original study's choice), targets of unit RMS."""
        n = parameters.shape[1]
        unscaled = cls(np.zeros(n), np.ones(n), 1.0, background)
        return replace(unscaled, output_scale=_rms(unscaled.targets(parameters, observables)))

    def inputs(self, parameters: Array) -> Array:
        """Parameters (n, n_in) as network inputs."""
        return (parameters - self.input_shift) * self.input_scale

    def targets(self, parameters: Array, observables: Array) -> Array:
        """Observables (n, n_out) at parameters (n, n_in) as network targets."""
        anomalous = observables if self.background is None else observables - self.background
        return anomalous / self.output_unit(parameters)

    def output_unit(self, parameters: Array) -> Array | float:
        """What one unit of a target is in the unit of the observables: (n, 1), or one number for all samples."""
        if self.amplitude is None:
            return self.output_scale
        return self.amplitude(torch.from_numpy(np.ascontiguousarray(parameters, float))).numpy() * self.output_scale


def _rms(observables: Array) -> float:
    rms = math.sqrt(float((observables**2).mean()))
    if rms == 0:
        raise UsageError("all observables of the training set are zero (or the background); there is nothing to learn")
    return rms
