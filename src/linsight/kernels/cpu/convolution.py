"""The compiled short convolution as an operator of torch: declared and differentiable."""

import ctypes
from typing import Any

from torch import Tensor

from linsight.kernels.cpu.library import run
from linsight.kernels.cpu.operators import differentiable, operator

__all__ = ["short_convolution"]

INTERVAL = 64
"""Tokens of a row that go together."""


class _Convolution(ctypes.Structure):
    """`Convolution` of short_convolution.h, field by field."""

    _fields_ = [
        *((name, ctypes.c_int64) for name in ("batch", "length", "channels", "taps", "interval")),
        *((name, ctypes.c_void_p) for name in ("x", "weight", "bias", "state")),
        *((name, ctypes.c_int64) for name in ("x_row", "x_token")),
        *((name, ctypes.c_void_p) for name in ("y", "dy")),
        *((name, ctypes.c_int64) for name in ("dy_row", "dy_token")),
        *((name, ctypes.c_void_p) for name in ("dx", "dstate", "dweight", "dbias")),
    ]


def short_convolution(x: Tensor, weight: Tensor, bias: Tensor | None, state: Tensor | None) -> Tensor:
    """y of `linsight.ops.short_convolution`, in float32 on the CPU.

    Args:
        x: `(batch, length, channels)`, float32, length at least 1; any strides.
        weight: `(channels, taps)`.
        bias: `(channels,)` or None.
        state: The inputs before x `(batch, taps - 1, channels)`; None for zeros.

    Cost: O(length channels taps) time. Beside y nothing is kept for the backward.
    """
    return _forward(x, weight, bias, state)


def _outputs(x, weight, bias, state):
    return x.new_empty(x.shape)


@operator("short_convolution", fake=_outputs)
def _forward(x: Tensor, weight: Tensor, bias: Tensor | None, state: Tensor | None) -> Tensor:
    y = _outputs(x, weight, bias, state)
    _run("convolution_forward", x, weight, products=1, bias=bias, state=state, y=y)
    return y


def _gradient_outputs(dy, x, weight, state, of_state):
    """Of a state that is not there or does not ask, nothing."""
    of = state.shape if state is not None and of_state else (0,)
    shapes = (x.shape, weight.shape, weight.shape[:1], of)
    return tuple(x.new_empty(shape) for shape in shapes)


@operator("short_convolution_backward", fake=_gradient_outputs)
def _backward(
    dy: Tensor, x: Tensor, weight: Tensor, state: Tensor | None, of_state: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    batch, _, channels = x.shape
    dx = x.new_empty(x.shape)
    dstate = x.new_empty(state.shape if of_state and state is not None else (0,))
    units = batch * _intervals(x)
    dweight, dbias = x.new_empty(units, weight.shape[1], channels), x.new_empty(units, channels)
    outputs = {"dx": dx, "dstate": dstate if of_state else None, "dweight": dweight, "dbias": dbias}
    _run("convolution_backward", x, weight, products=2, state=state, dy=_rows(dy), **outputs)
    return dx, dweight.sum(0).mT.contiguous(), dbias.sum(0), dstate


def _save(ctx: Any, inputs: tuple, output: Tensor) -> None:
    x, weight, bias, state = inputs
    ctx.options = (bias is not None, state is not None and ctx.needs_input_grad[3])
    ctx.save_for_backward(x, weight, state)


def _gradients(ctx: Any, dy: Tensor) -> tuple:
    biased, of_state = ctx.options
    dx, dweight, dbias, dstate = _backward(dy, *ctx.saved_tensors, of_state)
    return dx, dweight, dbias if biased else None, dstate if of_state else None


differentiable(_forward, save=_save, gradients=_gradients)


def _intervals(x: Tensor):
    return -(-x.shape[1] // INTERVAL)


def _rows(x: Tensor) -> Tensor:
    """Numbers of a token lie side by side; rows and tokens may stand anywhere."""
    return x if x.stride(-1) == 1 else x.contiguous()


def _run(name: str, x: Tensor, weight: Tensor, *, products: int, **others: Tensor | None) -> None:
    """Call a kernel on x and the weight, and on tensors by name, of which dy alone may have gaps."""
    batch, length, channels = x.shape
    taps = weight.shape[1]
    # Copies that are made here live until the kernel is done.
    given = {"x": _rows(x), "weight": weight.mT.contiguous()}
    given |= {key: y if key == "dy" else y.contiguous() for key, y in others.items() if y is not None}
    convolution = _Convolution(batch, length, channels, taps, INTERVAL)
    for key, tensor in given.items():
        setattr(convolution, key, tensor.data_ptr())
        if key in ("x", "dy"):
            row, token, _ = tensor.stride()
            setattr(convolution, f"{key}_row", row)
            setattr(convolution, f"{key}_token", token)
    run(
        name,
        convolution,
        units=batch * _intervals(x),
        scratch=channels + 16 + 4 * taps,
        operations=4 * products * x.numel() * taps,
    )
