"""An ONNX graph under construction: constants, operators by their names in the standard, and how it becomes a model.

Values inside the graph are the names of what computes them. Every constant is given in float64 and rounded once, to the
type that the graph computes in.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import onnx
from numpy.typing import ArrayLike
from onnx import TensorProto, helper, numpy_helper

Dtype = Literal["float32", "float64"]
# Old enough for the runtimes in use; every operator here has double precision in it.
OPSET, IR_VERSION = 17, 8
INPUT, OUTPUT = "parameters", "observables"


class Graph:
    """From `INPUT` (n, n_in) to `OUTPUT` (n, n_out), n left open.

    Attributes
    ----------
    dtype
        What it computes in.
    """

    def __init__(self, dtype: Dtype) -> None:
        self.dtype: Dtype = dtype
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []

    def constant(self, values: ArrayLike) -> str:
        """Numbers in the dtype of the graph."""
        return self._stored(np.asarray(values, dtype=np.float64).astype(self.dtype))

    def integers(self, values: ArrayLike) -> str:
        """A constant of int64, such as indices or axes."""
        return self._stored(np.asarray(values, dtype=np.int64))

    def booleans(self, values: Sequence[bool]) -> str:
        """A constant of truth values."""
        return self._stored(np.asarray(values, dtype=np.bool_))

    def _stored(self, values: np.ndarray) -> str:
        name = f"c{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def add(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """One operator of the standard with one output."""
        name = f"v{len(self._nodes)}"
        self._nodes.append(helper.make_node(operator, list(inputs), [name], **attributes))
        return name

    def cast(self, value: str, dtype: Dtype) -> str:
        """The value in another precision."""
        return self.add("Cast", value, to=_TYPES[dtype])

    def affine(
        self, value: str, weights: ArrayLike, bias: str | ArrayLike | None = None, *, columns: bool = False
    ) -> str:
        """value (n, a) times weights (a, b) plus bias, which is (b,) or a value (n, b).

        Parameters
        ----------
        columns
            Samples are columns: value is (a, n).
        """
        inputs = [value, self.constant(weights)]
        if bias is not None:
            inputs.append(bias if isinstance(bias, str) else self.constant(bias))
        return self.add("Gemm", *inputs, transA=int(columns))

    def concatenated(self, values: Sequence[str]) -> str:
        """Columns side by side."""
        return values[0] if len(values) == 1 else self.add("Concat", *values, axis=1)

    def columns(self, value: str, start: int, end: int) -> str:
        """Columns from `start` up to `end`."""
        return self.add("Slice", value, *(self.integers([k]) for k in (start, end, 1)))

    def stacked(self, values: Sequence[str]) -> str:
        """Rows below each other."""
        return values[0] if len(values) == 1 else self.add("Concat", *values, axis=0)

    def centred(self, value: str, centre: ArrayLike) -> tuple[str, np.ndarray]:
        """value - centre, and what of centre this leaves out: its rounding to the graph's dtype.

        The remainder belongs into the next bias. Where a parameter varies little about a large centre, the difference
        is exact and rounding the centre would be the largest error.
        """
        centre = np.asarray(centre, dtype=np.float64)
        rounded = centre.astype(self.dtype).astype(np.float64)
        return self.add("Sub", value, self.constant(rounded)), centre - rounded

    def model(
        self, result: str, n_in: int, n_out: int, interface: Dtype, description: str, metadata: dict[str, str]
    ) -> onnx.ModelProto:
        """The checked model whose output is the value `result`, already in the dtype `interface`."""
        self._nodes.append(helper.make_node("Identity", [result], [OUTPUT]))
        inner, *outer = (
            helper.make_tensor_value_info(name, _TYPES[interface], ["n", size])
            for name, size in ((INPUT, n_in), (OUTPUT, n_out))
        )
        graph = helper.make_graph(self._nodes, "gnvpro", [inner], outer, self._constants)
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
            producer_name="gnvpro",
            doc_string=description,
        )
        helper.set_model_props(model, metadata)
        onnx.checker.check_model(model, full_check=True)
        return model


_TYPES = {"float32": TensorProto.FLOAT, "float64": TensorProto.DOUBLE}
