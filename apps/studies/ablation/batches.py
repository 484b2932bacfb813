"""Variable projection on minibatches: W solved exactly on the samples of the batch, then one step of the network.

A batch with no more samples than there are features is fitted perfectly whatever the features are, so it has nothing to
teach; larger ones teach what their samples say. This is why variable projection wants large batches.
"""

from __future__ import annotations

from typing import NamedTuple

import torch

from gnvpro.apps.studies.ablation.variants import DEFAULT, Problem
from gnvpro.surrogate.networks.dense import DenseNetwork
from gnvpro.surrogate.objectives.reduced import reduced_least_squares
from gnvpro.surrogate.samples import Split
from gnvpro.training.solvers.first_order import Rule

# Points over which the errors at the end are averaged: batches differ.
_LAST = 10


class BatchMeasured(NamedTuple):
    """Mean relative L2 errors at the end of a training; `refitted`: of validation data, W solved on all samples."""

    batch_error: float
    validation_error: float
    refitted_error: float
    steps: int


def measure_batches(split: Split, batch: int, seed: int, budget: float, rate: float) -> BatchMeasured:
    """Adam on theta, a fresh random batch at every step, within a budget of work units."""
    problem = Problem(split, DEFAULT)
    network = DenseNetwork(split.train.parameters.shape[1], DEFAULT.widths)
    whole = problem.reduced(network)
    inputs, whole_layer = whole.inputs, whole.elimination
    targets, weights = whole_layer.targets, whole_layer.row_weights
    n, generator = len(inputs), torch.Generator().manual_seed(seed)
    rule = Rule("adam", rate, budget)
    theta = network.initial(seed)
    update = rule.update(theta)
    steps, spent, batch_errors, validation_errors = max(1, round(budget * n / (2 * batch))), 0.0, [], []
    for step in range(steps):
        index = torch.randperm(n, generator=generator)[:batch]
        part = reduced_least_squares(
            network,
            inputs[index],
            targets[index],
            row_weights=weights[index],
            alpha_w=whole_layer.alpha_w,
            alpha_theta=whole.regulariser,
        )
        point = part.at(theta.clone())
        if step >= steps - _LAST:
            batch_errors.append(point.training_error())
            # W of the batch is in its own rotation of the compressed targets, which are themselves rotated.
            weights_of_targets = whole.rotation.t() @ point.outer_weights
            validation_errors.append(problem.error(network, point.theta, weights_of_targets, split.validation))
        update(point.gradient, rule.rate_at(spent))
        spent += 2 * batch / n
    refitted = whole.at(theta)
    return BatchMeasured(
        sum(batch_errors) / len(batch_errors),
        sum(validation_errors) / len(validation_errors),
        problem.error(network, refitted.theta, refitted.outer_weights, split.validation),
        steps,
    )
