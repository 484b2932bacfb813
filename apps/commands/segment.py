"""`gnvpro segment`: the pixels of an image cube, classified from labelled ones."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from annotated_doc import Doc
from annotated_types import Ge
from typer import Argument

from gnvpro.apps.console import Outcome, progress, table
from gnvpro.apps.settings import command_line
from gnvpro.training.class_settings import ClassSettings

TOGETHER = True
EXAMPLE = "segment cube.mat --labels labels.mat --out runs/segmentation"


@dataclass(frozen=True, kw_only=True)
class SegmentOptions(ClassSettings):
    """Settings of `gnvpro segment`: which pixels, which of them train, where to; how is inherited."""

    cube: Annotated[
        str | None,
        Argument(help="Cube: .mat, .npz, .npy or ENVI .hdr; FILE:VARIABLE picks one of several. Indian Pines without."),
    ] = None
    labels: Annotated[str | None, Doc("Label image of the cube, 0 where unlabelled.")] = None
    class_names: Annotated[tuple[str, ...] | None, Doc("Names of classes 1, 2, ….")] = None
    out: Annotated[Path | None, Doc("New folder for report, maps and model; numbers only without.")] = None
    split: Annotated[
        Literal["both", "class-capped", "blocks", "random"],
        Doc("class-capped: as in the paper; blocks: no neighbours shared; both: one after the other."),
    ] = "both"
    cap: Annotated[int, Doc("Pixels of a class for training and test."), Ge(2)] = 312
    block_size: Annotated[int, Doc("Side of the blocks in pixels."), Ge(1)] = 9

    METAVARS: ClassVar = {"labels": "FILE", "class_names": "CORN,WOODS", "widths": "64,32"}
    NOT_OFFERED: ClassVar = ("curvature",)


def run(options: SegmentOptions) -> Outcome:
    """Classify the pixels of an image cube from some that are labelled; Indian Pines when no cube is given."""
    from gnvpro.apps.segmentation.segment import segment

    with progress("training") as report:
        segmentation = segment(**vars(options), command=command_line("segment", options), progress=report)
    return Outcome(segmentation.numbers(), table(segmentation.title, segmentation.rows()), segmentation.failure)
