"""Invertible scaling of parameters and observables, fitted to training data."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gnvpro.surrogate.derivatives import directional
from gnvpro.surrogate.equality import ComparedByValue
from gnvpro.surrogate.missing import mean, mean_square
from gnvpro.surrogate.networks.polynomials import Amplitude
from gnvpro.surrogate.rounding import spread_or_size
from gnvpro.surrogate.spaces import Array, Space

# Of a positive parameter: largest over smallest sample from which it may enter by its logarithm.
_DECADES = 100.0


@dataclass(frozen=True, eq=False)
class Scaling(ComparedByValue):
    """Network inputs (t(y) - input_shift) * input_scale, targets (c - background - centre) / (amplitude(y) output_scale).

    t is the logarithm of the parameters that are `logarithmic`, (n_in,) flags, and nothing of the others. One number
    scales all observables of one unit: scaling each by its own spread would change what a relative error means. Those of
    different units have scales of their own, (n_out,). The amplitude, the same for all observables of a sample, takes out
    how their size depends on the parameters.
    """

    input_shift: Array
    input_scale: Array
    output_scale: float | Array
    background: Array | None = None
    amplitude: Amplitude | None = None
    centre: Array | None = None
    logarithmic: NDArray[np.bool_] | None = None

    @classmethod
    def standardised(
        cls,
        parameters: Array,
        observables: Array,
        gain: float,
        background: Array | None = None,
        amplitude: Amplitude | None = None,
        *,
        unit: Array | None = None,
        centred: bool = False,
        logarithmic: NDArray[np.bool_] | None = None,
    ) -> Scaling:
        """Inputs of zero mean and standard deviation gain / sqrt(n_inputs), targets of unit RMS.

        The gain sets how nonlinear the first layer starts: 0.1 keeps tanh nearly linear. A parameter that does
        not vary is shifted, and scaled by its own size.

        Parameters
        ----------
        unit : (n_out,)
            Sizes of the outputs beside each other, see `gnvpro.surrogate.error_measure.measure_for`; None for outputs of
            one unit.
        centred
            Targets of zero mean.
        """
        y = transformed(parameters, logarithmic)
        shift, spread = y.mean(0), spread_or_size(y, y.std(0))
        unscaled = cls(
            shift,
            gain / math.sqrt(parameters.shape[1]) / spread,
            1.0,
            background,
            amplitude,
            logarithmic=logarithmic,
        )
        return unscaled._with_unit_targets(parameters, observables, unit, centred)

    @classmethod
    def raw(
        cls,
        parameters: Array,
        observables: Array,
        background: Array | None = None,
        unit: Array | None = None,
    ) -> Scaling:
        """Inputs as they are (the original study's choice), targets of unit RMS."""
        n = parameters.shape[1]
        return cls(np.zeros(n), np.ones(n), 1.0, background)._with_unit_targets(parameters, observables, unit, False)

    def _with_unit_targets(self, parameters: Array, observables: Array, unit: Array | None, centred: bool) -> Scaling:
        relative_sizes = self if unit is None else replace(self, output_scale=unit)
        if centred:
            anomalous = observables if self.background is None else observables - self.background
            relative_sizes = replace(relative_sizes, centre=mean(anomalous))
        rms = math.sqrt(mean_square(relative_sizes.targets(parameters, observables))) or 1.0
        return replace(relative_sizes, output_scale=relative_sizes.output_scale * rms)

    def inputs(self, parameters: Array) -> Array:
        """Parameters (n, n_in) as network inputs."""
        return (transformed(parameters, self.logarithmic) - self.input_shift) * self.input_scale

    def targets(self, parameters: Array, observables: Array) -> Array:
        """Observables (n, n_out) at parameters (n, n_in) as network targets."""
        anomalous = observables if self.background is None else observables - self.background
        if self.centre is not None:
            anomalous = anomalous - self.centre
        return anomalous / self.output_unit(parameters)

    def tangents(
        self, parameters: Array, observables: Array, directions: Array, derivatives: Array
    ) -> tuple[Array, Array]:
        """Directions (n, r, n_in) as those of network inputs, derivatives (n, r, n_out) along them as those of targets."""
        inputs = directions * self.input_scale
        if self.logarithmic is not None:
            inputs = inputs / np.where(self.logarithmic, parameters, 1.0)[:, None]
        if self.amplitude is None:
            return inputs, derivatives / self.output_scale
        # The quotient rule, with the logarithm of the amplitude: (c / a)' = c' / a - (c / a) (log a)'.
        along, r = torch.from_numpy(directions.reshape(-1, directions.shape[2])), directions.shape[1]
        bound = self.amplitude.bind()
        at = torch.from_numpy(np.repeat(parameters, r, axis=0))
        relative = directional(lambda y: torch.log(bound(y)), at, along).numpy().reshape(len(parameters), r, 1)
        unit = (self.amplitudes(parameters) * self.output_scale)[:, None]
        return inputs, derivatives / unit - self.targets(parameters, observables)[:, None] * relative

    def observables(self, parameters: Array, targets: Array) -> Array:
        """Inverse of `targets`: observables (n, n_out) from network targets at parameters (n, n_in)."""
        values = targets * self.output_unit(parameters)
        for shift in (self.background, self.centre):
            values = values if shift is None else values + shift
        return values

    def output_unit(self, parameters: Array) -> Array | float:
        """What one unit of a target is in the unit of the observables: (n, n_out), or what broadcasts to it."""
        if self.amplitude is None:
            return self.output_scale
        return self.amplitudes(parameters) * self.output_scale

    def amplitudes(self, parameters: Array) -> Array:
        """The amplitude at parameters (n, n_in), (n, 1); ones where there is none."""
        if self.amplitude is None:
            return np.ones((len(parameters), 1))
        return self.amplitude(torch.from_numpy(np.ascontiguousarray(parameters, float))).numpy()

    def outer_weights(self, scaled_weights: Tensor) -> Tensor:
        """W (n_out, width + q) in the unit of the observables, on the CPU, from that of the targets; the bias is last."""
        scale = torch.as_tensor(self.output_scale, dtype=torch.float64).reshape(-1, 1)
        weights = scaled_weights.detach().cpu().double() * scale
        if self.centre is not None:
            weights[:, -1] += torch.from_numpy(self.centre)
        # Contiguous as after loading, so that a model and its copy agree in every bit.
        return weights.contiguous()


def logarithmic_parameters(parameters: Array, space: Space) -> NDArray[np.bool_] | None:
    """Which parameters enter by their logarithm, (n_in,); None for none.

    Those of a space with the law `log_uniform`, and those whose own law says so. Where the law is unknown, those that are
    positive and span two decades, if the middle of the samples is nearer to the geometric mean of their ends than to the
    arithmetic one: uniform samples near zero span decades too. On a simplex none does.
    """
    lowest, highest = parameters.min(axis=0), parameters.max(axis=0)
    positive = lowest > 0
    if space.constraint == "simplex" or space.law not in ("log_uniform", "independent", "unknown"):
        return None
    if space.law == "independent":
        positive &= np.array([law.logarithmic for law in space.laws for _ in range(law.size)])
    if space.law == "unknown":
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            span, middle = np.log(highest) - np.log(lowest), np.log(np.median(parameters, axis=0)) - np.log(lowest)
            # In logarithms from the lower end: the geometric mean is half way, the arithmetic one log(1 + e^span) - log 2.
            between = 0.5 * (0.5 * span + np.logaddexp(0.0, span) - math.log(2))
            positive &= (span > math.log(_DECADES)) & (middle < between)
    return positive if positive.any() else None


def transformed(parameters: Array, logarithmic: NDArray[np.bool_] | None) -> Array:
    """Parameters (n, n_in), the logarithmic ones by their logarithm."""
    if logarithmic is None:
        return parameters
    transformed = np.array(parameters, float)
    transformed[:, logarithmic] = np.log(transformed[:, logarithmic])
    return transformed
