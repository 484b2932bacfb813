"""Variable projection in anybody's PyTorch loop: a loss of features and targets, the last layer eliminated.

    loss(Z) = min over W of  1/n sum_i loss(W [z_i, 1], c_i) + alpha_w/2 ||W||²

W is solved for in float64; by the envelope theorem the gradient by the features is then the plain one at fixed W
(Newman et al. 2021, Sec. 3), so any optimiser of the feature network's weights can use it.
"""

from __future__ import annotations

import warnings
from numbers import Real
from typing import Any

import torch
from torch import Tensor, nn

from gnvpro.surrogate.elimination.cross_entropy import CrossEntropyLayer
from gnvpro.surrogate.elimination.labels import one_hot
from gnvpro.surrogate.elimination.least_squares import LeastSquaresLayer
from gnvpro.surrogate.elimination.protocol import Elimination
from gnvpro.surrogate.errors import UsageError


def varpro_loss(
    features: Tensor,
    targets: Tensor,
    *,
    alpha_w: float,
    row_weights: Tensor | None = None,
    n_classes: int | None = None,
) -> Tensor:
    """The loss at the best last layer, a float64 scalar that backpropagates through the features.

    Parameters
    ----------
    features : (n, width)
        Output of any network, in any floating type, which is also that of the gradient.
    targets
        Without `n_classes` numbers (n, m), fitted by least squares with the factor 1/2. With it labels (n,) of an
        integer type, or probabilities (n, n_classes), fitted by cross-entropy.
    alpha_w
        Regularisation of W, the bias included; positive for classes.
    row_weights : (n,)
        omega of omega²/2 ||x - c||² in least squares; of omega CE(x, c), scaled to mean one, for classes. Positive.
    n_classes
        Must be told, because a batch may lack the last class.

    Raises
    ------
    UsageError
        Shapes that disagree, targets that are not finite, labels out of range, weights that are not positive.

    Warns
    -----
    UserWarning
        Fewer samples than features and bias: W can fit the batch perfectly, and the features learn nothing.
    RuntimeWarning
        For classes: W was not found (features or alpha_w of extreme size), so that the gradient may be wrong.

    Notes
    -----
    Second derivatives would need the derivative of W, so differentiating twice raises instead of being wrong.
    Features that are not finite give a loss that is not a number.
    """
    problem = _Problem(features, targets, row_weights, alpha_w, n_classes)
    if problem.is_small:
        warnings.warn(problem.complaint, stacklevel=2)
    return _Eliminated.apply(features, problem, None)[0]


class VarPro(nn.Module):
    """A last layer that is solved for instead of trained: call it where a loss is called.

    In training mode `varpro(features, targets)` is `varpro_loss`, and W is kept for `predict`. In evaluation mode W stays
    as it is and the same objective is taken at it, so validation data are not fitted.

    Parameters
    ----------
    width, n_outputs
        Numbers of features and of targets or classes.
    alpha_w
        Regularisation of W.
    classes
        Cross-entropy of labels or probabilities; otherwise least squares.
    average
        Share of the kept W that survives a batch: zero keeps that of the last batch, .9 averages over some ten.

    Attributes
    ----------
    weights : (width + 1, n_outputs)
        W transposed, the bias last, float64; in the `state_dict`, and where a cross-entropy solve starts.

    Examples
    --------
    >>> varpro = VarPro(8, 3, alpha_w=1e-6)
    >>> loss = varpro(network(inputs), targets)  # doctest: +SKIP
    """

    weights: Tensor
    n_solved: Tensor

    def __init__(
        self, width: int, n_outputs: int, *, alpha_w: float, classes: bool = False, average: float = 0.0
    ) -> None:
        if width < 1 or n_outputs < 1 + classes:
            raise UsageError(f"expected at least one feature and {1 + classes} outputs, got {width} and {n_outputs}")
        if not 0 <= average < 1:
            raise UsageError(f"expected an average in [0, 1), got {average}; 0 keeps the last batch's W")
        _require_alpha(alpha_w, classes)
        super().__init__()
        self.width, self.n_outputs, self.alpha_w, self.classes, self.average = (
            width,
            n_outputs,
            alpha_w,
            classes,
            average,
        )
        self.register_buffer("weights", torch.zeros(width + 1, n_outputs, dtype=torch.float64))
        self.register_buffer("n_solved", torch.zeros((), dtype=torch.int64))
        self._has_warned = False

    def forward(self, features: Tensor, targets: Tensor, row_weights: Tensor | None = None) -> Tensor:
        """The loss, a float64 scalar; see `varpro_loss` for shapes, errors and the warning (given once here)."""
        problem = self._problem(features, targets, row_weights)
        if not self.training:
            self._require_solved()
            return problem.value_at(features, self.weights.to(features.device, torch.float64))
        if problem.is_small and not self._has_warned:
            self._has_warned = True
            warnings.warn(problem.complaint, stacklevel=4)  # above the two frames of nn.Module's call
        loss, weights = _Eliminated.apply(features, problem, self._start(features))
        self._keep(loss, weights, self.average if self.n_solved else 0.0)
        return loss

    def predict(self, features: Tensor) -> Tensor:
        """Outputs [Z, 1] W, (n, n_outputs), at the kept W and in the features' type; for classes these are logits."""
        self._require_solved()
        self._require_width(features)
        weights = self.weights.to(features.device, torch.float64)
        return (features.double() @ weights[:-1] + weights[-1]).to(features.dtype)

    @torch.no_grad()
    def refit(self, features: Tensor, targets: Tensor, row_weights: Tensor | None = None) -> Tensor:
        """Solve W on all of the data at once, as one does after training in batches; gives the loss."""
        problem = self._problem(features, targets, row_weights)
        loss, weights = _Eliminated.apply(features, problem, self._start(features))
        self._keep(loss, weights, 0.0)
        return loss

    def extra_repr(self) -> str:
        """What `print` shows."""
        return f"{self.width}, {self.n_outputs}, alpha_w={self.alpha_w}, classes={self.classes}, average={self.average}"

    def _problem(self, features: Tensor, targets: Tensor, row_weights: Tensor | None) -> _Problem:
        self._require_width(features)
        problem = _Problem(features, targets, row_weights, self.alpha_w, self.n_outputs if self.classes else None)
        if problem.layer.targets.shape[1] != self.n_outputs:
            raise UsageError(f"expected targets (n, {self.n_outputs}), got {tuple(targets.shape)}")
        return problem

    def _start(self, features: Tensor) -> Tensor | None:
        return self.weights.to(features.device, torch.float64) if self.classes and self.n_solved else None

    def _keep(self, loss: Tensor, weights: Tensor, share: float) -> None:
        if torch.isfinite(loss):  # one batch that overflowed must not cost the kept W
            # A new tensor: the old one may be part of a graph that evaluation mode made.
            self.weights = torch.lerp(weights, self.weights.to(weights), share)
            self.n_solved = self.n_solved + 1

    def _require_width(self, features: Tensor) -> None:
        if features.ndim != 2 or features.shape[1] != self.width:
            raise UsageError(f"expected features (n, {self.width}), got {tuple(features.shape)}")

    def _require_solved(self) -> None:
        if not self.n_solved:
            raise RuntimeError("there is no W yet; call the module on features and targets in training mode, or refit")


_NOT_FOUND = (
    "the best last layer was not found to the accuracy of float64, and the gradient by the features may be wrong; "
    "scale the features to about one, or take a larger alpha_w"
)


class _Problem:
    """One batch, checked: its last layer, ready to be solved for."""

    def __init__(
        self, features: Tensor, targets: Tensor, row_weights: Tensor | None, alpha_w: float, n_classes: int | None
    ) -> None:
        for name, value in (("features", features), ("targets", targets)):
            if not isinstance(value, Tensor):
                raise UsageError(f"expected {name} a torch tensor, got a {type(value).__name__}; use torch.as_tensor")
        if not isinstance(alpha_w, Real):
            raise UsageError(f"expected alpha_w a number, got {alpha_w!r}")
        _require_alpha(alpha_w, n_classes is not None)
        if features.ndim != 2 or not features.is_floating_point() or not len(features):
            raise UsageError(
                f"expected real features (n, width) of one sample at least, got {tuple(features.shape)} {features.dtype}"
            )
        if len(targets) != len(features):
            raise UsageError(
                f"features and targets disagree on samples: {len(features)} and {len(targets)}; take both of one batch"
            )
        weights = None if row_weights is None else row_weights.detach().to(features.device, torch.float64)
        checked = (_numbers(targets) if n_classes is None else _class_targets(targets, n_classes)).to(features.device)
        layer = LeastSquaresLayer if n_classes is None else CrossEntropyLayer
        self.layer: Elimination = layer(checked, weights, alpha_w)
        self._n, self._width = features.shape

    @property
    def is_small(self) -> bool:
        return self._n < self._width + 1

    @property
    def complaint(self) -> str:
        return (
            f"a batch of {self._n} samples has fewer than its {self._width} features and bias: the last layer "
            "can fit it perfectly, which teaches the features nothing; take larger batches or fewer features"
        )

    def solve(self, features: Tensor, start: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """The loss, W, and the gradient by the features."""
        solution = self.layer.solve(features, start)
        if not bool(torch.isfinite(features).all()):
            return solution.value * torch.nan, solution.outer, torch.full_like(features, torch.nan)
        if not solution.converged:
            warnings.warn(_NOT_FOUND, RuntimeWarning, stacklevel=2)
        return solution.value, solution.outer, solution.feature_gradient()

    def value_at(self, features: Tensor, weights: Tensor) -> Tensor:
        """The loss at a W that is kept."""
        layer, predictions = self.layer, features.double() @ weights[:-1] + weights[-1]
        losses = layer.loss.value(predictions, layer.targets)
        return layer.sample_weights[:, 0] @ losses + 0.5 * layer.alpha_w * (weights**2).sum()


class _Eliminated(torch.autograd.Function):
    """(features) -> loss, W; the gradient is made with the solution, because all of it is at hand there."""

    @staticmethod
    def forward(ctx: Any, features: Tensor, problem: _Problem, start: Tensor | None) -> tuple[Tensor, Tensor]:
        value, weights, gradient = problem.solve(features.detach().double(), start)
        ctx.save_for_backward(gradient.to(features.dtype))
        ctx.mark_non_differentiable(weights)
        return value, weights

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        # Grad mode is on here only under create_graph=True; the graph would lack dW silently.
        if torch.is_grad_enabled():
            raise RuntimeError("the loss can be differentiated once; its second derivative needs that of W")
        (gradient,) = ctx.saved_tensors
        return gradient * gradients[0].to(gradient.dtype), None, None


def _numbers(targets: Tensor) -> Tensor:
    if targets.ndim != 2:
        hint = "a class label needs n_classes" if not targets.is_floating_point() else "one output is a column"
        raise UsageError(f"expected targets (n, m), got {tuple(targets.shape)}; {hint}")
    return targets.detach().double()


def _class_targets(targets: Tensor, n_classes: int) -> Tensor:
    if targets.ndim == 1 and not targets.is_floating_point():
        return one_hot(targets, n_classes)
    if targets.ndim != 2 or targets.shape[1] != n_classes or not targets.is_floating_point():
        raise UsageError(
            f"expected integer labels (n,) or probabilities (n, {n_classes}), got {tuple(targets.shape)} {targets.dtype}"
        )
    probabilities = targets.detach().double()
    sums = probabilities.sum(1, keepdim=True)
    if not bool(((probabilities >= 0) & ((sums - 1).abs() < 1e-3)).all()):
        raise UsageError("expected probabilities: rows that are not negative and sum to one")
    return probabilities / sums  # those that came as float32 are off by its rounding


def _require_alpha(alpha_w: float, classes: bool) -> None:
    if not (alpha_w > 0 or (alpha_w == 0 and not classes)):
        bound = "> 0, without which separable classes have no best W" if classes else ">= 0"
        raise UsageError(f"expected alpha_w {bound}, got {alpha_w}")
