"""Bytes of the tensors that a program makes and has not let go of."""

from __future__ import annotations

from typing import Any

import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class HeldBytes(TorchDispatchMode):
    """Counts, of tensors made inside of the context, what is held now and the most there was; a storage counts once."""

    def __init__(self) -> None:
        super().__init__()
        self._storages: dict[int, tuple[StorageWeakRef, int]] = {}
        self._before: set[int] = set()
        self.most = 0

    @property
    def now(self) -> int:
        """Bytes that are held."""
        self._storages = {key: held for key, held in self._storages.items() if not held[0].expired()}
        return sum(size for _, size in self._storages.values())

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self._note((args, kwargs), self._before)
        result = func(*args, **(kwargs or {}))
        self._note(result, None)
        self.most = max(self.most, self.now)
        return result

    def _note(self, tensors: Any, before: set[int] | None) -> None:
        for tensor in tree_leaves(tensors):
            if not isinstance(tensor, torch.Tensor):
                continue
            storage = tensor.untyped_storage()
            reference = StorageWeakRef(storage)
            if before is not None and reference.cdata not in self._storages:
                before.add(reference.cdata)
            elif before is None and reference.cdata not in self._before:
                self._storages[reference.cdata] = reference, storage.nbytes()
