"""Whether a posterior has several modes, and whether chains went between them often enough to tell how much each holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from arviz_stats import ess

from gnvpro.apps.inversion.maximum_a_posteriori import Minimum
from gnvpro.apps.inversion.sampling.chains import Chains
from gnvpro.surrogate.spaces import Array

# A minimum that is so much higher holds less than a hundredth of the posterior.
_NEGLIGIBLE = 5.0
# Effective samples of "which mode is this draw in": its share is then known within 0.05.
_LEAST_EFFECTIVE = 100


def modes_of(minima: Sequence[Minimum]) -> list[Minimum]:
    """The minima that hold a part of the posterior, the lowest first."""
    return [minimum for minimum in minima if minimum.value - minima[0].value < _NEGLIGIBLE]


@dataclass(frozen=True, eq=False)
class Shares:
    """Shares (k,) of the draws that are nearest to each of k modes, and the effective samples (k,) these are known by.

    A mode that all draws are in, or none, has no effective samples.
    """

    drawn: Array
    effective: Array

    @property
    def known(self) -> bool:
        """Whether the chains went from mode to mode often enough."""
        return bool((self.effective >= _LEAST_EFFECTIVE).all())


def shares(modes: Sequence[Minimum], chains: Chains) -> Shares:
    """Of the draws of every chain by mode; near is meant in standard deviations of the lowest mode."""
    scale = modes[0].standard_deviations
    free = scale > 0
    distances = [(((chains.draws - mode.parameters)[:, :, free] / scale[free]) ** 2).sum(axis=2) for mode in modes]
    inside = [1.0 * (np.argmin(distances, axis=0) == k) for k in range(len(modes))]
    effective = [float(ess(part, method="mean")) if np.ptp(part) else 0.0 for part in inside]
    return Shares(np.array([part.mean() for part in inside]), np.array(effective))
