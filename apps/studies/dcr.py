"""Study `dcr`: training methods on DC resistivity, by the original study's protocol on our own problem.

3 parameters, 882 observables less the background, residual network of width 16, both regularisations 1e-10, three levels
of 400 work units taken as one of 1200 on the finest network. The original study has 8000/1000/1000 samples; without a
data set this one solves fewer, since a solve takes a twentieth of a second.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from matplotlib.figure import Figure

from gnvpro.apps.progress import Report
from gnvpro.apps.reports.figure_style import styled
from gnvpro.apps.reports.images import draw_image, image_names, stacked
from gnvpro.apps.studies.comparison.methods import METHODS
from gnvpro.apps.studies.comparison.on_surrogates import Compared, result, run_comparison
from gnvpro.apps.studies.comparison.on_surrogates import Settings as Common
from gnvpro.apps.studies.data import solved_samples
from gnvpro.apps.studies.result import StudyResult
from gnvpro.apps.studies.settings import StudySettings
from gnvpro.pde_data.problems.options import make
from gnvpro.pde_data.storage.dataset import read_samples
from gnvpro.surrogate.samples import Samples

QUICK = dict(budget=150.0, train=40, validation=20, test=5, seeds=2, grid=1, width=8, steps=1)


@dataclass(frozen=True, kw_only=True)
class Settings(Common):
    """The paper's protocol, on fewer samples."""

    budget: float = 1200.0
    train: int = 800
    validation: int = 200
    test: int = 200
    seeds: int = 3
    width: int = 16
    widths: tuple[int, ...] = (16, 16, 72)
    gain: float = 1.0


def run(given: StudySettings, report: Report) -> StudyResult:
    """Compare all methods, and show what each makes of one test sample."""
    settings = make(Settings, {**(QUICK if given.quick else {}), **(given.set or {})})
    if given.data is None:
        samples, where = solved_samples("dcr", settings.n_samples, report), f"{settings.n_samples} solves of our dcr"
    else:
        samples, where = read_samples(given.data), str(given.data)
    compared = run_comparison(settings, samples, given, report)
    found = result(settings, compared, where)
    sample, figure = predictions(compared, samples)
    numbers = {**found.measured, "shown_sample": sample}
    return replace(found, measured=numbers, figures={**found.figures, "predictions": figure})


@styled
def _predictions(observables, true, predicted: dict[str, np.ndarray], background) -> Figure:
    columns = {"PDE": true, **predicted}
    names = image_names(observables)
    figure = Figure(figsize=(2.1 * len(columns) + 0.8, 4.2 * len(names)), layout="constrained")
    grid = figure.subplots(2 * len(names), len(columns), squeeze=False, sharex=True, sharey=True)
    truth = stacked(observables, true - background)
    misfits = {name: stacked(observables, values - true) for name, values in predicted.items()}
    top = float(np.log10(np.abs(truth).max()))
    worst = float(np.log10(max(np.abs(misfit).max() for misfit in misfits.values())))
    for j, (label, values) in enumerate(columns.items()):
        anomaly = stacked(observables, values - background)
        for i in range(len(names)):
            upper, lower = grid[2 * i, j], grid[2 * i + 1, j]
            drawn = draw_image(upper, observables, anomaly[i], top)
            upper.set_title(label, fontsize=8)
            if j == 0:
                upper.set_ylabel(f"{names[i]}\nanomaly")
                lower.set_axis_off()
            else:
                left = draw_image(lower, observables, misfits[label][i], worst)
                error = np.linalg.norm(values - true) / np.linalg.norm(true - background)
                lower.set_title(f"error {100 * error:.2g} %", fontsize=8)
                if j == len(columns) - 1:
                    figure.colorbar(drawn, ax=grid[2 * i].tolist(), label="log10 |anomaly|", shrink=0.8)
                    figure.colorbar(left, ax=grid[2 * i + 1].tolist(), label="log10 |error|", shrink=0.8)
    return figure


def predictions(compared: Compared, samples: Samples) -> tuple[int, Figure]:
    """The first test sample of the first seed: by the PDE and by every method, and what is left of each.

    Anomalies share one scale, errors another.
    """
    comparison = compared.comparison
    seed = next(iter(comparison.trials.values()))[0].seed
    test, predict = compared.tasks.split(seed).test, compared.tasks.predictor(seed)
    predicted = {}
    with torch.no_grad():
        for name, trials in comparison.trials.items():
            best = trials[0].best
            predicted[METHODS[name].label] = predict(best.theta, best.outer, test.parameters[:1])[0]
    background = np.zeros(test.observables.shape[1]) if samples.background is None else samples.background
    figure = _predictions(samples.observable_space, test.observables[0], predicted, background)
    return 0, figure
