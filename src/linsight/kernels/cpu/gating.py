"""The compiled gate of a feed-forward network as an operator of torch: declared and differentiable."""

import ctypes

import torch
from torch import Tensor

from linsight.kernels.cpu.library import run
from linsight.kernels.cpu.operators import differentiable, operator

__all__ = ["gated_silu"]

ROWS = 16
"""Rows that go together."""


class _GatedSilu(ctypes.Structure):
    """`GatedSilu` of gated_silu.h, field by field."""

    _fields_ = [
        *((name, ctypes.c_int64) for name in ("rows", "width", "interval", "half")),
        *((name, ctypes.c_void_p) for name in ("x", "y", "dy", "dx")),
    ]


def gated_silu(x: Tensor) -> Tensor:
    """y of `linsight.ops.gated_silu`, on the CPU.

    Args:
        x: Gates and as many values `(..., 2 width)`, float32 or bfloat16; any strides.

    Cost: one pass over x, and one over x and y's gradient in the backward, which keeps x alone.
    """
    return _forward(x)


def _output(x):
    return x.new_empty(*x.shape[:-1], x.shape[-1] // 2)


@operator("gated_silu", fake=_output)
def _forward(x: Tensor) -> Tensor:
    y = _output(x)
    _run("gated_silu_forward", x, y=y)
    return y


@operator("gated_silu_backward", fake=lambda dy, x: x.new_empty(x.shape))
def _backward(dy: Tensor, x: Tensor) -> Tensor:
    dx = x.new_empty(x.shape)
    _run("gated_silu_backward", x, dy=dy, dx=dx)
    return dx


differentiable(
    _forward,
    save=lambda ctx, inputs, output: ctx.save_for_backward(*inputs),
    gradients=lambda ctx, dy: _backward(dy, *ctx.saved_tensors),
)


def _run(name: str, x: Tensor, **others: Tensor) -> None:
    """Call a kernel on x and on tensors by name."""
    width = x.shape[-1] // 2
    rows = x.numel() // max(2 * width, 1)
    # Copies that are made here live until the kernel is done.
    given = {key: y.contiguous() for key, y in {"x": x, **others}.items()}
    pointers = {key: y.data_ptr() for key, y in given.items()}
    silu = _GatedSilu(rows, width, ROWS, x.dtype == torch.bfloat16, **pointers)
    run(name, silu, units=-(-rows // ROWS), scratch=0, operations=20 * x.numel())
