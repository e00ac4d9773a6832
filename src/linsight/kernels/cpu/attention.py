"""Compiled linear attention as an operator of torch: declared, differentiable, the same on any threads."""

import ctypes
from typing import Any

import torch
from torch import Tensor

from linsight.kernels.cpu.library import run

__all__ = ["linear_attention"]

LANES = 16
"""Widths are padded to a multiple of it."""
STEPS = 32
"""Tokens that a kernel takes at a time."""


class _Rows(ctypes.Structure):
    """`Rows` of linear_attention.h, field by field."""

    _fields_ = [("data", ctypes.c_void_p), *((axis, ctypes.c_int64) for axis in ("row", "token", "head"))]


class _Attention(ctypes.Structure):
    """`Attention` of linear_attention.h, field by field."""

    _fields_ = [
        *((name, ctypes.c_int64) for name in ("batch", "length", "heads", "keys", "values")),
        *((name, ctypes.c_int64) for name in ("before", "normalise", "by_feature")),
        ("scale", ctypes.c_double),
        *((name, _Rows) for name in ("q", "k", "v", "decay", "dout")),
        *((name, ctypes.c_void_p) for name in ("bonus", "state", "dfinal")),
        *((name, ctypes.c_void_p) for name in ("o", "final_state", "denominators")),
        *((name, ctypes.c_void_p) for name in ("dq", "dk", "dv", "dstate", "dbonus", "ddecay")),
    ]


def linear_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    log_decay: Tensor | None,
    bonus: Tensor | None,
    state: Tensor | None,
    *,
    scale: float,
    exclusive: bool,
    normalise: bool,
) -> tuple[Tensor, Tensor]:
    """o and the final state of `linsight.ops.linear_attention`, in float32 on the CPU.

    Args:
        q, k: `(B, T, H, K)`, float32, T at least 1; any strides.
        v: `(B, T, H, V)`.
        log_decay: `(H,)`, `(B, T, H)`, `(B, T, H, K)` or None.
        bonus: `(H, K)` or None.
        state: S_0 `(B, H, K, W)`, W = V, or V + 1 with `normalise`; None for zeros.
        scale, normalise: As there.
        exclusive: Read before the update.

    Cost a head: O(T K V) time, two products an element of the state and token forward and six more backward;
    three and nine with decay. Beside o nothing is kept for the backward but the denominators. The gradient of
    a decay takes O(T K V / 32) memory for the call.
    """
    o, final, _ = _forward(q, k, v, log_decay, bonus, state, scale, exclusive, normalise)
    return o, final


@torch.library.custom_op("linsight::linear_attention", mutates_args=(), device_types="cpu")
def _forward(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    log_decay: Tensor | None,
    bonus: Tensor | None,
    state: Tensor | None,
    scale: float,
    exclusive: bool,
    normalise: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    o, final, denominators = _outputs(q, k, v, log_decay, bonus, state, scale, exclusive, normalise)
    call = _call(q, k, v, log_decay, bonus, state, scale, exclusive, normalise)
    _point(call, o=o, final_state=final, denominators=denominators)
    wide_k, wide_v = _wide(q.shape[3]), _wide(final.shape[3])
    scratch = wide_k * wide_v + STEPS * (3 * wide_k + 2 * wide_v)
    _run("attention_forward", call, final, scratch=scratch, products=2)
    return o, final, denominators


@_forward.register_fake
def _outputs(q, k, v, log_decay, bonus, state, scale, exclusive, normalise):
    batch, length, heads, features = q.shape
    return (
        v.new_empty(v.shape),
        v.new_empty(batch, heads, features, v.shape[3] + normalise),
        v.new_empty(batch, length if normalise else 0, heads),
    )


@torch.library.custom_op("linsight::linear_attention_backward", mutates_args=(), device_types="cpu")
def _backward(
    do: Tensor | None,
    dfinal: Tensor | None,
    o: Tensor,
    denominators: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    log_decay: Tensor | None,
    bonus: Tensor | None,
    state: Tensor | None,
    scale: float,
    exclusive: bool,
    normalise: bool,
    of_decay: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    batch, length, heads, features = q.shape
    dq, dk, dv = (x.new_empty(x.shape) for x in (q, k, v))
    dstate = v.new_empty(batch, heads, features, v.shape[3] + normalise)
    dbonus = v.new_empty(batch, heads, features if bonus is not None else 0)
    by_feature = log_decay is not None and log_decay.ndim == 4
    ddecay = v.new_empty(batch, length if of_decay else 0, heads, features if by_feature else 1)
    call = _call(q, k, v, log_decay, bonus, state, scale, exclusive, normalise)
    _rows(call, dout=torch.zeros_like(v) if do is None else do)
    _point(call, o=o, denominators=denominators, dfinal=dfinal, dq=dq, dk=dk, dv=dv, dstate=dstate)
    _point(call, dbonus=None if bonus is None else dbonus, ddecay=ddecay if of_decay else None)
    wide_k, wide_v = _wide(features), _wide(dstate.shape[3])
    chunks = -(-(length + exclusive) // STEPS) if of_decay else 0
    scratch = STEPS * (5 * wide_k + 3 * wide_v) + 2 * wide_k + (3 + chunks) * wide_k * wide_v
    _run("attention_backward", call, dstate, scratch=scratch, products=6)
    if log_decay is not None and log_decay.ndim < 4:
        ddecay = ddecay.squeeze(-1)
        ddecay = ddecay.sum((0, 1)) if log_decay.ndim == 1 else ddecay
    return dq, dk, dv, ddecay, dbonus.sum(0), dstate


@_backward.register_fake
def _(do, dfinal, o, denominators, q, k, v, log_decay, bonus, state, scale, exclusive, normalise, of_decay):
    batch, length, heads, features = q.shape
    length = length if of_decay else 0
    decay = {1: (heads,), 3: (batch, length, heads), 4: (batch, length, heads, features)}
    shapes = (
        *(q.shape, k.shape, v.shape),
        (batch, length, heads, 1) if log_decay is None else decay[log_decay.ndim],
        (heads, features if bonus is not None else 0),
        (batch, heads, features, v.shape[3] + normalise),
    )
    return tuple(v.new_empty(shape) for shape in shapes)


def _setup_context(ctx: Any, inputs: tuple, output: tuple) -> None:
    *tensors, scale, exclusive, normalise = inputs
    o, _, denominators = output
    ctx.set_materialize_grads(False)
    ctx.options = (scale, exclusive, normalise, tensors[3] is not None and ctx.needs_input_grad[3])
    ctx.save_for_backward(o, denominators, *tensors)


def _gradients(ctx: Any, do: Tensor | None, dfinal: Tensor | None, _: Tensor | None) -> tuple:
    found = _backward(do, dfinal, *ctx.saved_tensors, *ctx.options)
    wanted = zip(found, ctx.needs_input_grad[:6], strict=True)
    return *(x if needed else None for x, needed in wanted), None, None, None


_forward.register_autograd(_gradients, setup_context=_setup_context)


def _wide(count: int) -> int:
    return -(-count // LANES) * LANES


def _call(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    log_decay: Tensor | None,
    bonus: Tensor | None,
    state: Tensor | None,
    scale: float,
    exclusive: bool,
    normalise: bool,
) -> _Attention:
    by_feature = log_decay is not None and log_decay.ndim == 4
    call = _Attention(*q.shape, v.shape[3], exclusive, normalise, by_feature, scale)
    call.kept = []  # the tensors whose memory it points to
    _rows(call, q=q, k=k, v=v, decay=log_decay)
    _point(call, bonus=bonus, state=state)
    return call


def _rows(call: _Attention, **tensors: Tensor | None) -> None:
    """Tensors `(batch, length, heads, ...)`, or `(heads,)`, the same at all tokens, by their strides.

    Numbers of a token and head lie side by side; rows, tokens and heads may stand anywhere.
    """
    for name, x in tensors.items():
        if x is None:
            continue
        x = x.contiguous() if x.ndim == 4 and x.stride(3) != 1 else x
        strides = (0, 0, *x.stride()) if x.ndim == 1 else x.stride()[:3]
        setattr(call, name, _Rows(x.data_ptr(), *strides))
        call.kept.append(x)


def _point(call: _Attention, **tensors: Tensor | None) -> None:
    """Tensors without gaps."""
    for name, x in tensors.items():
        if x is None:
            continue
        x = x.contiguous()
        setattr(call, name, x.data_ptr())
        call.kept.append(x)


def _run(name: str, call: _Attention, state: Tensor, *, scratch: int, products: int) -> None:
    batch, heads = state.shape[:2]
    operations = 2 * products * call.length * state.numel()
    run(name, call, units=batch * heads, scratch=scratch, operations=operations)
