"""How much memory of a call waits for its backward, told without the memory."""

from collections.abc import Callable, Iterable
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

__all__ = ["kept_bytes", "kept_per_token", "on_paper"]

T = TypeVar("T")

LENGTHS = (256, 512)
"""Whole chunks of every mixer, and few enough for a second or two."""


def on_paper(call: Callable[[], T]) -> T:
    """What `call` returns where its tensors have shapes and no contents: weights of any size cost nothing.

    A call that has to look at a value, as a random projection that is redrawn until it is right, runs with
    real tensors. Must return no tensor.
    """
    try:
        with FakeTensorMode():
            return call()
    except DataDependentOutputException:
        return call()


def kept_bytes(call: Callable[[], object], *, besides: Iterable[Tensor] = ()) -> int:
    """The bytes of tensors that autograd keeps for the backward of `call`, each storage once.

    Args:
        call: Computes something that requires gradients.
        besides: Tensors that are there anyway, such as the weights; views of them count nothing either.
    """
    there = {tensor.untyped_storage()._cdata for tensor in besides}
    kept: dict[int, Tensor] = {}  # the tensor, so that its storage's place is not given to another

    def keep(tensor: Tensor) -> Tensor:
        place = tensor.untyped_storage()._cdata
        if place not in there:
            kept[place] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        result = call()  # alive until all is counted, and with it the graph
    total = sum(tensor.untyped_storage().nbytes() for tensor in kept.values())
    del result
    return total


def kept_per_token(module: nn.Module, dim: int, *, dtype: torch.dtype = torch.float32) -> float:
    """Bytes that each token more adds to what is kept for the backward of `module(x)`, x `(1, length, dim)`.

    The difference between 256 and 512 tokens: exact for what grows with the length, and of what grows faster
    only that. What does not grow (weights, their bfloat16 copies) is left out.

    Args:
        module: Called with tokens in float32.
        dim: Their width.
        dtype: bfloat16: matrix products by autocast, as in `linsight train`. The forms of the ops are those
            that are chosen on a processor.
    """

    def kept(length: int) -> int:
        x = torch.zeros(1, length, dim, requires_grad=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
            return kept_bytes(lambda: module(x))

    short, long = map(kept, LENGTHS)
    return (long - short) / (LENGTHS[1] - LENGTHS[0])
