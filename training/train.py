"""From a split of samples to a surrogate: scaling, choice of the network, fit, errors."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from surrogate.forward_model import Array
from surrogate.module_network import ModuleNetwork
from surrogate.networks import DenseNetwork, FeatureNetwork
from surrogate.reduced import ReducedObjective
from surrogate.residual_network import ResidualNetwork
from surrogate.samples import Samples, Split
from surrogate.saved import Surrogate
from surrogate.scaling import Scaling
from training.fit import Fit, Record, ValidationSet
from training.lbfgs import LimitedMemoryBFGS
from training.race import Candidate, Entry, candidates, race
from training.settings import (
    DEFAULT_BUDGET,
    KRYLOV_SIZE_IN_METRIC,
    PAPER_BUDGET,
    PAPER_LEVELS,
    PAPER_STEPS,
    PAPER_WIDTH,
    QUICK,
    QUICK_BUDGET,
    TrainSettings,
)
from training.solver import Solver, Status
from training.trust_region import TrustRegionKrylov


@dataclass(frozen=True)
class Progress:
    """What a progress bar shows while training."""

    stage: str
    work_units: float
    budget: float
    validation_error: float


@dataclass(frozen=True)
class Training:
    """The trained surrogate and how it came about."""

    surrogate: Surrogate
    history: list[Record]

    @property
    def errors(self) -> dict[str, float]:
        """Mean per-sample relative L2 error on train, validation and test."""
        return self.surrogate.errors

    def summary(self) -> dict[str, Any]:
        """One JSON-able object: `error`, `method`, `status`, work and seconds, what was chosen and why."""
        return {"error": self.errors, **self.surrogate.training}

    def save(self, path: str | Path, *, overwrite: bool = False, extra: dict[str, Any] | None = None) -> None:
        """Write the model folder, with the history of the run and `extra` documents beside the model."""
        history = [asdict(record) for record in self.history]
        self.surrogate.save(path, overwrite=overwrite, extra={"history.json": history, **(extra or {})})


def train(
    split: Split,
    settings: TrainSettings | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    module: nn.Module | None = None,
) -> Training:
    """Fit a surrogate to `split.train`, chosen on `split.validation`; `split.test` is only reported.

    The same seed on the same machine gives the same weights: no stopping rule reads a clock. Ctrl-C ends the
    training with the best surrogate so far and status `interrupted`.

    Parameters
    ----------
    module
        Feature network as a torch module with `n_in` inputs, in place of the built-in ones.

    Raises
    ------
    ValueError
        A device or setting that does not exist or fit, or an objective that is not finite at the start.
    """
    settings = settings or TrainSettings()
    threads = torch.get_num_threads()
    torch.set_num_threads(settings.threads)
    try:
        runner = _Runner(split, settings, on_progress)
        if module is not None:
            return runner.single(ModuleNetwork(module, split.train.parameters.shape[1]))
        return runner.paper() if settings.network == "paper" else runner.auto()
    finally:
        torch.set_num_threads(threads)


class _Runner:
    """One training: data on the device, and the ways to run it."""

    def __init__(self, split: Split, settings: TrainSettings, on_progress: Callable[[Progress], None] | None) -> None:
        self._split, self._settings, self._on_progress = split, settings, on_progress
        self._device, self._dtype = _device(settings.device), getattr(torch, settings.dtype)
        self._relative = (settings.goal or ("absolute" if settings.network == "paper" else "relative")) == "relative"
        for name in ("train", "validation", "test"):
            norms = np.linalg.norm(getattr(split, name).observables, axis=1)
            if not norms.all():
                raise ValueError(
                    f"all observables of {name} sample {int(np.argmin(norms))} are zero, so its relative error is undefined; "
                    "leave such samples out"
                )

    def auto(self) -> Training:
        """Race shapes and gains, train the winner to the end of the budget."""
        settings, train = self._settings, self._split.train
        contenders = self._contenders(len(train), train.parameters.shape[1])
        budget = settings.budget or (QUICK_BUDGET if settings.quick else DEFAULT_BUDGET)
        fits: dict[Candidate, Scaling] = {}

        def start(candidate: Candidate) -> Fit:
            fits[candidate] = self._standardised(candidate.gain)
            network = DenseNetwork(train.parameters.shape[1], candidate.widths)
            return self._fit(network, fits[candidate], self._solver(candidate.metric), str(candidate))

        done = _Spent()
        winner, entries = race(contenders, start, budget, self._reporter(budget, done))
        chosen = {
            "widths": list(winner.candidate.widths),
            "gain": winner.candidate.gain,
            "metric": winner.candidate.metric,
            "reason": _reason(entries, settings),
            "candidates": [_described(entry) for entry in entries],
        }
        return self._training([entry.fit for entry in entries], winner.fit, fits[winner.candidate], chosen)

    def paper(self) -> Training:
        """The original study's protocol: raw inputs, three levels of twice the steps, alpha_theta halved at each."""
        settings, n_inputs = self._settings, self._split.train.parameters.shape[1]
        scaling = Scaling.raw(self._split.train.parameters, self._split.train.observables)
        network, alpha = ResidualNetwork(n_inputs, PAPER_WIDTH, PAPER_STEPS), _first_given(settings.alpha_theta, 1e-10)
        budget, theta, fits, done = settings.budget or PAPER_BUDGET, None, [], _Spent()
        report = self._reporter(PAPER_LEVELS * budget, done)
        for level in range(PAPER_LEVELS):
            stage = f"level {level + 1}, {network.steps} steps"
            fit = self._fit(network, scaling, self._solver(metric=False), stage, alpha, theta)
            fits.append(fit)
            if fit.advance(budget, report) is Status.interrupted:
                break
            if level + 1 < PAPER_LEVELS:
                network, theta = network.prolonged(fit.best.theta)
                alpha *= 0.5
        best = min(fits, key=lambda fit: fit.best.validation_error)
        chosen = {
            "levels": len(fits),
            "reason": f"the original study's network and protocol: best validation error of {len(fits)} levels",
        }
        return self._training(fits, best, scaling, chosen)

    def single(self, network: FeatureNetwork) -> Training:
        """One given network."""
        gain = self._settings.gain or 1.0
        scaling = self._standardised(gain)
        fit = self._fit(network, scaling, self._solver(metric=True), "module")
        budget = self._settings.budget or (QUICK_BUDGET if self._settings.quick else DEFAULT_BUDGET)
        fit.advance(budget, self._reporter(budget, _Spent()))
        return self._training([fit], fit, scaling, {"gain": gain, "reason": "the network was given as a module"})

    def _contenders(self, n_samples: int, n_inputs: int) -> list[Candidate]:
        settings = self._settings
        if settings.quick:
            return [Candidate(settings.widths or _narrowed(QUICK.widths, n_samples), settings.gain or QUICK.gain)]
        found = candidates(n_samples, n_inputs)
        if settings.widths:
            found = [Candidate(settings.widths, gain) for gain in (0.1, 1.0)]
        if settings.gain:
            found = [Candidate(c.widths, settings.gain, c.metric) for c in found]
        if settings.solver == "krylov":
            found = [c for c in found if c.metric]
        return list(dict.fromkeys(found))

    def _solver(self, metric: bool) -> Solver:
        if self._settings.solver == "krylov":
            # In the Kronecker metric a longer basis pays: 0.0020 -> 0.0012 on the CDR data at equal work.
            size = KRYLOV_SIZE_IN_METRIC if metric else 20
            return TrustRegionKrylov(size, metric=metric, seed=self._settings.seed)
        return LimitedMemoryBFGS(metric=metric, seed=self._settings.seed)

    def _standardised(self, gain: float) -> Scaling:
        return Scaling.standardised(self._split.train.parameters, self._split.train.observables, gain)

    def _fit(
        self,
        network: FeatureNetwork,
        scaling: Scaling,
        solver: Solver,
        stage: str,
        alpha_theta: float | None = None,
        theta: Tensor | None = None,
    ) -> Fit:
        settings, train, validation = self._settings, self._split.train, self._split.validation
        weights = self._row_weights(train)
        objective = ReducedObjective(
            network,
            self._inputs(scaling, train),
            self._tensor(scaling.targets(train.observables)),
            row_weights=self._tensor(weights / _rms(weights)),
            alpha_w=settings.alpha_w,
            alpha_theta=_first_given(alpha_theta, settings.alpha_theta, 1e-9),
            compression=1e-6,
        )
        watched = ValidationSet(
            objective,
            self._inputs(scaling, validation),
            self._tensor(scaling.targets(validation.observables)),
            self._tensor(self._row_weights(validation) / _rms(weights)),
        )
        start = network.initial(settings.seed) if theta is None else theta
        start = start.to(device=self._device, dtype=self._dtype)
        return Fit(objective, start, solver, watched, patience=settings.patience, stage=stage)

    def _row_weights(self, samples: Samples) -> Array:
        return 1 / np.linalg.norm(samples.observables, axis=1) if self._relative else np.ones(len(samples))

    def _inputs(self, scaling: Scaling, samples: Samples) -> Tensor:
        return self._tensor(scaling.inputs(samples.parameters)).to(self._dtype)

    def _tensor(self, values: Array) -> Tensor:
        return torch.as_tensor(values, device=self._device)

    def _reporter(self, budget: float, done: _Spent) -> Callable[[Fit], None] | None:
        report = self._on_progress
        if report is None:
            return None
        return lambda fit: report(Progress(fit.stage, done.update(fit), budget, fit.best.validation_error))

    def _training(self, fits: list[Fit], best: Fit, scaling: Scaling, choice: dict[str, Any]) -> Training:
        train = self._split.train
        surrogate = Surrogate.assemble(
            best.network,
            best.best.theta,
            best.best.weights,
            scaling,
            train.parameter_space,
            train.observable_space,
            train.provenance,
        )
        errors = {
            name: mean_relative_error(surrogate, samples)
            for name in ("train", "validation", "test")
            if len(samples := getattr(self._split, name))
        }
        training = {
            "method": best.solver.name,
            "status": _overall(fits, best).value,
            "work_units": sum(fit.objective.meter.total for fit in fits),
            "cpu_seconds": sum(fit.cpu_seconds for fit in fits),
            "wall_seconds": sum(fit.wall_seconds for fit in fits),
            "choice": choice,
            "settings": asdict(self._settings),
            "samples": {
                name: len(getattr(self._split, name)) for name in ("train", "validation", "calibration", "test")
            },
            "bounds": {"lower": train.parameters.min(0).tolist(), "upper": train.parameters.max(0).tolist()},
            "device": str(self._device),
            "torch": torch.__version__,
        }
        surrogate = replace(surrogate, errors=errors, training=training)
        return Training(surrogate, [record for fit in fits for record in fit.history])


class _Spent:
    """Work units over several fits."""

    def __init__(self) -> None:
        self._by_fit: dict[int, float] = {}

    def update(self, fit: Fit) -> float:
        self._by_fit[id(fit)] = fit.objective.meter.total
        return sum(self._by_fit.values())


def mean_relative_error(surrogate: Surrogate, samples: Samples) -> float:
    """Mean over samples of ||prediction - observables|| / ||observables||."""
    misfit = surrogate.evaluate(samples.parameters) - samples.observables
    return float((np.linalg.norm(misfit, axis=1) / np.linalg.norm(samples.observables, axis=1)).mean())


def _overall(fits: list[Fit], best: Fit) -> Status:
    interrupted = any(fit.status is Status.interrupted for fit in fits)
    return Status.interrupted if interrupted else best.status


def _reason(entries: list[Entry], settings: TrainSettings) -> str:
    best = entries[0]
    if len(entries) == 1:
        return "fixed by --quick" if settings.quick else "fixed by the settings"
    return (
        f"lowest validation error ({best.fit.best.validation_error:.3g}) of {len(entries)} candidates raced; "
        f"next: {entries[1].candidate} ({entries[1].fit.best.validation_error:.3g})"
    )


def _described(entry: Entry) -> dict[str, Any]:
    return {
        **asdict(entry.candidate),
        "validation_error": entry.fit.best.validation_error,
        "work_units": entry.fit.objective.meter.total,
        "status": entry.fit.status.value,
    }


def _narrowed(widths: tuple[int, ...], n_samples: int) -> tuple[int, ...]:
    return (*widths[:-1], max(1, min(widths[-1], n_samples // 4)))


def _device(name: str) -> torch.device:
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ValueError(f"expected a torch device such as cpu, cuda or cuda:1, got {name!r}") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError("no CUDA device is available; train with --device cpu")
    try:
        torch.zeros(1, dtype=torch.float64, device=device).item()
    except (RuntimeError, AssertionError, NotImplementedError, TypeError) as error:
        raise ValueError(f"device {name} cannot be used for training here; expected cpu or a CUDA device") from error
    return device


def _first_given(*values: float | None) -> float:
    return next(value for value in values if value is not None)


def _rms(values: Array) -> float:
    return math.sqrt(float((values**2).mean()))
