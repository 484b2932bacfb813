"""The reactions of the convection–diffusion–reaction problem, and their tabulation.

With weights y the reaction term of one sample, Σ_j y_j r_j(u), is a single scalar function of u. Tabulating it
once per sample makes its cost independent of the number of reactions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, ndtri

from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.spaces import Array

FAMILIES = ("michaelis_menten", "hill", "autocatalysis", "haldane", "ignition")
_SIGNS = (-1.0, 1.0, -1.0, -1.0, 1.0)
_GOLDEN_RATIO = 0.6180339887498949


@dataclass(frozen=True)
class Reactions:
    """Smooth, globally Lipschitz rates r_j with r_j(0) = 0, in five families.

    Reaction j belongs to family j mod 5 and has half-saturation K = `half_saturation` + `half_saturation_step`
    (j div 5). Its amplitude is ± `amplitude` exp(`spread` z_j − `spread`²/2), where z_j are fixed normal scores,
    so amplitudes are log-normal with mean `amplitude`.

    `ignition_width`: width of the ignition threshold, relative to K.
    """

    count: int = 55
    half_saturation: float = 5.0
    half_saturation_step: float = 4.0
    amplitude: float = 10.0
    spread: float = 1.0
    ignition_width: float = 0.15

    def __post_init__(self) -> None:
        if self.count < 1:
            raise UsageError(f"expected at least one reaction, got count = {self.count}")
        for name in ("half_saturation", "ignition_width"):
            if not getattr(self, name) > 0:
                raise UsageError(f"expected {name} > 0, got {getattr(self, name)}")
        for name in ("half_saturation_step", "amplitude", "spread"):
            if not getattr(self, name) >= 0:
                raise UsageError(f"expected {name} >= 0, got {getattr(self, name)}")

    @cached_property
    def half_saturations(self) -> Array:
        """K of every reaction: (count,)."""
        return self.half_saturation + self.half_saturation_step * (np.arange(self.count) // len(FAMILIES)).astype(float)

    @cached_property
    def amplitudes(self) -> Array:
        """Signed amplitude of every reaction: (count,)."""
        j = np.arange(self.count)
        scores = ndtri((j + 1) * _GOLDEN_RATIO % 1.0)
        return np.array(_SIGNS)[j % len(FAMILIES)] * self.amplitude * np.exp(self.spread * scores - self.spread**2 / 2)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Family and half-saturation, such as `hill_K9`."""
        return tuple(f"{FAMILIES[j % len(FAMILIES)]}_K{K:g}" for j, K in enumerate(self.half_saturations))

    def rate(self, j: int, u: Any, softplus: Callable[[Any], Any]) -> Any:
        """r_j(u) in whatever arithmetic `u` brings: an array, or an expression of a form language."""
        a, K = float(self.amplitudes[j]), float(self.half_saturations[j])
        match FAMILIES[j % len(FAMILIES)]:
            case "michaelis_menten":
                return a * u * K / (K + u)
            case "hill":
                return a * K * u**2 / (K**2 + u**2)
            case "autocatalysis":
                return a * u**2 / (K + u)
            case "haldane":
                return a * u / (1 + (u / K) ** 2)
            case _:
                w = self.ignition_width * K
                return a * w * (softplus((u - K) / w) - float(np.logaddexp(0, -K / w)))

    def values(self, u: Array) -> Array:
        """r_j(u) for all reactions: (...) -> (count, ...)."""
        return np.stack([self.rate(j, u, lambda z: np.logaddexp(0, z)) for j in range(self.count)])

    def derivatives(self, u: Array) -> Array:
        """dr_j/du for all reactions: (...) -> (count, ...)."""
        return np.stack([self._derivative(j, u) for j in range(self.count)])

    def _derivative(self, j: int, u: Array) -> Array:
        a, K = self.amplitudes[j], self.half_saturations[j]
        match FAMILIES[j % len(FAMILIES)]:
            case "michaelis_menten":
                return a * K**2 / (K + u) ** 2
            case "hill":
                return a * 2 * K**3 * u / (K**2 + u**2) ** 2
            case "autocatalysis":
                return a * (u**2 + 2 * K * u) / (K + u) ** 2
            case "haldane":
                return a * (1 - (u / K) ** 2) / (1 + (u / K) ** 2) ** 2
            case _:
                return a * expit((u - K) / (self.ignition_width * K))


@dataclass(frozen=True)
class ReactionTable:
    """Piecewise cubic Hermite interpolation of Σ_j y_j r_j(u) on `lower` ≤ u ≤ `upper`.

    The exact solution has u ≥ 0; a small negative `lower` leaves room for discrete undershoots. Whoever reads
    the table reports values outside the range: nothing is clipped silently.

    `step`: width of a table cell; the error is of order step⁴.
    """

    reactions: Reactions
    lower: float
    upper: float
    step: float

    def __post_init__(self) -> None:
        smallest = float(self.reactions.half_saturations.min())
        if not self.step > 0:
            raise UsageError(f"expected a table step > 0, got {self.step}")
        if not -smallest < self.lower <= 0 < self.upper:
            raise UsageError(
                f"expected a table range with {-smallest:g} < lower <= 0 < upper (the rates have a pole at minus the "
                f"smallest half-saturation), got {self.lower:g} to {self.upper:g}"
            )

    @property
    def cells(self) -> int:
        """Number of table cells; the last may reach beyond `upper`."""
        return int(np.ceil((self.upper - self.lower) / self.step - 1e-9))

    def knots(self, y: NDArray[np.floating]) -> NDArray[np.floating]:
        """Values, and slopes times `step`, of each sample's reaction term at the knots: (n, count) -> (n, 2, cells + 1).

        In the precision of y.
        """
        knots = np.stack(self._knots, axis=1).astype(y.dtype)
        return (y @ knots.reshape(len(knots), -1)).reshape(len(y), *knots.shape[1:])

    @cached_property
    def _knots(self) -> tuple[Array, Array]:
        u = self.lower + self.step * np.arange(self.cells + 1.0)
        return self.reactions.values(u), self.step * self.reactions.derivatives(u)

    def coefficients(self, y: Array) -> Array:
        """Cubic coefficients of each sample's reaction term: (n, count) -> (n, 4, cells).

        In cell k, with t = (u − lower)/step − k: c[0, k] + t (c[1, k] + t (c[2, k] + t c[3, k])). Linear in y.
        """
        values, slopes = (y @ knots for knots in self._knots)
        rise, left, right = np.diff(values), slopes[:, :-1], slopes[:, 1:]
        return np.stack([values[:, :-1], left, 3 * rise - 2 * left - right, left + right - 2 * rise], axis=1)

    def pull_back(self, gradient: Array) -> Array:
        """Derivative by y from one by the coefficients, the transpose of `coefficients`: (n, 4, cells) -> (n, count)."""
        g0, g1, g2, g3 = gradient.swapaxes(0, 1)
        values, slopes = (np.zeros((len(gradient), self.cells + 1)) for _ in range(2))
        rise = 3 * g2 - 2 * g3
        values[:, :-1] = g0 - rise
        values[:, 1:] += rise
        slopes[:, :-1] = g1 - 2 * g2 + g3
        slopes[:, 1:] += g3 - g2
        return sum((bar @ knots.T for bar, knots in zip((values, slopes), self._knots, strict=True)), np.zeros(()))
