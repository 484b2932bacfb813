"""Which samples have which outputs: outputs with the same samples are a pattern, and least squares asks for no more.

Columns of W are independent of each other, so that those of a pattern are solved for on its samples alone. With Q the
orthonormal basis of all samples, Q_g its rows at the samples of pattern g (those of the regularisation included) and

    S_g = Q_g'Q_g = I - sum over the samples that lack it of q_i q_i',

the solution in the coordinates of Q is S_g^-1 Q_g' B_g, and I - Q_g S_g^-1 Q_g' projects on the complement of its columns:
one factorisation of all samples serves every pattern, which adds a small matrix of its own. As Q is orthonormal, S_g is as
well conditioned as the samples that are left allow, whatever the condition of the features.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

# Numbers of which there are copies at a time: 32 MiB.
_NUMBERS = 1 << 22
# A pattern whose samples leave less than this of the square of a direction does not determine it.
_DETERMINED = 1e-12


class Patterns:
    """Columns, those of every pattern one after the other.

    Parameters
    ----------
    present : (n, p), boolean
        Which samples have the columns of each pattern.
    counts
        Columns of every pattern; k together.

    Attributes
    ----------
    mask : (n, k)
        One where a sample has a column, else zero.
    """

    def __init__(self, present: Tensor, counts: Sequence[int]) -> None:
        n, self.present, self.counts = len(present), present, tuple(counts)
        number = torch.tensor(self.counts, device=present.device)
        self.mask = present.repeat_interleave(number, 1).double()
        columns, numbers = (
            torch.arange(sum(self.counts), device=present.device).split(self.counts),
            present.sum(0).tolist(),
        )
        self.lacking = [g for g, have in enumerate(numbers) if have < n]
        # The fewer of the samples that have a pattern and of those that lack it.
        lacks = [2 * numbers[g] >= n for g in self.lacking]
        rows = [(present[:, g] != lack).nonzero()[:, 0] for g, lack in zip(self.lacking, lacks, strict=True)]
        self._rows, self._lacks = (
            _padded(rows, n, present),
            torch.tensor(lacks, dtype=torch.bool, device=present.device),
        )
        self._columns = _padded([columns[g] for g in self.lacking], sum(self.counts), present)

    @classmethod
    def of(cls, present: Tensor) -> tuple[Patterns, Tensor]:
        """Those of columns (n, k), boolean, and the order (k,) in which these are one pattern after the other."""
        # By the first column of each, which is an order of their own, not of the numbers that stand for patterns.
        _, number = torch.unique(present, dim=1, return_inverse=True)
        first: dict[int, int] = {}
        for j, g in enumerate(number.tolist()):
            first.setdefault(g, j)
        place = torch.tensor([first[g] for g in number.tolist()], device=present.device)
        order = torch.argsort(place, stable=True)
        leading = sorted(first.values())
        return cls(present[:, leading], [int((place == j).sum()) for j in leading]), order

    def with_counts(self, counts: Sequence[int]) -> Patterns:
        """The same samples with other numbers of columns."""
        return Patterns(self.present, counts)

    def groups(self) -> Iterator[tuple[Tensor, slice]]:
        """The numbers of the samples, and the columns, of every pattern."""
        first = 0
        for g, count in enumerate(self.counts):
            yield self.present[:, g].nonzero()[:, 0], slice(first, first + count)
            first += count

    def grams(self, basis: Tensor) -> Tensor:
        """S_g (p', r, r) of a basis (n, r), of the patterns that lack samples."""
        extended = torch.cat([basis, basis.new_zeros(1, basis.shape[1])])
        together = max(1, _NUMBERS // max(1, self._rows.shape[1] * basis.shape[1]))
        sums = [(some := extended[rows]).mT @ some for rows in self._rows.split(together)] or [
            basis.new_zeros(0, basis.shape[1], basis.shape[1])
        ]
        of_rows, unit = torch.cat(sums), torch.eye(basis.shape[1]).to(basis)
        if bool(self._lacks.all()):
            return unit - of_rows
        return torch.where(self._lacks[:, None, None], unit - of_rows, unit - basis.t() @ basis + of_rows)

    def by_pattern(self, matrices: Tensor, values: Tensor) -> Tensor:
        """Values (r, k) with every column times the matrix (p', r, r) of its pattern; those of complete ones as they are."""
        if not self.lacking:
            return values
        extended = torch.cat([values, values.new_zeros(len(values), 1)], 1)
        products = matrices @ extended[:, self._columns].permute(1, 0, 2)
        extended[:, self._columns] = products.permute(1, 0, 2)
        return extended[:, :-1]


class Restriction:
    """An orthonormal basis (n, r) of what all samples could fit, restricted to those of every pattern.

    Attributes
    ----------
    inverse : (p', r, r)
        S_g^-1 of the patterns that lack samples.
    is_usable
        Whether the samples of every pattern determine its columns, a scalar tensor; nothing holds otherwise.
    """

    def __init__(self, patterns: Patterns, basis: Tensor) -> None:
        self.patterns, self.basis = patterns, basis
        factors, failed = torch.linalg.cholesky_ex(patterns.grams(basis))
        unit = torch.eye(basis.shape[1]).to(basis)
        factors = torch.where((failed > 0)[:, None, None], unit, factors)  # which could not be inverted
        least = factors.diagonal(dim1=1, dim2=2).min() if factors.numel() else unit.new_ones(())
        self.is_usable = ~failed.any() & (least**2 > _DETERMINED)
        self.inverse = torch.cholesky_inverse(factors)

    def coordinates(self, values: Tensor) -> Tensor:
        """Of the fits to values (n, k), which are zero where they are missing, (r, k)."""
        along = self.basis.t() @ values
        found = self.patterns.by_pattern(self.inverse, along)
        # What S_g lost in the difference comes back with one more step, on the residual of the equations of every pattern.
        absent = 1 - self.patterns.mask
        residual = along + self.basis.t() @ (absent * (self.basis @ found)) - found
        return found + self.patterns.by_pattern(self.inverse, residual)

    def complement(self, values: Tensor) -> Tensor:
        """Values (n, k) less what the basis spans of them at the samples of every pattern, zero at the others."""
        values = self.patterns.mask * values
        along = self.patterns.by_pattern(self.inverse, self.basis.t() @ values)
        return values - self.patterns.mask * (self.basis @ along)

    def leverages(self) -> Tensor:
        """How far a sample determines its own prediction, (n, p), of every pattern; zero where it lacks it."""
        found = (self.basis**2).sum(1, keepdim=True) * self.patterns.present
        for g, inverse in zip(self.patterns.lacking, self.inverse, strict=True):
            found[:, g] = ((self.basis @ inverse) * self.basis).sum(1) * self.patterns.present[:, g]
        return found

    def of_columns(self, by_pattern: Tensor) -> Tensor:
        """What holds for patterns (n, p) for their columns (n, k)."""
        return by_pattern.repeat_interleave(torch.tensor(self.patterns.counts, device=by_pattern.device), 1)

    def bases(self) -> list[Tensor]:
        """Orthonormal bases (n, r) at the samples of every pattern, zero at the others."""
        found = [self.basis] * len(self.patterns.counts)
        for g, inverse in zip(self.patterns.lacking, self.inverse, strict=True):
            found[g] = self.basis @ torch.linalg.cholesky(inverse) * self.patterns.present[:, g, None]
        return found

    def inverses(self) -> list[Tensor]:
        """S_g^-1 of every pattern, complete ones included."""
        found = [torch.eye(self.basis.shape[1]).to(self.basis)] * len(self.patterns.counts)
        for g, inverse in zip(self.patterns.lacking, self.inverse, strict=True):
            found[g] = inverse
        return found


def _padded(rows: list[Tensor], with_number: int, like: Tensor) -> Tensor:
    """Numbers of unequal length as a table."""
    if not rows:
        return torch.zeros(0, 0, dtype=torch.long, device=like.device)
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=with_number)
