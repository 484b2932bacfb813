"""The ways to train: a race, the original study's protocol, and one given network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from functools import cached_property
from typing import Any

from torch import Tensor

from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.networks.dense import DenseNetwork
from gnvpro.surrogate.networks.in_time.hamiltonian import HamiltonianNetwork
from gnvpro.surrogate.networks.in_time.residual import ResidualNetwork
from gnvpro.surrogate.networks.in_time.time_weights import TimeNetwork
from gnvpro.surrogate.networks.none import NoFeatures
from gnvpro.surrogate.networks.protocol import FeatureNetwork
from gnvpro.surrogate.samples import Split
from gnvpro.training.candidates import Candidate
from gnvpro.training.choice.contenders import contenders_for
from gnvpro.training.choice.ensemble import average, further_members
from gnvpro.training.choice.multilevel import Level, coarse_to_fine
from gnvpro.training.choice.polynomials import MAX_PARAMETERS, PolynomialFeatures, choose_polynomials
from gnvpro.training.choice.race import Entry, race
from gnvpro.training.fitting.assembly import Assembly
from gnvpro.training.fitting.checkpoint import Checkpoint
from gnvpro.training.fitting.fit import Fit
from gnvpro.training.fitting.outcome import Progress, Training, mean_relative_error
from gnvpro.training.fitting.preparation import Frame, Preparation
from gnvpro.training.settings import (
    DEFAULT_BUDGET,
    KRYLOV_SIZE_IN_METRIC,
    PAPER_BUDGET,
    PAPER_LEVELS,
    PAPER_STEPS,
    PAPER_WIDTH,
    QUICK_BUDGET,
    RESIDUAL_LEVELS,
    RESIDUAL_STEPS,
    RESIDUAL_WIDTH,
    TrainSettings,
)
from gnvpro.training.solvers.lbfgs import LimitedMemoryBFGS
from gnvpro.training.solvers.levenberg import LevenbergMarquardt
from gnvpro.training.solvers.protocol import Solver
from gnvpro.training.solvers.trust_region import TrustRegionKrylov


class Runner:
    """One training: data on the device, and the ways to run it."""

    def __init__(
        self,
        split: Split,
        settings: TrainSettings,
        on_progress: Callable[[Progress], None] | None,
        checkpoint: Checkpoint | None = None,
    ) -> None:
        self._split, self._settings, self._on_progress = split, settings, on_progress
        self._checkpoint = checkpoint
        self._n_inputs = split.train.parameters.shape[1]
        if settings.polynomial == "on" and self._n_inputs > MAX_PARAMETERS:
            raise UsageError(
                f"polynomial features are for at most {MAX_PARAMETERS} parameters, got {self._n_inputs}; leave them off"
            )
        self._prepared = Preparation(split, settings)
        self._assembly = Assembly(self._prepared, settings)
        if settings.polynomial == "on" and self._polynomials is None:
            raise UsageError(
                f"no polynomial basis fits {len(split.train)} training samples of these parameters; give more samples, "
                "parameters that vary, or leave polynomials off"
            )

    def auto(self) -> Training:
        """Race shapes and gains, train the winner to the end of the budget."""
        settings, frames = self._settings, {}

        def start(candidate: Candidate, later: int = 0) -> Fit:
            frames[candidate] = self._frame(candidate.gain, candidate.polynomial)
            network, seed = DenseNetwork(self._n_inputs, candidate.widths), settings.seed + later
            stage = f"{candidate}, seed {seed}" if later else str(candidate)
            return self._fit(network, frames[candidate], self._solver(candidate.metric), stage, seed)

        fits_polynomials = settings.polynomial != "off" and self._polynomials is not None
        contenders = contenders_for(settings, len(self._split.train), self._n_inputs, fits_polynomials)
        budget = self._budget()
        report = self._reporter(budget, _Spent())
        winner, entries = race(contenders, start, budget, report)
        alone = self._alone() if any(candidate.polynomial for candidate in contenders) else None
        chosen: dict[str, Any] = {
            "widths": list(winner.candidate.widths),
            "gain": winner.candidate.gain,
            "metric": winner.candidate.metric,
            "polynomial": self._described_polynomials() if winner.candidate.polynomial else None,
            "reason": _reason(entries, settings),
            "candidates": [_described(entry) for entry in entries],
        }
        fits, best, frame = [entry.fit for entry in entries], winner.fit, frames[winner.candidate]
        if alone is not None:
            error, fits = alone.best.validation_error, [*fits, alone]
            chosen["polynomial_alone"] = {**self._described_polynomials(), "validation_error": error}
            # A network that the user asked for by its widths is kept.
            if error <= best.best.validation_error and not settings.widths:
                best, frame = alone, self._frame(1.0, with_polynomials=True)
                chosen |= {"widths": [], "polynomial": self._described_polynomials()}
                chosen["reason"] = f"the polynomial alone has the lowest validation error ({error:.3g})"
        if settings.members == 1 or frame.polynomials is not None:
            return self._assembly.training(fits, best, frame, chosen)
        members = further_members(winner, entries, settings.members, start, report)
        return self._averaged(members, [*fits, *(entry.fit for entry in members[1:])], frame, chosen)

    def _averaged(self, members: list[Entry], fits: list[Fit], frame: Frame, chosen: dict[str, Any]) -> Training:
        def validation_error(network: FeatureNetwork, theta: Tensor, weights: Tensor) -> float:
            mean = self._assembly.surrogate(network, theta, weights, frame)
            return mean_relative_error(mean, self._split.validation, anomalous=True)

        mean = average(members, members[0].candidate.gain, validation_error)
        kept = len(mean.network.members)
        chosen["members"] = [_described(entry) for entry in members]
        chosen["members_kept"], chosen["validation_errors_of_means"] = kept, mean.validation_errors
        chosen["reason"] += (
            f"; the mean of the best {kept} of {len(members)} networks has {min(mean.validation_errors):.3g}"
        )
        surrogate = self._assembly.surrogate(mean.network, mean.theta, mean.weights, frame)
        best = min((entry.fit for entry in members), key=lambda fit: fit.best.validation_error)
        return self._assembly.training(fits, best, frame, chosen, surrogate)

    def paper(self) -> Training:
        """The original study's protocol: raw inputs, three levels of twice the steps, alpha_theta halved at each."""
        network = ResidualNetwork(self._n_inputs, PAPER_WIDTH, PAPER_STEPS)
        budget = PAPER_LEVELS * (self._settings.budget or PAPER_BUDGET)
        reason = "the original study's network and protocol: "
        alpha = 1e-10 if self._settings.alpha_theta is None else self._settings.alpha_theta
        return self._coarse_to_fine(network, PAPER_LEVELS, alpha, budget, self._prepared.raw(), reason, {})

    def residual(self) -> Training:
        """A residual network of the settings' kind, width and steps, on standardised inputs."""
        settings, gain = self._settings, self._settings.gain or 1.0
        levels = settings.levels or RESIDUAL_LEVELS
        network = _residual_network(settings, self._n_inputs).coarsest(levels)
        with_polynomials = settings.polynomial == "on"
        frame = self._frame(gain, with_polynomials)
        described = {
            "gain": gain,
            "network": settings.network,
            "polynomial": self._described_polynomials() if with_polynomials else None,
        }
        # alpha_theta is that of the last level, so that levels do not change the problem that is solved in the end.
        alpha = (1e-9 if settings.alpha_theta is None else settings.alpha_theta) * 2 ** (levels - 1)
        return self._coarse_to_fine(network, levels, alpha, self._budget(), frame, "fixed by the settings: ", described)

    def _coarse_to_fine(
        self,
        network: TimeNetwork,
        levels: int,
        alpha: float,
        budget: float,
        frame: Frame,
        reason: str,
        described: dict[str, Any],
    ) -> Training:
        def start(level: Level) -> Fit:
            # In the metric L-BFGS ends at half of the error on the CDR data at equal work; Krylov is better without.
            solver = self._solver(metric=self._settings.solver == "lbfgs")
            fit = self._prepared.fit(level.network, frame, solver, level.stage, level.alpha_theta, level.theta)
            return self._enrolled(fit)

        report = self._reporter(budget, _Spent())
        fits = coarse_to_fine(network, levels, alpha, start, budget, report)
        best = min(fits, key=lambda fit: fit.best.validation_error)
        number = f"{len(fits)} level{'s' if len(fits) > 1 else ''}"
        chosen = {**described, "levels": len(fits), "reason": f"{reason}best validation error of {number}"}
        return self._assembly.training(fits, best, frame, chosen)

    def single(self, network: FeatureNetwork) -> Training:
        """One given network; polynomials beside it only where they are switched on."""
        gain, with_polynomials = self._settings.gain or 1.0, self._settings.polynomial == "on"
        frame = self._frame(gain, with_polynomials)
        fit = self._fit(network, frame, self._solver(metric=True), "module")
        fit.advance(self._budget(), self._reporter(self._budget(), _Spent()))
        chosen = {
            "gain": gain,
            "polynomial": self._described_polynomials() if with_polynomials else None,
            "reason": "the network was given as a module",
        }
        return self._assembly.training([fit], fit, frame, chosen)

    @cached_property
    def _polynomials(self) -> PolynomialFeatures | None:
        """Chosen on the training samples by leave-one-out; None where none fit."""
        train = self._split.train
        with self._prepared.aside:
            return choose_polynomials(train.parameters, train.anomalous, self._prepared.row_weights(train))

    def _frame(self, gain: float, with_polynomials: bool) -> Frame:
        """Inputs scaled to the gain; with the chosen polynomials and their amplitude where asked for."""
        chosen = self._polynomials if with_polynomials else None
        if chosen is None:
            return self._prepared.standardised(gain)
        return self._prepared.standardised(gain, chosen.basis, chosen.amplitude)

    def _alone(self) -> Fit:
        """The polynomial without a network, for comparison: it has nothing to iterate."""
        frame = self._frame(1.0, with_polynomials=True)
        fit = self._fit(NoFeatures(self._n_inputs), frame, self._solver(metric=False), "polynomial alone")
        fit.advance(1.0)
        return fit

    def _budget(self) -> float:
        return self._settings.budget or (QUICK_BUDGET if self._settings.quick else DEFAULT_BUDGET)

    def _solver(self, metric: bool) -> Solver:
        if self._settings.solver == "krylov":
            # In the Kronecker metric a longer basis pays: 0.0020 -> 0.0012 on the CDR data at equal work.
            size = KRYLOV_SIZE_IN_METRIC if metric else 20
            return TrustRegionKrylov(size, metric=metric, seed=self._settings.seed)
        if self._settings.solver == "lm":
            return LevenbergMarquardt()
        return LimitedMemoryBFGS(metric=metric, seed=self._settings.seed)

    def _fit(self, network: FeatureNetwork, frame: Frame, solver: Solver, stage: str, seed: int | None = None) -> Fit:
        alpha = 1e-9 if self._settings.alpha_theta is None else self._settings.alpha_theta
        return self._enrolled(self._prepared.fit(network, frame, solver, stage, alpha, seed=seed))

    def _enrolled(self, fit: Fit) -> Fit:
        return fit if self._checkpoint is None else self._checkpoint.enrol(fit)

    def _reporter(self, budget: float, done: _Spent) -> Callable[[Fit], None] | None:
        report, checkpoint = self._on_progress, self._checkpoint
        if report is None and checkpoint is None:
            return None

        def after_step(fit: Fit) -> None:
            if checkpoint is not None:
                checkpoint.after_step()
            if report is not None:
                report(Progress(fit.stage, done.update(fit), budget, fit.best.validation_error))

        return after_step

    def _described_polynomials(self) -> dict[str, Any]:
        chosen = self._polynomials
        assert chosen is not None
        basis = chosen.basis
        return {
            "n_terms": basis.n_terms + 1,
            "degree": basis.degree,
            "weights": list(basis.weights),
            "powers": list(basis.powers),
            "amplitude": chosen.amplitude is not None,
            "leave_one_out_error": chosen.leave_one_out,
        }


def _residual_network(settings: TrainSettings, n_inputs: int) -> TimeNetwork:
    """The residual network asked for, as it is on the last level."""
    width, steps = settings.width or RESIDUAL_WIDTH, settings.steps or RESIDUAL_STEPS
    if settings.network == "hamiltonian":
        return HamiltonianNetwork(n_inputs, width, steps)
    return ResidualNetwork(n_inputs, width, steps, kind="plain" if settings.network == "plain" else "antisymmetric")


class _Spent:
    """Work units over several fits."""

    def __init__(self) -> None:
        self._by_fit: dict[int, float] = {}

    def update(self, fit: Fit) -> float:
        self._by_fit[id(fit)] = fit.objective.meter.total
        return sum(self._by_fit.values())


def _reason(entries: list[Entry], settings: TrainSettings) -> str:
    best = entries[0]
    if len(entries) == 1:
        return "fixed by quick" if settings.quick else "fixed by the settings"
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
