"""A segmentation in words, for people."""

from __future__ import annotations

import math

from rich.console import Group
from rich.table import Table

from gnvpro.apps.console import table
from gnvpro.apps.segmentation.segment import JUDGED_ON, SETS, Segmentation, share
from gnvpro.surrogate.formatting import seconds


def text(made: list[Segmentation], saved: str) -> Group:
    """Notes, accuracies by split and by class; `saved` says where it is."""
    scene = made[0].scene
    height, width = scene.labels.shape
    rows = [
        ("image", f"{height} × {width} pixels of {scene.cube.shape[2]} bands, {len(scene.class_names)} classes"),
        *(("note", note) for one in made for note in one.notes),
        ("saved", saved),
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
