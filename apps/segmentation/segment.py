"""Classify the pixels of an image cube from labelled ones, and judge the classes."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnvpro.apps.progress import Watch, unwatched
from gnvpro.apps.segmentation.class_metrics import ClassMetrics
from gnvpro.apps.segmentation.cubes import Scene, indian_pines, read_scene
from gnvpro.apps.segmentation.label_splits import SPLITS, PixelSplit
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.spaces import Array
from gnvpro.training.class_settings import ClassSettings
from gnvpro.training.classification import ClassTraining, train_classes

SETS = ("train", "validation", "test")
# The largest set; it also chose when to stop, which the small test set of a capped split did not.
JUDGED_ON = "validation"


@dataclass(frozen=True)
class Segmentation:
    """A scene classified after training on one of its splits."""

    scene: Scene
    split_name: str
    split: PixelSplit
    training: ClassTraining

    @cached_property
    def probabilities(self) -> Array:
        """(height, width, n_classes); NaN where a pixel is not usable."""
        scene = self.scene
        found = np.full((*scene.labels.shape, len(scene.class_names)), np.nan)
        found[scene.usable] = self.training.classifier.evaluate(scene.cube[scene.usable])
        return found

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

    def numbers(self) -> dict[str, Any]:
        """One JSON-able object; average accuracy, kappa and classes are those of the validation pixels."""
        about, judged = self.training.classifier.training, self.metrics[JUDGED_ON]
        return {
            "accuracy": {name: metrics.overall_accuracy for name, metrics in self.metrics.items()},
            "average_accuracy": judged.average_accuracy,
            "kappa": judged.kappa,
            "per_class": dict(zip(self.scene.class_names, judged.per_class.tolist(), strict=True)),
            "judged_on": JUDGED_ON,
            **{name: about[name] for name in ("method", "status", "cpu_seconds", "work_units", "choice")},
            "split": self.split_name,
            "samples": {name: len(getattr(self.split, name)) for name in SETS},
            "sets": {name: metrics.to_dict() for name, metrics in self.metrics.items()},
            "notes": list(self.notes),
        }


def scene_of(cube: str | None, labels: str | None, class_names: tuple[str, ...] | None) -> Scene:
    """The cube that is given with its labels, as `gnvpro.apps.segmentation.cubes.read_scene` takes them, or Indian Pines.

    Raises
    ------
    ValueError
        Labels or names without a cube.
    """
    if cube is not None:
        return read_scene(cube, labels, class_names)
    if labels is not None or class_names is not None:
        raise UsageError("labels without a cube: give the cube they belong to, or neither for Indian Pines")
    return indian_pines()


def segment_splits(
    scene: Scene,
    names: Sequence[str],
    settings: ClassSettings,
    *,
    cap: int,
    block_size: int,
    watch: Watch = unwatched,
) -> list[Segmentation]:
    """Train on one split after the other, all of the settings' seed; an interruption leaves those there are.

    Parameters
    ----------
    names
        Of `gnvpro.apps.segmentation.label_splits.SPLITS`.
    cap
        Pixels of a class for training and test.
    block_size
        Side of the blocks of the split `blocks`, in pixels.
    """
    splits = {}
    for name in names:
        shared: Any = dict(seed=settings.seed, cap=cap) | (dict(block=block_size) if name == "blocks" else {})
        splits[name] = SPLITS[name](scene.labels, scene.usable, **shared)
    made: list[Segmentation] = []
    for name, split in splits.items():
        made.append(segment(scene, name, split, settings, watch))
        if made[-1].training.classifier.training["status"] == "interrupted":
            break
    return made


def segment(
    scene: Scene, split_name: str, split: PixelSplit, settings: ClassSettings, watch: Watch = unwatched
) -> Segmentation:
    """Train on one split of a scene."""
    with watch(f"training on {split_name}") as report:
        training = train_classes(
            scene.samples(split),
            settings,
            lambda now: report(
                now.work_units, now.budget, f"validation {100 * (1 - now.validation_error):.1f} % right  {now.stage}"
            ),
        )
    provenance = {"scene": scene.name, "split": split_name, "notes": [*scene.notes, *split.notes]}
    classifier = dataclasses.replace(training.classifier, provenance=provenance)
    return Segmentation(scene, split_name, split, dataclasses.replace(training, classifier=classifier))


def share(value: float) -> str:
    """A share in per cent; a dash where there is none."""
    return "–" if math.isnan(value) else f"{100 * value:.1f} %"
