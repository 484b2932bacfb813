"""Corrections of a coarse model: changes of its last layer, and features of their own, fitted to a few fine samples.

With z: features of the coarse model and the constant, W_c: its last layer, a fine observable is (W_c + D) z + W_o z_o. What
D may be are blocks, whose variances the evidence chooses (`components`):

- features: rows of D with deviations in proportion to those of W_c, for networks and polynomials each;
- kernels: columns of D with the covariance K^-1 of the kernels at their centres, so that D z is a process of that kernel;
- outputs: D = M W_c, a linear map of all coarse observables; of one observable it is a scale;
- constant: the last column of D;
- linear: the parameters themselves beside the features (z_o);
- own: kernels at the fine samples with length scales of the difference (z_o).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gnvpro.surrogate.model.inputs import bound_inputs
from gnvpro.surrogate.model.surrogate import Surrogate
from gnvpro.surrogate.networks.concatenated import ConcatenatedNetwork
from gnvpro.surrogate.networks.kernels import KernelFeatures, own_norm
from gnvpro.surrogate.networks.protocol import FeatureNetwork
from gnvpro.surrogate.networks.sparse_polynomials import SparsePolynomials
from gnvpro.surrogate.networks.tangents import tangents_of
from gnvpro.surrogate.samples import Samples
from gnvpro.surrogate.spaces import Array
from gnvpro.training.choice.contenders import Member, Problem
from gnvpro.training.choice.kernel_fits import Columns, fit_hyperparameters
from gnvpro.training.fidelities.components import fit_components

_OWN_KERNEL, _OWN_ITERATIONS = "gaussian", 60
# Samples that length scales are fitted to.
_FIRST = 300


@dataclass(frozen=True, eq=False)
class Block:
    """Columns that a correction may be made of.

    Attributes
    ----------
    design : (n, 1 + r, p)
        Values and derivatives at the fine samples, in coordinates in which coefficients have equal deviations.
    factor : (m, p)
        From these coefficients to those of the columns.
    place
        Of the columns among the features of the coarse model, or features of their own.
    """

    name: str
    design: Array
    factor: Array
    place: NDArray[np.intp] | Member


@dataclass(frozen=True, eq=False)
class Correction:
    """A change of the last layer, transposed, of rotated targets (m, k), and features of its own, of all of them."""

    lifted: Array
    own: tuple[Member, ...]
    used: tuple[str, ...]


class CoarseModel:
    """A coarse model at the fine samples, in their scaled problem.

    Parameters
    ----------
    surrogate
        In float64.
    samples
        The fine ones. Their derivatives count where the model has no amplitude.

    Attributes
    ----------
    columns : (n, 1 + r, m)
        Features and the constant at every sample, then their derivatives along its r directions.
    factors : (n, r)
        What derivatives are multiplied with, so that all directions have one length, the root of the number of inputs in
        standard deviations of these; zero for derivatives that are not known.
    """

    def __init__(self, surrogate: Surrogate, samples: Samples) -> None:
        self.surrogate, parameters = surrogate, torch.from_numpy(samples.parameters)
        self.amplitudes, along = np.ones(len(parameters)), samples.directions
        if surrogate.amplitude is not None:
            self.amplitudes, along = surrogate.amplitude(parameters).numpy()[:, 0], None
        inputs = bound_inputs(surrogate.input_shift, surrogate.input_scale, surrogate.logarithmic)
        self._inputs, given = inputs(parameters), np.zeros((len(parameters), 0, parameters.shape[1]))
        given = torch.from_numpy(given if along is None else along)
        directions = tangents_of(inputs, parameters, given)
        self.gain = float((self._inputs**2).sum(1).mean().sqrt()) or 1.0
        lengths = torch.linalg.vector_norm(directions, dim=2)
        factors = torch.where(lengths > 0, self.gain / lengths.clamp(min=torch.finfo(lengths.dtype).tiny), 0.0)
        self.factors, self._directions = factors.numpy(), directions * factors[..., None]
        columns = [self._rows(surrogate.network, surrogate.theta)]
        if (polynomials := surrogate.polynomials) is not None:
            slopes = tangents_of(polynomials.bind(), parameters, given * factors[..., None])
            columns.append(torch.cat([polynomials(parameters)[:, None], slopes], 1).numpy())
        constant = np.zeros((len(parameters), 1 + self.factors.shape[1], 1))
        constant[:, 0] = 1
        self.columns = np.concatenate([*columns, constant], 2)

    def _rows(self, network: FeatureNetwork, theta: Tensor) -> Array:
        """Features and their derivatives, (n, 1 + r, width)."""
        features = network.bind(theta)
        values = features(self._inputs)
        return torch.cat([values[:, None], tangents_of(features, self._inputs, self._directions)], 1).numpy()

    @property
    def inputs(self) -> Array:
        """Of gain one, (n, n_in)."""
        return self._inputs.numpy() / self.gain

    @property
    def directions(self) -> Array:
        """Those of gain one, (n, r, n_in)."""
        return self._directions.numpy() / self.gain

    def blocks(self, outer: Array) -> list[Block]:
        """Of features, kernels, outputs, the constant and the linear terms; outer: W' (m, k) of the scaled problem."""
        surrogate, columns, last = self.surrogate, self.columns, self.columns.shape[2] - 1
        blocks, is_feature, start, of_theta = list[Block](), np.ones(last, bool), 0, 0
        for member in getattr(surrogate.network, "members", (surrogate.network,)):
            where = np.arange(start, start + member.width)
            theta = surrogate.theta[of_theta : of_theta + member.n_theta]
            start, of_theta = start + member.width, of_theta + member.n_theta
            if isinstance(member, KernelFeatures):
                factor = own_norm(member, theta)
                blocks.append(Block("kernels", columns[..., where] @ factor, factor, where))
                is_feature[where] = False
        where, everything = np.flatnonzero(is_feature), np.arange(last + 1)
        if len(where):
            factor = np.diag(np.linalg.norm(outer[where], axis=1))
            blocks.append(Block("features", columns[..., where] @ factor, factor, where))
        blocks.append(Block("outputs", columns @ outer, outer, everything))
        blocks.append(Block("constant", columns[..., last:], np.ones((1, 1)), everything[last:]))
        return [*blocks, self._linear()]

    def _linear(self) -> Block:
        n_in = self._inputs.shape[1]
        exponents = np.eye(n_in, dtype=np.int64)
        network = SparsePolynomials(exponents, ("hermite",) * n_in, (0.0,) * n_in, (self.gain,) * n_in)
        theta = network.initial(0)
        return Block("linear", self._rows(network, theta), np.eye(n_in), Member(network, theta, torch.empty(0)))

    def own_kernels(self, problem: Problem, rows: NDArray[np.bool_]) -> Block:
        """Kernels at these samples, their length scales by the likelihood of the differences there."""
        unit = math.sqrt(self.inputs.shape[1])
        inputs, differences = self.inputs * unit, problem.targets
        variance = ((differences * problem.weights[:, None])[rows] ** 2).sum(0)
        importance = variance / variance.sum() if variance.any() else np.full(len(variance), 1 / len(variance))
        noise = 1 / problem.weights**2
        columns = Columns(inputs, differences, np.ones((len(inputs), 1)), noise, importance).rows(rows)
        logarithms = fit_hyperparameters(columns.rows(slice(0, _FIRST)), _OWN_KERNEL, _OWN_ITERATIONS)
        centres = self.inputs[rows] * self.gain
        network = KernelFeatures(inputs.shape[1], len(centres), _OWN_KERNEL)
        lengths = logarithms[:-1] + math.log(self.gain / unit)
        theta = torch.from_numpy(np.concatenate([lengths, centres.ravel()]))
        factor = own_norm(network, theta)
        return Block("own kernels", self._rows(network, theta) @ factor, factor, Member(network, theta, torch.empty(0)))


def correct(
    blocks: Sequence[Block], problem: Problem, rows: NDArray[np.bool_], n_columns: int
) -> tuple[Correction, Array]:
    """A correction by these samples, and what it adds to the targets of all, (n, k).

    Parameters
    ----------
    problem
        Its targets are fine ones less those of the coarse model.
    n_columns
        Of the coarse model.
    """
    weights, differences = problem.weights, problem.targets
    slopes, slope_weights = np.zeros((len(weights), 0, differences.shape[1])), np.zeros((len(weights), 0))
    if problem.slopes is not None and problem.slope_weights is not None:
        slopes, slope_weights = problem.slopes, problem.slope_weights
    weights = np.concatenate([np.ones((len(weights), 1)), slope_weights], 1)[..., None] * weights[:, None, None]

    def weighted(values: Array) -> Array:
        return (values * weights)[rows].reshape(-1, values.shape[-1])

    residuals = np.concatenate([differences[:, None], slopes], 1)
    coefficients = fit_components([weighted(block.design) for block in blocks], weighted(residuals))
    added, lifted, own = np.zeros_like(differences), np.zeros((n_columns, differences.shape[1])), list[Member]()
    for j, of_block in coefficients.items():
        block = blocks[j]
        added += block.design[:, 0] @ of_block
        outer = block.factor @ of_block
        if isinstance(block.place, Member):
            rotated = problem.rotation.T @ outer.T
            own.append(block.place._replace(weights=torch.from_numpy(np.append(rotated, 0 * rotated[:, :1], 1))))
        else:
            lifted[block.place] += outer
    return Correction(lifted, tuple(own), tuple(blocks[j].name for j in coefficients)), added


def rescaled(member: Member, gain: float) -> Member:
    """Kernels or sparse polynomials of inputs of gain one as those of inputs of this gain."""
    networks, thetas, start = [], [], 0
    for part in getattr(member.network, "members", (member.network,)):
        theta = member.theta[start : start + part.n_theta].clone()
        start += part.n_theta
        if isinstance(part, KernelFeatures):
            theta[: part.n_inputs] += math.log(gain)
            theta[part.n_inputs :] *= gain
        elif isinstance(part, SparsePolynomials):
            part = replace(
                part, centre=tuple(gain * c for c in part.centre), radius=tuple(gain * r for r in part.radius)
            )
        networks.append(part)
        thetas.append(theta)
    network = networks[0] if len(networks) == 1 else ConcatenatedNetwork(tuple(networks))
    return Member(network, torch.cat(thetas), member.weights)
