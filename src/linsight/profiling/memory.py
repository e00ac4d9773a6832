"""How much memory a call needs at once."""

import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

__all__ = ["peak_bytes"]


def peak_bytes(call: Callable[[], object]) -> int:
    """The most bytes of tensors made by `call` that are alive at once, on any device, backward included.

    Counted by storage at every operation, so the figure is exact and the same on every machine; what an
    operation allocates and frees inside itself is not seen (softmax attention fused on the CPU: some KB), and
    neither is what there was before.
    """
    live = _Live()
    with live:
        call()
    return live.peak


class _Live(TorchDispatchMode):
    """Adds up the storages that operations return, until they are freed."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self.known: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = {id(leaf.untyped_storage()) for leaf in _tensors((args, kwargs))}
        result = func(*args, **(kwargs or {}))
        for tensor in _tensors(result):
            storage = tensor.untyped_storage()
            if id(storage) in given or id(storage) in self.known:
                continue  # a view, or written in place
            self.known.add(id(storage))
            self.now += storage.nbytes()
            weakref.finalize(storage, self._freed, id(storage), storage.nbytes())
        self.peak = max(self.peak, self.now)
        return result

    def _freed(self, identity: int, size: int) -> None:
        self.known.discard(identity)
        self.now -= size


def _tensors(tree: Any) -> list[torch.Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, torch.Tensor)]
