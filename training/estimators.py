"""scikit-learn estimators, for pipelines and grid searches: tanh networks trained by variable projection, and closed forms.

The last layer is eliminated, the rest is minimised by L-BFGS or a trust-region Krylov method (docs/method.md). Only this
module of the package needs scikit-learn, which the extra `learn` brings.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, replace
from numbers import Integral
from typing import Annotated, Any, Literal, Self, get_type_hints

import numpy as np
import torch
from annotated_types import Ge, Gt, Lt
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import _check_sample_weight as check_sample_weight
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor

from gnvpro.surrogate.checks import require_unmasked
from gnvpro.surrogate.elimination.labels import one_hot
from gnvpro.surrogate.elimination.losses import CrossEntropy, LeastSquares, Loss
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.model.surrogate import Surrogate
from gnvpro.surrogate.networks.dense import DenseNetwork
from gnvpro.surrogate.networks.protocol import FeatureNetwork
from gnvpro.surrogate.objectives.reduced import ReducedObjective, reduced_cross_entropy, reduced_least_squares
from gnvpro.surrogate.rounding import spread_or_size
from gnvpro.surrogate.samples import Samples
from gnvpro.surrogate.spaces import Space
from gnvpro.training.choice.table_contest import Effort, table_model
from gnvpro.training.device import device_named, torch_threads
from gnvpro.training.fit_settings import plain, require_in_bounds
from gnvpro.training.fitting.class_preparation import GRID
from gnvpro.training.fitting.fit import Fit
from gnvpro.training.fitting.methods import TrainingTask
from gnvpro.training.fitting.outcome import CLOSED_FORM, mean_relative_error
from gnvpro.training.fitting.run import Run
from gnvpro.training.fitting.validation import ObjectiveValue, Validation, WeightedLoss
from gnvpro.training.solvers.protocol import Status

METHODS = {"lbfgs": "varpro-kf-lbfgs", "krylov": "varpro-krylov"}
Positive = Annotated[float, Gt(0)]
Regularisation = Annotated[float, Ge(0), Lt(math.inf)]
Fraction = Annotated[float | None, Gt(0), Lt(1)]
SETTLED = 10  # iterations over which `tol` is meant
# Where no widths are given: so many samples train a network too, of these widths and held-out samples, and it is taken where
# its mean square error there is below this part of that of the others.
FEWEST_FOR_NETWORK, NETWORK, HELD_OUT, FLATTERED = 500, [32, 32], 0.2, 0.8


class _Estimator(BaseEstimator):
    """What both have in common: settings, scaling, the fit, and the surrogate that is left."""

    surrogate_: Surrogate
    _loss: Loss
    _grid = 0.0  # of training inputs, of their spread
    _may_choose = False  # whether `hidden_widths` may be None

    def __init__(
        self,
        hidden_widths: int | Sequence[int] | None = None,
        *,
        effort: Effort = "quick",
        gain: Positive = 1.0,
        alpha_w: Regularisation = 1e-6,
        alpha_theta: Regularisation = 1e-5,
        budget: Positive = 500.0,
        solver: Literal["lbfgs", "krylov"] = "lbfgs",
        validation_fraction: Fraction = None,
        patience: Positive = 100.0,
        tol: Regularisation = 1e-3,
        warm_start: bool = False,
        random_state: int | np.random.RandomState | None = None,
        device: str = "cpu",
    ) -> None:
        self.hidden_widths = hidden_widths
        self.effort: Effort = effort
        self.gain = gain
        self.alpha_w = alpha_w
        self.alpha_theta = alpha_theta
        self.budget = budget
        self.solver = solver
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.tol = tol
        self.warm_start = warm_start
        self.random_state = random_state
        self.device = device

    def _fit(
        self,
        x: NDArray,
        targets: NDArray,
        weights: NDArray,
        outputs: Space,
        strata: NDArray | None = None,
        **chosen: Any,
    ) -> tuple[Surrogate, dict[str, NDArray]]:
        """Train a network on inputs as they came and targets that are scaled; `chosen` settings are others than given.

        Returns
        -------
        The model of the scaled targets, on the CPU, and the rows of the sets `train` and `validation`.
        """
        settings, random = self._plain_settings() | chosen, check_random_state(self.random_state)
        seed, device = int(random.randint(2**31 - 1)), settings["device"]
        rows = _split(len(x), settings["validation_fraction"], random, strata)
        network = DenseNetwork(x.shape[1], tuple(settings["hidden_widths"]))
        train, last = x[rows["train"]], self.surrogate_ if self._continues(network) else None
        size = settings["gain"] / math.sqrt(x.shape[1])
        if last is None:
            shift, spread = _moments(train, weights[rows["train"]])
            scale = size / spread
        else:
            shift, scale = last.input_shift.numpy(), last.input_scale.numpy()

        def tensors(name: str) -> tuple[Tensor, Tensor, Tensor]:
            # Copies: memory-mapped arrays are read-only, which torch does not know.
            chosen = rows[name]
            scaled = (x[chosen] - shift) * scale
            if self._grid:  # or rounding of another unit, amplified by training, would end at other classes
                scaled = np.round(scaled / (self._grid * size)) * (self._grid * size)
            arrays = scaled, targets[chosen], weights[chosen] / weights[chosen].mean()
            inputs, values, omega = (torch.tensor(part, dtype=torch.float64, device=device) for part in arrays)
            return inputs, values, omega

        def measures(name: str) -> Validation:
            return WeightedLoss(network, self._loss, *tensors(name)) if len(rows[name]) else ObjectiveValue()

        regularisation = {name: settings[name] for name in ("alpha_w", "alpha_theta")}
        objective = self._objective(network, *tensors("train"), **regularisation)
        theta = network.initial(seed) if last is None else last.theta
        task = TrainingTask(objective, theta.to(device), measures)
        run = Run(settings["budget"])
        patience = settings["patience"] if len(rows["validation"]) else math.inf
        with torch_threads(1):
            fit = run.begin(METHODS[settings["solver"]], task, "", patience=patience)
            fit.advance(run.budget, self._end_where_settled)
        self.n_iter_ = max(1, fit.best.iteration)
        self.loss_ = next(record.objective for record in fit.history if record.iteration == fit.best.iteration)
        # Errors relative to the targets mean little here, where targets are centred.
        self.history_ = [
            {name: value for name, value in asdict(record).items() if name not in ("stage", "train_error")}
            for record in fit.history
        ]
        best = fit.best.theta.detach().cpu(), fit.best.weights.detach().cpu().contiguous()
        reason = f"fixed by the settings of {type(self).__name__}"
        sets = {name: x[index] for name, index in rows.items()}
        record = self._record(run, fit, {"reason": reason}, {**settings, "seed": seed}, sets)
        return self._surrogate(network, *best, shift, scale, outputs, record), rows

    def _record(
        self, run: Run, fit: Fit | None, choice: dict[str, Any], settings: dict[str, Any], sets: dict[str, NDArray]
    ) -> dict[str, Any]:
        """Of a fit, or of closed forms, on the inputs of these sets."""
        return run.record(
            fit,
            fit.method if fit else CLOSED_FORM,
            choice=choice,
            settings=settings,
            samples={"train": 0, "validation": 0, "calibration": 0, "test": 0} | {n: len(x) for n, x in sets.items()},
            device=torch.device(self.device if fit else "cpu"),
            bounds={"lower": sets["train"].min(0).tolist(), "upper": sets["train"].max(0).tolist()},
        )

    def _surrogate(
        self,
        network: FeatureNetwork,
        theta: Tensor,
        weights: Tensor,
        shift: NDArray,
        scale: NDArray,
        outputs: Space,
        record: dict[str, Any],
    ) -> Surrogate:
        names = getattr(self, "feature_names_in_", [f"x{j}" for j in range(len(shift))])
        inputs = Space.vector([str(name) for name in names])
        moments = torch.as_tensor(shift), torch.as_tensor(scale)
        return Surrogate(network, theta, weights, *moments, inputs, outputs, training=record)

    def _continues(self, network: FeatureNetwork) -> bool:
        """Whether there is a fit to go on from, of such a network."""
        return self.warm_start and hasattr(self, "surrogate_") and self.surrogate_.network == network

    def _end_where_settled(self, fit: Fit) -> None:
        """End a fit whose last iterations lowered the objective by no more than `tol` of it."""
        if len(fit.history) > SETTLED and fit.status is Status.running:
            before, now = fit.history[-1 - SETTLED].objective, fit.history[-1].objective
            if before - now <= self.tol * now:
                fit.status = Status.converged

    def _plain_settings(self) -> dict[str, Any]:
        """The hyperparameters, JSON-able."""
        state = self.random_state
        settings = {name: plain(value) for name, value in self.get_params(deep=False).items()}
        return settings | {
            "hidden_widths": None if self.hidden_widths is None else list(self._widths),
            "random_state": plain(state) if state is None or isinstance(state, Integral) else type(state).__name__,
        }

    @property
    def _widths(self) -> tuple[int, ...]:
        """Those of the layers; a single one may be given as a number."""
        widths = plain(self.hidden_widths)
        return widths if isinstance(widths, tuple) else (widths,)

    def _check_settings(self) -> None:
        widths = self._widths
        if self._may_choose and self.hidden_widths is None:
            widths = (1,)
        if not widths or not all(isinstance(w, int) and not isinstance(w, bool) and w > 0 for w in widths):
            raise UsageError(
                f"expected hidden_widths of positive integers such as (16, 16), got {self.hidden_widths!r}"
            )
        hints = get_type_hints(type(self).__init__, include_extras=True)
        for name, value in self.get_params(deep=False).items():
            if name != "hidden_widths":
                require_in_bounds(name, value if name == "random_state" else plain(value), hints[name])
        device_named(self.device)

    def _objective(
        self, network: FeatureNetwork, inputs: Tensor, targets: Tensor, omega: Tensor, **regularisation: Any
    ) -> ReducedObjective:
        raise NotImplementedError

    def _outputs(self, x: Any) -> NDArray:
        check_is_fitted(self)
        require_unmasked(x, "expected X")
        checked = np.array(validate_data(self, x, reset=False, dtype=np.float64))  # a copy: it may be read-only
        return self.surrogate_.evaluate(checked)


class GNvproRegressor(RegressorMixin, _Estimator):
    """Regression by separable models, whose last layer is solved for exactly; one or several outputs.

    By default ridge regression, a sparse polynomial, kernels and, above 500 samples, a tanh network compete on samples left
    out, and the best of them, or a sum, is fitted to all samples; never one that is not surely better than ridge regression.
    With `hidden_widths` it is a tanh network of these, trained with the other settings. Inputs and outputs are
    standardised, so that the settings mean the same for all data, and nothing depends on units.

    Parameters
    ----------
    hidden_widths
        None lets the models compete. Of the tanh layers, a number for one of them; the affine last layer comes on top.
    effort
        Without widths: `full` has more folds, more kernels, and polynomials beside them, in some five times the time.
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
    tol
        Training stops where ten iterations lower the objective by less than this share of it; 0: only by the budget.
    warm_start
        `fit` goes on from the last fit's network and the scaling of its inputs, where it has these hidden widths.
    random_state
        Of the initial weights, the split and the folds.
    device
        Where networks are trained; predictions are made on the CPU.

    Attributes
    ----------
    surrogate_ : gnvpro.surrogate.model.surrogate.Surrogate
        The trained model, with derivatives, saved and loaded without pickle.
    n_iter_ : int
        Iterations to the model that is kept; 1 of a closed form.
    loss_ : float
        The objective there, in scaled outputs; of a closed form half the mean square of residuals left out.
    history_ : list of dict
        One line an iteration; none of a closed form. What competed is in `surrogate_.training["choice"]`.
    """

    _loss = LeastSquares()
    _may_choose = True

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train on X (n, n_inputs) and y (n,) or (n, n_outputs); weights (n,) may be zero."""
        self._check_settings()
        for what, values in (("X", X), ("y", y), ("sample_weight", sample_weight)):
            require_unmasked(values, f"expected {what}")
        checked = validate_data(self, X, y, dtype=np.float64, multi_output=True, y_numeric=True, ensure_min_samples=2)
        x, y = (np.asarray(part, float) for part in checked)
        x, y, weights = _distinct(x, y, check_sample_weight(sample_weight, x, dtype=np.float64))
        columns = y.reshape(len(y), -1)
        mean, spread = _moments(columns, weights)
        outputs = Space.vector([f"y{j}" for j in range(len(mean))], axis="output")
        fit = self._choose if self.hidden_widths is None else self._fit
        surrogate, sets = fit(x, (columns - mean) / spread, weights, outputs)
        outer = surrogate.weights * torch.as_tensor(spread)[:, None]
        outer[:, -1] += torch.as_tensor(mean)
        surrogate = replace(surrogate, weights=outer)
        spaces = surrogate.parameters, surrogate.observables
        # An output of zero has no relative error.
        errors = {
            name: mean_relative_error(surrogate, Samples(x[rows], columns[rows], *spaces))
            for name, rows in sets.items()
            if len(rows) and columns[rows].any(axis=1).all()
        }
        self.surrogate_ = replace(surrogate, errors=errors)
        self._is_flat = y.ndim == 1
        return self

    def _choose(
        self, x: NDArray, targets: NDArray, weights: NDArray, outputs: Space
    ) -> tuple[Surrogate, dict[str, NDArray]]:
        """What predicts best what it has not seen, as `_fit` returns a network; of many samples maybe a network."""
        seed, run = int(check_random_state(self.random_state).randint(2**31 - 1)), Run(0.0)
        shift, spread = _moments(x, weights)
        scale = 1 / (math.sqrt(x.shape[1]) * spread)
        with torch_threads(1), run.outside:
            roots = np.sqrt(weights / weights.mean())
            model = table_model((x - shift) * scale, targets, roots, seed, self.effort)
        settings = {**self._plain_settings(), "seed": seed}
        record = self._record(run, None, model.choice, settings, {"train": x})
        surrogate = self._surrogate(*model[:3], shift, scale, outputs, record)
        if len(x) >= FEWEST_FOR_NETWORK:
            network, sets = self._fit(x, targets, weights, outputs, hidden_widths=NETWORK, validation_fraction=HELD_OUT)
            # The samples that stopped it flatter the network.
            rows = sets["validation"][np.isfinite(model.left_out[sets["validation"], 0])]
            errors = [
                float((weights[rows, None] * residuals[rows] ** 2).sum())
                for residuals in (targets - network.evaluate(x), model.left_out)
            ]
            if errors[0] < FLATTERED * errors[1]:
                reason = f"network: mean square error on held-out samples below {FLATTERED} of that of the others"
                choice = {**model.choice, "kind": "network", "reason": reason}
                return replace(network, training={**network.training, "choice": choice}), sets
        self.n_iter_, self.history_ = 1, []
        self.loss_ = 0.5 * float(np.nanmean((model.left_out**2).sum(1)))
        return surrogate, {"train": np.arange(len(x))}

    def predict(self, X: Any) -> NDArray:
        """Outputs (n,) or (n, n_outputs), as in training."""
        outputs = self._outputs(X)
        return outputs[:, 0] if self._is_flat else outputs

    def _objective(
        self, network: FeatureNetwork, inputs: Tensor, targets: Tensor, omega: Tensor, **regularisation: Any
    ) -> ReducedObjective:
        return reduced_least_squares(network, inputs, targets, row_weights=omega.sqrt(), **regularisation)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags


class GNvproClassifier(ClassifierMixin, _Estimator):
    """Classification by a tanh network whose last layer, a multinomial regression, is eliminated.

    Parameters and attributes are those of `GNvproRegressor` with hidden widths, and `classes_` (n_classes,); `alpha_w` must
    be positive here, the loss is cross-entropy, and held-out samples are drawn class by class.
    """

    classes_: NDArray
    _loss = CrossEntropy()
    _grid = GRID

    def __init__(
        self,
        hidden_widths: int | Sequence[int] = (16, 16),
        *,
        gain: Positive = 1.0,
        alpha_w: Regularisation = 2e-3,
        alpha_theta: Regularisation = 1e-2,
        budget: Positive = 200.0,
        solver: Literal["lbfgs", "krylov"] = "lbfgs",
        validation_fraction: Fraction = None,
        patience: Positive = 100.0,
        tol: Regularisation = 1e-3,
        warm_start: bool = False,
        random_state: int | np.random.RandomState | None = None,
        device: str = "cpu",
    ) -> None:
        super().__init__(
            hidden_widths, gain=gain, alpha_w=alpha_w, alpha_theta=alpha_theta, budget=budget, solver=solver,
            validation_fraction=validation_fraction, patience=patience, tol=tol, warm_start=warm_start,
            random_state=random_state, device=device,
        )  # fmt: skip

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train on X (n, n_inputs) and labels y (n,) of any type; weights (n,) may be zero."""
        self._check_settings()
        if not self.alpha_w > 0:
            raise UsageError(f"expected alpha_w > 0 for classes, got {self.alpha_w!r}: W would have no minimiser")
        for what, values in (("X", X), ("y", y), ("sample_weight", sample_weight)):
            require_unmasked(values, f"expected {what}")
        x, y = validate_data(self, X, y, dtype=np.float64, ensure_min_samples=2)
        check_classification_targets(y)
        if (kind := type_of_target(y)).startswith("multilabel") or "multioutput" in kind:
            raise UsageError(f"expected one label a sample, got targets that are {kind}")
        classes, codes = np.unique(np.asarray(y), return_inverse=True)
        x, codes, weights = _distinct(np.asarray(x), codes, check_sample_weight(sample_weight, x, dtype=np.float64))
        present, labels = np.unique(codes, return_inverse=True)
        self.classes_ = classes[present]
        if len(self.classes_) < 2:
            raise UsageError("expected at least two classes, got one class; there is nothing to tell apart")
        targets = one_hot(torch.as_tensor(labels), len(self.classes_)).numpy()
        logits = Space.vector([str(label) for label in self.classes_], axis="logit")
        surrogate, sets = self._fit(x, targets, weights, logits, strata=labels)
        right = surrogate.evaluate(x).argmax(1) == labels
        accuracy = {name: float(right[rows].mean()) for name, rows in sets.items() if len(rows)}
        self.surrogate_ = replace(surrogate, training={**surrogate.training, "accuracy": accuracy})
        return self

    def predict(self, X: Any) -> NDArray:
        """The likeliest class, (n,)."""
        outputs = self._outputs(X)  # first: without a fit there are no classes
        return self.classes_[outputs.argmax(1)]

    def predict_proba(self, X: Any) -> NDArray:
        """Probabilities, (n, n_classes), in the order of `classes_`."""
        return torch.softmax(torch.as_tensor(self._outputs(X)), 1).numpy()

    def _objective(
        self, network: FeatureNetwork, inputs: Tensor, targets: Tensor, omega: Tensor, **regularisation: Any
    ) -> ReducedObjective:
        return reduced_cross_entropy(network, inputs, targets, row_weights=omega, **regularisation)


def _moments(columns: NDArray, weights: NDArray) -> tuple[NDArray, NDArray]:
    """Weighted means, and what to divide by for unit spread: a sample of weight two is two samples."""
    shares = weights / weights.sum()
    mean = shares @ columns
    return mean, spread_or_size(columns, np.sqrt(shares @ (columns - mean) ** 2))


def _distinct(x: NDArray, y: NDArray, weights: NDArray) -> tuple[NDArray, NDArray, NDArray]:
    """Every sample once, in ascending order, with the weights of those that are equal added up; of weight zero none.

    Training amplifies rounding: only so is a sample of weight two the same as two samples, in every bit of the model.
    """
    if (weights < 0).any():
        raise UsageError(f"expected sample weights >= 0, got {weights.min()}")
    kept = weights > 0
    if kept.sum() < 2:
        raise UsageError(f"expected at least two samples of positive weight, got {int(kept.sum())}")
    rows = np.column_stack([x, y])[kept]
    order = np.lexsort(rows.T[::-1])
    rows = rows[order]
    is_first = np.append(True, (rows[1:] != rows[:-1]).any(1))
    first = np.flatnonzero(kept)[order][is_first]
    return x[first], y[first], np.bincount(is_first.cumsum() - 1, weights[kept][order])


def _split(n: int, share: float | None, random: np.random.RandomState, strata: NDArray | None) -> dict[str, NDArray]:
    """Rows of the sets `train` and `validation`."""
    index = np.arange(n)
    if share is None:
        return {"train": index, "validation": index[:0]}
    try:
        chosen, held_out = train_test_split(index, test_size=share, random_state=random, stratify=strata)
    except ValueError as error:
        raise UsageError(
            f"{n} samples cannot be split with validation_fraction={share} ({error}); None trains on all of them"
        ) from error
    return {"train": np.sort(chosen), "validation": np.sort(held_out)}
