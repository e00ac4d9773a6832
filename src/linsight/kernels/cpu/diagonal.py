"""The compiled diagonal state space as an operator of torch: declared and differentiable."""

import ctypes
from typing import Any

import torch
from torch import Tensor

from linsight.kernels.cpu.library import run
from linsight.kernels.cpu.operators import differentiable, operator

__all__ = ["diagonal_space", "fill", "rounded"]

LANES = 16
"""Channels that go together."""
INTERVAL = 32
"""The states before every so many tokens are kept for the backward."""
SLIP = 8
"""Tokens after which a state is put right by what so many rounded decays did to it."""
FLOOR = -1e30
"""The least logarithm of a magnitude."""


class _Diagonal(ctypes.Structure):
    """`Diagonal` of diagonal_space.h, field by field."""

    _fields_ = [
        *((name, ctypes.c_int64) for name in ("batch", "length", "channels", "states")),
        ("x", ctypes.c_void_p),
        *((name, ctypes.c_int64) for name in ("x_row", "x_token")),
        *((name, ctypes.c_void_p) for name in ("parameters", "state", "lengths")),
        *((name, ctypes.c_void_p) for name in ("y", "final_state", "checkpoints", "dy")),
        *((name, ctypes.c_int64) for name in ("dy_row", "dy_token")),
        *((name, ctypes.c_void_p) for name in ("dfinal", "dx", "dstate", "ddecay", "dread")),
    ]


def diagonal_space(
    x: Tensor, log_decay: Tensor, read: Tensor, state: Tensor, lengths: Tensor | None
) -> tuple[Tensor, Tensor]:
    """y and the final state of `linsight.ops.diagonal_space`, in float32 on the CPU.

    Args:
        x: `(batch, length, channels)`, float32, length at least 1; any strides.
        log_decay, read: `(channels, states)`, complex.
        state: h_0 `(batch, channels, states)`, complex64.
        lengths: Tokens of each row, integers `(batch,)`, or None; y is 0 after them, and x is not read.

    Cost: O(length channels states) time, six products an element and token and nineteen more backward. Beside
    y, one state in every 32 tokens is kept where a gradient is asked for.
    """
    keep = torch.is_grad_enabled() and any(leaf.requires_grad for leaf in (x, log_decay, read, state))
    y, final, _ = _forward(x, log_decay, read, state, lengths, keep)
    return y, final


def _outputs(x, log_decay, read, state, lengths, keep):
    intervals = -(-x.shape[1] // INTERVAL) if keep else 0
    return (
        x.new_empty(x.shape),
        state.new_empty(state.shape),
        x.new_empty(len(x), _blocks(x), intervals, log_decay.shape[1], 2 * LANES),
    )


@operator("diagonal_space", fake=_outputs)
def _forward(
    x: Tensor, log_decay: Tensor, read: Tensor, state: Tensor, lengths: Tensor | None, keep: bool
) -> tuple[Tensor, Tensor, Tensor]:
    y, final, kept = _outputs(x, log_decay, read, state, lengths, keep)
    outputs = {"y": y, "final_state": final, "checkpoints": kept if keep else None}
    _run("diagonal_forward", x, log_decay, read, lengths, products=6, state=state, **outputs)
    return y, final, kept


def _gradient_outputs(dy, dfinal, x, log_decay, read, lengths, kept):
    state = (len(x), *log_decay.shape)
    return (
        x.new_empty(x.shape),
        log_decay.new_empty(log_decay.shape),
        read.new_empty(read.shape),
        x.new_empty(state, dtype=torch.complex64),
    )


@operator("diagonal_space_backward", fake=_gradient_outputs)
def _backward(
    dy: Tensor | None,
    dfinal: Tensor | None,
    x: Tensor,
    log_decay: Tensor,
    read: Tensor,
    lengths: Tensor | None,
    kept: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    batch, _, channels = x.shape
    states = log_decay.shape[1]
    dx, dstate = x.new_empty(x.shape), x.new_empty(batch, channels, states, dtype=torch.complex64)
    ddecay, dread = (x.new_empty(batch, states, 2, channels) for _ in range(2))
    outputs = {"dx": dx, "dstate": dstate, "ddecay": ddecay, "dread": dread}
    dy = torch.zeros_like(x) if dy is None else dy
    given = {"checkpoints": kept, "dy": dy, "dfinal": dfinal}
    _run("diagonal_backward", x, log_decay, read, lengths, products=25, **given, **outputs)
    return dx, _summed(ddecay, log_decay.dtype), _summed(dread, read.dtype), dstate


def _summed(parts: Tensor, dtype: torch.dtype) -> Tensor:
    """The sum over rows, as complex numbers `(channels, states)`."""
    return torch.complex(*parts.sum(0).unbind(1)).mT.contiguous().to(dtype)


def _save(ctx: Any, inputs: tuple, output: tuple) -> None:
    x, log_decay, read, _, lengths, _ = inputs
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(x, log_decay, read, lengths, output[2])


def _gradients(ctx: Any, dy: Tensor | None, dfinal: Tensor | None, _: Tensor | None) -> tuple:
    return *_backward(dy, dfinal, *ctx.saved_tensors), None, None


differentiable(_forward, save=_save, gradients=_gradients)


def _blocks(x: Tensor):
    """A symbol where torch traces with sizes unknown."""
    return -(-x.shape[2] // LANES)


def _powers(log_decay: Tensor, exponent: int) -> Tensor:
    magnitude = (exponent * log_decay.real.clamp(min=FLOOR)).exp()
    return torch.polar(magnitude, exponent * log_decay.imag)


def rounded(log_decay: Tensor) -> tuple[Tensor, Tensor]:
    """The decay in complex64, and the factor less 1 that puts back what SLIP of its roundings take."""
    log_decay = log_decay.to(torch.complex128)
    decay = _powers(log_decay, 1).to(torch.complex64)
    power = decay.to(torch.complex128)
    for _ in range(SLIP.bit_length() - 1):
        power = power.square()
    # Of a state that forgets at once there is nothing to put right.
    slip = torch.where(power.abs() > 1e-200, _powers(log_decay, SLIP) / power - 1, 0)
    return decay, slip.to(torch.complex64)


def _parameters(log_decay: Tensor, read: Tensor) -> Tensor:
    """Parts of the rounded decay, of what reads, and of the factor, `(6, states, channels)`."""
    decay, slip = rounded(log_decay)
    parts = [part for z in (decay, read.to(torch.complex64), slip) for part in (z.real, z.imag)]
    return torch.stack(parts).mT.contiguous()


def _run(
    name: str,
    x: Tensor,
    log_decay: Tensor,
    read: Tensor,
    lengths: Tensor | None,
    *,
    products: int,
    **others: Tensor | None,
) -> None:
    """Call a kernel on these and on tensors by name, of which dy alone may have gaps."""
    batch, length, channels = x.shape
    states = log_decay.shape[1]
    others |= {"x": x, "parameters": _parameters(log_decay, read)}
    others["lengths"] = None if lengths is None else lengths.to(torch.int64)
    diagonal, copies = fill(_Diagonal(batch, length, channels, states), others)
    run(
        name,
        diagonal,
        units=batch * _blocks(x),
        scratch=LANES * (14 * states + 3 * INTERVAL) + 4 * INTERVAL * LANES,
        operations=2 * products * x.numel() * states,
    )
    del copies


def fill(structure: ctypes.Structure, tensors: dict[str, Tensor | None]) -> tuple[Any, list[Tensor]]:
    """The structure with the addresses of the tensors, and of those with rows of tokens their strides.

    Its pointers are to the tensors in the list, which the caller keeps alive.
    """
    copies = []
    for key, tensor in tensors.items():
        if tensor is None:
            continue
        token = hasattr(structure, f"{key}_token")
        copies.append((tensor if token and tensor.stride(-1) == 1 else tensor.contiguous()).resolve_conj())
        setattr(structure, key, copies[-1].data_ptr())
        if token:
            floats = 2 if tensor.is_complex() else 1
            setattr(structure, f"{key}_row", floats * copies[-1].stride(0))
            setattr(structure, f"{key}_token", floats * copies[-1].stride(1))
    return structure, copies
