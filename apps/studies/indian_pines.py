"""Study `indian-pines`: training methods on the pixels of the Indian Pines scene, by the original study's protocol.

200 bands, 16 classes, at most 312 pixels a class for training and test, the rest of the scene for validation; residual
network of width 32, regularisations 1e-3, that of the residual block by differences in time. On the original study's
features, or on scaled ones (`--set features=scaled`), where the order of the methods is another.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from matplotlib.figure import Figure
from rich.table import Table
from sklearn.svm import SVC

from gnvpro.apps.segmentation.class_metrics import ClassMetrics
from gnvpro.apps.segmentation.cubes import Scene, indian_pines, read_scene
from gnvpro.apps.segmentation.figures import confusions, maps
from gnvpro.apps.segmentation.label_splits import SPLITS, PixelSplit
from gnvpro.apps.studies.optimisers.compare_methods import TUNING_SEED, MethodComparison, compare_methods
from gnvpro.apps.studies.optimisers.grids import GRID, LABELS
from gnvpro.apps.studies.optimisers.presentation import curves, tables
from gnvpro.apps.studies.optimisers.trials import Metric
from gnvpro.apps.studies.result import StudyResult
from gnvpro.apps.studies.settings import StudySettings
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.progress import Report
from gnvpro.training.class_settings import ClassSettings
from gnvpro.training.fitting.class_preparation import ClassPreparation
from gnvpro.training.fitting.methods import METHODS, TrainingTask
from gnvpro.training.fitting.validation import predicted_logits

QUICK = dict(
    budget=30.0, seeds=2, grid=1, network="dense", widths=(8, 8), cap=40,
    methods=("varpro-lbfgs", "varpro-kf-lbfgs", "lbfgs", "adam", "sgd"),
)  # fmt: skip
ACCURACY = Metric("validation accuracy", of="error", complement=True, ratio=False)
# C and gamma of the support vector machine, tuned like the others: on the tuning seed, by validation.
SVM_GRID = tuple((c, gamma) for c in (10.0, 100.0, 1000.0) for gamma in (0.3, 1.0, 3.0))


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Of the comparison.

    Attributes
    ----------
    labels
        Label image of the cube that is given as data; both as `gnvpro.apps.segmentation.cubes.read_scene` takes them.
    features, network, widths
        See `gnvpro.training.class_settings.ClassSettings`.
    split
        `class-capped` (the original study's), `random` (what its script does), or `blocks` that share no neighbours.
    cap
        Pixels of a class for training and test together.
    grid
        Settings that every method is tuned over, of nine; stochastic baselines over twice as many.
    """

    labels: str | None = None
    features: Literal["paper", "scaled"] = "paper"
    network: Literal["paper", "dense"] = "paper"
    widths: tuple[int, ...] = (64, 32)
    split: Literal["class-capped", "random", "blocks"] = "class-capped"
    cap: int = 312
    budget: float = 500.0
    seeds: int = 5
    methods: tuple[str, ...] = tuple(METHODS)
    grid: int = GRID


class PixelProblems:
    """The training task of a seed: a split of the scene, and the network's weights drawn with the same seed."""

    def __init__(self, scene: Scene, settings: Settings, device: str) -> None:
        self.scene, self._settings, self._device = scene, settings, device

    def pixels(self, seed: int) -> PixelSplit:
        """Flat indices of one seed's sets."""
        return SPLITS[self._settings.split](self.scene.labels, self.scene.usable, seed=seed, cap=self._settings.cap)

    def prepared(self, seed: int) -> ClassPreparation:
        """Features and network of one seed."""
        own = self._settings
        # The methods are compared on one problem, without the default's correction of what they find.
        settings = ClassSettings(
            features=own.features,
            network=own.network,
            widths=own.widths,
            seed=seed,
            device=self._device,
            alpha_opening=1e-3 if own.features == "paper" else 1e-2,
            share_correction=0.0,
        )
        return ClassPreparation(self.scene.samples(self.pixels(seed)), settings)

    def __call__(self, seed: int) -> TrainingTask:
        """The training task of one seed."""
        return self.prepared(seed).task()


def run(options: StudySettings, report: Report) -> StudyResult:
    """Compare all methods, and show the map and the confusion matrix of each."""
    settings = options.own(Settings, QUICK)
    scene = _scene(options, settings)
    problems = PixelProblems(scene, settings, options.device)
    comparison = compare_methods(
        problems, settings.methods, budget=settings.budget, seeds=options.seeds_from(settings.seeds),
        metric=ACCURACY, settings_tried=settings.grid, report=report,
    )  # fmt: skip
    svm = _support_vectors(problems, comparison.seeds, settings.grid)
    metrics, figures = _judged(comparison, problems)
    prepared = problems.prepared(options.seed)
    numbers = {
        "data": scene.name,
        "network": prepared.network.to_dict(),
        "n_theta": prepared.network.n_theta,
        "samples": {name: len(getattr(prepared.split, name)) for name in ("train", "validation", "test")},
        "tuned_over": settings.grid,
        **comparison.numbers(),
        "svm": svm,
        "by_class": {name: judged.to_dict() for name, judged in metrics.items()},
    }
    figures = {"curves": curves(comparison), **figures}
    return StudyResult(numbers, [*tables(comparison), _class_table(svm, metrics)], figures)


def _scene(options: StudySettings, settings: Settings) -> Scene:
    if options.data is None:
        return indian_pines()
    if settings.labels is None:
        raise UsageError(f"no labels for {options.data}: give its label image with --set labels=FILE")
    return read_scene(str(options.data), settings.labels)


def _support_vectors(problems: PixelProblems, seeds: list[int], count: int) -> dict[str, Any]:
    """A support vector machine with Gaussian kernel on the same features: what pixels are usually classified by."""
    places = np.linspace(0, len(SVM_GRID) - 1, count) if count > 1 else np.array([len(SVM_GRID) // 2])
    grid = [SVM_GRID[j] for j in places.round().astype(int)]

    def scores(prepared: ClassPreparation, c: float, gamma: float) -> dict[str, float]:
        sets = {name: [x.cpu().numpy() for x in prepared.tensors(name)] for name in ("train", "validation", "test")}
        inputs, labels = sets.pop("train")
        # gamma in units of one over the number of features, which are of order one.
        machine = SVC(C=c, gamma=gamma / inputs.shape[1]).fit(inputs, labels)
        return {name: float(machine.score(*samples)) for name, samples in sets.items()}

    tuning = problems.prepared(seeds[0] + TUNING_SEED)
    best = max(grid, key=lambda pair: scores(tuning, *pair)["validation"])
    trials = [{"seed": seed, **scores(problems.prepared(seed), *best)} for seed in seeds]
    return {"C": best[0], "gamma": best[1], "trials": trials}


def _judged(comparison: MethodComparison, problems: PixelProblems) -> tuple[dict[str, ClassMetrics], dict[str, Figure]]:
    """Of each method's first seed: metrics on the validation pixels, and maps and confusion matrices as figures."""
    seed, scene = comparison.seeds[0], problems.scene
    prepared, validation = problems.prepared(seed), problems.pixels(seed).validation
    usable, truth = scene.usable.reshape(-1), scene.labels.reshape(-1)
    inputs = prepared.inputs_of(scene.spectra[usable])
    metrics, figures = {}, {}

    def confused(*names: str) -> Figure:
        return confusions({LABELS[name]: metrics[name] for name in names}, scene.class_names)

    for name, trials in comparison.trials.items():
        best = trials[0].best
        logits = predicted_logits(prepared.network, best.theta, best.outer.compressed, inputs)
        image = np.zeros(usable.shape, int)  # classes from 1
        image[usable] = 1 + logits.argmax(1).cpu().numpy()
        metrics[name] = ClassMetrics.of(truth[validation] - 1, image[validation] - 1, len(scene.class_names))
        figures[f"confusion-{name}"] = confused(name)
        figures[f"map-{name}"] = maps(scene.labels, image.reshape(scene.labels.shape), scene.class_names, LABELS[name])
    side_by_side = [name for name in (comparison.best_varpro, "gauss-newton", "adam") if name in metrics]
    return metrics, {"confusion": confused(*side_by_side), **figures}


def _class_table(svm: dict[str, Any], metrics: dict[str, ClassMetrics]) -> Table:
    table = Table(
        "method", "overall", "average", "kappa", "classes never predicted right",
        title="validation pixels, first seed", title_justify="left", box=None,
    )  # fmt: skip
    for name, judged in metrics.items():
        missed = int((np.nan_to_num(judged.per_class, nan=1.0) == 0).sum())
        accuracies = (f"{100 * share:.1f}" for share in (judged.overall_accuracy, judged.average_accuracy))
        table.add_row(LABELS[name], *accuracies, f"{judged.kappa:.3f}", str(missed))
    values = np.array([trial["validation"] for trial in svm["trials"]])
    table.add_row(f"SVM, Gaussian kernel (all seeds {100 * values.mean():.1f})", f"{100 * values[0]:.1f}", "", "", "")
    return table
