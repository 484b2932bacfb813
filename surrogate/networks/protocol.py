"""What a feature network is: its pass at given weights, and derivative products there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor

from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.names import shortened

# A gigabyte in double precision; a step of training holds it a dozen times.
MOST_WEIGHTS = 10**8


def require_weights(n_theta: int) -> None:
    """UsageError for a network of more than `MOST_WEIGHTS` weights, before any is made."""
    if n_theta > MOST_WEIGHTS:
        raise UsageError(f"expected a network of at most {MOST_WEIGHTS:.0e} weights, got {shortened(n_theta)}")


def with_ones(rows: Tensor) -> Tensor:
    """Inputs as a layer with a bias sees them: a column of ones appended."""
    return torch.cat([rows, rows.new_ones(*rows.shape[:-1], 1)], -1)


class Evaluation(NamedTuple):
    """One evaluation of a dense layer.

    Attributes
    ----------
    where
        Of the layer's matrix (fan_in + 1, fan_out), bias last, in unfolded coordinates: there every layer has a full one.
    inputs : (n, fan_in)
    sensitivities : (..., n, fan_out)
        Gradients by the layer's pre-activation, one for every seed.
    bias : (n, 1)
        What the bias is multiplied with: ones where None, zeros in rows of derivatives.
    """

    where: slice
    inputs: Tensor
    sensitivities: Tensor
    bias: Tensor | None = None

    @property
    def with_bias(self) -> Tensor:
        """Inputs (n, fan_in + 1) as the whole matrix sees them."""
        return with_ones(self.inputs) if self.bias is None else torch.cat([self.inputs, self.bias], 1)


class Linearization(Protocol):
    """A network at one theta: its features, and products with their derivative by theta."""

    @property
    def features(self) -> Tensor:
        """Z, (n, width)."""
        ...

    def jvp(self, direction: Tensor) -> Tensor:
        """Change of the features along `direction`: (n_theta,) -> (n, width)."""
        ...

    def vjp(self, seed: Tensor) -> Tensor:
        """Gradient of <seed, features> by theta: (n, width) -> (n_theta,)."""
        ...


class FixedFeatures(NamedTuple):
    """The linearisation of features that have no weights."""

    features: Tensor

    def jvp(self, direction: Tensor) -> Tensor:
        """No change, (n, width)."""
        return torch.zeros_like(self.features)

    def vjp(self, seed: Tensor) -> Tensor:
        """No weights, (0,)."""
        return seed.new_zeros(0)


@runtime_checkable
class FeatureNetwork(Protocol):
    """A differentiable map from inputs (n, n_inputs) to features (n, width)."""

    @property
    def n_inputs(self) -> int:
        """Number of inputs."""
        ...

    @property
    def width(self) -> int:
        """Number of features."""
        ...

    @property
    def n_theta(self) -> int:
        """Number of weights."""
        ...

    def initial(self, seed: int) -> Tensor:
        """Random initial theta, (n_theta,), float64 on the CPU: the same on every device."""
        ...

    def bind(self, theta: Tensor) -> Callable[[Tensor], Tensor]:
        """The map inputs -> features at this theta, unpacked once; differentiable by autograd in both."""
        ...

    def linearize(self, theta: Tensor, inputs: Tensor) -> Linearization:
        """Features with what their derivative products need kept."""
        ...

    def to_dict(self) -> dict[str, Any]:
        """JSON-able description, read back by `gnvpro.surrogate.networks.registry`."""
        ...


class Layer(NamedTuple):
    """A layer seen by a curvature estimate: where it sits in theta, what came in, what came back.

    The gradient by the layer's matrix at one sample is the sum over positions of inputs times sensitivities.

    Attributes
    ----------
    where
        A slice that holds the matrix (fan_in, fan_out) row by row, or the places of its entries in theta, of that shape;
        a third dimension in front are matrices that share the curvature.
    inputs : (n, fan_in) or (n, positions, fan_in)
        With a column of ones where the layer has a bias.
    sensitivities : (n, fan_out) or (n, positions, fan_out)
        Gradient by the layer's pre-activation.
    """

    where: slice | Tensor
    inputs: Tensor
    sensitivities: Tensor


@runtime_checkable
class LayeredLinearization(Linearization, Protocol):
    """A linearisation that shows its layers, for Kronecker-factored curvature."""

    @property
    def layer_forwards(self) -> int:
        """Forward passes that `layers` costs besides its backward pass."""
        ...

    def layers(self, seed: Tensor) -> list[Layer] | None:
        """Inputs and back-propagated sensitivities of every layer, for the seed (n, width); None where it has none."""
        ...
