"""The command line: `gnvpro generate | train | predict | calibrate | export | compare | invert | serve | …`.

Each command is a module of `gnvpro.apps.commands`: a settings class, an example and a `run`, which imports what it needs
when it is called: `generate` never loads torch, and `train` never FEniCSx.
"""

from __future__ import annotations

import importlib
import inspect
import io
import os
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import typer

from gnvpro.apps import settings
from gnvpro.apps.console import Outcome, present
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.launch import n_processes

# In the order of `gnvpro --help`.
COMMANDS = (
    "build", "generate", "train", "predict", "export", "calibrate", "compare",
    "invert", "sensitivity", "propagate", "serve", "segment", "study", "info", "demo",
)  # fmt: skip


def _version(asked: bool) -> None:
    if asked:
        print(f"gnvpro {version('gnvpro')}")
        raise typer.Exit


app = typer.Typer(
    name="gnvpro",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)

Config = Annotated[
    Path | None, typer.Option("--config", help="TOML (or JSON) file with any of these options.", show_default=False)
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]
Debug = Annotated[bool, typer.Option("--debug", envvar="GNVPRO_DEBUG", help="Show tracebacks.")]


@app.callback()
def gnvpro(
    _: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """From PDE solves to a neural surrogate whose error is known."""


def _register(name: str) -> None:
    """Make a command of a module: of its `NameOptions`, its `run`, whose docstring is the help, and its `EXAMPLE`."""
    module = importlib.import_module(f"gnvpro.apps.commands.{name}")
    options = getattr(module, f"{name.capitalize()}Options")

    def entry(context: typer.Context, config: Path | None, as_json: bool, debug: bool, **_: Any) -> None:
        typed = settings.typed_by_user(context, options)

        def action() -> Outcome:
            if n_processes() > 1 and not getattr(module, "TOGETHER", False):
                raise UsageError(
                    f"several processes were started together, which is for `train` and `segment`; start `{name}` "
                    "without torchrun"
                )
            return module.run(settings.resolve(options, typed, config))

        present(action, as_json=as_json, debug=debug, options=names)

    keyword, of_command = inspect.Parameter.KEYWORD_ONLY, settings.signature(options)
    names = [parameter.name for parameter in of_command]
    parameters = [
        *of_command,
        inspect.Parameter("context", keyword, annotation=typer.Context),
        inspect.Parameter("config", keyword, default=None, annotation=Config),
        inspect.Parameter("as_json", keyword, default=False, annotation=AsJson),
        inspect.Parameter("debug", keyword, default=False, annotation=Debug),
    ]
    entry.__signature__ = inspect.Signature(parameters)  # pyright: ignore[reportFunctionMemberAccess]
    entry.__annotations__ = {p.name: p.annotation for p in parameters}
    app.command(name, help=f"{inspect.getdoc(module.run)}\n\nExample: [bold]gnvpro {module.EXAMPLE}[/bold]")(entry)


for _name in COMMANDS:
    _register(_name)


def main() -> None:
    """Entry point of the installed command."""
    # Small dense products on many threads spend their time waiting; numpy, not imported yet, reads these.
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(variable, "1")
    for stream in (sys.stdout, sys.stderr):  # what an encoding other than UTF-8 lacks is shown as a question mark
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    app()
