"""Classify the pixels of an image cube from labelled ones, and judge the classes."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from gnvpro.apps.segmentation.cubes import Scene, indian_pines, read_scene
from gnvpro.apps.segmentation.label_splits import BLOCK, CAP, SPLITS, PixelSplit
from gnvpro.apps.segmentation.result import Segmentation, TrainedSplit
from gnvpro.apps.settings import portable
from gnvpro.surrogate.checks import path_of
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.extras import require
from gnvpro.surrogate.launch import rank
from gnvpro.surrogate.progress import Report, silent
from gnvpro.surrogate.writing import require_new_folder
from gnvpro.training.class_settings import ClassSettings
from gnvpro.training.classification import train_classes
from gnvpro.training.distributed import together
from gnvpro.training.fit_settings import settings_of
from gnvpro.training.fitting.run import Progress

BOTH = ("class-capped", "blocks")


def segment(
    cube: Any = None,
    labels: Any = None,
    *,
    class_names: tuple[str, ...] | None = None,
    split: str = "both",
    cap: int = CAP,
    block_size: int = BLOCK,
    out: str | Path | None = None,
    command: str = "gnvpro.segment(…)",
    progress: Report = silent,
    **settings: Any,
) -> Segmentation:
    """Classify every pixel of an image cube by its spectrum, after training on some that are labelled.

    Parameters
    ----------
    cube, labels
        Arrays (height, width, bands) and (height, width), 0 where unlabelled, or files of them (`cubes.read_scene`);
        Indian Pines without both.
    class_names
        Of classes 1, 2, ….
    split
        `class-capped` (the original study's), `blocks` that share no neighbours, `random`, or `both` of the first, one
        after the other; an interruption leaves those there are.
    cap
        Pixels of a class for training and test.
    block_size
        Side of the blocks in pixels.
    out
        New folder for report, maps, probabilities and models.
    command
        What gives the same again, for the report.
    settings
        Of the training, see `gnvpro.training.class_settings.ClassSettings`.

    Raises
    ------
    UsageError
        Files, arrays or settings that cannot be used; what is wrong is named before anything is trained.
    ImportError
        A package of the extra `segmentation` is missing.
    FileExistsError
        Something is at `out`.
    """
    require("sklearn", "it counts confusions", "segmentation")
    if out is not None:
        for package in ("xarray", "zarr"):
            require(package, "it writes the probabilities", "segmentation")
        require_new_folder(path_of(out, "the folder `out`"), "segmentation")
    training_settings = settings_of(ClassSettings, settings)
    scene = _scene(cube, labels, class_names)
    names = BOTH if split == "both" else (split,)
    if unknown := [name for name in names if name not in SPLITS]:
        raise UsageError(f"unknown split {unknown[0]!r}; expected both, {', '.join(SPLITS)}")
    pixels = {}
    for name in names:
        shared: Any = dict(seed=training_settings.seed, cap=cap) | ({"block": block_size} if name == "blocks" else {})
        pixels[name] = SPLITS[name](scene.labels, scene.usable, **shared)
    splits: dict[str, TrainedSplit] = {}
    for name, chosen in pixels.items():
        splits[name] = _trained(scene, name, chosen, training_settings, progress)
        if splits[name].about["status"] == "interrupted":
            break
    asked = {
        "cube": _place(cube),
        "labels": _place(labels),
        "class_names": class_names,
        "out": _place(out),
        "split": split,
        "cap": cap,
        "block_size": block_size,
        **dataclasses.asdict(training_settings),
    }
    del asked["curvature"]  # no option of the command, which reads the others again with --config
    segmentation = Segmentation(scene, splits, portable(asked), None if out is None else path_of(out))
    if out is not None and rank() == 0:  # of several processes the first writes
        from gnvpro.apps.segmentation.folder import write_folder

        write_folder(path_of(out), segmentation, command)
    return segmentation


def _place(source: Any) -> str | None:
    """A file as it was named; nothing of an array."""
    return str(source) if isinstance(source, str | Path) else None


def _scene(cube: Any, labels: Any, class_names: tuple[str, ...] | None) -> Scene:
    if cube is not None:
        return read_scene(cube, labels, class_names)
    if labels is not None or class_names is not None:
        raise UsageError("labels without a cube: give the cube they belong to, or neither for Indian Pines")
    return indian_pines()


def _trained(scene: Scene, name: str, split: PixelSplit, settings: ClassSettings, progress: Report) -> TrainedSplit:
    def report(now: Progress) -> None:
        right = f"{name}: validation {100 * (1 - now.validation_error):.1f} % right"
        progress(now.work_units, now.budget, f"{right}  {now.stage}")

    with together() as coupling:
        training = train_classes(scene.samples(split), settings, report, coupling)
    provenance = {"scene": scene.name, "split": name, "notes": [*scene.notes, *split.notes]}
    classifier = dataclasses.replace(training.classifier, provenance=provenance)
    return TrainedSplit(scene, name, split, dataclasses.replace(training, classifier=classifier))
