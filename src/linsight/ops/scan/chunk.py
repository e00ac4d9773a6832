"""The selective scan in blocks of tokens that stay in cache, with a backward that computes them again."""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from linsight.ops.linear import without_autocast

__all__ = ["chunk"]

CACHE = 2**20
"""Bytes of the states of a block: as many rows of the batch as fit go together."""

VANISHING = {torch.float32: -69.0, torch.float64: -690.0}
"""Exponents from here down count as -inf. Their decays, at most 1.1e-30 and 2e-300, leave of a state what the
next write hides, or denormal numbers: with exponents of -99 a scan took 25 times as long, and now 2.5."""


def chunk(
    u: Float[Tensor, "B T D"],
    delta: Float[Tensor, "B T D"],
    A: Float[Tensor, "D N"],
    B: Float[Tensor, "B T N"],
    C: Float[Tensor, "B T N"],
    state: Float[Tensor, "B D N"],
    size: int,
) -> tuple[Float[Tensor, "B T D"], Float[Tensor, "B D N"]]:
    """All decays of a block of `size` tokens by one operation, its states by one each, its reads by one.

    Every block is written to the same few buffers, which stay in cache; fresh arrays would cost page faults
    above all. Inside, time is the first axis and channels are the last, so that what is common to all
    channels meets what is common to all states along long rows. For the backward the state before each block
    is kept, one of `size`.

    At T=1024, D=1024, N=16 the forward takes 27 to 30 ms with 8 to 64 tokens a block alike, where a log-depth
    scan over all tokens takes 288 (mambapy 1.2.0); at T=512 with the backward 69 and 443. Few channels want
    long blocks, since a token's operation then costs its dispatch: at D=64, T=512 with the backward 16 ms in
    blocks of 16 and 12 in blocks of 32. One AVX-512 core, torch 2.13.
    """
    size = min(size, u.shape[1])
    rows = max(1, CACHE // max(size * A.numel() * A.itemsize, 1))
    record, A = torch.is_grad_enabled(), A.mT.contiguous()
    outputs, finals = [], []
    for *tokens, before in zip(*(x.split(rows) for x in (u, delta, B, C, state)), strict=True):
        first = (x.transpose(0, 1) for x in tokens)
        y, final = _Chunks.apply(*first, before.mT.contiguous(), A, size, record)
        outputs.append(y.transpose(0, 1))
        finals.append(final.mT.contiguous())
    return (outputs[0], finals[0]) if len(outputs) == 1 else (torch.cat(outputs), torch.cat(finals))


class _Chunks(torch.autograd.Function):
    @staticmethod
    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any,
        u: Float[Tensor, "T R D"],
        delta: Float[Tensor, "T R D"],
        B: Float[Tensor, "T R N"],
        C: Float[Tensor, "T R N"],
        state: Float[Tensor, "R N D"],
        A: Float[Tensor, "N D"],
        size: int,
        record: bool,
    ) -> tuple[Tensor, Tensor]:
        ctx.set_materialize_grads(False)
        ctx.size = size
        y = u.new_empty(u.shape)
        decays, states = state.new_empty(size, *state.shape), state.new_empty(size + 1, *state.shape)
        states[0] = state
        kept = []
        for span in _spans(u, size):
            if record and any(ctx.needs_input_grad):
                kept.append(states[0].clone())
            step, write = delta[span].unsqueeze(-2), (delta[span] * u[span]).unsqueeze(-2)
            _, after = _advance(step, write, A, B[span].unsqueeze(-1), decays, states)
            y[span] = (C[span].unsqueeze(-2) @ after).squeeze(-2)
            states[0] = after[-1]
        ctx.save_for_backward(u, delta, B, C, A, *kept)
        return y, states[0].clone()

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, dy: Tensor | None, dfinal: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        u, delta, B, C, A, *kept = ctx.saved_tensors
        size, shape = ctx.size, kept[0].shape
        dy = torch.zeros_like(u) if dy is None else dy
        dstate = kept[0].new_zeros(shape) if dfinal is None else dfinal.clone()
        du, ddelta, dB, dC = (x.new_empty(x.shape) for x in (u, delta, B, C))
        dA = torch.zeros_like(A)
        decays, adjoints, states = (A.new_empty(n, *shape) for n in (size, size, size + 1))
        with without_autocast(u.device):
            for span, start in zip(reversed(_spans(u, size)), reversed(kept), strict=True):
                states[0] = start
                step, dout = delta[span].unsqueeze(-2), dy[span].unsqueeze(-2)
                write, key, read = step * u[span].unsqueeze(-2), B[span].unsqueeze(-1), C[span].unsqueeze(-1)
                decay, after = _advance(step, write, A, key, decays, states)
                adjoint = _adjoint(decay, read, dout, dstate, adjoints)
                dwrite = key.mT @ adjoint
                dB[span] = (adjoint @ write.mT).squeeze(-1)
                dC[span] = (after @ dout.mT).squeeze(-1)
                decayed = adjoint.mul_(decay)
                dstate = decayed[0].clone()
                # The decay's exponent is step * A.
                dexponent = decayed.mul_(states[: len(step)])
                dA += torch.mul(dexponent, step, out=decay).sum((0, 1))
                dstep = dexponent.mul_(A).sum(-2, keepdim=True)
                ddelta[span] = dstep.addcmul_(dwrite, u[span].unsqueeze(-2)).squeeze(-2)
                du[span] = (dwrite * step).squeeze(-2)
        return du, ddelta, dB, dC, dstate, dA, None, None


def _spans(x: Float[Tensor, "T ..."], size: int) -> list[slice]:
    return [slice(start, start + size) for start in range(0, len(x), size)]


def _advance(
    step: Float[Tensor, "C R 1 D"],
    write: Float[Tensor, "C R 1 D"],
    A: Float[Tensor, "N D"],
    key: Float[Tensor, "C R N 1"],
    decays: Float[Tensor, "S R N D"],
    states: Float[Tensor, "S+1 R N D"],
) -> tuple[Float[Tensor, "C R N D"], Float[Tensor, "C R N D"]]:
    """Decays and states of a block's tokens in these buffers; states[0] is the state before them."""
    exponent = torch.mul(step, A, out=decays[: len(step)])
    decay = F.threshold(exponent, VANISHING[A.dtype], float("-inf"), inplace=True).exp_()
    after = torch.mul(write, key, out=states[1 : len(step) + 1])
    h = states[0]
    for keep, new in zip(decay.unbind(0), after.unbind(0), strict=True):
        h = new.addcmul_(keep, h)
    return decay, after


def _adjoint(
    decay: Float[Tensor, "C R N D"],
    read: Float[Tensor, "C R N 1"],
    dout: Float[Tensor, "C R 1 D"],
    dstate: Float[Tensor, "R N D"],
    adjoints: Float[Tensor, "S R N D"],
) -> Float[Tensor, "C R N D"]:
    """The gradient at each token's state, of its read and of all later ones: the same scan from the end."""
    adjoint = torch.mul(read, dout, out=adjoints[: len(decay)])
    h = adjoint[-1].add_(dstate)
    for keep, new in zip(decay.unbind(0)[:0:-1], adjoint.unbind(0)[-2::-1], strict=True):
        h = new.addcmul_(keep, h)
    return adjoint
