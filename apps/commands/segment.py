"""`gnvpro segment`: the pixels of an image cube, classified from labelled ones."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from annotated_types import Ge, Gt
from typer import Argument, Option

from gnvpro.apps.console import Outcome, progress
from gnvpro.apps.reports.output import require_new_folder
from gnvpro.apps.settings import Comma, command_line, to_dict

EXAMPLE = "segment cube.mat --labels labels.mat --out runs/segmentation"


@dataclass(frozen=True, kw_only=True)
class SegmentOptions:
    """Settings of `gnvpro segment`; from `method` on they are those of `gnvpro.training.class_settings.ClassSettings`."""

    cube: Annotated[
        str | None,
        Argument(help="Cube: .mat, .npz, .npy or ENVI .hdr; FILE:VARIABLE picks one of several. Indian Pines without."),
    ] = None
    labels: Annotated[
        str | None, Option("--labels", metavar="FILE", help="Label image of the cube, 0 where unlabelled.")
    ] = None
    class_names: Annotated[
        tuple[str, ...] | None, Option("--class-names", metavar="CORN,WOODS", help="Names of classes 1, 2, …."), Comma
    ] = None
    out: Annotated[
        Path | None, Option("--out", "-o", help="New folder for report, maps and model; numbers only without.")
    ] = None
    split: Annotated[
        Literal["both", "class-capped", "blocks", "random"],
        Option(
            "--split", help="class-capped: as in the paper; blocks: no neighbours shared; both: one after the other."
        ),
    ] = "both"
    cap: Annotated[int, Option("--cap", help="Pixels of a class for training and test."), Ge(2)] = 312
    block_size: Annotated[int, Option("--block-size", help="Side of the blocks in pixels."), Ge(1)] = 9
    method: Annotated[str, Option("--method", help="varpro-kf-lbfgs, varpro-krylov, adam, sgd, ….")] = "varpro-kf-lbfgs"
    features: Annotated[
        str,
        Option(
            "--features",
            help="scaled: spectra and bands normalised, with brightness; paper: spectra only; raw; or some of "
            "per-pixel,per-band,brightness.",
        ),
    ] = "scaled"
    network: Annotated[
        Literal["dense", "paper"], Option("--network", help="dense, or the original study's residual network.")
    ] = "dense"
    widths: Annotated[tuple[int, ...], Option("--widths", metavar="64,32", help="Of the dense layers."), Comma] = (
        64,
        32,
    )
    alpha_w: Annotated[float, Option("--alpha-w", help="Regularisation of the outer layer W."), Gt(0)] = 1e-3
    alpha_opening: Annotated[
        float | None, Option("--alpha-opening", help="Regularisation of the opening layer; by the features."), Ge(0)
    ] = None
    alpha_rest: Annotated[
        float | None, Option("--alpha-rest", help="Of the other layers; of their time derivative for paper."), Ge(0)
    ] = None
    label_smoothing: Annotated[
        float | None, Option("--label-smoothing", help="Probability shared by all classes; by the features."), Ge(0)
    ] = None
    class_weight_power: Annotated[
        float, Option("--class-weight-power", help="A pixel weighs n_c^-POWER; .5 lifts small classes."), Ge(0)
    ] = 0.0
    budget: Annotated[float | None, Option("--budget", help="Work units before the finish; by the network."), Gt(0)] = (
        None
    )
    finish: Annotated[
        Literal["adam", "none"] | None, Option("--finish", help="Adam on all weights at the end; by the features.")
    ] = None
    seed: Annotated[int, Option("--seed", "-s", help="Seed of the split and of the initial weights."), Ge(0)] = 0
    device: Annotated[str, Option("--device", help="Where torch computes: cpu, cuda, cuda:1.")] = "cpu"
    dtype: Annotated[
        Literal["float64", "float32"], Option("--dtype", help="Of the network; the inner solve stays in float64.")
    ] = "float32"
    threads: Annotated[int, Option("--threads", help="Threads of torch."), Ge(1)] = 1


def run(given: SegmentOptions) -> Outcome:
    """Classify the pixels of an image cube from some that are labelled; Indian Pines when no cube is given."""
    from gnvpro.apps.segmentation.cubes import require
    from gnvpro.apps.segmentation.segment import scene_of, segment_splits
    from gnvpro.apps.segmentation.words import text
    from gnvpro.training.class_settings import ClassSettings

    require("sklearn", "it counts confusions")
    if given.out is not None:
        for package in ("xarray", "zarr"):
            require(package, "it writes the probabilities")
        require_new_folder(given.out, "segmentation")
    ours = {field.name for field in dataclasses.fields(given)}
    settings = ClassSettings(**{f.name: getattr(given, f.name) for f in dataclasses.fields(ClassSettings) if f.name in ours})
    scene = scene_of(given.cube, given.labels, given.class_names)
    names = ("class-capped", "blocks") if given.split == "both" else (given.split,)
    made = segment_splits(scene, names, settings, cap=given.cap, block_size=given.block_size, watch=progress)
    numbers = {
        **made[0].numbers(),
        "scene": scene.name,
        "splits": {one.split_name: one.numbers() for one in made},
        "settings": to_dict(given),
        "out": None if given.out is None else str(given.out),
    }
    if given.out is not None:
        from gnvpro.apps.segmentation.folder import write_folder

        write_folder(given.out, made, numbers, to_dict(given), command_line("segment", given))
    failure = None
    if any(one.training.classifier.training["status"] == "nonfinite" for one in made):
        failure = "the objective became infinite; the best weights before that were kept"
    saved = "no, only the numbers (--out FOLDER saves)" if given.out is None else str(given.out)
    return Outcome(numbers, text(made, saved), failure)
