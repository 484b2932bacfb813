"""The folder of a segmentation: report, maps, confusion matrices, probabilities, model."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from gnvpro.apps.console import jsonable
from gnvpro.apps.reports.figure_style import save_png
from gnvpro.apps.reports.page import origin_rows, pictures, render
from gnvpro.apps.segmentation import figures as segment_figures
from gnvpro.apps.segmentation.result import JUDGED_ON, SETS, Segmentation, TrainedSplit, share
from gnvpro.surrogate.formatting import listed
from gnvpro.surrogate.writing import whole_folder

REPORT, NUMBERS, MAPS, CONFUSION = "report.html", "segmentation.json", "maps.png", "confusion.png"
_OF_MAPS = "The difference counts all labelled pixels, those of training among them."
_OF_CONFUSION = "Rows are true classes and add up to 100 %. Cells below half a per cent are left blank."
PROBABILITIES, MODEL, SETTINGS = "probabilities.zarr", "model", "settings.json"


def write_folder(out: Path, segmentation: Segmentation, command: str) -> None:
    """Write everything or nothing.

    The first split's files stand in the folder itself, those of another one in a folder of its name.

    `command` is what gives the same again; what was asked for is kept beside every model.
    """
    splits = list(segmentation.splits.values())
    figures = [(_maps(split), _confusion(split)) for split in splits]
    with whole_folder(out) as new:
        for split, (maps, confusion) in zip(splits, figures, strict=True):
            folder = new if split is segmentation.first else new / split.name
            folder.mkdir(exist_ok=True)
            save_png(maps, folder / MAPS)
            save_png(confusion, folder / CONFUSION)
            _write_probabilities(folder / PROBABILITIES, split)
            split.training.save(folder / MODEL, extra={SETTINGS: segmentation.settings})
        (new / NUMBERS).write_text(json.dumps(jsonable(segmentation.numbers()), indent=1, allow_nan=False))
        (new / REPORT).write_text(_report(segmentation, figures, command), encoding="utf-8")


def _write_probabilities(path: Path, split: TrainedSplit) -> None:
    import xarray as xr

    data = xr.Dataset(
        {
            "probability": (("y", "x", "class"), split.probabilities.astype(np.float32)),
            "predicted": (("y", "x"), split.predicted.astype(np.int32), {"meaning": "class number; 0: not usable"}),
            "label": (("y", "x"), split.scene.labels.astype(np.int32), {"meaning": "class number; 0: unlabelled"}),
        },
        coords={"class": list(split.scene.class_names)},
        attrs={"scene": split.scene.name, "split": split.name},
    )
    data.to_zarr(path, mode="w-", zarr_format=3, consolidated=False)


def _maps(split: TrainedSplit) -> Figure:
    title = f"predicted, trained on {split.name}"
    return segment_figures.maps(split.scene.labels, split.predicted, split.scene.class_names, title)


def _confusion(split: TrainedSplit) -> Figure:
    method = split.training.classifier.training["method"]
    shown = {
        f"{method}, {name}": split.metrics[name] for name in (JUDGED_ON, "test") if len(getattr(split.split, name))
    }
    return segment_figures.confusions(shown, split.scene.class_names)


def _report(segmentation: Segmentation, figures: list[tuple[Figure, Figure]], command: str) -> str:
    splits = []
    for (name, split), (maps, confusion) in zip(segmentation.splits.items(), figures, strict=True):
        drawn = pictures([(f"Maps, {name}", maps, _OF_MAPS), (f"Confusion, {name}", confusion, _OF_CONFUSION)])
        splits.append(dict(name=name, numbers=split.numbers(), maps=drawn[0], confusion=drawn[1]))
    classes = [dict(name=name, n_pixels=n, shares=shares.split(", ")) for name, n, shares in segmentation.classes()]
    return render(
        __package__,
        heading=f"Segmentation of {segmentation.scene.name}",
        answer=answer(segmentation),
        scene=segmentation.scene,
        splits=splits,
        classes=classes,
        sets=SETS,
        judged_on=JUDGED_ON,
        share=share,
        command=command,
        origin=_origin(segmentation.first),
    )


def answer(segmentation: Segmentation) -> list[str]:
    """Which share of the pixels is right, on ground that is known and, where it was asked for, on other ground."""
    told = []
    for name, split in segmentation.splits.items():
        which = next((of for of in ("test", JUDGED_ON) if len(getattr(split.split, of))), "train")
        n, right = len(getattr(split.split, which)), share(split.metrics[which].overall_accuracy)
        ground = ", which are not near any training pixel" if name == "blocks" else ""
        told.append(f"{right} of {n:,} {which} pixels are classified right, by the split {name}{ground}.")
    return [*told, *([f"{segmentation.failure}."] if segmentation.failure else [])]


def _origin(split: TrainedSplit) -> list[tuple[str, str]]:
    about = split.training.classifier.training
    settings = {name: value for name, value in about["settings"].items() if value is not None}
    return [("settings", listed(settings)), *origin_rows(about["device"], torch=about["torch"])]
