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

from gnvpro.apps.progress import Report
from gnvpro.apps.segmentation.class_metrics import ClassMetrics
from gnvpro.apps.segmentation.cubes import Scene, indian_pines, read_scene
from gnvpro.apps.segmentation.figures import confusions, maps
from gnvpro.apps.segmentation.label_splits import SPLITS, PixelSplit
from gnvpro.apps.studies.comparison.comparison import Comparison, compare
from gnvpro.apps.studies.comparison.figure import curves
from gnvpro.apps.studies.comparison.methods import METHODS
from gnvpro.apps.studies.comparison.on_surrogates import TUNING_SEED
from gnvpro.apps.studies.comparison.tables import tables
from gnvpro.apps.studies.comparison.trials import GRID, Metric, Task
from gnvpro.apps.studies.result import StudyResult
from gnvpro.apps.studies.settings import StudySettings
from gnvpro.pde_data.problems.options import make
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.labelled import LabelledSplit
from gnvpro.training.class_settings import ClassSettings
from gnvpro.training.fitting.class_preparation import ClassPreparation
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

    def __post_init__(self) -> None:
        if not self.budget > 0 or not 1 <= self.grid <= GRID:
            raise UsageError(f"expected a budget > 0 and a grid of 1 to {GRID}, got {self.budget} and {self.grid}")


class PixelTasks:
    """Tasks by seed: a split of the pixels, and the network's weights drawn with the same seed."""

    def __init__(self, scene: Scene, settings: Settings, device: str = "cpu") -> None:
        self.scene, self._settings, self._device = scene, settings, device

    def pixels(self, seed: int) -> PixelSplit:
        """Flat indices of one seed's sets."""
        return SPLITS[self._settings.split](self.scene.labels, self.scene.usable, seed=seed, cap=self._settings.cap)

    def split(self, seed: int) -> LabelledSplit:
        """The pixels of one seed."""
        return self.scene.samples(self.pixels(seed))

    def prepared(self, seed: int) -> ClassPreparation:
        """Features and network of one seed."""
        given = self._settings
        settings = ClassSettings(
            features=given.features, network=given.network, widths=given.widths, seed=seed, device=self._device
        )
        return ClassPreparation(self.split(seed), settings)

    def __call__(self, seed: int) -> Task:
        """The task of one seed."""
        problem = self.prepared(seed).problem()
        return Task(problem.reduced, problem.theta, *map(problem.measures, ("train", "validation", "test")))


def run(given: StudySettings, report: Report) -> StudyResult:
    """Compare all methods, and show the map and the confusion matrix of each."""
    settings = make(Settings, {**(QUICK if given.quick else {}), **(given.set or {})})
    scene = _scene(given, settings)
    tasks = PixelTasks(scene, settings, given.device)
    seeds = range(given.seed, given.seed + (given.seeds or settings.seeds))
    comparison = compare(
        tasks, settings.methods, budget=settings.budget, seeds=seeds, tuning_seed=given.seed + TUNING_SEED,
        metric=ACCURACY, settings_tried=settings.grid, report=report,
    )  # fmt: skip
    svm = _support_vectors(tasks, seeds, given.seed + TUNING_SEED, settings.grid)
    predicted = _predicted(comparison, tasks)
    metrics, figures = _pictures(predicted, tasks, comparison)
    problem = tasks.prepared(given.seed)
    network = problem.network
    numbers = {
        "data": scene.name,
        "network": network.to_dict(),
        "n_theta": network.n_theta,
        "samples": {name: len(getattr(problem.split, name)) for name in ("train", "validation", "test")},
        "tuned_over": settings.grid,
        **comparison.numbers(),
        "svm": svm,
        "by_class": {name: found.to_dict() for name, found in metrics.items()},
    }
    figures = {"curves": curves(comparison), **figures}
    return StudyResult(numbers, [*tables(comparison), _beside(comparison, svm, metrics)], figures)


def _scene(given: StudySettings, settings: Settings) -> Scene:
    if given.data is None:
        return indian_pines()
    if settings.labels is None:
        raise UsageError(f"no labels for {given.data}: give its label image with --set labels=FILE")
    return read_scene(str(given.data), settings.labels)


def _support_vectors(tasks: PixelTasks, seeds: range, tuning_seed: int, count: int) -> dict[str, Any]:
    """A support vector machine with Gaussian kernel on the same features, the rival that pixels are usually given to."""
    places = np.linspace(0, len(SVM_GRID) - 1, count) if count > 1 else np.array([len(SVM_GRID) // 2])
    grid = [SVM_GRID[j] for j in places.round().astype(int)]

    def fitted(problem: ClassPreparation, c: float, gamma: float) -> dict[str, float]:
        train, *others = (
            tuple(values.cpu().numpy() for values in problem.tensors(name)) for name in ("train", "validation", "test")
        )
        # gamma in units of one over the number of features, which are of order one.
        machine = SVC(C=c, gamma=gamma / train[0].shape[1]).fit(*train)
        return dict(zip(("validation", "test"), (float(machine.score(*part)) for part in others), strict=True))

    tuned_on = tasks.prepared(tuning_seed)
    best = max(grid, key=lambda pair: fitted(tuned_on, *pair)["validation"])
    return {
        "C": best[0],
        "gamma": best[1],
        "trials": [{"seed": seed, **fitted(tasks.prepared(seed), *best)} for seed in seeds],
    }


def _predicted(comparison: Comparison, tasks: PixelTasks) -> dict[str, np.ndarray]:
    """Classes from 1 of every usable pixel, by each method's first seed."""
    seed = next(iter(comparison.trials.values()))[0].seed
    problem, usable = tasks.prepared(seed), tasks.scene.usable.reshape(-1)
    inputs = problem.inputs_of(tasks.scene.spectra[usable])
    found = {}
    for name, trials in comparison.trials.items():
        best = trials[0].best
        logits = predicted_logits(problem.network, best.theta, best.outer.compressed, inputs)
        image = np.zeros(usable.shape, int)
        image[usable] = 1 + logits.argmax(1).cpu().numpy()
        found[name] = image
    return found


def _pictures(
    predicted: dict[str, np.ndarray], tasks: PixelTasks, comparison: Comparison
) -> tuple[dict[str, ClassMetrics], dict[str, Figure]]:
    seed = next(iter(comparison.trials.values()))[0].seed
    scene, validation = tasks.scene, tasks.pixels(seed).validation
    truth, n_classes = scene.labels.reshape(-1), len(scene.class_names)
    metrics = {
        name: ClassMetrics.of(truth[validation] - 1, image[validation] - 1, n_classes)
        for name, image in predicted.items()
    }

    def confused(*names: str) -> Figure:
        return confusions({METHODS[name].label: metrics[name] for name in names}, scene.class_names)

    beside = [name for name in (comparison.champion, "gauss-newton", "adam") if name in metrics]
    figures = {"confusion": confused(*beside)}
    for name, image in predicted.items():
        figures[f"confusion-{name}"] = confused(name)
        figures[f"map-{name}"] = maps(
            scene.labels, image.reshape(scene.labels.shape), scene.class_names, METHODS[name].label
        )
    return metrics, figures


def _beside(comparison: Comparison, svm: dict[str, Any], metrics: dict[str, ClassMetrics]) -> Table:
    table = Table(
        "method", "overall", "average", "kappa", "classes never found",
        title="validation pixels, first seed", title_justify="left", box=None,
    )  # fmt: skip
    for name, found in metrics.items():
        missed = int((np.nan_to_num(found.per_class, nan=1.0) == 0).sum())
        table.add_row(
            METHODS[name].label,
            f"{100 * found.overall_accuracy:.1f}",
            f"{100 * found.average_accuracy:.1f}",
            f"{found.kappa:.3f}",
            str(missed),
        )
    values = np.array([trial["validation"] for trial in svm["trials"]])
    table.add_row(f"SVM, Gaussian kernel (all seeds {100 * values.mean():.1f})", f"{100 * values[0]:.1f}", "", "", "")
    return table
