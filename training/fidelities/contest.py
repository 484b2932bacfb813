"""The contest of a fine data set beside a coarse model: which correction of it, or which of them together, or none.

Contenders are judged on fine samples that they did not see: each is fitted anew within every fold, its variances and length
scales too. Where fine samples alone do better than every correction, the model stands on them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from gnvpro.surrogate.elimination.compression import rotation_of_arrays
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.model.surrogate import Surrogate
from gnvpro.surrogate.networks.concatenated import ConcatenatedNetwork
from gnvpro.surrogate.samples import Samples
from gnvpro.surrogate.spaces import Array
from gnvpro.surrogate.stopwatch import Stopwatch
from gnvpro.training.choice.closed_forms import closed_forms
from gnvpro.training.choice.contenders import Contender, Member, Problem, Stack, best_stack
from gnvpro.training.choice.contest import FEWEST, FEWEST_FOR_NETWORKS, FEWEST_FOR_POLYNOMIALS, Contest, Decision
from gnvpro.training.fidelities.corrections import CoarseModel, Correction, correct, rescaled
from gnvpro.training.fitting.preparation import Preparation
from gnvpro.training.fitting.run import Run
from gnvpro.training.settings import TrainSettings

# The kind of what stands on no coarse samples.
ALONE = "fine samples alone"
# Up to so many samples each is left out alone; of more there are so many folds.
_ONE_BY_ONE, _FOLDS = 12, 10
# Up to this number, outputs are not rotated and have shares of their own in a stack.
_FEW_OUTPUTS = 12
# Directions of targets below this fraction of the largest do not enter.
_COMPRESSION = 1e-10
# Fine samples alone compete in full where a kernel on them comes so near.
_LOST = 10.0
# What corrections are made of, from the fewest variances to the most.
_CORRECTIONS: dict[str, tuple[str, ...]] = {
    "coarse model, scaled": ("outputs", "constant"),
    "coarse model, last layer anew": ("features", "kernels"),
    "coarse model, corrected": ("features", "kernels", "outputs", "constant", "linear"),
    "coarse model and kernels": ("features", "kernels", "outputs", "constant", "own kernels"),
}


def fidelity_folds(n: int, seed: int) -> NDArray[np.intp]:
    """The fold of every fine sample (n,), at random."""
    return np.random.default_rng(seed).permutation(n) % (n if n <= _ONE_BY_ONE else _FOLDS)


@dataclass(frozen=True, eq=False)
class CoarseLevel:
    """A trained model of coarser samples.

    Attributes
    ----------
    left_out : (n, n_out)
        What models like it predict of its samples when they are left out; NaN where one never was.
    parameters : (m, n_in)
        Of all samples that it was made of, those of still coarser levels too.
    """

    surrogate: Surrogate
    samples: Samples
    left_out: Array
    parameters: Array


class _Judged(NamedTuple):
    contender: Contender
    correction: Correction


class FidelityContest:
    """One contest on fine samples of which every one with a fold, (n,), is left out once; -1 for those that never are."""

    def __init__(
        self, run: Run, settings: TrainSettings, samples: Samples, folds: NDArray[np.intp], coarse: CoarseLevel
    ) -> None:
        if len(samples) < FEWEST:
            raise UsageError(f"expected at least {FEWEST} fine samples, got {len(samples)}; solve some more")
        self._run, self._settings, self._samples, self._folds = run, settings, samples, folds
        self._prepared = Preparation.of_all(samples, settings)
        self._surrogate = replace(coarse.surrogate, theta=coarse.surrogate.theta.double())
        self._coarse = CoarseModel(self._surrogate, samples)
        scale = self._prepared.standardised(1.0).scaling.output_scale
        self._unit = np.broadcast_to(np.asarray(scale, float), samples.observables.shape[1:])
        background = self._surrogate.background
        if background is not None and samples.background is not None:
            background = torch.from_numpy(samples.background)
        self._background = background
        outer = self._surrogate.weights.numpy().T / self._unit
        targets, predicted = self._targets(samples.observables), self._coarse.columns[:, 0] @ outer
        weights = self._prepared.row_weights(samples) * self._coarse.amplitudes
        weights = weights / math.sqrt(float((weights**2).mean()))
        rotation = np.eye(len(self._unit))
        if len(rotation) > _FEW_OUTPUTS:
            both = np.concatenate([targets, predicted])
            rotation = rotation_of_arrays(both, np.tile(weights, 2), _COMPRESSION)
        self._fine, self._predicted, self._outer = targets @ rotation.T, predicted @ rotation.T, outer @ rotation.T
        differences = self._fine - self._predicted
        self._problem = self._with_slopes(Problem(self._coarse.inputs, differences, rotation, weights, folds))
        self._blocks = self._coarse.blocks(self._outer)
        self._shift = self._coarse_left_out(coarse)

    def _with_slopes(self, problem: Problem) -> Problem:
        """With the derivatives of the differences, where the fine samples have derivatives."""
        factors, derivatives = self._coarse.factors, self._samples.derivatives
        if not factors.size or derivatives is None:
            return problem
        fine = derivatives * (factors[..., None] / self._unit) @ problem.rotation.T
        known = factors > 0
        weights = known / np.sqrt(np.maximum(known.sum(1), 1))[:, None]
        return replace(
            problem,
            slopes=fine - self._coarse.columns[:, 1:] @ self._outer,
            directions=self._coarse.directions,
            slope_weights=weights,
        )

    def _targets(self, observables: Array) -> Array:
        anomalous = observables if self._background is None else observables - self._background.numpy()
        return anomalous / (self._coarse.amplitudes[:, None] * self._unit)

    def _coarse_left_out(self, coarse: CoarseLevel) -> Array:
        """Predictions (n, k) of the coarse model less those it makes of the same points when they are left out.

        Zero at points that are none of its samples. At its samples it is better than elsewhere, and so would be what stands
        on it.
        """
        place = {row.tobytes(): i for i, row in enumerate(coarse.samples.parameters)}
        predictions = np.full(self._samples.observables.shape, np.nan)
        for i, row in enumerate(self._samples.parameters):
            if (at := place.get(row.tobytes())) is not None:
                predictions[i] = coarse.left_out[at]
        own, of_background = self._surrogate.background, 0.0
        if own is not None and self._background is not None:
            of_background = (self._background - own).numpy()
        left_out = self._targets(predictions + of_background) @ self._problem.rotation.T
        return np.where(np.isnan(left_out), 0.0, self._predicted - left_out)

    def decide(self) -> Decision:
        """The model, what its like predict of samples left out, and in `choice` what competed and why it is that."""
        problem = self._problem
        with self._run.outside:
            judged = list(self._judged())
            contenders = [one.contender for one in judged]
            stack = best_stack(contenders, problem, problem.rotation.shape[1] <= _FEW_OUTPUTS)
            left_out = self._unseen(stack.left_out)
        if (alone := self._alone(problem.error(left_out))) is not None:
            of_alone = self._contender_of(alone)
            if self._is_better(of_alone.left_out, left_out):
                why = (
                    f"coarse samples do not help: corrections of their model have the error {problem.error(left_out):.3g} on "
                    f"fine samples left out, fine ones alone {problem.error(of_alone.left_out):.3g}; {alone.choice['reason']}"
                )
                winner = Stack.of([of_alone], np.ones((1, problem.targets.shape[1])), problem)
                return replace(alone, choice={**alone.choice, **self._record(winner, [*contenders, of_alone], why)})
            contenders.append(of_alone)
        names = " + ".join(dict.fromkeys(one.described["name"] for one in stack.contenders))
        why = f"{names}: least error on fine samples left out ({problem.error(left_out):.3g}) of {len(contenders)} contenders"
        choice = self._record(replace(stack, error=problem.error(left_out)), contenders, why)
        return Decision(self._model(stack, judged), self._observables(self._fine - left_out), None, choice)

    def _judged(self) -> Iterator[_Judged]:
        """All contenders, from the simplest."""
        none = Correction(np.zeros_like(self._outer), (), ())
        yield _Judged(Contender({"kind": "coarse model", "name": "coarse model as it is"}, self._problem.targets), none)
        for name, parts in _CORRECTIONS.items():
            yield self._corrected(name, parts)
        if len(self._samples) >= FEWEST_FOR_POLYNOMIALS:
            yield from self._differences()

    def _corrected(self, name: str, parts: tuple[str, ...]) -> _Judged:
        problem, stopwatch = self._problem, Stopwatch()
        with stopwatch:
            left_out = np.full_like(problem.targets, np.nan)
            for fold in range(problem.n_folds):
                out = problem.folds == fold
                left_out[out] = (problem.targets - self._correction(parts, ~out)[1])[out]
            correction, _ = self._correction(parts, np.ones(len(left_out), bool))
        described = {"kind": "fidelities", "name": name, "blocks": list(correction.used)}
        self._run.report(f"{name}: {problem.error(left_out):.2g}")
        return _Judged(Contender(described, left_out, cpu_seconds=stopwatch.cpu_seconds), correction)

    def _correction(self, parts: tuple[str, ...], rows: NDArray[np.bool_]) -> tuple[Correction, Array]:
        blocks = [block for block in self._blocks if block.name in parts]
        if "own kernels" in parts:
            blocks.append(self._coarse.own_kernels(self._problem, rows))
        return correct(blocks, self._problem, rows, len(self._outer))

    def _differences(self) -> Iterator[_Judged]:
        """Polynomials and kernels of the difference, as they compete for any samples."""
        stopwatch = Stopwatch()
        contenders = closed_forms(self._problem, "auto", anew=True)
        while True:
            with stopwatch:
                contender = next(contenders, None)
            if contender is None:
                return
            assert contender.model is not None
            own = (rescaled(contender.model, self._coarse.gain),)
            described = {**contender.described, "name": f"coarse model and {contender.described['kind']} difference"}
            contender = replace(contender, described=described, close=None, cpu_seconds=stopwatch.cpu_seconds)
            yield _Judged(contender, Correction(np.zeros_like(self._outer), own, ("difference",)))
            stopwatch = Stopwatch()

    def _unseen(self, left_out: Array) -> Array:
        """Residuals (n, k) as they are where the coarse model has not seen the points either.

        What it is better by at its own samples counts as far as the coarse observables are in the fine ones.
        """
        judged = self._folds >= 0
        weighted = (self._predicted * self._problem.weights[:, None])[judged]
        predicted = ((self._fine - left_out) * self._problem.weights[:, None])[judged]
        scale = float((weighted * predicted).sum() / ((weighted**2).sum() or 1.0))
        return left_out + scale * self._shift

    def _alone(self, error: float) -> Decision | None:
        """The contest of the fine samples alone; None where a kernel shows that they are hopeless beside that error."""
        settings, samples = self._settings, self._samples
        if settings.contender == "network" and len(samples) < FEWEST_FOR_NETWORKS:
            return None
        with self._run.outside:
            problem = replace(self._problem, targets=self._fine, slopes=None, directions=None, slope_weights=None)
            first = next(closed_forms(problem, "kernel"))
            if problem.error(first.left_out) > _LOST * error:
                return None
        return Contest(self._run, settings, samples, self._folds, self._run.budget, self._run.report).decide()

    def _contender_of(self, alone: Decision) -> Contender:
        predictions = self._targets(alone.predictions) @ self._problem.rotation.T
        spent = sum(one["cpu_seconds"] for one in alone.choice["contenders"])
        return Contender({"kind": ALONE, "name": ALONE}, self._fine - predictions, cpu_seconds=spent)

    def _is_better(self, left_out: Array, than: Array) -> bool:
        """By more than a standard error of the difference: of few samples the least error is mostly the luckiest."""
        gains = self._problem.squares(than) - self._problem.squares(left_out)
        return bool(gains.mean() > gains.std() / math.sqrt(len(gains)))

    def _observables(self, targets: Array) -> Array:
        anomalous = (targets @ self._problem.rotation) * self._coarse.amplitudes[:, None] * self._unit
        return anomalous if self._background is None else anomalous + self._background.numpy()

    def _model(self, stack: Stack, judged: list[_Judged]) -> Surrogate:
        """One surrogate of the coarse features, those of the corrections, and the last layer of all."""
        coarse, corrections = self._surrogate, {id(one.contender): one.correction for one in judged}
        lifted, own = np.zeros_like(self._outer), dict[int, Member]()
        for contender, share in zip(stack.contenders, stack.shares, strict=True):
            correction = corrections[id(contender)]
            lifted += share * correction.lifted
            of_outputs = share if share.min() != share.max() else share[:1]
            for member in correction.own:
                weights = member.weights * torch.from_numpy(of_outputs)[:, None]
                before = own.get(id(member.network))
                own[id(member.network)] = member._replace(weights=weights + (0 if before is None else before.weights))
        unit, n_features = torch.from_numpy(self._unit.copy())[:, None], coarse.network.width
        weights = coarse.weights + torch.from_numpy((lifted @ self._problem.rotation).T) * unit
        network, theta, beside = coarse.network, coarse.theta, list(own.values())
        if beside:
            network = ConcatenatedNetwork((network, *(member.network for member in beside)))
            theta = torch.cat([theta, *(member.theta for member in beside)])
            of_own = [member.weights[:, :-1] * unit for member in beside]
            weights[:, -1:] += sum(member.weights[:, -1:] for member in beside) * unit
            weights = torch.cat([weights[:, :n_features], *of_own, weights[:, n_features:]], 1)
        samples = self._samples
        return replace(
            coarse,
            network=network,
            theta=theta,
            weights=weights.contiguous(),
            parameters=samples.parameter_space,
            observables=samples.observable_space,
            background=self._background,
            errors={},
            errors_anomalous={},
            provenance=samples.provenance,
            training=self._prepared.record(),
            trust=None,
        )

    def _record(self, winner: Stack, contenders: list[Contender], reason: str) -> dict[str, Any]:
        """What competed, the best first, and why the model is what it is; JSON-able."""
        problem, shares = self._problem, {id(c): s for c, s in zip(winner.contenders, winner.shares, strict=True)}
        residuals = [
            one.left_out if one.described["kind"] == ALONE else self._unseen(one.left_out) for one in contenders
        ]
        described = [
            {
                **one.described,
                "error": problem.error(left_out),
                "standard_error": problem.standard_error(left_out),
                "error_one_by_one": None,
                "share": float(np.mean(shares[id(one)])) if id(one) in shares else 0.0,
                "cpu_seconds": one.cpu_seconds,
            }
            for one, left_out in zip(contenders, residuals, strict=True)
        ]
        return {
            "kind": winner.contenders[0].described["kind"] if len(winner.contenders) == 1 else "stack",
            "reason": reason,
            "error_left_out": winner.error,
            "folds": problem.n_folds,
            "contenders": sorted(described, key=lambda one: one["error"]),
        }
