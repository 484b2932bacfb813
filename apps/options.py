"""Every option of every command, once: `gnvpro.apps.settings` makes the command line and the TOML keys of these."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Le, MinLen
from typer import Argument, Option

from gnvpro.apps.settings import Assignments, Comma


@dataclass(frozen=True, kw_only=True)
class GenerateOptions:
    """Settings of `gnvpro generate`."""

    problem: Annotated[str, Argument(help="A registered problem (cdr, dcr) or package.module:factory of your own.")]
    samples: Annotated[int, Option("--samples", "-n", help="Number of samples; more than before extend."), Ge(1)]
    out: Annotated[Path, Option("--out", "-o", help="Data set to write, a zarr folder; an unfinished one is resumed.")]
    seed: Annotated[int, Option("--seed", "-s", help="Seed of the parameters."), Ge(0)] = 0
    block_size: Annotated[
        int | None,
        Option("--block-size", help="Samples solved and committed together; else the problem's choice."),
        Ge(1),
    ] = None
    set: Annotated[
        dict[str, Any] | None,
        Option("--set", metavar="KEY=VALUE", help="Option of the problem, such as settings.steps=160; repeatable."),
        Assignments,
    ] = None
    design: Annotated[
        Literal["random", "sobol-arcsine"] | None,
        Option("--design", help="How parameters are placed: sobol-arcsine in boxes of up to 5, else random draws."),
    ] = None
    workers: Annotated[
        int | None, Option("--workers", "-w", help="Processes to solve in; in this one without."), Ge(1)
    ] = None
    scheduler: Annotated[
        str | None, Option("--scheduler", metavar="ADDRESS", help="Solve on the workers of a running Dask scheduler.")
    ] = None
    retry_failed: Annotated[bool, Option("--retry-failed", help="Solve failed samples again.")] = False
    repair: Annotated[bool, Option("--repair", help="Look for damaged blocks and make them again.")] = False


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


@dataclass(frozen=True, kw_only=True)
class PredictOptions:
    """Settings of `gnvpro predict`."""

    model: Annotated[Path, Argument(help="Folder of a saved surrogate.")]
    parameters: Annotated[Path, Option("--parameters", "-p", help="Parameters: .npz, .npy, .csv, .mat or a data set.")]
    out: Annotated[Path, Option("--out", "-o", help="File to write: .npz or .csv.")]
    transpose: Annotated[bool, Option("--transpose", help="Samples are rows of the .mat, or columns of the .npz.")] = (
        False
    )
    level: Annotated[float, Option("--level", help="Of the error bands: .5, .68, .8, .9, .95 or .99."), Gt(0)] = 0.9
    fallback: Annotated[
        Literal["none", "pde"], Option("--fallback", help="pde: solve the PDE at points that are not to be trusted.")
    ] = "none"
    tolerance: Annotated[
        float | None,
        Option("--tolerance", help="Fall back also where the band is wider, relative to the observables."),
        Gt(0),
    ] = None
    append: Annotated[
        Path | None, Option("--append", metavar="DATASET", help="Keep the solves of the fallback for training.")
    ] = None
    problem: Annotated[
        str | None, Option("--problem", help="package.module:factory of the PDE, where it is not a registered one.")
    ] = None


@dataclass(frozen=True, kw_only=True)
class CalibrateOptions:
    """Settings of `gnvpro calibrate`."""

    model: Annotated[Path, Argument(help="Folder of a saved surrogate.")]
    data: Annotated[Path, Argument(help="Its own data set, or another one that it has not seen.")]
    out: Annotated[Path, Option("--out", "-o", help="Folder to save the calibrated surrogate in.")]
    overwrite: Annotated[bool, Option("--overwrite", help="Replace a surrogate that stands at --out.")] = False
    transpose: Annotated[bool, Option("--transpose", help="Samples are rows of the .mat, or columns of the .npz.")] = (
        False
    )
    seed: Annotated[int, Option("--seed", "-s", help="Seed of the samples that set the scales."), Ge(0)] = 0


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """Settings of `gnvpro export`."""

    model: Annotated[Path, Argument(help="Folder of a saved surrogate or classifier.")]
    out: Annotated[Path, Option("--out", "-o", help="File to write: .onnx.")]
    dtype: Annotated[Literal["float64", "float32"], Option("--dtype", help="Of input and output.")] = "float64"
    overwrite: Annotated[bool, Option("--overwrite", help="Replace a file that stands at --out.")] = False


@dataclass(frozen=True, kw_only=True)
class CompareOptions:
    """Settings of `gnvpro compare`; cube and labels are for a classifier, the others but `out` for a surrogate."""

    model: Annotated[Path, Argument(help="Folder of a saved surrogate or classifier.")]
    cube: Annotated[
        str | None,
        Option("--cube", metavar="FILE", help="Of a classifier: cube to classify, .mat, .npz, .npy or ENVI .hdr."),
    ] = None
    labels: Annotated[
        str | None,
        Option("--labels", metavar="FILE", help="Of a classifier: label image of the cube, 0 where unlabelled."),
    ] = None
    samples: Annotated[int, Option("--samples", "-n", help="Fresh parameters to solve the PDE at."), Ge(1)] = 64
    seed: Annotated[int, Option("--seed", "-s", help="Seed of the fresh parameters."), Ge(0)] = 0
    out: Annotated[Path | None, Option("--out", "-o", help="New folder for the numbers and the compared samples.")] = (
        None
    )
    problem: Annotated[
        str | None, Option("--problem", help="package.module:factory of the PDE, where it is not a registered one.")
    ] = None
    interpolation: Annotated[
        tuple[int, ...] | None,
        Option("--interpolation", metavar="6,6,8", help="Chebyshev nodes per parameter: show that rival too."),
        Comma,
    ] = None
    repeats: Annotated[int, Option("--repeats", help="Timings taken; the median is reported."), Ge(1)] = 5


Route = Literal["surrogate", "delayed", "pde"]


@dataclass(frozen=True, kw_only=True)
class InvertOptions:
    """Settings of `gnvpro invert`."""

    model: Annotated[
        str, Argument(help="Folder of a saved surrogate, or http://HOST:PORT/NAME, a model of a UM-Bridge server.")
    ]
    observations: Annotated[
        Path, Option("--observations", "-d", help="Measured values: .csv (value, observable), .npz or .npy.")
    ]
    noise: Annotated[
        str,
        Option("--noise", help="2%, 0.001 or 2%+0.001; data, where the file has it; or a file, also of a covariance."),
    ]
    out: Annotated[Path | None, Option("--out", "-o", help="New folder for report, numbers and draws.")] = None
    routes: Annotated[
        tuple[Route, ...] | None,
        Option(
            "--routes",
            help="surrogate, delayed (accepted by the PDE) and pde; without, the first, and the second if there is a PDE.",
        ),
        Comma,
    ] = None
    prior: Annotated[
        dict[str, Any] | None,
        Option("--prior", metavar="NAME=[MEAN,SD]", help="Normal prior of a parameter, else uniform; repeatable."),
        Assignments,
    ] = None
    like: Annotated[
        Path | None, Option("--like", help="Saved model whose names and bounds those of a server's model are.")
    ] = None
    chains: Annotated[int, Option("--chains", help="Chains of every route."), Ge(2)] = 4
    draws: Annotated[int, Option("--draws", help="Of every chain on the surrogate; 0 for the point alone."), Ge(0)] = (
        1600
    )
    tune: Annotated[int, Option("--tune", help="Draws before these that are thrown away."), Ge(10)] = 300
    pde_draws: Annotated[int, Option("--pde-draws", help="Of every chain that the PDE accepts or makes."), Ge(10)] = 250
    pde_tune: Annotated[int, Option("--pde-tune", help="PDE solves before these, a chain."), Ge(1)] = 30
    starts: Annotated[int, Option("--starts", help="Of the search for the most probable point."), Ge(1)] = 16
    seed: Annotated[int, Option("--seed", "-s", help="Of starts and chains."), Ge(0)] = 0
    checkpoint: Annotated[
        Path | None, Option("--checkpoint", help="File that keeps every PDE solve; the same command goes on with it.")
    ] = None
    truth: Annotated[
        Path | None, Option("--truth", help="Parameters that made the observations, where known: .csv, .npz or .npy.")
    ] = None
    problem: Annotated[
        str | None, Option("--problem", help="package.module:factory of the PDE, where it is not a registered one.")
    ] = None
    force: Annotated[bool, Option("--force", help="Also with a surrogate whose error is above the noise.")] = False


@dataclass(frozen=True, kw_only=True)
class ServeOptions:
    """Settings of `gnvpro serve`."""

    models: Annotated[
        tuple[str, ...],
        Argument(
            help="Folders of saved models; NAME=FOLDER gives one another name than its folder's.", metavar="MODEL..."
        ),
        MinLen(1),
    ]
    host: Annotated[str, Option("--host", help="Address to listen on; others than loopback let other machines in.")] = (
        "127.0.0.1"
    )
    port: Annotated[int, Option("--port", help="Port to listen on; 0 for any free one."), Ge(0), Le(65535)] = 4242
    with_pde: Annotated[bool, Option("--with-pde", help="Serve the PDE of every model too, as NAME-pde.")] = False
    problem: Annotated[
        str | None, Option("--problem", help="package.module:factory of the PDE, where it is not a registered one.")
    ] = None
    extrapolate: Annotated[
        bool, Option("--extrapolate", help="Answer outside the training range too, where no error is promised.")
    ] = False
    max_body: Annotated[int, Option("--max-body", help="Bytes of one request."), Ge(1000)] = 1_000_000
    max_requests: Annotated[int, Option("--max-requests", help="Requests in work; more are refused."), Ge(1)] = 256
    log: Annotated[
        Literal["requests", "errors", "none"],
        Option("--log", help="JSON lines on stderr: every request, those with errors, or only start and stop."),
    ] = "requests"
    threads: Annotated[int, Option("--threads", help="Threads of torch; small networks want one."), Ge(1)] = 1


@dataclass(frozen=True, kw_only=True)
class InfoOptions:
    """Settings of `gnvpro info`."""

    path: Annotated[Path, Argument(help="A data set or the folder of a saved surrogate.")]


@dataclass(frozen=True, kw_only=True)
class DemoOptions:
    """Settings of `gnvpro demo`."""

    out: Annotated[Path, Option("--out", "-o", help="Folder for data, models and report.")] = Path("runs/demo")
    samples: Annotated[int, Option("--samples", "-n", help="PDE solves; half of them train."), Ge(40)] = 800
    fresh: Annotated[int, Option("--fresh", help="Fresh PDE solves the surrogate is checked against."), Ge(1)] = 64
    seed: Annotated[int, Option("--seed", "-s", help="Seed of data, split and weights."), Ge(0)] = 0
    quick: Annotated[bool, Option("--quick", help="Train in a fifth of the time.")] = False


@dataclass(frozen=True, kw_only=True)
class StudyOptions:
    """Settings of `gnvpro study`; what is particular to one study is set by `--set`."""

    name: Annotated[
        str, Argument(help="cdr, dcr, indian-pines, ellipse, scaling, ablation, coverage, invert-dcr or invert-cdr.")
    ]
    out: Annotated[Path | None, Option("--out", "-o", help="New folder for numbers and figures.")] = None
    data: Annotated[Path | None, Option("--data", help="Data set of the study, where it is not the usual one.")] = None
    quick: Annotated[bool, Option("--quick", help="Seconds instead of minutes: a smaller version of everything.")] = (
        False
    )
    seeds: Annotated[int | None, Option("--seeds", help="Number of seeds; the study's own choice without."), Ge(1)] = (
        None
    )
    seed: Annotated[int, Option("--seed", "-s", help="First seed."), Ge(0)] = 0
    set: Annotated[
        dict[str, Any] | None,
        Option("--set", metavar="KEY=VALUE", help="Setting of the study, such as budget=500; repeatable."),
        Assignments,
    ] = None
    device: Annotated[str, Option("--device", help="Where torch computes: cpu, cuda, cuda:1.")] = "cpu"
    threads: Annotated[int, Option("--threads", help="Threads of torch."), Ge(1)] = 1


@dataclass(frozen=True, kw_only=True)
class SegmentOptions:
    """Settings of `gnvpro segment`; from `method` on they are those of `gnvpro.training.classes.ClassSettings`."""

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
