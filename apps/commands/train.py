"""`gnvpro train`: a surrogate from a data set."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from annotated_types import Ge, Gt
from typer import Argument, Option

from gnvpro.apps.console import Outcome, percent, progress
from gnvpro.apps.settings import Comma, to_dict

if TYPE_CHECKING:
    from gnvpro.surrogate.samples import Split
    from gnvpro.training.train import Training, TrainSettings

EXAMPLE = "train runs/cdr.zarr --out runs/model --seed 0"


@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """Settings of `gnvpro train`; from `network` on they are those of `gnvpro.training.train.TrainSettings`."""

    data: Annotated[Path, Argument(help="Data set: zarr, .nc, .mat (Y, C; columns are samples) or .npz.")]
    out: Annotated[
        Path | None, Option("--out", "-o", help="Folder to save the surrogate in; numbers only without.")
    ] = None
    overwrite: Annotated[bool, Option("--overwrite", help="Replace a surrogate that stands at --out.")] = False
    transpose: Annotated[bool, Option("--transpose", help="Samples are rows of the .mat, or columns of the .npz.")] = (
        False
    )
    checkpoint: Annotated[
        Path | None, Option("--checkpoint", help="Folder to put the training aside in; the same command resumes it.")
    ] = None
    checkpoint_every: Annotated[
        float, Option("--checkpoint-every", help="Work units between two checkpoints."), Gt(0)
    ] = 200.0
    train: Annotated[int | None, Option("--train", help="Samples to fit on; half of all."), Ge(1)] = None
    validation: Annotated[int | None, Option("--validation", help="Samples to choose on; a quarter."), Ge(1)] = None
    calibration: Annotated[int | None, Option("--calibration", help="Samples kept for error bands; none."), Ge(0)] = (
        None
    )
    test: Annotated[int | None, Option("--test", help="Samples to report the error on; a quarter."), Ge(0)] = None
    network: Annotated[
        Literal["auto", "residual", "plain", "hamiltonian", "paper"],
        Option(
            "--network",
            help="auto: dense layers raced on validation; residual (antisymmetric), plain, hamiltonian: residual "
            "networks; paper: the original study's.",
        ),
    ] = "auto"
    widths: Annotated[
        tuple[int, ...] | None, Option("--widths", metavar="9,24,24", help="Fix the widths of dense layers."), Comma
    ] = None
    width: Annotated[int | None, Option("--width", help="Of a residual network."), Ge(1)] = None
    steps: Annotated[int | None, Option("--steps", help="Steps in depth of a residual network."), Ge(1)] = None
    levels: Annotated[
        int | None, Option("--levels", help="Train a residual network coarse to fine on so many levels."), Ge(1)
    ] = None
    gain: Annotated[float | None, Option("--gain", help="Fix the scale of the inputs."), Gt(0)] = None
    solver: Annotated[
        Literal["lbfgs", "krylov", "lm"],
        Option(
            "--solver",
            help="On the reduced problem: L-BFGS, trust-region Gauss-Newton, or Levenberg-Marquardt for small networks.",
        ),
    ] = "lbfgs"
    budget: Annotated[
        float | None, Option("--budget", help="Work units to spend (per level for --network paper)."), Gt(0)
    ] = None
    quick: Annotated[bool, Option("--quick", help="A fifth of the time for about twice the error.")] = False
    seed: Annotated[int, Option("--seed", "-s", help="Seed of the split and of the initial weights."), Ge(0)] = 0
    members: Annotated[
        int, Option("--members", help="Networks from different seeds, the best averaged as validation tells."), Ge(1)
    ] = 1
    polynomial: Annotated[
        Literal["auto", "on", "off"],
        Option("--polynomial", help="Polynomial features for up to 5 parameters; auto: the race decides."),
    ] = "auto"
    alpha_w: Annotated[float | None, Option("--alpha-w", help="Regularisation of the outer layer W."), Ge(0)] = None
    alpha_theta: Annotated[float | None, Option("--alpha-theta", help="Regularisation of the network."), Ge(0)] = None
    goal: Annotated[
        Literal["relative", "absolute"] | None,
        Option("--goal", help="Error of a sample to make small; relative (absolute for --network paper)."),
    ] = None
    patience: Annotated[
        float, Option("--patience", help="Work units without a better validation error before it stops."), Gt(0)
    ] = 2000.0
    device: Annotated[str, Option("--device", help="Where torch computes: cpu, cuda, cuda:1.")] = "cpu"
    dtype: Annotated[
        Literal["float64", "float32"], Option("--dtype", help="Of the network; the inner solve stays in float64.")
    ] = "float64"
    threads: Annotated[int, Option("--threads", help="Threads of torch; small networks want one."), Ge(1)] = 1


SETTINGS_FILE = "settings.json"


def run(given: TrainOptions) -> Outcome:
    """Train a surrogate on a data set and save it with its errors."""
    from gnvpro.apps.reports.training import text
    from gnvpro.pde_data.storage.dataset import read_samples
    from gnvpro.surrogate.model.folder import require_place
    from gnvpro.training.train import TrainSettings

    if given.out is not None:
        require_place(given.out, given.overwrite)
    sizes = dict(train=given.train, validation=given.validation, calibration=given.calibration, test=given.test)
    split = read_samples(given.data, transpose=given.transpose).split(given.seed, **sizes)
    names = [field.name for field in dataclasses.fields(TrainSettings)]
    settings = TrainSettings(**{name: getattr(given, name) for name in names})
    training = train_with_progress(split, settings, checkpoint=given.checkpoint, every=given.checkpoint_every)
    if given.out is not None:
        training.save(given.out, overwrite=given.overwrite, extra={SETTINGS_FILE: to_dict(given)})
    trust = training.surrogate.trust
    numbers = {
        **training.summary(),
        "trust": None if trust is None else trust.about(),
        "out": None if given.out is None else str(given.out),
    }
    failure = None
    if training.surrogate.training["status"] == "nonfinite":
        failure = "the objective became infinite; the best weights before that were kept"
    saved = "no, only the numbers (--out FOLDER saves)" if given.out is None else str(given.out)
    return Outcome(numbers, text(training, f"Surrogate of {given.data}", saved), failure)


def train_with_progress(split: Split, settings: TrainSettings, what: str = "training", **checkpoint: Any) -> Training:
    """Train with a bar on stderr; `checkpoint` and `every` as in `gnvpro.training.train.train`."""
    from gnvpro.training.train import train

    with progress(what) as report:
        return train(
            split,
            settings,
            lambda now: report(now.work_units, now.budget, f"validation {percent(now.validation_error)}  {now.stage}"),
            **checkpoint,
        )
