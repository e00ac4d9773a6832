"""Compiled linear attention as an operator of torch: declared, differentiable, the same on any threads."""

import ctypes
from typing import Any

import torch
from torch import Tensor

from linsight.kernels.cpu.library import run
from linsight.kernels.cpu.operators import differentiable, operator

__all__ = ["STEPS", "Attention", "Rows", "fill", "linear_attention", "rows", "side_by_side", "wide"]

LANES = 16
"""Widths are padded to a multiple of it."""
STEPS = 32
"""Tokens that a kernel takes at a time."""
CACHED = 131_072
"""Floats in the states of heads that take turns: half a megabyte, a fraction of a core's second cache."""


class Rows(ctypes.Structure):
    """`Rows` of linear_attention.h, field by field."""

    _fields_ = [
        ("data", ctypes.c_void_p),
        *((name, ctypes.c_int64) for name in ("row", "token", "head", "half")),
    ]


class Attention(ctypes.Structure):
    """`Attention` of linear_attention.h, field by field."""

    _fields_ = [
        *((name, ctypes.c_int64) for name in ("batch", "length", "heads", "keys", "values")),
        *((name, ctypes.c_int64) for name in ("before", "normalise", "by_feature", "together", "elu1")),
        ("scale", ctypes.c_double),
        *((name, Rows) for name in ("q", "k", "v", "decay", "dout")),
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
    elu1: bool = False,
) -> tuple[Tensor, Tensor]:
    """o and the final state of `linsight.ops.linear_attention`, computed in float32 on the CPU.

    Args:
        q, k: `(B, T, H, K)`, T at least 1; any strides. They and v are float32, or bfloat16 without a bonus.
        v: `(B, T, H, V)`; o has its dtype.
        log_decay: `(H,)`, `(B, T, H)`, `(B, T, H, K)` or None.
        bonus: `(H, K)` or None.
        state: S_0 `(B, H, K, W)`, W = V, or V + 1 with `normalise`; None for zeros.
        scale, normalise: As there.
        exclusive: Read before the update.
        elu1: Of q and k, without a bonus, elu(.) + 1 is taken, and its gradient.

    Cost a head: O(T K V) time, two products an element of the state and token forward and six more backward;
    three and nine with decay. Beside o nothing is kept for the backward but the denominators. The gradient of
    a decay takes O(T K V / 32) memory for the call.
    """
    o, final, _ = _forward(q, k, v, log_decay, bonus, state, scale, exclusive, normalise, elu1)
    return o, final


def _outputs(q, k, v, log_decay, bonus, state, scale, exclusive, normalise, elu1):
    batch, length, heads, features = q.shape
    return (
        v.new_empty(v.shape),
        v.new_empty(batch, heads, features, v.shape[3] + normalise, dtype=torch.float32),
        v.new_empty(batch, length if normalise else 0, heads, dtype=torch.float32),
    )


@operator("linear_attention", fake=_outputs)
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
    elu1: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    given, options = (q, k, v, log_decay, bonus, state), (scale, exclusive, normalise, elu1)
    o, final, denominators = _outputs(*given, *options)
    wide_k, wide_v = wide(q.shape[3]), wide(final.shape[3])
    together = _together(q, wide_v)
    _run(
        "attention_forward",
        given,
        options,
        together=together,
        scratch=STEPS * (3 * wide_k + 2 * wide_v) + together * wide_k * wide_v,
        products=2,
        **{"o": o, "final_state": final, "denominators": denominators},
    )
    return o, final, denominators


def _gradient_outputs(
    do, dfinal, o, denominators, q, k, v, log_decay, bonus, state, scale, exclusive, normalise, elu1, of_decay
):
    """Of what is not there, and of a decay that does not ask, nothing."""
    inputs = q, k, v, log_decay if of_decay else None, bonus, state
    return tuple(denominators.new_empty(0) if x is None else x.new_empty(x.shape) for x in inputs)


@operator("linear_attention_backward", fake=_gradient_outputs)
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
    elu1: bool,
    of_decay: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    batch, length, heads, features = q.shape
    dq, dk, dv = (x.new_empty(x.shape) for x in (q, k, v))
    width = v.shape[3] + normalise
    exact = denominators.new_empty
    dstate = exact(batch, heads, features, width) if state is not None else None
    dbonus = exact(batch, heads, features) if bonus is not None else None
    by_feature = log_decay is not None and log_decay.ndim == 4
    ddecay = exact(batch, length, heads, features if by_feature else 1) if of_decay else None
    wide_k, wide_v, steps = wide(features), wide(width), length + exclusive
    chunks = -(-steps // STEPS)
    together = 1 if of_decay else _together(q, wide_v)
    kept = steps * wide_k + chunks * wide_k * wide_v if of_decay else STEPS * wide_k
    _run(
        "attention_backward",
        (q, k, v, log_decay, bonus, state),
        (scale, exclusive, normalise, elu1),
        together=together,
        scratch=STEPS * (4 * wide_k + 3 * wide_v) + wide_k + together * (3 * wide_v + 1) * wide_k + kept,
        products=6,
        dout=torch.zeros_like(v) if do is None else do,
        **{"o": o, "denominators": denominators, "dfinal": dfinal},
        **{"dq": dq, "dk": dk, "dv": dv, "dstate": dstate, "dbonus": dbonus, "ddecay": ddecay},
    )
    if ddecay is not None and not by_feature:
        ddecay = ddecay.squeeze(-1)
        ddecay = ddecay.sum((0, 1)) if log_decay is not None and log_decay.ndim == 1 else ddecay
    dbonus = None if dbonus is None else dbonus.sum(0)
    ddecay, dbonus, dstate = (exact(0) if x is None else x for x in (ddecay, dbonus, dstate))
    return dq, dk, dv, ddecay, dbonus, dstate


def _save(ctx: Any, inputs: tuple, output: tuple) -> None:
    *tensors, scale, exclusive, normalise, elu1 = inputs
    o, _, denominators = output
    ctx.set_materialize_grads(False)
    ctx.options = (scale, exclusive, normalise, elu1, tensors[3] is not None and ctx.needs_input_grad[3])
    ctx.save_for_backward(o, denominators, *tensors)


def _gradients(ctx: Any, do: Tensor | None, dfinal: Tensor | None, _: Tensor | None) -> tuple:
    found = _backward(do, dfinal, *ctx.saved_tensors, *ctx.options)
    wanted = zip(found, ctx.needs_input_grad[:6], strict=True)
    return *(x if needed else None for x, needed in wanted), None, None, None, None


differentiable(_forward, save=_save, gradients=_gradients)


def wide(count):
    """Floats that so many numbers take with the padding; a symbol where torch traces with sizes unknown."""
    return -(-count // LANES) * LANES


def _together(q: Tensor, wide_v: int) -> int:
    """Heads whose states stay in a core's second cache while they take turns."""
    state = wide(q.shape[3]) * wide_v
    return max(1, min(q.shape[2], CACHED // max(1, state)))


def _run(
    name: str,
    given: tuple[Tensor, Tensor, Tensor, Tensor | None, Tensor | None, Tensor | None],
    options: tuple[float, bool, bool, bool],
    *,
    together: int,
    scratch: int,
    products: int,
    dout: Tensor | None = None,
    **dense: Tensor | None,
) -> None:
    """Call a kernel on q, k, v, the decay, the bonus and the state, and on tensors without gaps by name."""
    q, k, v, decay, bonus, state = given
    scale, exclusive, normalise, elu1 = options
    batch, length, heads, features = q.shape
    values = v.shape[3] + normalise
    dense |= {"bonus": bonus, "state": state}
    words = {"scale": scale, "before": exclusive, "normalise": normalise, "elu1": elu1, "together": together}
    attention, copies = fill((q, k, v, decay, dout), words, **dense)
    run(
        name,
        attention,
        units=batch * heads,
        scratch=scratch,
        operations=2 * products * batch * length * heads * features * values,
    )
    del copies


def fill(
    given: tuple[Tensor, Tensor, Tensor, Tensor | None, Tensor | None],
    words: dict[str, float],
    **dense: Tensor | None,
) -> tuple[Attention, list[Tensor | None]]:
    """The structure of q, k, v, the decay and dout, of numbers by name, and of tensors without gaps by name.

    Its pointers are to the tensors in the list, which the caller keeps alive.
    """
    q, _, v, decay, _ = given
    strided = [side_by_side(x) for x in given]
    filled = {key: x.contiguous() for key, x in dense.items() if x is not None}
    attention = Attention(
        *q.shape,
        v.shape[3],
        by_feature=decay is not None and decay.ndim == 4,
        **words,
        **{name: rows(x) for name, x in zip(("q", "k", "v", "decay", "dout"), strided, strict=True)},
        **{key: x.data_ptr() for key, x in filled.items()},
    )
    return attention, [*strided, *filled.values()]


def side_by_side(x: Tensor | None) -> Tensor | None:
    """x, or a copy whose numbers of a token and head lie side by side."""
    return x.contiguous() if x is not None and x.ndim == 4 and x.stride(3) != 1 else x


def rows(x: Tensor | None) -> Rows:
    """Numbers of a token and head lie side by side; rows, tokens and heads may stand anywhere.

    A tensor is `(batch, length, heads, ...)`, or `(heads,)`, the same at all tokens.
    """
    if x is None:
        return Rows()
    strides = (0, 0, *x.stride()) if x.ndim == 1 else x.stride()[:3]
    return Rows(x.data_ptr(), *strides, half=x.dtype == torch.bfloat16)
