"""Invertible affine scaling of parameters and observables, fitted to training data."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from surrogate.forward_model import Array


@dataclass(frozen=True)
class Scaling:
    """Network inputs (y - input_shift) * input_scale, network targets c / output_scale.

    One number scales all observables: scaling each by its own spread would change what a relative error means.
    """

    input_shift: Array
    input_scale: Array
    output_scale: float

    @classmethod
    def standardised(cls, parameters: Array, observables: Array, gain: float) -> Scaling:
        """Inputs of zero mean and standard deviation gain / sqrt(n_inputs), observables of unit RMS.

        The gain sets how nonlinear the first layer starts: 0.1 keeps tanh nearly linear. A parameter that does
        not vary is only shifted.
        """
        shift, spread = parameters.mean(0), parameters.std(0)
        spread = np.where(spread > 1e-12 * max(1.0, float(np.abs(shift).max())), spread, 1.0)
        return cls(shift, gain / math.sqrt(parameters.shape[1]) / spread, _rms(observables))

    @classmethod
    def raw(cls, parameters: Array, observables: Array) -> Scaling:
        """Inputs as they are (the original study's choice), observables of unit RMS."""
        n = parameters.shape[1]
        return cls(np.zeros(n), np.ones(n), _rms(observables))

    def inputs(self, parameters: Array) -> Array:
        """Parameters (n, n_in) as network inputs."""
        return (parameters - self.input_shift) * self.input_scale

    def targets(self, observables: Array) -> Array:
        """Observables (n, n_out) as network targets."""
        return observables / self.output_scale


def _rms(observables: Array) -> float:
    rms = math.sqrt(float((observables**2).mean()))
    if rms == 0:
        raise ValueError("all observables of the training set are zero; there is nothing to learn")
    return rms
