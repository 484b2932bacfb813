"""The classes of a classifier against the labels of an image."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnvpro.apps.console import jsonable
from gnvpro.apps.segmentation.class_metrics import ClassMetrics
from gnvpro.apps.segmentation.cubes import INDIAN_PINES, Scene, indian_pines, read_scene
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.extras import require
from gnvpro.surrogate.formatting import percent
from gnvpro.surrogate.model.classifier import Classifier
from gnvpro.surrogate.result import Result

NUMBERS, MAPS, CONFUSION = "comparison.json", "maps.png", "confusion.png"


@dataclass(frozen=True, repr=False, eq=False)
class LabelComparison(Result):
    """A classifier at the pixels of a labelled scene whose classes are numbered as the classifier's."""

    model: Classifier
    scene: Scene

    @cached_property
    def predicted(self) -> NDArray[np.intp]:
        """The most probable class of every pixel, (height, width) from 1; 0 where a pixel is not usable."""
        return (self.model.labels(self.scene.spectra) + 1).reshape(self.scene.labels.shape)

    @cached_property
    def judged(self) -> NDArray[np.bool_]:
        """Pixels that have a label and a prediction, (height, width)."""
        return self.scene.usable & (self.scene.labels > 0)

    @cached_property
    def metrics(self) -> ClassMetrics:
        """Labels against predictions at the judged pixels."""
        labels, predicted = self.scene.labels[self.judged] - 1, self.predicted[self.judged] - 1
        return ClassMetrics.of(labels, predicted, len(self.model.class_names))

    @cached_property
    def n_outside(self) -> int:
        """Judged pixels with a band outside the range of the training spectra."""
        return int((~self.model.inside(self.scene.cube[self.judged])).sum())

    @property
    def title(self) -> str:
        """Names the scene."""
        return f"Classifier against the labels of {self.scene.name}"

    def rows(self) -> list[tuple[str, str]]:
        """What, and its value in words."""
        metrics = self.metrics
        stated = ", ".join(f"{name} {percent(value)}" for name, value in self.model.accuracy.items())
        of_class = zip(self.model.class_names, metrics.confusion.sum(axis=1), metrics.per_class, strict=True)
        return [
            ("pixels judged", f"{int(self.judged.sum()):,}, {self.n_outside:,} outside the training range"),
            ("right", percent(metrics.overall_accuracy)),
            ("average of classes", percent(metrics.average_accuracy)),
            ("kappa", "–" if math.isnan(metrics.kappa) else f"{metrics.kappa:.3f}"),
            ("stated when trained", stated or "nothing"),
            *(("note", note) for note in self.scene.notes),
            *(
                (f"{k} {name}", f"{n:,} pixels, right {percent(right) if n else '–'}")
                for k, (name, n, right) in enumerate(of_class, start=1)
            ),
        ]

    def numbers(self) -> dict[str, Any]:
        """One JSON-able object."""
        metrics = self.metrics.to_dict()
        return {
            "kind": "classifier",
            "accuracy": metrics["overall_accuracy"],
            "average_accuracy": metrics["average_accuracy"],
            "kappa": metrics["kappa"],
            "per_class": dict(zip(self.model.class_names, metrics["per_class"], strict=True)),
            "confusion": metrics["confusion"],
            "n_pixels": int(self.judged.sum()),
            "n_outside_training_range": self.n_outside,
            "stated_accuracy": self.model.accuracy,
            "scene": self.scene.name,
            "notes": list(self.scene.notes),
        }


def compare_with_labels(model: Classifier, cube: str | None, labels: str | None) -> LabelComparison:
    """A classifier at a labelled cube; both as `gnvpro.apps.segmentation.cubes.read_scene` takes them.

    Without a cube it is the Indian Pines scene, if the classifier was trained on that.

    Raises
    ------
    UsageError
        No cube, or one of other bands.
    """
    require("sklearn", "it counts confusions", "segmentation")
    if cube is not None:
        scene = read_scene(cube, labels, model.class_names, to_train=False)
    elif labels is None and model.provenance.get("scene") == INDIAN_PINES:
        # The scene that ships is looked up again, as `gnvpro segment` does without a cube.
        scene = indian_pines()
        scene = replace(scene, notes=(*scene.notes, "all labelled pixels are judged, those of training among them"))
    else:
        raise UsageError("the model is a classifier: give an image with cube='FILE' and its labels with labels='FILE'")
    if scene.cube.shape[2] != model.parameters.size:
        raise UsageError(
            f"{scene.name} has {scene.cube.shape[2]} bands and the classifier was trained on {model.parameters.size}; "
            "take a cube of the same bands"
        )
    return LabelComparison(model, scene)


def write_files(folder: Path, comparison: LabelComparison, numbers: dict[str, Any]) -> None:
    """Numbers, maps and confusion matrix, in a folder that is there."""
    from gnvpro.apps.reports.figure_style import save_png
    from gnvpro.apps.segmentation import figures

    scene, names = comparison.scene, comparison.model.class_names
    save_png(figures.maps(scene.labels, comparison.predicted, names), folder / MAPS)
    save_png(figures.confusions({scene.name: comparison.metrics}, names), folder / CONFUSION)
    (folder / NUMBERS).write_text(json.dumps(jsonable(numbers), indent=1, allow_nan=False))
