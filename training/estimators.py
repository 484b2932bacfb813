"""scikit-learn estimators: dense tanh networks trained by variable projection, for pipelines and grid searches.

The last layer is eliminated, the rest is minimised by L-BFGS or a trust-region Krylov method (docs/method.md). Only this
module of the package needs scikit-learn, which the extra `learn` brings.
"""

from __future__ import annotations

import math
from dataclasses import asdict
from numbers import Integral
from typing import Any, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import _check_sample_weight as check_sample_weight
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor

from gnvpro.surrogate.elimination.labels import one_hot
from gnvpro.surrogate.elimination.losses import CrossEntropy, LeastSquares, Loss
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.model.surrogate import Surrogate
from gnvpro.surrogate.networks.dense import DenseNetwork
from gnvpro.surrogate.networks.protocol import FeatureNetwork
from gnvpro.surrogate.objectives.protocol import Objective, Point
from gnvpro.surrogate.objectives.reduced import ReducedObjective, reduced_cross_entropy, reduced_least_squares
from gnvpro.surrogate.spaces import Space
from gnvpro.training.device import device_named
from gnvpro.training.fitting.fit import Fit, Validation
from gnvpro.training.solvers.lbfgs import LimitedMemoryBFGS
from gnvpro.training.solvers.trust_region import TrustRegionKrylov

SOLVERS = {"lbfgs": LimitedMemoryBFGS, "krylov": TrustRegionKrylov}


class _Estimator(BaseEstimator):
    """What both have in common: settings, scaling, the fit, and the surrogate that is left."""

    surrogate_: Surrogate

    def __init__(
        self,
        hidden_widths: tuple[int, ...] = (16, 16),
        *,
        gain: float = 1.0,
        alpha_w: float,
        alpha_theta: float,
        budget: float = 500.0,
        solver: Literal["lbfgs", "krylov"] = "lbfgs",
        validation_fraction: float | None = None,
        patience: float = 100.0,
        random_state: int | np.random.RandomState | None = None,
        device: str = "cpu",
    ) -> None:
        self.hidden_widths = hidden_widths
        self.gain = gain
        self.alpha_w = alpha_w
        self.alpha_theta = alpha_theta
        self.budget = budget
        self.solver = solver
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.random_state = random_state
        self.device = device

    def _fit(self, x: NDArray, targets: NDArray, weights: NDArray, strata: NDArray | None) -> tuple[Fit, Tensor]:
        """Train on inputs as they came and targets that are scaled; returns the fit and its W, (n_out, width + 1)."""
        random = check_random_state(self.random_state)
        seed = int(random.randint(2**31 - 1))
        chosen, held_out = self._split(len(x), random, strata)
        # Weighted moments: a sample of weight two is two samples in all that is computed.
        share = weights[chosen] / weights[chosen].sum()
        shift = share @ x[chosen]
        spread = np.sqrt(share @ (x[chosen] - shift) ** 2)
        spread = np.where(spread > 1e-12 * np.maximum(1.0, np.abs(shift)), spread, 1.0)
        scale = self.gain / math.sqrt(x.shape[1]) / spread

        def tensors(rows: NDArray) -> tuple[Tensor, Tensor, Tensor]:
            # Copies: memory-mapped arrays are read-only, which torch does not know.
            found = (x[rows] - shift) * scale, targets[rows], weights[rows] / weights[rows].mean()
            inputs, values, omega = (torch.tensor(part, dtype=torch.float64, device=self.device) for part in found)
            return inputs, values, omega

        network = DenseNetwork(x.shape[1], tuple(self.hidden_widths))
        objective = self._objective(network, *tensors(chosen))
        validation: Validation = _TrainingValue()
        if len(held_out):
            validation = _HeldOut(network, self._loss(), *tensors(held_out))
        solver = SOLVERS[self.solver]()
        patience = self.patience if len(held_out) else math.inf
        fit = Fit(objective, network.initial(seed).to(self.device), solver, validation, patience=patience)
        fit.advance(self.budget)
        self.surrogate_shift_, self.surrogate_scale_ = shift, scale
        self.n_iter_ = max(1, fit.best.iteration)
        self.loss_ = next(record.objective for record in fit.history if record.iteration == fit.best.iteration)
        # Errors relative to the targets mean little here, where targets are centred.
        self.history_ = [
            {name: value for name, value in asdict(record).items() if name not in ("stage", "train_error")}
            for record in fit.history
        ]
        return fit, fit.best.weights.detach().cpu()

    def _leave(self, fit: Fit, weights: Tensor, outputs: list[str]) -> None:
        """Keep what predicts, on the CPU."""
        n_inputs = len(self.surrogate_shift_)
        names = getattr(self, "feature_names_in_", [f"x{j}" for j in range(n_inputs)])
        self.surrogate_ = Surrogate(
            fit.network,
            fit.best.theta.detach().cpu(),
            weights.contiguous(),
            torch.as_tensor(self.surrogate_shift_),
            torch.as_tensor(self.surrogate_scale_),
            Space.vector([str(name) for name in names]),
            Space.vector(outputs, axis="output"),
            training={"method": fit.solver.name, "status": str(fit.status)},
        )
        del self.surrogate_shift_, self.surrogate_scale_

    def _split(self, n: int, random: np.random.RandomState, strata: NDArray | None) -> tuple[NDArray, NDArray]:
        index = np.arange(n)
        if self.validation_fraction is None:
            return index, index[:0]
        try:
            chosen, held_out = train_test_split(
                index, test_size=self.validation_fraction, random_state=random, stratify=strata
            )
        except ValueError as error:
            raise UsageError(
                f"{n} samples cannot be split with validation_fraction={self.validation_fraction} ({error}); "
                "None trains on all of them"
            ) from error
        return np.sort(chosen), np.sort(held_out)

    def _check_settings(self) -> None:
        widths = self.hidden_widths
        if not len(widths) or not all(isinstance(w, Integral) and w > 0 for w in widths):
            raise UsageError(f"expected hidden_widths of positive integers such as (16, 16), got {widths!r}")
        for name in ("gain", "budget", "patience"):
            value = getattr(self, name)
            if not (isinstance(value, int | float) and value > 0):
                raise UsageError(f"expected {name} > 0, got {value!r}")
        for name in ("alpha_w", "alpha_theta"):
            value = getattr(self, name)
            if not (isinstance(value, int | float) and 0 <= value < math.inf):
                raise UsageError(f"expected {name} >= 0, got {value!r}")
        if self.solver not in SOLVERS:
            raise UsageError(f"expected a solver of {', '.join(SOLVERS)}, got {self.solver!r}")
        fraction = self.validation_fraction
        if fraction is not None and not (isinstance(fraction, int | float) and 0 < fraction < 1):
            raise UsageError(f"expected a validation_fraction between 0 and 1 or None, got {fraction!r}")
        device_named(self.device)

    def _objective(self, network: FeatureNetwork, inputs: Tensor, targets: Tensor, omega: Tensor) -> Objective:
        raise NotImplementedError

    def _loss(self) -> Loss:
        raise NotImplementedError

    def _outputs(self, x: Any) -> NDArray:
        check_is_fitted(self)
        checked = np.array(validate_data(self, x, reset=False, dtype=np.float64))  # a copy: it may be read-only
        return self.surrogate_.evaluate(checked)


class GNvproRegressor(RegressorMixin, _Estimator):
    """Regression by a tanh network whose last layer is eliminated; one or several outputs.

    Inputs and outputs are standardised, so that the settings mean the same for all data.

    Parameters
    ----------
    hidden_widths
        Of the tanh layers; the affine last layer comes on top.
    gain
        How nonlinear the first layer starts: .1 keeps it nearly linear.
    alpha_w, alpha_theta
        Regularisation of the last layer and of the network's weights.
    budget
        Work units: passes of the network over the training samples, forward or backward.
    solver
        `lbfgs`, or `krylov` for the trust-region Gauss-Newton method.
    validation_fraction
        Share of the samples held out to choose the iterate and to stop; None trains on all until the budget is spent.
    patience
        Work units without a better loss on what is held out after which training stops.
    random_state
        Of the initial weights and the split.
    device
        Where training runs; predictions are made on the CPU.

    Attributes
    ----------
    surrogate_ : gnvpro.surrogate.model.surrogate.Surrogate
        The trained model, with derivatives, saved and loaded without pickle.
    n_iter_ : int
        Iterations to the model that is kept.
    loss_ : float
        The objective there, in scaled outputs.
    history_ : list of dict
        One line an iteration.
    """

    def __init__(
        self,
        hidden_widths: tuple[int, ...] = (16, 16),
        *,
        gain: float = 1.0,
        alpha_w: float = 1e-6,
        alpha_theta: float = 1e-5,
        budget: float = 500.0,
        solver: Literal["lbfgs", "krylov"] = "lbfgs",
        validation_fraction: float | None = None,
        patience: float = 100.0,
        random_state: int | np.random.RandomState | None = None,
        device: str = "cpu",
    ) -> None:
        super().__init__(
            hidden_widths, gain=gain, alpha_w=alpha_w, alpha_theta=alpha_theta, budget=budget, solver=solver,
            validation_fraction=validation_fraction, patience=patience, random_state=random_state, device=device,
        )  # fmt: skip

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train on X (n, n_inputs) and y (n,) or (n, n_outputs); weights (n,) may be zero."""
        self._check_settings()
        checked = validate_data(self, X, y, dtype=np.float64, multi_output=True, y_numeric=True, ensure_min_samples=2)
        x, y = (np.asarray(part, float) for part in checked)
        x, y, weights = _weighted(x, y, check_sample_weight(sample_weight, x, dtype=np.float64))
        columns = y.reshape(len(y), -1)
        mean = weights @ columns / weights.sum()
        spread = np.sqrt(weights @ (columns - mean) ** 2 / weights.sum())
        spread = np.where(spread > 1e-12 * np.maximum(1.0, np.abs(mean)), spread, 1.0)
        fit, scaled = self._fit(x, (columns - mean) / spread, weights, None)
        outer = scaled * torch.as_tensor(spread)[:, None]
        outer[:, -1] += torch.as_tensor(mean)
        self._leave(fit, outer, [f"y{j}" for j in range(len(mean))])
        self._is_flat = y.ndim == 1
        return self

    def predict(self, X: Any) -> NDArray:
        """Outputs (n,) or (n, n_outputs), as in training."""
        outputs = self._outputs(X)
        return outputs[:, 0] if self._is_flat else outputs

    def _objective(self, network: FeatureNetwork, inputs: Tensor, targets: Tensor, omega: Tensor) -> ReducedObjective:
        return reduced_least_squares(
            network, inputs, targets, row_weights=omega.sqrt(), alpha_w=self.alpha_w, alpha_theta=self.alpha_theta
        )

    def _loss(self) -> LeastSquares:
        return LeastSquares()

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags


class GNvproClassifier(ClassifierMixin, _Estimator):
    """Classification by a tanh network whose last layer, a multinomial regression, is eliminated.

    Parameters and attributes are those of `GNvproRegressor`; `alpha_w` must be positive here, the loss is
    cross-entropy, and held-out samples are drawn class by class.

    Attributes
    ----------
    classes_ : (n_classes,)
    """

    classes_: NDArray

    def __init__(
        self,
        hidden_widths: tuple[int, ...] = (16, 16),
        *,
        gain: float = 1.0,
        alpha_w: float = 1e-3,
        alpha_theta: float = 1e-3,
        budget: float = 200.0,
        solver: Literal["lbfgs", "krylov"] = "lbfgs",
        validation_fraction: float | None = None,
        patience: float = 100.0,
        random_state: int | np.random.RandomState | None = None,
        device: str = "cpu",
    ) -> None:
        super().__init__(
            hidden_widths, gain=gain, alpha_w=alpha_w, alpha_theta=alpha_theta, budget=budget, solver=solver,
            validation_fraction=validation_fraction, patience=patience, random_state=random_state, device=device,
        )  # fmt: skip

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train on X (n, n_inputs) and labels y (n,) of any type; weights (n,) may be zero."""
        self._check_settings()
        if not self.alpha_w > 0:
            raise UsageError(f"expected alpha_w > 0 for classes, got {self.alpha_w!r}: W would have no minimiser")
        x, y = validate_data(self, X, y, dtype=np.float64, ensure_min_samples=2)
        check_classification_targets(y)
        if (kind := type_of_target(y)).startswith("multilabel") or "multioutput" in kind:
            raise UsageError(f"expected one label a sample, got targets that are {kind}")
        x, y, weights = _weighted(np.asarray(x), np.asarray(y), check_sample_weight(sample_weight, x, dtype=np.float64))
        self.classes_, labels = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise UsageError("expected at least two classes, got one class; there is nothing to tell apart")
        targets = one_hot(torch.as_tensor(labels), len(self.classes_)).numpy()
        fit, outer = self._fit(x, targets, weights, labels)
        self._leave(fit, outer, [str(label) for label in self.classes_])
        return self

    def predict(self, X: Any) -> NDArray:
        """The likeliest class, (n,)."""
        outputs = self._outputs(X)
        return self.classes_[outputs.argmax(1)]

    def predict_proba(self, X: Any) -> NDArray:
        """Probabilities, (n, n_classes), in the order of `classes_`."""
        return torch.softmax(torch.as_tensor(self._outputs(X)), 1).numpy()

    def _objective(self, network: FeatureNetwork, inputs: Tensor, targets: Tensor, omega: Tensor) -> ReducedObjective:
        return reduced_cross_entropy(
            network, inputs, targets, row_weights=omega, alpha_w=self.alpha_w, alpha_theta=self.alpha_theta
        )

    def _loss(self) -> CrossEntropy:
        return CrossEntropy()


class _HeldOut:
    """The weighted loss of samples that are not trained on; it is also the error that chooses."""

    def __init__(self, network: FeatureNetwork, loss: Loss, inputs: Tensor, targets: Tensor, omega: Tensor) -> None:
        self._network, self._loss = network, loss
        self._inputs, self._targets, self._omega = inputs, targets, omega

    def measure(self, point: Point) -> tuple[float, float]:
        with torch.no_grad():
            features = self._network.bind(point.network_weights)(self._inputs)
        weights = point.outer.weights
        predictions = torch.addmm(weights[:, -1], features, weights[:, :-1].t())
        loss = float((self._omega * self._loss.value(predictions, self._targets)).mean())
        return loss, loss


class _TrainingValue:
    """The objective itself, where nothing is held out: every accepted step is better."""

    def measure(self, point: Point) -> tuple[float, float]:
        return point.value, point.value


def _weighted(x: NDArray, y: NDArray, weights: NDArray) -> tuple[NDArray, NDArray, NDArray]:
    """Samples of weight zero left out, as if they had not been there."""
    if (weights < 0).any():
        raise UsageError(f"expected sample weights >= 0, got {weights.min()}")
    kept = weights > 0
    if kept.sum() < 2:
        raise UsageError(f"expected at least two samples of positive weight, got {int(kept.sum())}")
    return x[kept], y[kept], weights[kept]
