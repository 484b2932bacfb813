"""Counts the places where a process waits for a device, on tensors that may be on none; replays what was read there.

A number that Python reads (float, bool, item, tolist, numpy), an operation whose result has a size that depends on values,
a factorisation that looks at its own status and a blocking upload let the queue of a GPU run empty. On the CPU they cost
nothing, so they are counted where they are called. What was read on the CPU can be given to the same program on fake CUDA
tensors, which have devices and shapes but no values: every tensor that is made on the wrong device raises there.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

# Of tensors: what Python reads. Of values: what has a size that is only known on the device.
READS = {"tolist", "item", "numpy", "equal", "allclose", "is_nonzero"} | {
    f"__{name}__" for name in ("float", "int", "bool", "index", "array", "complex", "contains")
}
SIZED = {"nonzero", "masked_select", "unique", "argwhere", "bincount"}
# On CUDA these look at their status; the variants that return it (`cholesky_ex`) do not.
CHECKED = {
    "linalg_eigh",
    "linalg_eigvalsh",
    "linalg_svd",
    "linalg_solve",
    "linalg_inv",
    "linalg_cholesky",
    "linalg_lstsq",
}


class Synchronisations(TorchFunctionMode):
    """Counts them, by the name of what was called, and keeps what was read."""

    def __init__(self) -> None:
        super().__init__()
        self.names: Counter[str] = Counter()
        self.values: deque[Any] = deque()

    @property
    def count(self) -> int:
        """All so far."""
        return sum(self.names.values())

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs, name = kwargs or {}, getattr(func, "__name__", "")
        if name in READS:
            self.names[name] += 1
            return self.read(name, lambda: func(*args, **kwargs))
        if name in SIZED or (name == "__getitem__" and _is_masked(args[1])):
            self.names[name] += 1
            return self.sized(lambda: func(*args, **kwargs), args[0])
        result = func(*args, **kwargs)
        if name in CHECKED:
            self.names[name] += 1
        elif _blocks(result, args, kwargs):
            self.names[f"upload by {name}"] += 1
        return result

    def read(self, name: str, call: Callable[[], Any]) -> Any:
        """What Python sees of a tensor."""
        value = call()
        self.values.append((name, value.copy() if hasattr(value, "copy") else value))
        return value

    def sized(self, call: Callable[[], Any], like: Tensor) -> Any:
        """A tensor whose size depends on values."""
        value = call()
        self.values.append(("", value.shape if isinstance(value, Tensor) else [part.shape for part in value]))
        return value


class Replay(Synchronisations):
    """The same program on fake CUDA tensors: it is told what another run of it read.

    Use it as a context. Tensors that are made inside are fake, and so is CUDA.
    """

    def __init__(self, recorded: Synchronisations) -> None:
        super().__init__()
        self._recorded = deque(recorded.values)
        self._fake = FakeTensorMode(allow_non_fake_inputs=True)

    @property
    def left(self) -> int:
        """What the other run read and this one did not."""
        return len(self._recorded)

    def __enter__(self) -> Replay:
        self._fake.__enter__()
        # Theirs reads the numbers one by one.
        self._list, FakeTensor.tolist = FakeTensor.tolist, Tensor.tolist
        super().__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        FakeTensor.tolist = self._list
        self._fake.__exit__(*error)

    def read(self, name: str, call: Callable[[], Any]) -> Any:
        """What the other run saw."""
        recorded, value = self._recorded.popleft()
        assert recorded == name, f"the other run read by {recorded}, this one by {name}"
        return value

    def sized(self, call: Callable[[], Any], like: Tensor) -> Any:
        """Empty, of the size that the other run had."""
        _, shapes = self._recorded.popleft()
        return like.new_empty(shapes) if isinstance(shapes, torch.Size) else tuple(map(like.new_empty, shapes))


def _is_masked(index: Any) -> bool:
    return any(isinstance(part, Tensor) and part.dtype == torch.bool for part in tree_leaves(index))


def _blocks(result: Any, args: Any, kwargs: dict[str, Any]) -> bool:
    """Whether values went from one device to another, and Python waited for them."""
    if not isinstance(result, Tensor) or kwargs.get("non_blocking"):
        return False
    here = [part for part in tree_leaves((args, kwargs)) if isinstance(part, Tensor) and part.ndim]
    return any(part.device.type != result.device.type for part in here)


def is_fake(tensor: Tensor) -> bool:
    """Whether it has no values."""
    return isinstance(tensor, FakeTensor)
