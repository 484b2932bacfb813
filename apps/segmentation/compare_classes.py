"""`gnvpro compare` for a classifier: its classes against the labels of an image."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Group
from rich.table import Table

from gnvpro.apps.commands.compare import CompareOptions
from gnvpro.apps.console import Outcome, jsonable, percent, table
from gnvpro.apps.segmentation.class_metrics import ClassMetrics
from gnvpro.apps.segmentation.cubes import INDIAN_PINES, Scene, indian_pines, read_scene, require
from gnvpro.apps.settings import to_dict
from gnvpro.surrogate.model.classifier import Classifier

NUMBERS, MAPS, CONFUSION = "comparison.json", "maps.png", "confusion.png"


@dataclass(frozen=True)
class LabelComparison:
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

    def numbers(self) -> dict[str, Any]:
        """One JSON-able object."""
        found = self.metrics.to_dict()
        return {
            "kind": "classifier",
            "accuracy": found["overall_accuracy"],
            "average_accuracy": found["average_accuracy"],
            "kappa": found["kappa"],
            "per_class": dict(zip(self.model.class_names, found["per_class"], strict=True)),
            "confusion": found["confusion"],
            "n_pixels": int(self.judged.sum()),
            "n_outside_training_range": self.n_outside,
            "stated_accuracy": self.model.accuracy,
            "scene": self.scene.name,
            "notes": list(self.scene.notes),
        }


def compare_with_labels(given: CompareOptions) -> Outcome:
    """Load, read the scene, classify, count, write."""
    require("sklearn", "it counts confusions")
    if given.problem is not None or given.interpolation is not None:
        raise ValueError(f"{given.model} is a classifier and replaces no PDE; leave --problem and --interpolation out")
    model = Classifier.load(given.model)
    comparison = LabelComparison(model, _scene(given, model))
    numbers = {**comparison.numbers(), "settings": to_dict(given)}
    if given.out is not None:
        from gnvpro.apps.reports.figure_style import save_png
        from gnvpro.apps.segmentation import figures as segment_figures

        given.out.mkdir(parents=True)
        scene, names = comparison.scene, model.class_names
        save_png(segment_figures.maps(scene.labels, comparison.predicted, names), given.out / MAPS)
        save_png(segment_figures.confusions({scene.name: comparison.metrics}, names), given.out / CONFUSION)
        (given.out / NUMBERS).write_text(json.dumps(jsonable(numbers), indent=1, allow_nan=False))
    return Outcome(numbers, _text(comparison, given))


def _scene(given: CompareOptions, model: Classifier) -> Scene:
    if given.cube is not None:
        scene = read_scene(given.cube, given.labels, model.class_names, to_train=False)
    elif given.labels is None and model.provenance.get("scene") == INDIAN_PINES:
        # The scene that ships is looked up again, as `gnvpro segment` does without a cube.
        scene = indian_pines()
        scene = replace(scene, notes=(*scene.notes, "all labelled pixels are judged, those of training among them"))
    else:
        raise ValueError(f"{given.model} is a classifier: give an image with --cube FILE and its --labels FILE")
    if scene.cube.shape[2] != model.parameters.size:
        raise ValueError(
            f"{scene.name} has {scene.cube.shape[2]} bands and the classifier was trained on {model.parameters.size}; "
            "take a cube of the same bands"
        )
    return scene


def _text(comparison: LabelComparison, given: CompareOptions) -> Group:
    metrics, numbers = comparison.metrics, comparison.numbers()
    stated = ", ".join(f"{name} {percent(value)}" for name, value in comparison.model.accuracy.items())
    rows = [
        ("pixels judged", f"{numbers['n_pixels']:,}, {comparison.n_outside:,} outside the training range"),
        ("right", percent(metrics.overall_accuracy)),
        ("average of classes", percent(metrics.average_accuracy)),
        ("kappa", "–" if math.isnan(metrics.kappa) else f"{metrics.kappa:.3f}"),
        ("stated when trained", stated or "nothing"),
        *(("note", note) for note in comparison.scene.notes),
    ]
    by_class = Table("class", "pixels", "right", box=None)
    counts = metrics.confusion.sum(axis=1)
    for k, name in enumerate(comparison.model.class_names):
        by_class.add_row(f"{k + 1} {name}", f"{counts[k]:,}", percent(metrics.per_class[k]) if counts[k] else "–")
    return Group(table(f"Classifier {given.model} against the labels of {comparison.scene.name}", rows), by_class)
