"""The compiled diagonal recurrence as an operator of torch: declared and differentiable."""

import ctypes
from typing import Any

import torch
from torch import Tensor

from linsight.kernels.cpu.diagonal import fill, rounded
from linsight.kernels.cpu.library import run
from linsight.kernels.cpu.operators import differentiable, operator

__all__ = ["diagonal_recurrence"]

STATES = 32
"""States that go together."""


class _Recurrence(ctypes.Structure):
    """`Recurrence` of diagonal_recurrence.h, field by field."""

    _fields_ = [
        *((name, ctypes.c_int64) for name in ("batch", "length", "floats")),
        ("x", ctypes.c_void_p),
        *((name, ctypes.c_int64) for name in ("x_row", "x_token")),
        *((name, ctypes.c_void_p) for name in ("parameters", "state", "lengths")),
        *((name, ctypes.c_void_p) for name in ("h", "final_state", "dh")),
        *((name, ctypes.c_int64) for name in ("dh_row", "dh_token")),
        *((name, ctypes.c_void_p) for name in ("dfinal", "dx", "dstate", "ddecay")),
    ]


def diagonal_recurrence(
    x: Tensor, log_decay: Tensor, state: Tensor, lengths: Tensor | None
) -> tuple[Tensor, Tensor]:
    """h and the final state of `linsight.ops.diagonal_recurrence`, in complex64 on the CPU.

    Args:
        x: `(batch, length, states)`, complex64, length at least 1; any strides.
        log_decay: `(states,)`, complex.
        state: h_0 `(batch, states)`, complex64.
        lengths: Tokens of each row, integers `(batch,)`, or None; h is 0 after them, and x is not read.

    Cost: O(length states) time; beside h nothing is kept for the backward.
    """
    return _forward(x, log_decay, state, lengths)


def _outputs(x, log_decay, state, lengths):
    return x.new_empty(x.shape), state.new_empty(state.shape)


@operator("diagonal_recurrence", fake=_outputs)
def _forward(x: Tensor, log_decay: Tensor, state: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor]:
    h, final = _outputs(x, log_decay, state, lengths)
    _run("recurrence_forward", x, log_decay, lengths, products=8, state=state, h=h, final_state=final)
    return h, final


def _gradient_outputs(dh, dfinal, h, x, log_decay, state, lengths):
    return tuple(y.new_empty(y.shape) for y in (x, log_decay, state))


@operator("diagonal_recurrence_backward", fake=_gradient_outputs)
def _backward(
    dh: Tensor | None,
    dfinal: Tensor | None,
    h: Tensor,
    x: Tensor,
    log_decay: Tensor,
    state: Tensor,
    lengths: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:
    dx, dstate = x.new_empty(x.shape), state.new_empty(state.shape)
    products = x.new_empty(len(x), 2, 2 * x.shape[2], dtype=torch.float32)
    dh = torch.zeros_like(x) if dh is None else dh
    others = {"state": state, "h": h, "dh": dh, "dfinal": dfinal, "dx": dx, "dstate": dstate}
    _run("recurrence_backward", x, log_decay, lengths, products=20, ddecay=products, **others)
    # Of conj(p) g, p and g as (re, im): re re + im im, and re im - im re.
    same, other = products.sum(0).unflatten(-1, (-1, 2)).unbind(0)
    ddecay = torch.complex(same.sum(-1), other[..., 0] - other[..., 1])
    return dx, ddecay.to(log_decay.dtype), dstate


def _save(ctx: Any, inputs: tuple, output: tuple) -> None:
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(output[0], *inputs)


def _gradients(ctx: Any, dh: Tensor | None, dfinal: Tensor | None) -> tuple:
    return *_backward(dh, dfinal, *ctx.saved_tensors), None


differentiable(_forward, save=_save, gradients=_gradients)


def _run(
    name: str,
    x: Tensor,
    log_decay: Tensor,
    lengths: Tensor | None,
    *,
    products: int,
    **others: Tensor | None,
) -> None:
    """Call a kernel on these and on tensors by name."""
    batch, length, states = x.shape
    parts = [
        z for factor in rounded(log_decay) for z in (factor.real, factor.real, -factor.imag, factor.imag)
    ]
    others["parameters"] = torch.stack(parts, -1).unflatten(-1, (4, 2)).transpose(0, 1)
    others |= {"x": x, "lengths": None if lengths is None else lengths.to(torch.int64)}
    recurrence, copies = fill(_Recurrence(batch, length, 2 * states), others)
    run(
        name,
        recurrence,
        units=batch * -(-states // STATES),
        scratch=0,
        operations=2 * products * x.numel(),
    )
    del copies
