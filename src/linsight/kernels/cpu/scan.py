"""The compiled selective scan as an operator of torch: declared, differentiable, the same on any threads."""

import ctypes
from typing import Any

import torch
from torch import Tensor

from linsight.kernels.cpu.library import run
from linsight.kernels.cpu.operators import differentiable, operator

__all__ = ["selective_scan"]

LANES = 16
"""Channels that go together."""
INTERVAL = 32
"""The states before every so many tokens are kept for the backward."""
PACKED = 6
"""Rows of an interval that a thread has at hand: `Interval` of selective_scan.h."""
TOGETHER = 4
"""States that pass an interval of the backward together, at most."""
GROUPS = 8
"""Parts into which the channels of a row are split in the backward, whatever the threads."""


class _Scan(ctypes.Structure):
    """`Scan` of selective_scan.h, field by field."""

    _fields_ = [
        *((name, ctypes.c_int64) for name in ("batch", "length", "channels", "states", "interval", "groups")),
        *((name, ctypes.c_void_p) for name in ("u", "delta", "A", "B", "C", "D", "state")),
        *(
            (f"{name}_{axis}", ctypes.c_int64)
            for name in ("u", "delta", "B", "C")
            for axis in ("row", "token")
        ),
        *((name, ctypes.c_void_p) for name in ("y", "final_state", "checkpoints", "dy", "dfinal")),
        *((name, ctypes.c_int64) for name in ("dy_row", "dy_token")),
        *((name, ctypes.c_void_p) for name in ("du", "ddelta", "dA", "dD", "dB", "dC", "dstate")),
    ]


def selective_scan(
    u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor | None, state: Tensor
) -> tuple[Tensor, Tensor]:
    """y and the final state of `linsight.ops.selective_scan`, in float32 on the CPU.

    Args:
        u, delta: `(batch, length, channels)`, float32, length at least 1; any strides.
        A: `(channels, states)`.
        B, C: `(batch, length, states)`.
        D: `(channels,)` or None.
        state: h_0 `(batch, channels, states)`.

    Cost: O(length channels states) time. Beside y, one state in every 32 tokens is kept for the backward, and
    none where no gradient is asked for.
    """
    leaves = (u, delta, A, B, C, D, state)
    keep = torch.is_grad_enabled() and any(x is not None and x.requires_grad for x in leaves)
    y, final, _ = _forward(u, delta, A, B, C, D, state, keep)
    return y, final


def _outputs(u, delta, A, B, C, D, state, keep):
    intervals = -(-u.shape[1] // INTERVAL) if keep else 0
    return (
        u.new_empty(u.shape),
        state.new_empty(state.shape),
        u.new_empty(len(u), _blocks(u), intervals, A.shape[1], LANES),
    )


@operator("selective_scan", fake=_outputs)
def _forward(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    state: Tensor,
    keep: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    y, final, kept = _outputs(u, delta, A, B, C, D, state, keep)
    given = _given(u, delta, A, B, C, D)
    state = state.contiguous()
    scan = _scan(given, y=y, final_state=final, state=state)
    if keep:
        scan.checkpoints = kept.data_ptr()
    run(
        "scan_forward",
        scan,
        units=len(u) * _blocks(u),
        scratch=LANES * (PACKED * INTERVAL + 2 * _blocks(u) * A.shape[1]),
        operations=8 * u.numel() * A.shape[1],
    )
    return y, final, kept


def _gradient_outputs(dy, dfinal, u, delta, A, B, C, D, kept):
    state = (u.shape[0], u.shape[2], A.shape[1])
    shapes = (u.shape, u.shape, A.shape, B.shape, C.shape, (u.shape[2],), state)
    return tuple(u.new_empty(shape) for shape in shapes)


@operator("selective_scan_backward", fake=_gradient_outputs)
def _backward(
    dy: Tensor | None,
    dfinal: Tensor | None,
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    kept: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    batch, length, channels = u.shape
    states = A.shape[1]
    du, ddelta, dstate = (u.new_empty(shape) for shape in (u.shape, u.shape, (batch, channels, states)))
    dA, dD = u.new_empty(batch, states, channels), u.new_empty(batch, channels)
    groups = max(1, min(GROUPS, _blocks(u)))
    dB, dC = u.new_empty(2, groups, batch, length, states)
    given = _given(u, delta, A, B, C, D)
    dy = _rows(torch.zeros_like(u) if dy is None else dy)
    dfinal = None if dfinal is None else dfinal.contiguous()
    outputs = {"du": du, "ddelta": ddelta, "dA": dA, "dD": dD, "dB": dB, "dC": dC, "dstate": dstate}
    scan = _scan(given, checkpoints=kept, dy=dy, dfinal=dfinal, **outputs)
    scan.groups = groups
    scan.dy_row, scan.dy_token = dy.stride()[:2]
    members = -(-_blocks(u) // groups)
    run(
        "scan_backward",
        scan,
        units=batch * groups,
        scratch=LANES
        * (INTERVAL * (PACKED + 2 * TOGETHER + 2 * states) + TOGETHER + members * (3 * states + 1)),
        operations=24 * u.numel() * states,
    )
    return du, ddelta, dA.sum(0).mT.contiguous(), dB.sum(0), dC.sum(0), dD.sum(0), dstate


def _save(ctx: Any, inputs: tuple, output: tuple) -> None:
    u, delta, A, B, C, D, _, _ = inputs
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(u, delta, A, B, C, D, output[2])


def _gradients(ctx: Any, dy: Tensor | None, dfinal: Tensor | None, _: Tensor | None) -> tuple:
    u, delta, A, B, C, D, kept = ctx.saved_tensors
    du, ddelta, dA, dB, dC, dD, dstate = _backward(dy, dfinal, u, delta, A, B, C, D, kept)
    return du, ddelta, dA, dB, dC, None if D is None else dD, dstate, None


differentiable(_forward, save=_save, gradients=_gradients)


def _blocks(u: Tensor):
    """A symbol where torch traces with sizes unknown."""
    return -(-u.shape[2] // LANES)


def _rows(x: Tensor) -> Tensor:
    """Numbers of a token lie side by side; rows and tokens may stand anywhere."""
    return x if x.stride(-1) == 1 else x.contiguous()


def _given(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor | None) -> dict[str, Tensor]:
    rows = {name: _rows(x) for name, x in (("u", u), ("delta", delta), ("B", B), ("C", C))}
    rest = {"A": A.mT.contiguous()} | ({} if D is None else {"D": D.contiguous()})
    return rows | rest


def _scan(given: dict[str, Tensor], **others: Tensor | None) -> _Scan:
    """The structure of these tensors; the caller keeps them alive."""
    batch, length, channels = given["u"].shape
    scan = _Scan(batch, length, channels, given["A"].shape[0], INTERVAL, 1)
    for name in ("u", "delta", "B", "C"):
        row, token, _ = given[name].stride()
        setattr(scan, f"{name}_row", row)
        setattr(scan, f"{name}_token", token)
    for name, tensor in {**given, **others}.items():
        if tensor is not None:
            setattr(scan, name, tensor.data_ptr())
    return scan
