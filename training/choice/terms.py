"""Polynomial terms of network inputs at a set of samples: which family suits each input, and the columns of any terms."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from gnvpro.surrogate.networks.none import NoFeatures
from gnvpro.surrogate.networks.sparse_polynomials import SparsePolynomials
from gnvpro.surrogate.rounding import varies
from gnvpro.surrogate.spaces import Array
from gnvpro.training.choice.polynomials import STEP
from gnvpro.training.choice.sparse_fits import Exponents

# Of the fourth moment over the square of the second: 1.8 of a uniform law, 3 of a normal one.
_NORMAL_KURTOSIS = 2.5
_FEWEST_FOR_LAW = 30


@dataclass(frozen=True, eq=False)
class TermFamilies:
    """One-dimensional orthonormal polynomials for every input: Hermite where it looks normal, Legendre otherwise.

    An input enters as (x - centre) / radius: of unit variance for Hermite's, from -1 to 1 over the samples for Legendre's.
    """

    families: tuple[str, ...]
    centre: tuple[float, ...]
    radius: tuple[float, ...]
    varies: tuple[bool, ...]

    @classmethod
    def of(cls, inputs: Array, normal: NDArray[np.bool_] | None = None) -> TermFamilies:
        """What suits samples (n, d) of the inputs; `normal` (d,) says whose law is normal, else their kurtosis does."""
        mean, spread = inputs.mean(0), inputs.std(0)
        moving = varies(inputs)
        safe = np.where(moving, spread, 1.0)
        if normal is None:
            kurtosis = (((inputs - mean) / safe) ** 4).mean(0)
            normal = (kurtosis > _NORMAL_KURTOSIS) & (len(inputs) >= _FEWEST_FOR_LAW)
        normal = normal & moving
        lower, upper = inputs.min(0), inputs.max(0)
        centre = np.where(normal, mean, (lower + upper) / 2)
        radius = np.where(normal, safe, np.where(moving, (upper - lower) / 2, 1.0))
        families = tuple("hermite" if flag else "legendre" for flag in normal)
        return cls(families, tuple(centre.tolist()), tuple(radius.tolist()), tuple(moving.tolist()))

    def network(self, exponents: Exponents) -> SparsePolynomials | NoFeatures:
        """The features of these terms, without the constant, which is the bias."""
        if not exponents.any():
            return NoFeatures(exponents.shape[1])
        return SparsePolynomials(exponents[exponents.any(1)], self.families, self.centre, self.radius)


class Terms:
    """Columns of terms at samples (n, d) of the network inputs, with directions (n, r, d) 1 + r rows of each sample."""

    def __init__(self, families: TermFamilies, inputs: Array, directions: Array | None = None) -> None:
        self._families, self._inputs = families, torch.from_numpy(inputs)
        self._directions = None if directions is None else torch.from_numpy(directions)

    def __call__(self, exponents: Exponents) -> Array:
        """(n, n_terms) of exponents (n_terms, d); the constant may be among them."""
        group = 1 if self._directions is None else 1 + self._directions.shape[1]
        columns = np.zeros((len(self._inputs) * group, len(exponents)))
        columns[::group] = 1.0
        moving = exponents.any(1)
        if not moving.any():
            return columns
        network = self._families.network(exponents)
        theta = network.initial(0)
        columns[::group, moving] = network.bind(theta)(self._inputs).numpy()
        if self._directions is not None:
            # By a complex step, which for polynomials is exact to rounding and a tenth of the time of autodiff.
            stepped = torch.complex(self._inputs[:, None].expand_as(self._directions), STEP * self._directions)
            terms = network.bind(theta.to(stepped.dtype))(stepped.flatten(0, 1))
            rows = columns.reshape(len(self._inputs), group, -1)
            rows[:, 1:, moving] = (terms.imag / STEP).unflatten(0, (-1, group - 1)).numpy()
        return columns
