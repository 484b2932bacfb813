"""What a fit in memory holds, in bytes: by samples, outputs, widths and solver.

Factors of the passes are fitted to peaks of torch's allocator over 13 networks of one to four layers, 3 to 100 inputs
and outputs, of which they miss none by more than 21 %; the tests hold some to 25 %. They belong to what passes make: features
and sensitivities of all layers, inputs of layers with their bias, the last features with their bases, residuals.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

# Of float64.
_BYTES = 8
# Numbers a row for each output, feature and input of any layer, last feature, feature of the widest layer, and for itself.
_PASSES = dict(lbfgs=(1.73, 2.13, 1.76, 2.78, 2.42, 53.7), krylov=(1.93, 1.36, 2.14, 2.08, 2.89, 14.7))
# Vectors of the size of theta: 30 pairs with H_0 y; a Krylov basis of 40 and what a product needs.
_VECTORS = dict(lbfgs=90, krylov=45)


class FitBytes(NamedTuple):
    """Bytes of the scaled inputs; of targets and fixed columns, with their factorisation; of passes; of the solver."""

    inputs: int
    objective: int
    passes: int
    solver: int

    @property
    def total(self) -> int:
        """Their sum."""
        return sum(self)


def bytes_of_fit(
    n: int,
    n_inputs: int,
    widths: Sequence[int],
    n_targets: int,
    *,
    n_fixed: int = 0,
    n_directions: int = 0,
    solver: Literal["lbfgs", "krylov"] = "lbfgs",
    dtype: Literal["float64", "float32"] = "float64",
) -> FitBytes:
    """At its peak, of a fit of dense layers in the Kronecker-factored metric; samples as they were read come besides.

    Parameters
    ----------
    n
        Training samples of this process; validation samples take their inputs and targets besides.
    n_targets
        Outputs after compression.
    n_fixed, n_directions
        Columns beside the features (polynomials), and derivatives of every sample.
    """
    rows, single = n * (1 + n_directions), 4 if dtype == "float32" else _BYTES
    fan_ins = [n_inputs, *widths[:-1]]
    per_target, per_feature, per_input, per_last, per_widest, per_row = _PASSES[solver]
    network = per_feature * sum(widths) + per_input * (sum(fan_ins) + len(widths)) + per_widest * max(widths)
    n_theta = sum((a + 1) * b for a, b in zip(fan_ins, widths, strict=True))
    return FitBytes(
        inputs=rows * n_inputs * single,
        objective=rows * (2 * n_targets + 3 * (n_fixed + 1) + 4) * _BYTES,
        passes=round(rows * (network * single + (per_target * n_targets + per_last * widths[-1] + per_row) * _BYTES)),
        solver=_VECTORS[solver] * n_theta * single,
    )
