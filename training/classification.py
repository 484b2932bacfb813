"""From labelled samples to a saved classifier: features, the reduced problem, a method, an optional finish.

The default is VarPro + L-BFGS in the Kronecker metric on a dense network, which is at its best after some 130 work units,
and then Adam on (theta, W). Exact W fits the training samples too well for classes; Adam's noise takes that back
(measured on Indian Pines in docs/segmentation.md).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace

from gnvpro.surrogate.coupling import ALONE, Coupling
from gnvpro.surrogate.labelled import LabelledSplit
from gnvpro.training.class_settings import ClassSettings
from gnvpro.training.device import torch_threads
from gnvpro.training.fitting.class_preparation import ClassPreparation
from gnvpro.training.fitting.outcome import ClassTraining
from gnvpro.training.fitting.run import Progress, Run
from gnvpro.training.solvers.protocol import Status

# Of the finish: work units (epochs at two units each), the largest rate, samples a batch, epochs of the averages.
FINISH_BUDGET, FINISH_RATE, FINISH_BATCH, FINISH_AVERAGED = 40.0, 3e-3, 256, 4.0


def train_classes(
    split: LabelledSplit,
    settings: ClassSettings | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    coupling: Coupling = ALONE,
) -> ClassTraining:
    """Fit a classifier to `split.train`, chosen on `split.validation`; `split.test` is only reported.

    The same seed on the same machine gives the same weights. Ctrl-C ends the training with the best so far and status
    `interrupted`. A device, setting or data that do not fit raise `UsageError`. The processes of a coupling all have the
    split; each trains on its share of the samples and measures its share of those of validation, and all get the same model.
    """
    settings = (settings or ClassSettings()).resolved
    assert settings.budget is not None
    assert settings.threads is not None
    finish = FINISH_BUDGET if settings.finish == "adam" else 0.0
    run = Run(settings.budget + finish, settings.seed, on_progress)
    with torch_threads(settings.threads):
        prepared = ClassPreparation(split, settings, coupling)
        task = prepared.task()
        fit = run.begin(settings.method, task, settings.method, budget=settings.budget)
        fit.advance(settings.budget - fit.objective.meter.total, run.after_step)
        if finish and fit.status is not Status.interrupted:
            batch = dict(rate=FINISH_RATE, batch=min(FINISH_BATCH, len(split.train)), averaged=FINISH_AVERAGED)
            task = replace(task, theta=fit.best.theta)
            last = run.begin("adam", task, "adam finish", budget=finish, setting=batch, outer=fit.best.outer.compressed)
            last.advance(finish, run.after_step)
        best = min(run.fits, key=lambda fit: fit.best.validation_error)
        classifier = prepared.classifier(best.best.theta, best.best.weights)
    record = run.record(
        best,
        settings.method,
        choice={"stage": best.stage, "reason": "lowest share of validation samples misclassified"},
        settings=asdict(settings),
        samples={name: len(getattr(split, name)) for name in ("train", "validation", "test")},
        device=prepared.device,
    )
    return ClassTraining(replace(classifier, training=record), run.history())
