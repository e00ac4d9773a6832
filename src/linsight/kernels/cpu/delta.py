"""The compiled delta rules as an operator of torch: declared, differentiable, the same on any threads."""

import ctypes
from typing import Any

import torch
from torch import Tensor

from linsight.kernels.cpu.attention import STEPS, Attention, Rows, fill, rows, side_by_side, wide
from linsight.kernels.cpu.library import run
from linsight.kernels.cpu.operators import differentiable, operator

__all__ = ["delta_rule"]

TILE = 256
"""Floats of the largest tile of a state that stays in registers."""


class _Delta(ctypes.Structure):
    """`Delta` of delta_rule.h, field by field."""

    _fields_ = [
        ("attention", Attention),
        ("free", ctypes.c_int64),
        *((name, Rows) for name in ("a", "b", "beta")),
        *((name, ctypes.c_void_p) for name in ("corrections", "checkpoints", "da", "db", "dbeta")),
    ]


def delta_rule(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    a: Tensor | None,
    b: Tensor | None,
    beta: Tensor | None,
    log_decay: Tensor | None,
    state: Tensor | None,
    *,
    scale: float,
) -> tuple[Tensor, Tensor]:
    """o and the final state of `linsight.ops.delta_rule` or `dplr_delta_rule`, in float32 on the CPU.

    Args:
        q, k: `(B, T, H, K)`, float32, T at least 1; any strides.
        v: `(B, T, H, V)`.
        a, b: `(B, T, H, K)`; or None with `beta`, for a = exp(g) k, b = -beta k, and values beta v.
        beta: `(B, T, H)`, or None with a and b.
        log_decay: `(B, T, H)`, `(B, T, H, K)` or None.
        state: S_0 `(B, H, K, V)`; None for zeros.
        scale: As there.

    Cost a head: O(T K V) time, three products an element of the state and token forward and eleven more
    backward; with a and b four and fourteen, and with decay one and three more. Where a gradient is asked
    for, V numbers a token are kept, and one state in every 32 tokens.
    """
    leaves = (q, k, v, a, b, beta, log_decay, state)
    keep = torch.is_grad_enabled() and any(x is not None and x.requires_grad for x in leaves)
    o, final, *_ = _forward(*leaves, scale, keep)
    return o, final


def _outputs(q, k, v, a, b, beta, log_decay, state, scale, keep):
    batch, length, heads, features = q.shape
    values = v.shape[3]
    chunks = -(-length // STEPS) if keep else 0
    return (
        v.new_empty(v.shape),
        v.new_empty(batch, heads, features, values),
        v.new_empty(batch, length if keep else 0, heads, values),
        v.new_empty(batch, heads, chunks, wide(features), wide(values)),
    )


@operator("delta_rule", fake=_outputs)
def _forward(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    a: Tensor | None,
    b: Tensor | None,
    beta: Tensor | None,
    log_decay: Tensor | None,
    state: Tensor | None,
    scale: float,
    keep: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    o, final, corrections, checkpoints = _outputs(q, k, v, a, b, beta, log_decay, state, scale, keep)
    kept = {"corrections": corrections, "checkpoints": checkpoints} if keep else {}
    given = (q, k, v, a, b, beta, log_decay)
    _run("delta_forward", given, scale, products=5, states=1, state=state, o=o, final_state=final, **kept)
    return o, final, corrections, checkpoints


def _gradient_outputs(
    do, dfinal, corrections, checkpoints, q, k, v, a, b, beta, log_decay, scale, of_decay, of_state
):
    """Of what is not there, and of a decay or state that does not ask, nothing."""
    state = (q.shape[0], *q.shape[2:], v.shape[3])
    inputs = (q, k, v, a, b, beta, log_decay if of_decay else None)
    shapes = *(None if x is None else x.shape for x in inputs), state if of_state else None
    return tuple(v.new_empty((0,) if shape is None else shape) for shape in shapes)


@operator("delta_rule_backward", fake=_gradient_outputs)
def _backward(
    do: Tensor | None,
    dfinal: Tensor | None,
    corrections: Tensor,
    checkpoints: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    a: Tensor | None,
    b: Tensor | None,
    beta: Tensor | None,
    log_decay: Tensor | None,
    scale: float,
    of_decay: bool,
    of_state: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    given = (q, k, v, a, b, beta, log_decay)
    found = _gradient_outputs(do, dfinal, corrections, checkpoints, *given, scale, of_decay, of_state)
    names = ("dq", "dk", "dv", "da", "db", "dbeta", "ddecay", "dstate")
    there = (*(x is not None for x in given[:6]), of_decay, of_state)
    outputs = {name: x for name, x, asked in zip(names, found, there, strict=True) if asked}
    dout = torch.zeros_like(v) if do is None else do
    kept = {"corrections": corrections, "checkpoints": checkpoints, "dfinal": dfinal}
    _run("delta_backward", given, scale, products=15, states=3, dout=dout, **kept, **outputs)
    return found


def _save(ctx: Any, inputs: tuple, output: tuple) -> None:
    *tensors, state, scale, _ = inputs
    ctx.set_materialize_grads(False)
    ctx.options = (scale, ctx.needs_input_grad[6], state is not None and ctx.needs_input_grad[7])
    ctx.save_for_backward(output[2], output[3], *tensors)


def _gradients(ctx: Any, do: Tensor | None, dfinal: Tensor | None, *_: Tensor | None) -> tuple:
    found = _backward(do, dfinal, *ctx.saved_tensors, *ctx.options)
    wanted = zip(found, ctx.needs_input_grad[:8], strict=True)
    return *(x if needed else None for x, needed in wanted), None, None


differentiable(_forward, save=_save, gradients=_gradients)


def _run(
    name: str,
    given: tuple[Tensor, Tensor, Tensor, Tensor | None, Tensor | None, Tensor | None, Tensor | None],
    scale: float,
    *,
    products: int,
    states: int,
    dout: Tensor | None = None,
    **dense: Tensor | None,
) -> None:
    """Call a kernel on q, k, v, a, b, beta and the decay, and on tensors without gaps by name."""
    q, k, v, a, b, beta, decay = given
    batch, length, heads, features = q.shape
    wide_k, wide_v = wide(features), wide(v.shape[3])
    own = {key: dense.pop(key, None) for key in ("corrections", "checkpoints", "da", "db", "dbeta")}
    # Copies that are made here live until the kernel is done.
    reads = [side_by_side(x) for x in (a, b, beta)]
    attention, copies = fill((q, k, v, decay, dout), {"scale": scale}, **dense)
    delta = _Delta(attention, a is not None, *(rows(x) for x in reads))
    for key, x in own.items():
        setattr(delta, key, None if x is None else x.data_ptr())
    run(
        name,
        delta,
        units=batch * heads,
        scratch=STEPS * (10 * wide_k + 5 * wide_v + TILE + 1) + states * wide_k * wide_v,
        operations=2 * products * batch * length * heads * features * v.shape[3],
    )
    del copies
