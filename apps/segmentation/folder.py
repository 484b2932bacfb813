"""The folder of a segmentation: report, maps, confusion matrices, probabilities, model."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from gnvpro.apps.console import jsonable
from gnvpro.apps.reports.figure_style import as_data_uri, save_png
from gnvpro.apps.reports.page import origin_rows, render
from gnvpro.apps.segmentation import figures as segment_figures
from gnvpro.apps.segmentation.segment import JUDGED_ON, SETS, Segmentation, share
from gnvpro.surrogate.formatting import listed

REPORT, NUMBERS, MAPS, CONFUSION = "report.html", "segmentation.json", "maps.png", "confusion.png"
PROBABILITIES, MODEL, SETTINGS = "probabilities.zarr", "model", "settings.json"


def write_folder(
    out: Path, made: list[Segmentation], numbers: dict[str, Any], settings: dict[str, Any], command: str
) -> None:
    """Write everything beside its place, then move it there: all of it or nothing.

    The first split's files stand in the folder itself, those of another one in a folder of its name.

    Parameters
    ----------
    settings
        Kept beside every model.
    command
        What to type to get the same again.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as beside:
        new = Path(beside) / "segmentation"
        new.mkdir()
        figures = [(_maps(one), _confusion(one)) for one in made]
        for i, one in enumerate(made):
            folder = new if i == 0 else new / one.split_name
            folder.mkdir(exist_ok=True)
            for figure, name in zip(figures[i], (MAPS, CONFUSION), strict=True):
                save_png(figure, folder / name)
            _write_probabilities(folder / PROBABILITIES, one)
            one.training.save(folder / MODEL, extra={SETTINGS: settings})
        (new / NUMBERS).write_text(json.dumps(jsonable(numbers), indent=1, allow_nan=False))
        (new / REPORT).write_text(_report(made, figures, command), encoding="utf-8")
        new.replace(out)


def _write_probabilities(path: Path, one: Segmentation) -> None:
    import xarray as xr

    data = xr.Dataset(
        {
            "probability": (("y", "x", "class"), one.probabilities.astype(np.float32)),
            "predicted": (("y", "x"), one.predicted.astype(np.int32), {"meaning": "class number; 0: not usable"}),
            "label": (("y", "x"), one.scene.labels.astype(np.int32), {"meaning": "class number; 0: unlabelled"}),
        },
        coords={"class": list(one.scene.class_names)},
        attrs={"scene": one.scene.name, "split": one.split_name},
    )
    data.to_zarr(path, mode="w-", zarr_format=3, consolidated=False)


def _maps(one: Segmentation) -> Figure:
    title = f"predicted, trained on {one.split_name}"
    return segment_figures.maps(one.scene.labels, one.predicted, one.scene.class_names, title)


def _confusion(one: Segmentation) -> Figure:
    method = one.training.classifier.training["method"]
    shown = {f"{method}, {name}": one.metrics[name] for name in (JUDGED_ON, "test") if len(getattr(one.split, name))}
    return segment_figures.confusions(shown, one.scene.class_names)


def _report(made: list[Segmentation], figures: list[tuple[Figure, Figure]], command: str) -> str:
    scene = made[0].scene
    classes = [
        dict(
            name=f"{k + 1} {name}",
            n_pixels=int((scene.labels == k + 1).sum()),
            shares=[share(float(one.metrics[JUDGED_ON].per_class[k])) for one in made],
        )
        for k, name in enumerate(scene.class_names)
    ]
    splits = [
        dict(
            name=one.split_name,
            numbers=one.numbers(),
            maps=as_data_uri(maps),
            confusion=as_data_uri(confusion),
        )
        for one, (maps, confusion) in zip(made, figures, strict=True)
    ]
    return render(
        __package__,
        scene=scene,
        splits=splits,
        classes=classes,
        sets=SETS,
        judged_on=JUDGED_ON,
        share=share,
        command=command,
        origin=_origin(made[0]),
    )


def _origin(one: Segmentation) -> list[tuple[str, str]]:
    about = one.training.classifier.training
    settings = {name: value for name, value in about["settings"].items() if value is not None}
    return [("settings", listed(settings)), *origin_rows(about["device"], torch=about["torch"])]
