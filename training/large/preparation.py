"""From a source of samples to training tasks: every process has its share of the training samples, in memory or in a file.

What decides (goal, measure, logarithms) is seen on some samples that all processes have; what scales is a sum over all of
them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import override

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gnvpro.surrogate.coupling import Coupling
from gnvpro.surrogate.elimination.compression import rotation_of
from gnvpro.surrogate.elimination.least_squares import GaussNewtonKind
from gnvpro.surrogate.elimination.streamed import solve_streamed
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.networks.polynomials import Amplitude, PolynomialBasis
from gnvpro.surrogate.networks.protocol import FeatureNetwork
from gnvpro.surrogate.objectives.protocol import OuterLayer
from gnvpro.surrogate.objectives.reduced import ReducedObjective
from gnvpro.surrogate.objectives.rows import Part, RowsOnDisk, ScaledInputs
from gnvpro.surrogate.objectives.streamed import StreamedLayer, StreamedObjective, streamed, weighted_columns
from gnvpro.surrogate.rounding import spread_or_size
from gnvpro.surrogate.sample_source import SampleSource
from gnvpro.surrogate.samples import Samples, Split
from gnvpro.surrogate.scaling import Scaling, transformed
from gnvpro.surrogate.spaces import Array
from gnvpro.training.fitting.methods import TrainingTask
from gnvpro.training.fitting.preparation import Formulation, Preparation
from gnvpro.training.fitting.validation import ValidationSet
from gnvpro.training.settings import COMPRESSION, TrainSettings

# Of the samples that are read at a time.
_BYTES = 16 * 2**20


@dataclass(frozen=True, eq=False)
class Moments:
    """Of all training samples: of the inputs after their logarithms, of observables less background; bounds of parameters."""

    n: int
    input_mean: Array
    input_spread: Array
    mean: Array
    mean_square: Array
    variance: Array
    lower: Array
    upper: Array

    @classmethod
    def of(
        cls, blocks: Iterator[Samples], pilot: Samples, logarithmic: NDArray[np.bool_] | None, coupling: Coupling
    ) -> Moments:
        """By sums about the means of a few of them: differences of squares are taken of what is small then."""
        about, centre = transformed(pilot.parameters, logarithmic).mean(axis=0), pilot.anomalous.mean(axis=0)
        n, d, m = 0, len(about), len(centre)
        sums, extremes = np.zeros((2, d + m)), np.full((2, d), -np.inf)
        for samples in blocks:
            n += len(samples)
            shifted = np.concatenate(
                [transformed(samples.parameters, logarithmic) - about, samples.anomalous - centre], axis=1
            )
            sums += shifted.sum(axis=0), (shifted**2).sum(axis=0)
            extremes = np.maximum(extremes, [samples.parameters.max(axis=0), (-samples.parameters).max(axis=0)])
        count, total = coupling.sums(torch.tensor([float(n)], dtype=torch.float64), torch.from_numpy(sums))
        upper, lower = coupling.largest(torch.from_numpy(extremes)).numpy()
        n = int(count[0])
        first, second = total.numpy() / n
        variance = np.maximum(second[:d] - first[:d] ** 2, 0.0)
        shift = first[d:]
        # Of c = centre + x: mean square is centre² + 2 centre <x> + <x²>.
        mean_square = centre**2 + 2 * centre * shift + second[d:]
        of_outputs = np.maximum(second[d:] - shift**2, 0.0)
        return cls(n, about + first[:d], np.sqrt(variance), centre + shift, mean_square, of_outputs, -lower, upper)


class LargePreparation(Preparation):
    """As `Preparation`, of a source of samples.

    Parameters
    ----------
    numbers
        Of the training samples, ascending; the same in all processes, of which each takes its share.
    split
        Its training samples are some of all, `pilot`, and the other sets whole.
    in_memory
        Whether this process's samples are.
    """

    def __init__(
        self,
        source: SampleSource,
        numbers: NDArray[np.intp],
        split: Split,
        settings: TrainSettings,
        coupling: Coupling,
        in_memory: bool,
    ) -> None:
        super().__init__(split, settings)
        if len(numbers) < coupling.size:
            raise UsageError(f"expected at least a sample for each of {coupling.size} processes, got {len(numbers)}")
        self.coupling, self._source, self._in_memory = coupling, source, in_memory
        self._numbers = numbers[coupling.share(len(numbers))]
        self._layers: dict[tuple[bytes, str], tuple[RowsOnDisk, Tensor]] = {}
        # A logarithm that the few samples allow, and others do not.
        wrong = self._logarithmic is not None and any(
            bool((samples.parameters[:, self._logarithmic] <= 0).any()) for samples in self._blocks()
        )
        if coupling.any(wrong):
            self._logarithmic = None

    @cached_property
    def moments(self) -> Moments:
        """Of all training samples."""
        return Moments.of(self._blocks(), self.split.train, self._logarithmic, self.coupling)

    @override
    def standardised(
        self, gain: float, polynomials: PolynomialBasis | None = None, amplitude: Amplitude | None = None
    ) -> Formulation:
        assert polynomials is None
        assert amplitude is None
        moments, unit = self.moments, 1.0 if self.measure.output_scale is None else self.measure.output_scale
        centred = self.measure.output_scale is not None and self.measure.spread is not None
        centre = moments.mean if centred else None
        squares = moments.variance if centred else moments.mean_square
        rms = math.sqrt(float((squares / unit**2).mean())) or 1.0
        pilot = transformed(self.split.train.parameters, self._logarithmic)
        spread = spread_or_size(pilot, moments.input_spread)
        scale = gain / math.sqrt(pilot.shape[1]) / spread
        background = self.split.train.background
        return Formulation(Scaling(moments.input_mean, scale, unit * rms, background, None, centre, self._logarithmic))

    @override
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
        if alpha_theta is None:
            alpha_theta = 1e-9 if self._settings.alpha_theta is None else self._settings.alpha_theta
        objective = self._coupled(network, formulation, alpha_theta, curvature)

        def measures(name: str) -> ValidationSet:
            samples: Samples = getattr(self.split, name)
            mine = samples.subset(np.arange(len(samples))[self.coupling.share(len(samples))])
            return self._validation(objective, formulation, mine, self._unit)

        return TrainingTask(objective, self._start(network, theta, seed), measures)

    def outer_of_all(
        self, network: FeatureNetwork, formulation: Formulation, theta: Tensor, others: Samples
    ) -> OuterLayer:
        """W of the training samples and others, which all processes have: one pass."""
        objective = self._coupled(network, formulation, 0.0, "golub-pereyra")
        objective = objective if isinstance(objective, StreamedObjective) else streamed(objective)
        features, n = network.bind(theta), objective.elimination.n_samples
        mine = others.subset(np.arange(len(others))[self.coupling.share(len(others))])

        def rows() -> Iterator[tuple[Tensor, Tensor]]:
            for part in (*objective.parts(), self._part(formulation, mine, objective.rotation, n)):
                columns = weighted_columns(features(part.inputs), part)
                yield columns, part.targets * part.row_scale

        with torch.no_grad():
            # Of the mean over all: what the regularisation is measured beside.
            alpha_w = objective.elimination.alpha_w * (1 + len(others) / n)
            return OuterLayer(solve_streamed(rows(), alpha_w, self.coupling).outer, objective.elimination.rotation)

    def _coupled(
        self, network: FeatureNetwork, formulation: Formulation, alpha_theta: float, curvature: GaussNewtonKind
    ) -> ReducedObjective | StreamedObjective:
        if self._in_memory:
            key = False, np.asarray(formulation.scaling.output_scale).tobytes(), curvature
            if key not in self._objectives:
                samples = self._source.read(self._numbers)
                self._objectives[key] = self._objective(network, formulation, samples, alpha_theta, curvature)
                self._parameters = samples.parameters
            inputs = self._tensor(formulation.scaling.inputs(self._parameters)).to(self._dtype)
            return self._objectives[key].sibling(network, inputs, alpha_theta)
        key = np.asarray(formulation.scaling.output_scale).tobytes(), curvature
        if key not in self._layers:
            self._layers[key] = self._written(formulation)
        rows, rotation = self._layers[key]
        alpha_w = 1e-10 if self._settings.alpha_w is None else self._settings.alpha_w
        scaling = formulation.scaling
        scaled = ScaledInputs(rows, self._tensor(scaling.input_shift), self._tensor(scaling.input_scale), self._dtype)
        layer = StreamedLayer(len(rows), rotation, alpha_w, curvature, self.coupling)
        return StreamedObjective(network, scaled, layer, alpha_theta)

    @override
    def _root_mean_square(self, weights: Array) -> float:
        return self._unit

    @cached_property
    def _unit(self) -> float:
        """Root mean square of the weights of all training samples."""
        square = sum(float((self.row_weights(samples) ** 2).sum()) for samples in self._blocks())
        total = self.coupling.sum(torch.tensor([square], dtype=torch.float64))
        return math.sqrt(float(total[0]) / self.moments.n)

    def _written(self, formulation: Formulation) -> tuple[RowsOnDisk, Tensor]:
        """The file of this process's samples, their inputs as parameters or logarithms, and the rotation of the targets."""

        def weighted() -> Iterator[Tensor]:
            for samples in self._blocks():
                weights = self._tensor(self._scaled_weights(formulation, samples) / self._unit)
                yield self._targets(formulation, samples) * weights.unsqueeze(1)

        rotation = rotation_of(weighted, COMPRESSION, self.coupling)
        rows = RowsOnDisk((self.split.train.parameters.shape[1], len(rotation), 1), self.device)
        for samples in self._blocks():
            part = self._part(formulation, samples, rotation, self.moments.n)
            raw = self._tensor(transformed(samples.parameters, self._logarithmic))
            rows.append(part._replace(inputs=raw))
        rows.finish()
        return rows, rotation

    def _part(self, formulation: Formulation, samples: Samples, rotation: Tensor, n: int) -> Part:
        targets = self._targets(formulation, samples)
        kept = targets @ rotation.t()
        dropped = torch.linalg.vector_norm(targets - kept @ rotation, dim=1)
        norms = self._norms(formulation, samples)
        weights = self._tensor(self._scaled_weights(formulation, samples) / (self._unit * math.sqrt(n)))
        return Part(
            self._inputs(formulation, samples),
            kept,
            torch.ones_like(kept[:, :1]),
            weights.unsqueeze(1),
            dropped,
            torch.linalg.vector_norm(targets, dim=1) if norms is None else norms,
        )

    def _blocks(self) -> Iterator[Samples]:
        size = max(1, _BYTES // self._source.bytes_per_sample)
        return (self._source.read(self._numbers[at : at + size]) for at in range(0, len(self._numbers), size))
