"""Registers compiled kernels as operators of torch."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch._ops import OpOverload
from torch.autograd.function import once_differentiable

__all__ = ["differentiable", "operator"]

_LIBRARY = torch.library.Library("linsight", "FRAGMENT")


def operator(name: str, *, fake: Callable) -> Callable[[Callable], OpOverload]:
    """A decorator that makes a function `linsight::name` on the CPU, its schema read from its annotations.

    `torch.library.custom_op` is the same and checks at every call what `torch.library.opcheck` checks once:
    20 us of a call without gradients and 40 us of one with them, where a short kernel takes ten.

    Args:
        name: Of the operator.
        fake: Its outputs from its inputs, of the right shapes, without reading data.
    """

    def register(kernel: Callable) -> OpOverload:
        schema = torch.library.infer_schema(kernel, mutates_args=())
        _LIBRARY.define(name + schema, tags=(torch.Tag.pt2_compliant_tag,))
        _LIBRARY.impl(name, kernel, "CPU")
        torch.library.register_fake(f"linsight::{name}", fake, lib=_LIBRARY)
        return getattr(torch.ops.linsight, name).default

    return register


def differentiable(op: OpOverload, *, save: Callable, gradients: Callable) -> None:
    """Give an operator its gradients, and none of these.

    Args:
        op: From `operator`.
        save: Called as `(ctx, inputs, outputs)` after the operator, to keep what the gradients need.
        gradients: Called as `(ctx, *gradients of outputs)`; gives one of each input.
    """

    def below(*inputs: Any) -> Any:
        with torch._C._AutoDispatchBelowAutograd():
            return op(*inputs)

    class Function(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, *inputs: Any) -> Any:
            outputs = below(*inputs)
            save(ctx, inputs, outputs)
            return outputs

        @staticmethod
        @once_differentiable
        def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
            ctx: Any, *grads: Tensor | None
        ) -> Any:
            return gradients(ctx, *grads)

    def dispatched(*inputs: Any) -> Any:
        leaves = torch.is_grad_enabled() and any(x.requires_grad for x in inputs if isinstance(x, Tensor))
        return Function.apply(*inputs) if leaves else below(*inputs)

    _LIBRARY.impl(op._schema.name.split("::")[1], dispatched, "Autograd")
