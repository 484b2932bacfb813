"""`gnvpro export`: a saved model as an ONNX file."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from typer import Argument, Option

from gnvpro.apps.console import Outcome, table
from gnvpro.apps.settings import to_dict
from gnvpro.surrogate.errors import UsageError

EXAMPLE = "export runs/model --out model.onnx --dtype float32"


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """Settings of `gnvpro export`."""

    model: Annotated[Path, Argument(help="Folder of a saved surrogate or classifier.")]
    out: Annotated[Path, Option("--out", "-o", help="File to write: .onnx.")]
    dtype: Annotated[Literal["float64", "float32"], Option("--dtype", help="Of input and output.")] = "float64"
    overwrite: Annotated[bool, Option("--overwrite", help="Replace a file that stands at --out.")] = False


def run(given: ExportOptions) -> Outcome:
    """Write a surrogate or classifier as an ONNX file, compared with the model before."""
    from gnvpro.surrogate.model.load import load_model
    from gnvpro.surrogate.model.onnx.export import TOLERANCE, export

    if given.out.suffix != ".onnx":
        raise UsageError(f"expected an output that ends in .onnx, got {given.out}")
    if given.out.is_dir() or (given.out.exists() and not given.overwrite):
        raise FileExistsError(f"{given.out} is there already; choose another name, or replace it with --overwrite")
    exported = export(load_model(given.model), given.dtype)
    _write(given.out, exported.proto.SerializeToString())
    numbers = {
        "out": str(given.out),
        "dtype": given.dtype,
        "computes_in": exported.computes_in,
        "largest_difference": exported.difference,
        "points": exported.points,
        "size_bytes": given.out.stat().st_size,
        "settings": to_dict(given),
    }
    precision = given.dtype
    if exported.computes_in != given.dtype:
        precision += f" outside, {exported.computes_in} inside (needed for {TOLERANCE[given.dtype]:g})"
    rows = [
        ("precision", precision),
        (
            "differs from the model",
            f"by {exported.difference:.1e} of a sample's largest value, at {exported.points} points",
        ),
        ("on disk", f"{numbers['size_bytes'] / 1e3:.3g} kB"),
    ]
    return Outcome(numbers, table(f"ONNX model in {given.out}", rows))


def _write(path: Path, content: bytes) -> None:
    """All of it or nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}-") as beside:
        new = Path(beside) / "model.onnx"
        new.write_bytes(content)
        os.replace(new, path)
