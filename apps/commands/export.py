"""`gnvpro export`: a saved model as an ONNX file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from annotated_doc import Doc
from typer import Argument

from gnvpro.apps.console import Outcome
from gnvpro.apps.settings import to_dict

EXAMPLE = "export runs/model --out model.onnx --dtype float32"


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """Settings of `gnvpro export`."""

    model: Annotated[Path, Argument(help="Folder of a saved surrogate or classifier.")]
    out: Annotated[Path, Doc("File to write: .onnx.")]
    dtype: Annotated[Literal["float64", "float32"], Doc("Of input and output.")] = "float64"
    overwrite: Annotated[bool, Doc("Replace a file that stands at --out.")] = False


def run(options: ExportOptions) -> Outcome:
    """Write a surrogate or classifier as an ONNX file, compared with the model before."""
    from gnvpro.apps.export import export

    return Outcome.of(export(**vars(options)), settings=to_dict(options))
