"""The command line: `gnvpro generate | train | predict | calibrate | export | compare | invert | serve | …`.

Each command is a settings class, an example and a function of another module, imported when it is called: `generate`
never loads torch, and `train` never FEniCSx.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from gnvpro.apps import settings
from gnvpro.apps.commands.calibrate import CalibrateOptions
from gnvpro.apps.commands.compare import CompareOptions
from gnvpro.apps.commands.demo import DemoOptions
from gnvpro.apps.commands.export import ExportOptions
from gnvpro.apps.commands.generate import GenerateOptions
from gnvpro.apps.commands.info import InfoOptions
from gnvpro.apps.commands.invert import InvertOptions
from gnvpro.apps.commands.predict import PredictOptions
from gnvpro.apps.commands.segment import SegmentOptions
from gnvpro.apps.commands.serve import ServeOptions
from gnvpro.apps.commands.train import TrainOptions
from gnvpro.apps.console import Outcome, present
from gnvpro.apps.studies.options import StudyOptions

app = typer.Typer(
    name="gnvpro",
    help="From PDE solves to a neural surrogate whose error is known.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)

Config = Annotated[
    Path | None, typer.Option("--config", help="TOML (or JSON) file with any of these options.", show_default=False)
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]
Debug = Annotated[bool, typer.Option("--debug", envvar="GNVPRO_DEBUG", help="Show tracebacks.")]


def command[S](options_class: type[S], example: str) -> Callable[[Callable[[S], Outcome]], Callable[[S], Outcome]]:
    """Register a function of its settings as a command of the same name."""

    def register(run: Callable[[S], Outcome]) -> Callable[[S], Outcome]:
        def entry(context: typer.Context, config: Path | None, as_json: bool, debug: bool, **_: Any) -> None:
            typed = settings.typed_by_user(context, options_class)
            present(lambda: run(settings.resolve(options_class, typed, config)), as_json=as_json, debug=debug)

        keyword = inspect.Parameter.KEYWORD_ONLY
        common = [
            inspect.Parameter("context", keyword, annotation=typer.Context),
            inspect.Parameter("config", keyword, default=None, annotation=Config),
            inspect.Parameter("as_json", keyword, default=False, annotation=AsJson),
            inspect.Parameter("debug", keyword, default=False, annotation=Debug),
        ]
        parameters = [*settings.signature(options_class), *common]
        entry.__signature__ = inspect.Signature(parameters)  # pyright: ignore[reportFunctionMemberAccess]
        entry.__annotations__ = {p.name: p.annotation for p in parameters}
        help_text = f"{inspect.getdoc(run)}\n\nExample: [bold]gnvpro {example}[/bold]"
        app.command(run.__name__, help=help_text)(entry)
        return run

    return register


@command(GenerateOptions, "generate cdr --samples 800 --seed 0 --out runs/cdr.zarr")
def generate(given: GenerateOptions) -> Outcome:
    """Solve a PDE at many parameters and write the data set; a killed run is resumed, a finished one extended."""
    from gnvpro.apps.commands.generate import run

    return run(given)


@command(TrainOptions, "train runs/cdr.zarr --out runs/model --seed 0")
def train(given: TrainOptions) -> Outcome:
    """Train a surrogate on a data set and save it with its errors."""
    from gnvpro.apps.commands.train import run

    return run(given)


@command(PredictOptions, "predict runs/model --parameters points.csv --out observables.csv")
def predict(given: PredictOptions) -> Outcome:
    """Evaluate a surrogate at given parameters, with error bands; points not to be trusted are flagged."""
    from gnvpro.apps.commands.predict import run

    return run(given)


@command(ExportOptions, "export runs/model --out model.onnx --dtype float32")
def export(given: ExportOptions) -> Outcome:
    """Write a surrogate or classifier as an ONNX file, compared with the model before."""
    from gnvpro.apps.commands.export import run

    return run(given)


@command(CalibrateOptions, "calibrate runs/model runs/more.zarr --out runs/calibrated")
def calibrate(given: CalibrateOptions) -> Outcome:
    """Give a surrogate error bands and an in-domain score from samples that did not train it."""
    from gnvpro.apps.commands.calibrate import run

    return run(given)


@command(CompareOptions, "compare runs/model --samples 64 --seed 1 --out runs/comparison")
def compare(given: CompareOptions) -> Outcome:
    """Check a surrogate against fresh PDE solves: error, the PDE's own, costs; or a classifier against labels."""
    from gnvpro.apps.commands.compare import run

    return run(given)


@command(InvertOptions, "invert runs/dcr-model --observations field.csv --noise 2% --out runs/inversion")
def invert(given: InvertOptions) -> Outcome:
    """Find parameters from observations: most probable point, posterior, and both confirmed by the PDE."""
    from gnvpro.apps.commands.invert import run

    return run(given)


@command(ServeOptions, "serve runs/model --with-pde --port 4242")
def serve(given: ServeOptions) -> Outcome:
    """Answer clients of the UM-Bridge protocol with saved models, and with the PDE, until told to stop."""
    from gnvpro.apps.commands.serve import run

    return run(given)


@command(SegmentOptions, "segment cube.mat --labels labels.mat --out runs/segmentation")
def segment(given: SegmentOptions) -> Outcome:
    """Classify the pixels of an image cube from some that are labelled; Indian Pines when no cube is given."""
    from gnvpro.apps.commands.segment import run

    return run(given)


@command(StudyOptions, "study cdr --quick --out runs/study-cdr")
def study(given: StudyOptions) -> Outcome:
    """Measure one of the method's results anew: a table, figures and numbers."""
    from gnvpro.apps.commands.study import run

    return run(given)


@command(InfoOptions, "info runs/model")
def info(given: InfoOptions) -> Outcome:
    """Say what a data set or a saved surrogate holds and where it came from."""
    from gnvpro.apps.commands.info import run

    return run(given)


@command(DemoOptions, "demo --out runs/demo")
def demo(given: DemoOptions) -> Outcome:
    """Run the whole line: PDE data, training, comparison with fresh solves, report."""
    from gnvpro.apps.commands.demo import run

    return run(given)


def main() -> None:
    """Entry point of the installed command."""
    # Small dense products on many threads spend their time waiting; numpy, not imported yet, reads these.
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(variable, "1")
    app()
