"""`gnvpro segment`: classify the pixels of an image cube from labelled ones, and judge the classes."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Group
from rich.table import Table

from gnvpro.apps.class_metrics import ClassMetrics
from gnvpro.apps.console import Outcome, progress, seconds, table
from gnvpro.apps.cubes import Scene, indian_pines, read_scene, require
from gnvpro.apps.options import SegmentOptions
from gnvpro.apps.output import require_new_folder
from gnvpro.apps.settings import to_dict
from gnvpro.surrogate.forward_model import Array
from gnvpro.surrogate.label_splits import SPLITS, PixelSplit
from gnvpro.training.classes import ClassSettings, ClassTraining, train_classes

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


def run(given: SegmentOptions) -> Outcome:
    """Read, split, train, judge; with `--out` write report, maps, probabilities and model."""
    require("sklearn", "it counts confusions")
    if given.out is not None:
        for package in ("xarray", "zarr"):
            require(package, "it writes the probabilities")
        require_new_folder(given.out, "segmentation")
    settings = ClassSettings(**{field.name: getattr(given, field.name) for field in _shared_fields()})
    scene = _scene(given)
    names = ("class-capped", "blocks") if given.split == "both" else (given.split,)
    splits = {name: _split(scene, name, given) for name in names}
    made: list[Segmentation] = []
    for name, split in splits.items():
        made.append(segment(scene, name, split, settings))
        if made[-1].training.classifier.training["status"] == "interrupted":
            break
    numbers = {
        **made[0].numbers(),
        "scene": scene.name,
        "splits": {one.split_name: one.numbers() for one in made},
        "settings": to_dict(given),
        "out": None if given.out is None else str(given.out),
    }
    if given.out is not None:
        from gnvpro.apps.segment_output import write_folder

        write_folder(given.out, made, numbers, given)
    failure = None
    if any(one.training.classifier.training["status"] == "nonfinite" for one in made):
        failure = "the objective became infinite; the best weights before that were kept"
    return Outcome(numbers, _text(made, given), failure)


def segment(scene: Scene, split_name: str, split: PixelSplit, settings: ClassSettings) -> Segmentation:
    """Train on one split of a scene, with a bar on stderr."""
    with progress(f"training on {split_name}") as report:
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


def _shared_fields() -> list[dataclasses.Field[Any]]:
    ours = {field.name for field in dataclasses.fields(SegmentOptions)}
    return [field for field in dataclasses.fields(ClassSettings) if field.name in ours]


def _scene(given: SegmentOptions) -> Scene:
    if given.cube is not None:
        return read_scene(given.cube, given.labels, given.class_names)
    if given.labels is not None or given.class_names is not None:
        raise ValueError("labels without a cube: give the cube they belong to, or neither for Indian Pines")
    return indian_pines()


def _split(scene: Scene, name: str, given: SegmentOptions) -> PixelSplit:
    shared: Any = dict(seed=given.seed, cap=given.cap)
    if name == "blocks":
        shared["block"] = given.block_size
    return SPLITS[name](scene.labels, scene.usable, **shared)


def _text(made: list[Segmentation], given: SegmentOptions) -> Group:
    scene = made[0].scene
    height, width = scene.labels.shape
    rows = [
        ("image", f"{height} × {width} pixels of {scene.cube.shape[2]} bands, {len(scene.class_names)} classes"),
        *(("note", note) for one in made for note in one.notes),
        ("saved", "no, only the numbers (--out FOLDER saves)" if given.out is None else str(given.out)),
    ]
    by_split = Table(
        "split", *SETS, "average", "kappa", "work units", "CPU", title="accuracy", title_justify="left", box=None
    )
    for one in made:
        numbers = one.numbers()
        by_split.add_row(
            one.split_name,
            *(share(numbers["accuracy"][name]) for name in SETS),
            share(numbers["average_accuracy"]),
            "–" if math.isnan(numbers["kappa"]) else f"{numbers['kappa']:.3f}",
            f"{numbers['work_units']:.0f}",
            seconds(numbers["cpu_seconds"]),
        )
    by_class = Table(
        "class",
        "pixels",
        *(one.split_name for one in made),
        title=f"right, {JUDGED_ON}",
        title_justify="left",
        box=None,
    )
    for k, name in enumerate(scene.class_names):
        shares = (share(float(one.metrics[JUDGED_ON].per_class[k])) for one in made)
        by_class.add_row(f"{k + 1} {name}", f"{int((scene.labels == k + 1).sum()):,}", *shares)
    title = f"{scene.name}, {made[0].training.classifier.training['method']}"
    return Group(table(title, rows), by_split, by_class)


def share(value: float) -> str:
    """A share in per cent; a dash where there is none."""
    return "–" if math.isnan(value) else f"{100 * value:.1f} %"
