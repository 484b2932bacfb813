"""Many samples: one wide network, trained by variable projection on batches; nothing else competes, nothing is raced.

A kernel has too few centres for them, a sparse polynomial too few terms, and a step over all samples costs so much that
batches come further (docs/method.md has the measurements). The first layer is wider than the last: many directions of the
parameters, few features to solve for.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gnvpro.surrogate.networks.dense import DenseNetwork
from gnvpro.surrogate.objectives.streamed import streamed
from gnvpro.surrogate.samples import Samples, Split
from gnvpro.training.choice.contest import Decision
from gnvpro.training.fitting.fit import Fit
from gnvpro.training.fitting.methods import METHODS
from gnvpro.training.fitting.preparation import Formulation, Preparation
from gnvpro.training.fitting.run import Run
from gnvpro.training.settings import TrainSettings

MANY_SAMPLES = 20_000
METHOD = "varpro-batches"
WIDTHS = (256, 64)
# Batches that a fit takes at least, and passes over the samples: the one is more of few samples, the other of many.
LEAST_STEPS, LEAST_EPOCHS = 2_600, 60
# Of both, with `quick`.
QUICK_SHARE = 0.3


def budget_of(n_samples: int, quick: bool) -> float:
    """Work units for so many samples: two an epoch, and one for the last layer of all samples."""
    epochs = max(LEAST_EPOCHS, LEAST_STEPS * METHODS[METHOD].usual["batch"] / n_samples)
    return math.ceil(2 * epochs * (QUICK_SHARE if quick else 1.0)) + 1.0


class Trained(NamedTuple):
    """A network on batches, how it stands in the record, and the fit."""

    network: DenseNetwork
    formulation: Formulation
    fit: Fit
    choice: dict[str, Any]


def train_many(run: Run, settings: TrainSettings, prepared: Preparation, n: int) -> Trained:
    """Train on so many samples, judge on those for validation; `run` gets the budget of `settings`, or `budget_of` them."""
    n_inputs = prepared.split.train.parameters.shape[1]
    # Inputs of unit spread: Adam's steps are as large in every weight, so that small inputs would be learned slowly.
    gain = math.sqrt(n_inputs)
    network, formulation = DenseNetwork(n_inputs, WIDTHS), prepared.standardised(gain)
    run.budget = settings.budget or budget_of(n, settings.quick)
    run.save_often(run.budget)
    stage = f"widths {','.join(map(str, WIDTHS))}, on batches"
    fit = run.begin(METHOD, prepared.task(network, formulation), stage)
    fit.advance(run.budget, run.after_step)
    several = f"more than {MANY_SAMPLES:,} samples" if n > MANY_SAMPLES else f"{n:,} samples that are read in parts"
    choice = {
        "widths": list(WIDTHS),
        "gain": gain,
        "polynomial": None,
        "reason": f"{several}: one wide network, trained on batches",
        "refitted": "outer layer solved again on all samples",
    }
    return Trained(network, formulation, fit, choice)


def decide_many(run: Run, settings: TrainSettings, samples: Samples, folds: NDArray[np.intp]) -> Decision:
    """Train on the samples whose fold (n,) is -1, judge on the others, and solve for the last layer on all of them."""
    held_out = np.flatnonzero(folds >= 0)
    has_derivatives, samples = samples.n_directions > 0, samples.without_derivatives
    train, judged = samples.subset(np.flatnonzero(folds < 0)), samples.subset(held_out)
    prepared = Preparation(Split.of(train, judged), settings)
    network, formulation, fit, choice = train_many(run, settings, prepared, len(train))
    best = fit.best
    unrefitted = prepared.surrogate(network, best.theta, best.weights, formulation)
    predictions = np.full(samples.observables.shape, np.nan)
    predictions[held_out] = unrefitted.evaluate(judged.parameters)
    with run.outside:
        everything = Preparation.of_all(samples, settings)
        outer = streamed(everything.task(network, formulation).in_memory).at(best.theta).outer
    run.outside_work += len(samples) / len(train)
    if has_derivatives:
        choice["derivatives"] = "left out: batches take values alone"
    surrogate = everything.surrogate(network, best.theta, outer.weights, formulation)
    return Decision(surrogate, predictions, fit, choice)
