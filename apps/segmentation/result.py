"""What a segmentation is: a scene classified after training on its splits, in numbers and words."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnvpro.apps.segmentation.class_metrics import ClassMetrics
from gnvpro.apps.segmentation.cubes import Scene
from gnvpro.apps.segmentation.label_splits import PixelSplit
from gnvpro.surrogate.formatting import seconds
from gnvpro.surrogate.model.classifier import Classifier
from gnvpro.surrogate.result import Result
from gnvpro.surrogate.spaces import Array
from gnvpro.training.classification import ClassTraining

SETS = ("train", "validation", "test")
# The largest set; it also chose when to stop, which the small test set of a capped split did not.
JUDGED_ON = "validation"


@dataclass(frozen=True, eq=False)
class TrainedSplit:
    """A scene classified after training on one of its splits."""

    scene: Scene
    name: str
    split: PixelSplit
    training: ClassTraining

    @property
    def about(self) -> dict[str, Any]:
        """What the classifier says of its training."""
        return self.training.classifier.training

    @cached_property
    def probabilities(self) -> Array:
        """(height, width, n_classes); NaN where a pixel is not usable."""
        scene = self.scene
        probabilities = np.full((*scene.labels.shape, len(scene.class_names)), np.nan)
        probabilities[scene.usable] = self.training.classifier.evaluate(scene.cube[scene.usable])
        return probabilities

    @cached_property
    def predicted(self) -> NDArray[np.intp]:
        """The most probable class of every pixel, (height, width) from 1; 0 where a pixel is not usable."""
        best = np.where(self.scene.usable[..., None], self.probabilities, 0).argmax(axis=2) + 1
        return np.where(self.scene.usable, best, 0)

    @cached_property
    def metrics(self) -> dict[str, ClassMetrics]:
        """By set of pixels."""
        truth, predicted = self.scene.labels.reshape(-1), self.predicted.reshape(-1)
        sets = {name: getattr(self.split, name) for name in SETS}
        n_classes = len(self.scene.class_names)
        return {name: ClassMetrics.of(truth[i] - 1, predicted[i] - 1, n_classes) for name, i in sets.items()}

    @property
    def notes(self) -> tuple[str, ...]:
        """What was left out or looks odd, of the scene and of the split."""
        return self.scene.notes + self.split.notes

    def in_words(self) -> str:
        """Its accuracies and what they cost."""
        right = ", ".join(f"{name} {share(metrics.overall_accuracy)}" for name, metrics in self.metrics.items())
        judged, about = self.metrics[JUDGED_ON], self.about
        kappa = "–" if math.isnan(judged.kappa) else f"{judged.kappa:.3f}"
        cost = f"{about['work_units']:.0f} work units, {seconds(about['cpu_seconds'])} of CPU"
        return f"right: {right}; average {share(judged.average_accuracy)}, kappa {kappa}; {cost}"

    def numbers(self) -> dict[str, Any]:
        """One JSON-able object; average accuracy, kappa and classes are those of the validation pixels."""
        judged = self.metrics[JUDGED_ON]
        return {
            "accuracy": {name: metrics.overall_accuracy for name, metrics in self.metrics.items()},
            "average_accuracy": judged.average_accuracy,
            "kappa": judged.kappa,
            "per_class": dict(zip(self.scene.class_names, judged.per_class.tolist(), strict=True)),
            "judged_on": JUDGED_ON,
            **{name: self.about[name] for name in ("method", "status", "cpu_seconds", "work_units", "choice")},
            "split": self.name,
            "samples": {name: len(getattr(self.split, name)) for name in SETS},
            "sets": {name: metrics.to_dict() for name, metrics in self.metrics.items()},
            "notes": list(self.notes),
        }


@dataclass(frozen=True, repr=False, eq=False)
class Segmentation(Result):
    """A scene classified after training on each of its splits; of the first are model, map and numbers.

    Attributes
    ----------
    splits
        By name.
    settings
        What was asked for; JSON-able.
    out
        The folder it is saved in, None where it is not.
    """

    scene: Scene
    splits: dict[str, TrainedSplit]
    settings: dict[str, Any]
    out: Path | None = None

    @property
    def first(self) -> TrainedSplit:
        """The one that the model is of."""
        return next(iter(self.splits.values()))

    @property
    def classifier(self) -> Classifier:
        """The model."""
        return self.first.training.classifier

    @property
    def predicted(self) -> NDArray[np.intp]:
        """The most probable class of every pixel, (height, width) from 1; 0 where a pixel is not usable."""
        return self.first.predicted

    @property
    def probabilities(self) -> Array:
        """(height, width, n_classes); NaN where a pixel is not usable."""
        return self.first.probabilities

    @property
    def failure(self) -> str | None:
        """What went wrong in the numerics, if anything did."""
        failed = any(split.about["status"] == "nonfinite" for split in self.splits.values())
        return "the objective became infinite; the best weights before that were kept" if failed else None

    @property
    def title(self) -> str:
        """Scene and method."""
        return f"{self.scene.name}, {self.first.about['method']}"

    def rows(self) -> list[tuple[str, str]]:
        """What, and its value in words."""
        height, width, bands = self.scene.cube.shape
        return [
            ("image", f"{height} × {width} pixels of {bands} bands, {len(self.scene.class_names)} classes"),
            *((name, split.in_words()) for name, split in self.splits.items()),
            *(("note", note) for split in self.splits.values() for note in split.notes),
            ("saved", "no, only the numbers (--out FOLDER saves)" if self.out is None else str(self.out)),
            *((name, f"{n_pixels:,} pixels, right {shares}") for name, n_pixels, shares in self.classes()),
        ]

    def classes(self) -> list[tuple[str, int, str]]:
        """Number and name of every class, its labelled pixels, and which share of them is right in each split."""
        counts = np.bincount(self.scene.labels.reshape(-1), minlength=len(self.scene.class_names) + 1)
        right = [split.metrics[JUDGED_ON].per_class for split in self.splits.values()]
        return [
            (f"{k + 1} {name}", int(counts[k + 1]), ", ".join(share(float(of_class[k])) for of_class in right))
            for k, name in enumerate(self.scene.class_names)
        ]

    def numbers(self) -> dict[str, Any]:
        """One JSON-able object: those of the first split, and of each."""
        return {
            **self.first.numbers(),
            "scene": self.scene.name,
            "splits": {name: split.numbers() for name, split in self.splits.items()},
            "settings": self.settings,
            "out": None if self.out is None else str(self.out),
        }


def share(value: float) -> str:
    """A share in per cent; a dash where there is none."""
    return "–" if math.isnan(value) else f"{100 * value:.1f} %"
