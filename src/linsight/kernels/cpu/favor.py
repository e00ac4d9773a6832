"""Compiled FAVOR+ as an operator of torch: declared, differentiable, the same on any threads."""

import ctypes
from typing import Any

import torch
from torch import Tensor

from linsight.kernels.cpu.attention import STEPS, Attention, Rows, fill, rows, wide
from linsight.kernels.cpu.library import run
from linsight.kernels.cpu.operators import differentiable, operator

__all__ = ["favor_attention"]

OWN = ("peak", "dfinal_peak", "peaks", "final_peak", "dweights", "dpeak")
"""Tensors that an attention without features has not."""


class _Favor(ctypes.Structure):
    """`Favor` of favor.h, field by field."""

    _fields_ = [
        ("attention", Attention),
        ("weights", Rows),
        *((name, ctypes.c_void_p) for name in OWN),
    ]


def favor_attention(
    q: Tensor, k: Tensor, v: Tensor, log_weights: Tensor, state: Tensor, peak: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """o, the final state and its peak of `linsight.ops.favor_attention`, in float32 on the CPU.

    Args:
        q, k: `(B, T, H, M)`, float32, T at least 1; any strides.
        v: `(B, T, H, V)`.
        log_weights: `(B, T, H)`.
        state: `(B, H, M, V + 1)`.
        peak: `(B, H)`, finite.

    Cost a head: O(T M V) time, two products an element of the state and token forward and six more backward,
    and 2 M exponentials a token forward and 4 M backward. Beside the inputs and o two numbers a token are
    kept for the backward.
    """
    o, final, final_peak, *_ = _forward(q, k, v, log_weights, state, peak)
    return o, final, final_peak


def _outputs(q, k, v, log_weights, state, peak):
    by_token = v.shape[:3]
    shapes = (v.shape, state.shape, peak.shape, by_token, by_token)
    return tuple(v.new_empty(shape) for shape in shapes)


@operator("favor_attention", fake=_outputs)
def _forward(
    q: Tensor, k: Tensor, v: Tensor, log_weights: Tensor, state: Tensor, peak: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    given = (q, k, v, log_weights, state, peak)
    found = _outputs(*given)
    names = ("o", "final_state", "final_peak", "denominators", "peaks")
    _run("favor_forward", given, products=2, **dict(zip(names, found, strict=True)))
    return found


def _gradient_outputs(do, dfinal, dfinal_peak, o, denominators, peaks, q, k, v, log_weights, state, peak):
    """Features of a head lie together, as the products that made them read their gradients."""
    batch, length, heads, features = q.shape
    dq, dk = (v.new_empty(batch, heads, length, features).transpose(1, 2) for _ in range(2))
    return dq, dk, *(v.new_empty(x.shape) for x in (v, log_weights, state, peak))


@operator("favor_attention_backward", fake=_gradient_outputs)
def _backward(
    do: Tensor | None,
    dfinal: Tensor | None,
    dfinal_peak: Tensor | None,
    o: Tensor,
    denominators: Tensor,
    peaks: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    log_weights: Tensor,
    state: Tensor,
    peak: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    given = (q, k, v, log_weights, state, peak)
    found = _gradient_outputs(do, dfinal, dfinal_peak, o, denominators, peaks, *given)
    names = ("dq", "dk", "dv", "dweights", "dstate", "dpeak")
    outputs = {
        name: x.transpose(1, 2) if name in ("dq", "dk") else x for name, x in zip(names, found, strict=True)
    }
    kept = {"o": o, "denominators": denominators, "peaks": peaks}
    dout = torch.zeros_like(v) if do is None else do
    gradients = {"dfinal": dfinal, "dfinal_peak": dfinal_peak}
    _run("favor_backward", given, products=6, dout=dout, **gradients, **kept, **outputs)
    return found


def _save(ctx: Any, inputs: tuple, output: tuple) -> None:
    o, _, _, denominators, peaks = output
    ctx.set_materialize_grads(False)
    ctx.mark_non_differentiable(denominators, peaks)
    ctx.save_for_backward(o, denominators, peaks, *inputs)


def _gradients(
    ctx: Any, do: Tensor | None, dfinal: Tensor | None, dfinal_peak: Tensor | None, *_: Tensor | None
) -> tuple:
    found = _backward(do, dfinal, dfinal_peak, *ctx.saved_tensors)
    return tuple(x if needed else None for x, needed in zip(found, ctx.needs_input_grad, strict=True))


differentiable(_forward, save=_save, gradients=_gradients)


def _run(
    name: str,
    given: tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor],
    *,
    products: int,
    dout: Tensor | None = None,
    **dense: Tensor | None,
) -> None:
    """Call a kernel on the inputs, and on tensors without gaps by name."""
    q, k, v, log_weights, state, peak = given
    batch, length, heads, features = q.shape
    wide_k, wide_v = wide(features), wide(v.shape[3])
    dense |= {"state": state, "peak": peak}
    own = {key: x.contiguous() for key in OWN if (x := dense.pop(key, None)) is not None}
    # Copies that are made here live until the kernel is done.
    attention, copies = fill((q, k, v, None, dout), {}, **dense)
    favor = _Favor(attention, rows(log_weights), **{key: x.data_ptr() for key, x in own.items()})
    run(
        name,
        favor,
        units=batch * heads,
        scratch=STEPS * (3 * wide_k + 3 * wide_v + 3) + 2 * wide_k + 3 * wide_k * wide_v,
        operations=2 * products * batch * length * heads * features * v.shape[3],
    )
    del copies
