"""Study `dcr`: training methods on DC resistivity, by the original study's protocol on our own problem.

3 parameters, 882 observables less the background, residual network of width 16, both regularisations 1e-10, three levels
of 400 work units taken as one of 1200 on the finest network. The original study has 8000/1000/1000 samples; without a
data set this one solves fewer, since a solve takes a twentieth of a second.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from matplotlib.figure import Figure

from gnvpro.apps.reports.figure_style import styled
from gnvpro.apps.reports.images import draw_image, image_names, stacked
from gnvpro.apps.settings import portable
from gnvpro.apps.studies.data import solved_samples
from gnvpro.apps.studies.optimisers import surrogates
from gnvpro.apps.studies.optimisers.grids import LABELS
from gnvpro.apps.studies.result import StudyResult
from gnvpro.apps.studies.settings import StudySettings
from gnvpro.pde_data.storage.dataset import read_samples
from gnvpro.surrogate.progress import Report
from gnvpro.surrogate.spaces import Array, Space

QUICK = dict(budget=150.0, train=40, validation=20, test=5, seeds=2, grid=1, width=8, steps=1)


@dataclass(frozen=True, kw_only=True)
class Settings(surrogates.Settings):
    """The paper's protocol, on fewer samples."""

    budget: float = 1200.0
    train: int = 800
    validation: int = 200
    test: int = 200
    seeds: int = 3
    width: int = 16
    widths: tuple[int, ...] = (16, 16, 72)
    gain: float = 1.0


def run(options: StudySettings, report: Report) -> StudyResult:
    """Compare all methods, and show what each makes of the first test sample of the first seed."""
    settings = options.own(Settings, QUICK)
    if options.data is None:
        samples = solved_samples("dcr", settings.n_samples, report)
        source = f"{settings.n_samples} solves of our dcr"
    else:
        samples, source = read_samples(options.data), portable(options.data)
    result, comparison, problems = surrogates.compare_on_surrogates(settings, samples, source, options, report)
    seed = comparison.seeds[0]
    test = problems.split(seed).test
    predicted = {
        LABELS[name]: problems.surrogate(seed, trials[0].best).evaluate(test.parameters[:1])[0]
        for name, trials in comparison.trials.items()
    }
    background = np.zeros(test.observables.shape[1]) if samples.background is None else samples.background
    figure = _predictions(samples.observable_space, test.observables[0], predicted, background)
    numbers = {**result.measured, "shown_sample": 0}
    return replace(result, measured=numbers, figures={**result.figures, "predictions": figure})


@styled
def _predictions(observables: Space, solved: Array, predicted: dict[str, Array], background: Array) -> Figure:
    """One sample: anomalies by the PDE and every method on one scale, and beneath the errors of each on another."""
    columns, names = {"PDE": solved, **predicted}, image_names(observables)
    figure = Figure(figsize=(2.1 * len(columns) + 0.8, 4.2 * len(names)), layout="constrained")
    grid = figure.subplots(2 * len(names), len(columns), squeeze=False, sharex=True, sharey=True)
    misfits = {name: stacked(observables, values - solved) for name, values in predicted.items()}
    top = float(np.log10(np.abs(solved - background).max()))
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
                continue
            misfit = draw_image(lower, observables, misfits[label][i], worst)
            error = np.linalg.norm(values - solved) / np.linalg.norm(solved - background)
            lower.set_title(f"error {100 * error:.2g} %", fontsize=8)
            if j == len(columns) - 1:
                figure.colorbar(drawn, ax=grid[2 * i].tolist(), label="log10 |anomaly|", shrink=0.8)
                figure.colorbar(misfit, ax=grid[2 * i + 1].tolist(), label="log10 |error|", shrink=0.8)
    return figure
