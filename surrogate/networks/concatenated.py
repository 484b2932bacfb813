"""Feature networks of any kind side by side: their features concatenated, one last layer on all of them.

A weighted sum of separable models is a separable model again, W its members' W side by side: an ensemble, or a stack of
polynomials, kernels and networks, is saved, evaluated and differentiated like any single network.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.networks.dense import DenseNetwork
from gnvpro.surrogate.networks.protocol import FeatureNetwork, Linearization
from gnvpro.surrogate.seeds import member_seed


@dataclass(frozen=True)
class ConcatenatedNetwork:
    """Networks of the same inputs; in theta one after the other. Members that are concatenated themselves are taken apart."""

    members: tuple[FeatureNetwork, ...]

    def __post_init__(self) -> None:
        if not self.members or len({member.n_inputs for member in self.members}) > 1:
            raise UsageError("expected at least one network, all of the same number of inputs")
        flat = (m.members if isinstance(m, ConcatenatedNetwork) else (m,) for m in self.members)
        object.__setattr__(self, "members", tuple(itertools.chain.from_iterable(flat)))

    @property
    def n_inputs(self) -> int:
        """Number of inputs."""
        return self.members[0].n_inputs

    @property
    def width(self) -> int:
        """Number of features."""
        return sum(member.width for member in self.members)

    @property
    def n_theta(self) -> int:
        """Number of weights."""
        return sum(member.n_theta for member in self.members)

    @cached_property
    def _sizes(self) -> list[int]:
        return [member.n_theta for member in self.members]

    def initial(self, seed: int) -> Tensor:
        """Those of the members, each with a seed of its own."""
        return torch.cat([member.initial(member_seed(seed, j)) for j, member in enumerate(self.members)])

    def bind(self, theta: Tensor) -> Callable[[Tensor], Tensor]:
        """The map inputs -> features at this theta."""
        bound = [m.bind(part) for m, part in zip(self.members, theta.split(self._sizes), strict=True)]
        return lambda inputs: torch.cat([features(inputs) for features in bound], 1)

    def linearize(self, theta: Tensor, inputs: Tensor) -> _Concatenated:
        """The same with what derivative products need kept."""
        parts = theta.split(self._sizes)
        return _Concatenated([m.linearize(part, inputs) for m, part in zip(self.members, parts, strict=True)], self)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able description, read back by `gnvpro.surrogate.networks.registry`."""
        return {"kind": "concatenated", "members": [member.to_dict() for member in self.members]}


class _Concatenated:
    def __init__(self, parts: Sequence[Linearization], network: ConcatenatedNetwork) -> None:
        self._parts = parts
        self._widths, self._sizes = [member.width for member in network.members], network._sizes
        self.features = torch.cat([part.features for part in parts], 1)

    def jvp(self, direction: Tensor) -> Tensor:
        moves = direction.split(self._sizes)
        return torch.cat([part.jvp(move) for part, move in zip(self._parts, moves, strict=True)], 1)

    def vjp(self, seed: Tensor) -> Tensor:
        seeds = seed.split(self._widths, 1)
        return torch.cat([part.vjp(one.contiguous()) for part, one in zip(self._parts, seeds, strict=True)])


def weighted_sum(
    members: Sequence[tuple[FeatureNetwork, Tensor, Tensor]], coefficients: Sequence[float | Tensor]
) -> tuple[ConcatenatedNetwork, Tensor, Tensor]:
    """The sum of separable models (network, theta, W (n_out, width + 1)) times a coefficient each: network, theta and W.

    Coefficients are numbers, or one for every output, (n_out, 1). The biases are multiplied and added too.
    """
    weights = [outer * factor for (_, _, outer), factor in zip(members, coefficients, strict=True)]
    return _side_by_side(members, [theta for _, theta, _ in members], weights)


def mean_of(
    members: Sequence[tuple[DenseNetwork, Tensor, Tensor]], gains: Sequence[float]
) -> tuple[ConcatenatedNetwork, Tensor, Tensor]:
    """The mean of separable dense networks (network, theta, W (n_out, width + 1)): network, theta and W.

    Parameters
    ----------
    gains
        What each member's inputs are multiplied with before they come in, taken into its first layer here.
    """
    thetas = []
    for (network, theta, _), gain in zip(members, gains, strict=True):
        scaled = theta.clone()
        scaled[: network.n_inputs * network.widths[0]] *= gain  # the bias row stays
        thetas.append(scaled)
    # Divided, not multiplied by 1/n, which rounds otherwise.
    return _side_by_side(members, thetas, [outer / len(members) for _, _, outer in members])


def _side_by_side(
    members: Sequence[tuple[FeatureNetwork, Tensor, Tensor]], thetas: Sequence[Tensor], weights: Sequence[Tensor]
) -> tuple[ConcatenatedNetwork, Tensor, Tensor]:
    bias = torch.stack([outer[:, -1] for outer in weights]).sum(0)
    together = torch.cat([*(outer[:, :-1] for outer in weights), bias[:, None]], 1)
    return ConcatenatedNetwork(tuple(network for network, *_ in members)), torch.cat(list(thetas)), together
