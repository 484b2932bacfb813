"""The ways to train a surrogate: a race, the original study's protocol, residual networks, and one given network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from gnvpro.surrogate.coupling import ALONE as NO_OTHERS
from gnvpro.surrogate.coupling import Coupling
from gnvpro.surrogate.error_measure import ErrorMeasure
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.model.calibration import calibrated_by_left_out, calibrated_by_split
from gnvpro.surrogate.model.output_errors import errors_by_output
from gnvpro.surrogate.model.surrogate import Surrogate
from gnvpro.surrogate.networks.dense import DenseNetwork
from gnvpro.surrogate.networks.in_time.hamiltonian import HamiltonianNetwork
from gnvpro.surrogate.networks.in_time.residual import ResidualNetwork
from gnvpro.surrogate.networks.in_time.time_weights import TimeNetwork
from gnvpro.surrogate.networks.module import ModuleNetwork
from gnvpro.surrogate.networks.none import NoFeatures
from gnvpro.surrogate.networks.protocol import FeatureNetwork
from gnvpro.surrogate.samples import Samples, Split
from gnvpro.surrogate.seeds import member_seed
from gnvpro.surrogate.spaces import Array
from gnvpro.training.choice.candidates import Candidate, candidates_for
from gnvpro.training.choice.contest import Contest, Decision
from gnvpro.training.choice.ensemble import average, further_members
from gnvpro.training.choice.folds import folds_of
from gnvpro.training.choice.large import MANY_SAMPLES, decide_many
from gnvpro.training.choice.multilevel import Level, coarse_to_fine
from gnvpro.training.choice.polynomials import MAX_PARAMETERS, PolynomialFeatures, polynomials_for
from gnvpro.training.choice.race import Entry, described_entry, race
from gnvpro.training.fidelities.contest import ALONE, CoarseLevel, FidelityContest, fidelity_folds
from gnvpro.training.fitting.checkpoint import Checkpoint
from gnvpro.training.fitting.fit import Fit
from gnvpro.training.fitting.outcome import CLOSED_FORM, Training, mean_relative_error, relative_error
from gnvpro.training.fitting.preparation import Formulation, Preparation
from gnvpro.training.fitting.run import Job, Progress, Run
from gnvpro.training.settings import (
    CONTEST_BUDGET,
    DEFAULT_BUDGET,
    MORE_WITH_DERIVATIVES,
    PAPER_BUDGET,
    PAPER_LEVELS,
    PAPER_STEPS,
    PAPER_WIDTH,
    QUICK_BUDGET,
    QUICK_CONTEST_BUDGET,
    RESIDUAL_LEVELS,
    RESIDUAL_STEPS,
    RESIDUAL_WIDTH,
    TrainSettings,
)


class SurrogateTraining:
    """One training of a surrogate by one of several strategies: `contest`, `networks`, `paper`, `residual` or `single`.

    `beside` a coarse model, fine samples correct it.
    """

    def __init__(
        self,
        split: Split,
        settings: TrainSettings,
        on_progress: Callable[[Progress], None] | None = None,
        checkpoint: Checkpoint | None = None,
        coupling: Coupling = NO_OTHERS,
    ) -> None:
        split = split.without_derivatives if settings.derivatives == "off" else split
        split.train.require_observed()
        self._split, self._settings = split, settings
        # A default budget is one of passes, which count more with derivatives.
        rows = 1 + split.train.n_directions
        self._n_inputs = split.train.parameters.shape[1]
        if settings.polynomial == "on" and self._n_inputs > MAX_PARAMETERS:
            raise UsageError(
                f"polynomial features are for at most {MAX_PARAMETERS} parameters, got {self._n_inputs}; leave them off"
            )
        budget = settings.budget or rows * (QUICK_BUDGET if settings.quick else DEFAULT_BUDGET)
        if settings.network == "paper":
            budget = PAPER_LEVELS * (settings.budget or rows * PAPER_BUDGET)
        self._run = Run(budget, settings.seed, on_progress, checkpoint, coupling)
        # Predictions (n, n_out) of samples left out, after `contest` or `beside`; NaN where none was.
        self.left_out = np.full(split.train.observables.shape, np.nan)
        self._prepared = Preparation(split, settings)
        if settings.polynomial == "on" and self._polynomials is None:
            raise UsageError(
                f"no polynomial basis fits {len(split.train)} training samples of these parameters; give more samples, "
                "parameters that vary, or leave polynomials off"
            )

    def strategy(self, module: nn.Module | None = None) -> Training:
        """By the way that the settings ask for, or of a network that is given as a module."""
        settings = self._settings
        if module is not None:
            return self.single(ModuleNetwork(module, self._n_inputs))
        if settings.network == "auto":
            return self.networks() if settings.asks_for_networks else self.contest()
        return self.paper() if settings.network == "paper" else self.residual()

    def contest(self) -> Training:
        """Let networks, kernels and polynomials compete, on validation samples where there are any, else by folds."""
        samples, settings = self._judged_samples, self._settings
        folds = self._folds(folds_of)
        if len(samples) > MANY_SAMPLES and settings.contender in ("auto", "network"):
            decision = decide_many(self._run, settings, samples, folds)
        else:
            self._run.budget = settings.budget or self._contest_budget(samples)
            decision = Contest(self._run, settings, samples, folds, self._run.budget, self._run.report).decide()
        return self._decided(decision, samples.parameters)

    def beside(self, coarse: CoarseLevel) -> Training:
        """Let corrections of the coarse model compete with each other and with these samples alone."""
        samples, settings = self._judged_samples, self._settings
        self._run.budget = settings.budget or self._contest_budget(samples)
        folds = self._folds(fidelity_folds)
        decision = FidelityContest(self._run, settings, samples, folds, coarse).decide()
        seen = [samples.parameters] if decision.choice["kind"] == ALONE else [samples.parameters, coarse.parameters]
        return self._decided(decision, np.concatenate(seen))

    @property
    def _judged_as(self) -> str:
        """What the error is called that samples left out have."""
        return "validation" if len(self._split.validation) else "cross-validated"

    def _contest_budget(self, samples: Samples) -> float:
        passes = QUICK_CONTEST_BUDGET if self._settings.quick else CONTEST_BUDGET
        return passes * (MORE_WITH_DERIVATIVES * (1 + samples.n_directions) if samples.n_directions else 1.0)

    @property
    def _judged_samples(self) -> Samples:
        return self._split.train.joined(self._split.validation)

    def _folds(self, usual: Callable[[int, int], NDArray[np.intp]]) -> NDArray[np.intp]:
        n_train, n_validation = len(self._split.train), len(self._split.validation)
        if n_validation:
            return np.where(np.arange(n_train + n_validation) < n_train, -1, 0)
        return usual(n_train, self._settings.seed)

    def _decided(self, decision: Decision, parameters: Array) -> Training:
        """The model with errors, bands and record; `parameters` (m, n_in) are those of all samples it was made of."""
        split, samples = self._split, self._judged_samples
        judged = self._judged_as
        self.left_out = decision.predictions
        left_out = np.flatnonzero(~np.isnan(decision.predictions).any(axis=1))
        unseen, predictions = samples.subset(left_out), decision.predictions[left_out]
        surrogate, fit = decision.surrogate, decision.fit
        measure = ErrorMeasure.of(surrogate.training)
        errors = self._errors(surrogate, ("train", "test"))
        for kind, of_sets in errors.items():
            of_sets[judged] = relative_error(predictions, unseen, measure, anomalous=kind == "errors_anomalous")
        if decision.derivative_error is not None:
            errors["errors"]["derivatives"] = decision.derivative_error
        choice = decision.choice
        if judged == "validation":
            choice = {**choice, "refitted": "fitted to train and validation samples together"}
        record = self._record(fit, fit.method if fit else CLOSED_FORM, choice, parameters)
        if samples.modes is None:  # the values of a field are of one kind
            record["errors_by_output"] = errors_by_output(
                predictions, unseen.observables, unseen.observable_space, unseen.background, measure
            )
        record |= surrogate.training
        surrogate = replace(surrogate, **errors, training=record)
        source = "validation" if judged == "validation" else "cross-validation"
        surrogate = calibrated_by_left_out(surrogate, split, parameters, unseen, predictions, source)
        return Training(surrogate, self._run.history(), self.left_out)

    def networks(self) -> Training:
        """Race shapes and gains, train the winner to the end of the budget."""
        settings, formulations = self._settings, {}

        def start(candidate: Candidate, member: int = 0) -> Fit:
            formulations[candidate] = self._formulation(candidate.gain, candidate.polynomial)
            network, seed = DenseNetwork(self._n_inputs, candidate.widths), member_seed(settings.seed, member)
            stage = f"{candidate}, member {member + 1}" if member else str(candidate)
            return self._begin(network, formulations[candidate], candidate.metric, stage, seed=seed)

        fits_polynomials = settings.polynomial != "off" and self._polynomials is not None
        rows = len(self._split.train) * (1 + self._split.train.n_directions)
        candidates = candidates_for(settings, rows, self._n_inputs, fits_polynomials)
        winner, entries = race(candidates, start, self._run.budget, self._run.advance)
        self._run.fits[:] = [entry.fit for entry in entries]  # best first, as the record lists them
        chosen: dict[str, Any] = {
            "widths": list(winner.candidate.widths),
            "gain": winner.candidate.gain,
            "metric": winner.candidate.metric,
            "polynomial": self._described_polynomials() if winner.candidate.polynomial else None,
            "reason": _reason(entries, settings),
            "candidates": [described_entry(entry) for entry in entries],
        }
        best, formulation = winner.fit, formulations[winner.candidate]
        if any(candidate.polynomial for candidate in candidates):
            alone = self._polynomial_alone()
            error = alone.best.validation_error
            chosen["polynomial_alone"] = {**self._described_polynomials(), "validation_error": error}
            # A network that the user asked for by its widths is kept.
            if error <= best.best.validation_error and not settings.widths:
                best, formulation = alone, self._formulation(1.0, with_polynomials=True)
                chosen |= {"widths": [], "polynomial": self._described_polynomials()}
                chosen["reason"] = f"the polynomial alone has the lowest validation error ({error:.3g})"
        if settings.members == 1 or formulation.polynomials is not None:
            return self._training(best, formulation, chosen)
        members = further_members(winner, entries, settings.members, start, self._run.advance, self._run.coupling.size)
        return self._averaged(members, formulation, chosen)

    def _averaged(self, members: list[Entry], formulation: Formulation, chosen: dict[str, Any]) -> Training:
        def validation_error(network: FeatureNetwork, theta: Tensor, weights: Tensor) -> float:
            mean = self._prepared.surrogate(network, theta, weights, formulation)
            return mean_relative_error(mean, self._split.validation, anomalous=True)

        mean = average(members, members[0].candidate.gain, validation_error)
        kept = len(mean.network.members)
        chosen["members"] = [described_entry(entry) for entry in members]
        chosen["members_kept"], chosen["validation_errors_of_means"] = kept, mean.validation_errors
        chosen["reason"] += (
            f"; the mean of the best {kept} of {len(members)} networks has {min(mean.validation_errors):.3g}"
        )
        surrogate = self._prepared.surrogate(mean.network, mean.theta, mean.weights, formulation)
        best = min((entry.fit for entry in members), key=lambda fit: fit.best.validation_error)
        return self._training(best, formulation, chosen, surrogate)

    def paper(self) -> Training:
        """The original study's protocol: raw inputs, three levels of twice the steps, alpha_theta halved at each."""
        network = ResidualNetwork(self._n_inputs, PAPER_WIDTH, PAPER_STEPS)
        alpha = 1e-10 if self._settings.alpha_theta is None else self._settings.alpha_theta
        reason = "the original study's network and protocol: "
        return self._coarse_to_fine(network, PAPER_LEVELS, alpha, self._prepared.raw(), reason, {})

    def residual(self) -> Training:
        """A residual network of the settings' kind, width and steps, on standardised inputs."""
        settings, gain = self._settings, self._settings.gain or 1.0
        levels = settings.levels or RESIDUAL_LEVELS
        network = _residual_network(settings, self._n_inputs).coarsest(levels)
        with_polynomials = settings.polynomial == "on"
        described = {
            "gain": gain,
            "network": settings.network,
            "polynomial": self._described_polynomials() if with_polynomials else None,
        }
        # alpha_theta is that of the last level, so that levels do not change the problem that is solved in the end.
        alpha = (1e-9 if settings.alpha_theta is None else settings.alpha_theta) * 2 ** (levels - 1)
        formulation = self._formulation(gain, with_polynomials)
        return self._coarse_to_fine(network, levels, alpha, formulation, "fixed by the settings: ", described)

    def _coarse_to_fine(
        self,
        network: TimeNetwork,
        levels: int,
        alpha: float,
        formulation: Formulation,
        reason: str,
        described: dict[str, Any],
    ) -> Training:
        def start(level: Level) -> Fit:
            # In the metric L-BFGS ends at half of the error on the CDR data at equal work; Krylov is better without.
            metric, origin = self._settings.solver == "lbfgs", dict(alpha_theta=level.alpha_theta, theta=level.theta)
            return self._begin(level.network, formulation, metric, level.stage, **origin)

        fits = coarse_to_fine(network, levels, alpha, start, self._run.budget, self._run.after_step)
        best = min(fits, key=lambda fit: fit.best.validation_error)
        number = f"{len(fits)} level{'s' if len(fits) > 1 else ''}"
        chosen = {**described, "levels": len(fits), "reason": f"{reason}best validation error of {number}"}
        return self._training(best, formulation, chosen)

    def single(self, network: FeatureNetwork) -> Training:
        """One given network; polynomials beside it only where they are switched on."""
        gain, with_polynomials = self._settings.gain or 1.0, self._settings.polynomial == "on"
        formulation = self._formulation(gain, with_polynomials)
        fit = self._begin(network, formulation, True, "module")
        self._run.advance([Job(fit, self._run.budget)])
        chosen = {
            "gain": gain,
            "polynomial": self._described_polynomials() if with_polynomials else None,
            "reason": "the network was given as a module",
        }
        return self._training(fit, formulation, chosen)

    @cached_property
    def _polynomials(self) -> PolynomialFeatures | None:
        """Chosen on the training samples by leave-one-out; None where none fit."""
        train = self._split.train
        with self._run.outside:
            return polynomials_for(self._prepared, train)

    def _formulation(self, gain: float, with_polynomials: bool) -> Formulation:
        """Inputs scaled to the gain; with the chosen polynomials and their amplitude where asked for."""
        chosen = self._polynomials if with_polynomials else None
        if chosen is None:
            return self._prepared.standardised(gain)
        return self._prepared.standardised(gain, chosen.basis, chosen.amplitude)

    def _polynomial_alone(self) -> Fit:
        """The polynomial without a network, for comparison: it has nothing to iterate."""
        formulation = self._formulation(1.0, with_polynomials=True)
        fit = self._begin(NoFeatures(self._n_inputs), formulation, False, "polynomial alone")
        self._run.advance([Job(fit, 1.0)])
        return fit

    def _begin(self, network: FeatureNetwork, formulation: Formulation, metric: bool, stage: str, **origin: Any) -> Fit:
        """A fit by the settings' solver, in the metric if it has one; `origin` as `Preparation.task` takes it."""
        solver = self._settings.solver
        method = f"varpro-kf-{solver}" if metric and solver != "lm" else f"varpro-{solver}"
        task = self._prepared.task(network, formulation, **origin)
        return self._run.begin(method, task, stage, patience=self._settings.patience)

    def _training(
        self, best: Fit, formulation: Formulation, choice: dict[str, Any], surrogate: Surrogate | None = None
    ) -> Training:
        """The model (`surrogate`, or that of the best fit) with errors, bands and record, and the histories of the fits."""
        train, iterate = self._split.train, best.best
        surrogate = surrogate or self._prepared.surrogate(best.network, iterate.theta, iterate.weights, formulation)
        errors = self._errors(surrogate, ("train", "validation", "test"))
        before_refit = None
        if formulation.polynomials is not None:
            before_refit = surrogate
            with self._run.outside:
                weights = self._prepared.refitted_weights(best.network, iterate.theta, formulation)
            self._run.outside_work += (len(train) + len(self._split.validation)) / len(train)
            surrogate = replace(surrogate, weights=weights)
            # What validation samples say of weights that were fitted to them would be no validation.
            refitted = self._errors(surrogate, ("train", "test"))
            errors = {name: {**errors[name], **refitted[name]} for name in errors}
            choice = {**choice, "refitted": "outer layer solved again on train and validation samples together"}
        record = self._record(best, best.method, choice, train.parameters)
        # As above: what validation samples say of weights that were not fitted to them.
        record |= surrogate.training
        if train.modes is None:
            record["errors_by_output"] = self._errors_by_output(before_refit or surrogate)
        surrogate = calibrated_by_split(replace(surrogate, **errors, training=record), self._split, before_refit)
        polynomial_alone = next((fit for fit in self._run.fits if not fit.network.width and fit is not best), None)
        return Training(surrogate, self._run.history(without=polynomial_alone))

    def _record(self, best: Fit | None, method: str, choice: dict[str, Any], fitted: Array) -> dict[str, Any]:
        """What the saved model says of its training on samples of these parameters."""
        record = self._run.record(
            best,
            method,
            choice=choice,
            settings=asdict(self._settings),
            samples={name: len(getattr(self._split, name)) for name in ("train", "validation", "calibration", "test")},
            device=self._prepared.device,
            bounds={"lower": fitted.min(0).tolist(), "upper": fitted.max(0).tolist()},
        )
        seen = self._split.train.joined(self._split.validation)
        gaps = {} if (found := seen.lacking) is None else {"missing": {**found._asdict(), "in_words": found.in_words}}
        return {**record, "directions": self._split.train.n_directions, **gaps}

    def _errors(self, surrogate: Surrogate, sets: Sequence[str]) -> dict[str, dict[str, float]]:
        """`errors` of a surrogate on the sets that have samples, and with a background `errors_anomalous`."""
        kinds = {"errors": False} | ({} if self._split.train.background is None else {"errors_anomalous": True})
        return {
            kind: {
                name: mean_relative_error(surrogate, samples, anomalous=anomalous)
                for name in sets
                if len(samples := getattr(self._split, name))
            }
            for kind, anomalous in kinds.items()
        }

    def _errors_by_output(self, surrogate: Surrogate) -> dict[str, Any]:
        samples = self._split.validation
        predicted = surrogate.evaluate(samples.parameters)
        return errors_by_output(
            predicted, samples.observables, samples.observable_space, samples.background, self._prepared.measure
        )

    def _described_polynomials(self) -> dict[str, Any]:
        assert self._polynomials is not None
        return self._polynomials.described()


def _residual_network(settings: TrainSettings, n_inputs: int) -> TimeNetwork:
    """The residual network that the settings describe, as it is on the last level."""
    width, steps = settings.width or RESIDUAL_WIDTH, settings.steps or RESIDUAL_STEPS
    if settings.network == "hamiltonian":
        return HamiltonianNetwork(n_inputs, width, steps)
    return ResidualNetwork(n_inputs, width, steps, kind="plain" if settings.network == "plain" else "antisymmetric")


def _reason(entries: list[Entry], settings: TrainSettings) -> str:
    best = entries[0]
    if len(entries) == 1:
        return "fixed by quick" if settings.quick else "fixed by the settings"
    return (
        f"lowest validation error ({best.fit.best.validation_error:.3g}) of {len(entries)} candidates raced; "
        f"next: {entries[1].candidate} ({entries[1].fit.best.validation_error:.3g})"
    )
