"""How much memory operations take."""

import weakref

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class Allocations(TorchDispatchMode):
    """Watches every operation: the largest result, and the most memory alive at one time, inputs left out."""

    def __init__(self, *inputs: Tensor) -> None:
        super().__init__()
        self.largest = 0
        self.peak = 0
        self._alive = {x.untyped_storage()._cdata: 0 for x in inputs}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for x in tree_leaves(result):
            if isinstance(x, Tensor):
                self._count(x.untyped_storage())
        return result

    def _count(self, storage: torch.UntypedStorage) -> None:
        key = storage._cdata
        if key in self._alive:
            return
        self._alive[key] = storage.nbytes()
        weakref.finalize(storage, self._alive.pop, key, None)
        self.largest = max(self.largest, storage.nbytes())
        self.peak = max(self.peak, sum(self._alive.values()))
