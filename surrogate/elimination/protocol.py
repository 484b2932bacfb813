"""What an eliminated last layer is to an objective: it is solved for at given features and differentiated through.

Features are rows, (n, width); beside them W acts on columns that do not depend on theta, the last of them ones. A seed is a
gradient by the features, (n, width), which a network pulls back to theta.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol, Self

from torch import Tensor

from gnvpro.surrogate.coupling import Coupling
from gnvpro.surrogate.elimination.losses import Loss


class GramTerm(NamedTuple):
    """A term of a dense curvature matrix, of derivatives that are pulled back from the same seeds at every sample.

    With u_ij the derivative of row_scale_i <seeds_j, features of sample i> by theta and B = (sum_i along_iq u_ij)_qj the
    term is B'B, or sum_ij u_ij u_ij' - B'B where it `projects`.

    seeds (r, width), along (n, q), row_scale (n, 1).
    """

    seeds: Tensor
    along: Tensor
    row_scale: Tensor
    projects: bool


class Solution(Protocol):
    """The last layer at given features."""

    @property
    def value(self) -> Tensor:
        """The loss at W with the regularisation of W, a scalar tensor."""
        ...

    @property
    def converged(self) -> bool:
        """Whether W was found; where not, the gradient by the envelope theorem is wrong."""
        ...

    @property
    def outer(self) -> Tensor:
        """W (width + q, k): of the features, then of the columns beside them, the bias last."""
        ...

    def settled(self, value: float, features: Tensor) -> Self:
        """Itself; or, where its value at these features, once that is read, is not a number, what another way finds."""
        ...

    def feature_gradient(self) -> Tensor:
        """The seed of the gradient."""
        ...

    def curvature_product(self, change: Tensor, kind: str | None = None) -> tuple[Tensor, Tensor | None]:
        """The seed of the curvature's product for a change of the features, and the change of W that goes with it.

        The latter is None where no later solve could begin from it. kind: a curvature of the elimination, None for its own.
        """
        ...

    def gram_terms(self, kind: str) -> list[GramTerm] | None:
        """Terms whose sum is the curvature matrix; None where it has no such form."""
        ...

    def probe(self, seed: int) -> Tensor:
        """Random seeds (n, width) with the covariance of the curvature at fixed W, independent from sample to sample."""
        ...

    def training_error(self) -> float:
        """Mean relative L2 error, or the share of misclassified samples."""
        ...


class InnerProblem(Protocol):
    """What is known of the inner problem of a training set wherever its samples are.

    Attributes
    ----------
    group
        Rows of every sample, one after the other: its value, then its derivatives.
    rotation : (k, n_out)
        From the targets to what was given, where they were rotated.
    matrix_curvature
        The kind of curvature of which a dense matrix is made.
    coupling, first, n_samples
        With the processes that hold other samples; the number of this one's first sample, and of all samples.
    is_iterative
        Whether a solve has use of a start and an accuracy.
    """

    loss: Loss
    alpha_w: float
    group: int
    rotation: Tensor | None
    matrix_curvature: str
    coupling: Coupling
    first: int
    n_samples: int
    is_iterative: bool


class Elimination(InnerProblem, Protocol):
    """The inner problem of one training set, ready to be solved for any features.

    Attributes
    ----------
    loss, sample_weights : (n, 1)
        The objective is sum_i sample_weights_i loss(x_i, targets_i), and the regularisation.
    row_weights : (n,)
        omega.
    targets : (n, k)
    columns : (n, q)
        Beside the features.
    """

    row_weights: Tensor
    sample_weights: Tensor
    targets: Tensor
    columns: Tensor

    def solve(self, features: Tensor, start: Tensor | None = None, accuracy: float = 0.0) -> Solution:
        """W in float64 for features of any precision; from a first guess, to an error that can be borne, where iterative.

        That is an error of the value.
        """
        ...

    def training_error(self, predictions: Tensor) -> float:
        """The error of predictions (n, k), see `Solution.training_error`."""
        ...

    def fresh(self) -> Self:
        """The same problem without memory of earlier solves."""
        ...


def local(problem: InnerProblem, n: int, index: Tensor) -> Tensor:
    """Which of the samples at `index`, numbers among all, are among this process's n, as numbers of these; in their order."""
    if problem.coupling.size == 1:
        return index
    own = index - problem.first
    return own[(own >= 0) & (own < n)]
