"""A saved model as one ONNX file, for runtimes without Python or torch.

The file is compared with the model before it is written. Where single precision does not keep `TOLERANCE`, the file
computes in double precision between single-precision input and output.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from gnvpro.surrogate.admissible import admissible_points
from gnvpro.surrogate.errors import NumericalFailure, UsageError
from gnvpro.surrogate.model.classifier import Classifier
from gnvpro.surrogate.model.model import tensor_of
from gnvpro.surrogate.model.surrogate import Surrogate
from gnvpro.surrogate.spaces import Array

if TYPE_CHECKING:
    import onnx

    from gnvpro.surrogate.model.onnx.graph import Dtype

# Of the metadata of an exported file.
SCHEMA_VERSION = 1
# Largest difference to the model in one sample, relative to the sample's largest observable.
TOLERANCE = {"float32": 1e-6, "float64": 1e-12}
# A single-precision graph has to do so with this to spare at the points it is tried at: there are worse ones.
_SPARE = 2
# Beyond this a double-precision file is not the model; between the two, its last layer cancels digits.
_WRONG = 1e-8
# Units in the last place of the largest sum of terms that a last layer may cost beyond that.
_ROUNDINGS = 16
_POINTS = 1000
# Values of all points together: fields are compared at fewer.
_MOST_VALUES = 1 << 22


@dataclass(frozen=True)
class Exported:
    """An ONNX model that was compared with what it was made of.

    Attributes
    ----------
    computes_in
        Precision inside: float64 in a float32 file that would not keep the tolerance otherwise.
    difference
        Largest over the points of max_j |file - model| / max_j |model|.
    points
        How many points that is of.
    """

    proto: onnx.ModelProto
    computes_in: Dtype
    difference: float
    points: int


def export(model: Surrogate | Classifier, dtype: Dtype = "float64") -> Exported:
    """The whole map in the units of its data as an ONNX model with input and output of one dtype.

    A model whose network is float32 is exported at the same weights in float64 arithmetic where the file has that.

    Raises
    ------
    UsageError
        An unknown dtype, or a network of a torch module.
    ImportError
        onnx or onnxruntime is missing.
    NumericalFailure
        The file does not give what the model gives.
    """
    if dtype not in TOLERANCE:
        raise UsageError(f"unknown dtype {dtype!r}; expected {' or '.join(TOLERANCE)}")
    exact = replace(model, theta=model.theta.double())
    if isinstance(exact, Surrogate) and exact.modes is not None:
        exact = replace(exact, modes=exact.modes.double())
    n_points = min(_POINTS, max(1, _MOST_VALUES // model.observables.size))
    points = admissible_points(model.parameters, n_points, seed=0).astype(dtype)
    if isinstance(model, Surrogate) and model.logarithmic:
        points = np.where(model.logarithmic, np.abs(points), points)  # where there are no bounds, some are negative
    expected = exact.evaluate(points.astype(np.float64))
    precisions: tuple[Dtype, ...] = ("float32", "float64") if dtype == "float32" else ("float64",)
    found, values = None, expected
    for computes_in in precisions:
        proto = build(exact, dtype, computes_in)
        values = evaluate(proto, points)
        found = Exported(proto, computes_in, difference(values, expected), n_points)
        if found.difference <= TOLERANCE[dtype] / (_SPARE if computes_in == "float32" else 1):
            return found
    assert found is not None
    limit = _WRONG if dtype == "float64" else TOLERANCE[dtype]
    allowed = limit * _sizes(expected) + _rounding(exact, points.astype(np.float64))
    if not (np.abs(values - expected).max(axis=1) <= allowed).all():
        raise NumericalFailure(f"the ONNX file differs from the model by {found.difference:.1e}; nothing was written")
    return found


def build(model: Surrogate | Classifier, dtype: Dtype, computes_in: Dtype) -> onnx.ModelProto:
    """The model as a graph, not yet compared; raises as `export` does."""
    try:
        from gnvpro.surrogate.model.onnx.graph import INPUT, Graph
        from gnvpro.surrogate.model.onnx.networks import add_classifier, add_surrogate
    except ModuleNotFoundError as missing:
        raise _missing(missing) from None
    graph = Graph(computes_in)
    y = INPUT if computes_in == dtype else graph.cast(INPUT, computes_in)
    result = add_classifier(graph, model, y) if isinstance(model, Classifier) else add_surrogate(graph, model, y)
    if computes_in != dtype:
        result = graph.cast(result, dtype)
    return graph.model(
        result,
        model.parameters.size,
        model.observables.size,
        dtype,
        f"gnvpro {'classifier' if isinstance(model, Classifier) else 'surrogate'}: "
        f"{model.parameters.size} parameters to {model.observables.size} observables, samples are rows",
        _metadata(model),
    )


def evaluate(proto: onnx.ModelProto, points: Array) -> Array:
    """Observables (n, n_out) by ONNX Runtime on one thread, in float64."""
    try:
        import onnxruntime
    except ModuleNotFoundError as missing:
        raise _missing(missing) from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"parameters": points})[0], np.float64)


def difference(found: Array, expected: Array) -> float:
    """Largest over the rows of max_j |found - expected| / max_j |expected|; rows of zeros count absolutely."""
    return float((np.abs(found - expected).max(axis=1) / _sizes(expected)).max())


def _sizes(expected: Array) -> Array:
    size = np.abs(expected).max(axis=1)
    return np.where(size > 0, size, 1.0)


def _rounding(model: Surrogate | Classifier, points: Array) -> Array:
    """What rounding may change in the observables of each point (n,): weights of kernels cancel where these are near zero."""
    if isinstance(model, Classifier) or model.modes is not None:
        return np.zeros(len(points))
    weights = np.abs(model.weights.numpy())
    terms = np.abs(model.features(points)) @ weights[:, :-1].T + weights[:, -1]
    amplitude = 1.0 if model.amplitude is None else model.amplitude(tensor_of(points)).numpy()
    return _ROUNDINGS * np.finfo(np.float64).eps * (amplitude * terms).max(axis=1)


def _metadata(model: Surrogate | Classifier) -> dict[str, str]:
    """What the model says of itself, every value JSON; `Space.from_dict` reads the two spaces."""
    errors = {"accuracy": model.accuracy} if isinstance(model, Classifier) else {"errors": model.errors}
    about: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "kind": "classifier" if isinstance(model, Classifier) else "surrogate",
        "parameters": model.parameters.to_dict(),
        "observables": model.observables.to_dict(),
        "training_bounds": model.training.get("bounds"),
        "provenance": model.provenance,
        **errors,
    }
    return {f"gnvpro.{name}": json.dumps(value) for name, value in about.items()}


def _missing(error: ModuleNotFoundError) -> ImportError:
    return ImportError(f'{error.name} is not installed; export needs pip install "gnvpro[onnx]"')
