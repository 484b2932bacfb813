"""Sparse polynomials of any number of inputs as features: products of orthonormal polynomials of few inputs each.

With Legendre polynomials for inputs of a uniform law and Hermite polynomials for normal ones (a sparse polynomial chaos
expansion, Blatman & Sudret 2011), the columns are orthonormal under the law of the inputs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gnvpro.surrogate.equality import ComparedByValue
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.networks.polynomials import MAX_TERMS
from gnvpro.surrogate.networks.protocol import FixedFeatures

# Degree k > 0 -> β_k of x p_{k-1} = √β_k p_k + √β_{k-1} p_{k-2}, the recurrence of orthonormal polynomials.
FAMILIES: dict[str, Callable[[NDArray[np.float64]], NDArray[np.float64]]] = {
    "legendre": lambda degrees: degrees**2 / (4 * degrees**2 - 1),
    "hermite": lambda degrees: degrees,
}
# Far above what samples can determine; a file that asks for more is not believed. Of the array of exponents; of a degree.
MAX_EXPONENTS, MAX_DEGREE = 10**7, 100


@dataclass(frozen=True, eq=False)
class SparsePolynomials(ComparedByValue):
    """Products of orthonormal polynomials of ξ_j = (x_j - centre_j) / radius_j, without the constant.

    Beyond |ξ_j| = 1 the terms grow like powers.

    Attributes
    ----------
    exponents : (n_terms, n_inputs)
        Degree of every term in every input, int64; most of them zero, in no row all of them.
    families
        Per input "legendre" (orthonormal for the uniform law on [-1, 1]) or "hermite" (for the standard normal law).
    centre, radius
        Per input.
    """

    exponents: NDArray[np.int64]
    families: tuple[str, ...]
    centre: tuple[float, ...]
    radius: tuple[float, ...]
    n_theta = 0

    def __post_init__(self) -> None:
        exponents = np.array(self.exponents, dtype=np.int64)  # a copy: the caller's array may change
        if exponents.ndim != 2 or not exponents.size or len(exponents) > MAX_TERMS or exponents.size > MAX_EXPONENTS:
            raise UsageError(
                f"expected exponents (n_terms, n_inputs) of at most {MAX_TERMS} terms and {MAX_EXPONENTS:.0e} in all, "
                f"got {exponents.shape}"
            )
        highest = exponents.max(0)
        if exponents.min() < 0 or highest.max() > MAX_DEGREE or not exponents.any(axis=1).all():
            raise UsageError(f"expected degrees from 0 to {MAX_DEGREE}, one at least above 0 in every term")
        if highest.sum() > MAX_TERMS:
            raise UsageError(f"expected highest degrees that sum to {MAX_TERMS} at most, got {highest.sum()}")
        sizes = [len(part) for part in (self.families, self.centre, self.radius)]
        if sizes != 3 * [exponents.shape[1]]:
            raise UsageError(f"expected {exponents.shape[1]} families, centres and radii, one an input; got {sizes}")
        if unknown := set(self.families) - FAMILIES.keys():
            raise UsageError(f"unknown family {min(unknown)!r}; expected {' or '.join(FAMILIES)}")
        if not all(map(math.isfinite, self.centre)) or not all(0 < r < math.inf for r in self.radius):
            raise UsageError(f"expected finite centres and positive radii, got {self.centre} and {self.radius}")
        exponents.flags.writeable = False
        object.__setattr__(self, "exponents", exponents)

    @property
    def n_inputs(self) -> int:
        """Number of inputs."""
        return self.exponents.shape[1]

    @property
    def width(self) -> int:
        """Number of terms."""
        return len(self.exponents)

    def initial(self, seed: int) -> Tensor:
        """No weights."""
        return torch.zeros(0, dtype=torch.float64)

    def bind(self, theta: Tensor) -> Callable[[Tensor], Tensor]:
        """The map inputs -> terms, its constants in theta's dtype and on its device.

        Where an input is NaN, so is a term at least, also where none depends on that input.
        """
        plan = self.plan

        def constant(values: Any) -> Tensor:
            return torch.as_tensor(values, dtype=theta.dtype, device=theta.device)

        def places(values: NDArray[np.int64]) -> Tensor:
            return torch.as_tensor(values, device=theta.device)

        used = None if np.array_equal(plan.inputs, np.arange(self.n_inputs)) else places(plan.inputs)
        centre, factor = constant(np.array(self.centre)[plan.inputs]), constant(1 / np.array(self.radius)[plan.inputs])
        recurrence = [(constant(rising), constant(falling)) for rising, falling in plan.recurrence]
        factors, order = [places(of) for of in plan.factors], None if plan.order is None else places(plan.order)

        def terms(inputs: Tensor) -> Tensor:
            x = inputs if used is None else inputs.index_select(1, used) + 0 * inputs.sum(1, keepdim=True)
            x = (x - centre) * factor
            table = [x * recurrence[0][0]]
            for k, (rising, falling) in enumerate(recurrence[1:]):
                x, last = _first(len(rising), x, table[-1])
                beside = falling if k == 0 else _first(len(rising), table[-2])[0] * falling
                table.append(torch.addcmul(beside, x * rising, last))
            columns = torch.cat(table, 1)
            product, finished = columns.index_select(1, factors[0]), []
            for of in factors[1:]:
                finished.append(product[:, len(of) :])
                product = product[:, : len(of)] * columns.index_select(1, of)
            together = torch.cat([product, *reversed(finished)], 1) if finished else product
            return together if order is None else together.index_select(1, order)

        return terms

    @cached_property
    def plan(self) -> Plan:
        """How the terms are computed, for every runtime the same."""
        return Plan.of(self.exponents, self.families)

    def linearize(self, theta: Tensor, inputs: Tensor) -> FixedFeatures:
        """The terms; there are no weights to differentiate by."""
        return FixedFeatures(self.bind(theta)(inputs))

    def to_dict(self) -> dict[str, Any]:
        """JSON-able description, read back by `from_dict`; of a term (input, degree, input, degree, …)."""
        terms = [
            np.stack([inputs, row[inputs]], 1).reshape(-1).tolist()
            for row in self.exponents
            for inputs in [np.flatnonzero(row)]
        ]
        of_inputs = {name: list(getattr(self, name)) for name in ("families", "centre", "radius")}
        return {"kind": "sparse_polynomials", "n_inputs": self.n_inputs, **of_inputs, "terms": terms}

    @classmethod
    def from_dict(cls, description: dict[str, Any]) -> SparsePolynomials:
        """Inverse of `to_dict`, also after a round trip through JSON.

        Raises
        ------
        UsageError
            Terms, families, centres or radii that make no basis.
        """
        n_inputs, terms = description["n_inputs"], description["terms"]
        # Counted before any is made.
        if not 0 < len(terms) <= min(MAX_TERMS, MAX_EXPONENTS // max(n_inputs, 1)):
            raise UsageError(f"expected up to {MAX_TERMS} terms, got {len(terms)} of {n_inputs} inputs")
        exponents = np.zeros((len(terms), n_inputs), dtype=np.int64)
        for row, term in zip(exponents, terms, strict=True):
            if not all(type(value) is int for value in term) or len(term) % 2:
                raise UsageError("expected terms of pairs of integers, an input and its degree")
            if not all(0 <= j < n_inputs for j in term[::2]) or not all(0 < k <= MAX_DEGREE for k in term[1::2]):
                raise UsageError(
                    f"expected terms of inputs from 0 to {n_inputs - 1} and degrees from 1 to {MAX_DEGREE}"
                )
            row[term[::2]] = term[1::2]
        centre, radius = (tuple(map(float, description[name])) for name in ("centre", "radius"))
        return cls(exponents, tuple(description["families"]), centre, radius)


@dataclass(frozen=True, eq=False)
class Plan(ComparedByValue):
    """Terms as products of few columns of a table of one-dimensional polynomials.

    The table holds, degree by degree, the inputs that have it, in the order of their highest degree.

    Attributes
    ----------
    inputs
        Those that a term depends on, the one of highest degree first.
    recurrence
        For every degree k from 1 and every input that has it: p_k = rising x p_{k-1} + falling p_{k-2}.
    factors
        First factors of all terms as columns of the table, second ones of those that have two, and so on; terms with most
        factors stand first.
    order
        Where each term stands; None where they stand as they are.
    """

    inputs: NDArray[np.int64]
    recurrence: Sequence[tuple[NDArray[np.float64], NDArray[np.float64]]]
    factors: Sequence[NDArray[np.int64]]
    order: NDArray[np.int64] | None

    @classmethod
    def of(cls, exponents: NDArray[np.int64], families: Sequence[str]) -> Plan:
        """For exponents (n_terms, n_inputs)."""
        highest = exponents.max(0)
        inputs = np.argsort(-highest, kind="stable")[: np.count_nonzero(highest)]
        degrees = np.arange(1.0, highest.max() + 1)
        roots = np.sqrt([FAMILIES[families[int(j)]](degrees) for j in inputs]).T  # (degree, input)
        widths = [int(np.count_nonzero(highest > k)) for k in range(len(roots))]
        starts = np.cumsum([0, *widths])
        recurrence = [
            (1 / root[:n], -roots[k - 1, :n] / root[:n] if k else np.zeros(n))
            for k, (n, root) in enumerate(zip(widths, roots, strict=True))
        ]
        position = np.zeros(len(highest), dtype=np.int64)
        position[inputs] = np.arange(len(inputs))
        counts = np.count_nonzero(exponents, axis=1)
        sorted_terms = np.argsort(-counts, kind="stable")
        columns = [starts[row[js] - 1] + position[js] for row in exponents for js in [np.flatnonzero(row)]]
        factors = [
            np.array([columns[i][m] for i in sorted_terms if counts[i] > m], dtype=np.int64)
            for m in range(counts.max())
        ]
        order = None if (np.diff(counts) <= 0).all() else np.argsort(sorted_terms)
        return cls(inputs, recurrence, factors, order)


def _first(n: int, *tables: Tensor) -> list[Tensor]:
    """The first n columns of each, without a call where these are all."""
    return [table if table.shape[1] == n else table[:, :n] for table in tables]
