"""A saved model as an ONNX file: the function `gnvpro.export`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from gnvpro.apps.arguments import Folder, model_of
from gnvpro.surrogate.checks import path_of
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.model.classifier import Classifier
from gnvpro.surrogate.model.onnx.export import TOLERANCE, Exported
from gnvpro.surrogate.model.onnx.export import export as to_onnx
from gnvpro.surrogate.model.surrogate import Surrogate
from gnvpro.surrogate.result import Result
from gnvpro.surrogate.writing import require_writable, whole_file


@dataclass(frozen=True, repr=False)
class OnnxFile(Result):
    """A model that was written as an ONNX file, and how close the file is to it."""

    path: Path
    dtype: str
    exported: Exported

    @property
    def title(self) -> str:
        """Names the file."""
        return f"ONNX model in {self.path}"

    def rows(self) -> list[tuple[str, str]]:
        """Precision, difference and size."""
        exported, precision = self.exported, self.dtype
        if exported.computes_in != precision:
            precision += f" outside, {exported.computes_in} inside (needed for {TOLERANCE[self.dtype]:g})"
        differs = f"by {exported.difference:.1e} of a sample's largest value, at {exported.points} points"
        size = f"{self.path.stat().st_size / 1e3:.3g} kB"
        return [("precision", precision), ("differs from the model", differs), ("on disk", size)]

    def numbers(self) -> dict[str, Any]:
        """JSON-able."""
        return {
            "out": str(self.path),
            "dtype": self.dtype,
            "computes_in": self.exported.computes_in,
            "largest_difference": self.exported.difference,
            "points": self.exported.points,
            "size_bytes": self.path.stat().st_size,
        }


def export(
    model: Folder | Surrogate | Classifier,
    out: Folder,
    *,
    dtype: Literal["float64", "float32"] = "float64",
    overwrite: bool = False,
) -> OnnxFile:
    """Write a model as one ONNX file, compared with the model before; all of it or nothing.

    Parameters
    ----------
    out
        File to write, `.onnx`.
    dtype
        Of input and output.

    Raises
    ------
    UsageError, OSError
        A place that cannot be written, a model that cannot be exported.
    NumericalFailure
        The file does not give what the model gives.
    """
    path = path_of(out, "the file `out`")
    if path.suffix != ".onnx":
        raise UsageError(f"expected an output that ends in .onnx, got {path}")
    if path.is_dir() or (path.exists() and not overwrite):
        raise FileExistsError(f"{path} is there already; choose another name, or replace it with overwrite=True")
    require_writable(path)
    exported = to_onnx(model_of(model), dtype)
    with whole_file(path) as new:
        new.write_bytes(exported.proto.SerializeToString())
    return OnnxFile(path, dtype, exported)
