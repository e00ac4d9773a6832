"""Linear attention without decay in blocks, with its backward written out: the path that training takes."""

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from linsight.ops.linear.precision import accumulator_dtype, without_autocast

__all__ = ["FLOOR", "undecayed"]

FLOOR = 1e-6
"""The least denominator of a normalised output, so that an all-zero query gives 0 and not NaN."""


def undecayed(
    q: Float[Tensor, "B T H K"],
    k: Float[Tensor, "B T H K"],
    v: Float[Tensor, "B T H V"],
    state: Float[Tensor, "B H K W"] | None,
    chunk_size: int | None,
    *,
    exclusive: bool,
    normalise: bool,
) -> tuple[Float[Tensor, "B T H V"], Float[Tensor, "B H K W"]]:
    """Blocks of `chunk_size` tokens (None: one block): the masked product inside, the state between.

    The bonus is left out. q, k, v have one dtype, in which products are taken; the state and every sum over
    blocks are kept in the accumulators' dtype. With `normalise` the state has W = V + 1 columns, the last
    one the sum of k.

    The backward is written out, and keeps the masked similarities (T chunk_size numbers a head; computing
    them again costs 8 ms in float32 and 1 in bfloat16 below). Measured at B=64, T=98, H=4, K=V=32 with the
    normaliser, forward and backward, one AVX-512 core; values in [0, 1] for the error:

    | | float32, ms | bfloat16, ms | bfloat16, error of q's gradient |
    |---|---|---|---|
    | one block | 38 | 19 | 0.027 |
    | blocks of 25 | 28 | 24 | 0.028 |
    | autograd, a column of ones in v, a division | 42 | 20 | 0.19 |
    """
    record = torch.is_grad_enabled()
    return _Undecayed.apply(q, k, v, state, chunk_size, exclusive, normalise, record)


class _Sums(NamedTuple):
    """What one block hands to the next: the sum of k v^T, and of k where it is wanted; None for zeros."""

    memory: Float[Tensor, "BH K V"] | None
    total: Float[Tensor, "BH K 1"] | None


class _Block(NamedTuple):
    """What the backward needs of one block, heads first: its tokens, its results, and the sums before it."""

    q: Float[Tensor, "BH C K"]
    k: Float[Tensor, "BH C K"]
    v: Float[Tensor, "BH C V"]
    scores: Float[Tensor, "BH C C"]
    num: Float[Tensor, "BH C V"]
    den: Float[Tensor, "BH C 1"] | None
    memory: Float[Tensor, "BH K V"] | None
    total: Float[Tensor, "BH K 1"] | None


class _Undecayed(torch.autograd.Function):
    @staticmethod
    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        state: Tensor | None,
        chunk_size: int | None,
        exclusive: bool,
        normalise: bool,
        record: bool,
    ) -> tuple[Tensor, Tensor]:
        ctx.set_materialize_grads(False)
        ctx.shapes, ctx.options = (q.shape, v.shape), (chunk_size, exclusive, normalise)
        sums = _split(state, normalise)
        o = torch.empty_like(v, memory_format=torch.contiguous_format)
        kept: list[Tensor | None] = []
        for span in _spans(v.shape[1], chunk_size):
            qc, kc, vc = (_heads_first(x[:, span]) for x in (q, k, v))
            block, sums = _forward(qc, kc, vc, sums, exclusive=exclusive, normalise=normalise)
            _put(o, span, block.num if block.den is None else block.num.to(block.den.dtype) / block.den)
            if record and any(ctx.needs_input_grad):
                kept += block
        ctx.save_for_backward(*kept)
        return o, _join(sums, q.shape)

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, do: Tensor | None, dstate: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        chunk_size, exclusive, normalise = ctx.options
        q_shape, v_shape = ctx.shapes
        saved, size = ctx.saved_tensors, len(_Block._fields)
        blocks = [_Block(*saved[i : i + size]) for i in range(0, len(saved), size)]
        dq, dk, dv = (blocks[0].q.new_empty(shape) for shape in (q_shape, q_shape, v_shape))
        do = torch.zeros_like(dv) if do is None else do
        dsums = _split(dstate, normalise)
        with without_autocast(dv.device):
            for span, block in reversed(list(zip(_spans(v_shape[1], chunk_size), blocks, strict=True))):
                parts, dsums = _backward(block, _heads_first(do[:, span]), dsums, exclusive=exclusive)
                for whole, part in zip((dq, dk, dv), parts, strict=True):
                    _put(whole, span, part)
        dstate = _join(dsums, q_shape) if ctx.needs_input_grad[3] and dsums.memory is not None else None
        return dq, dk, dv, dstate, None, None, None, None


def _forward(
    q: Float[Tensor, "BH C K"],
    k: Float[Tensor, "BH C K"],
    v: Float[Tensor, "BH C V"],
    before: _Sums,
    *,
    exclusive: bool,
    normalise: bool,
) -> tuple[_Block, _Sums]:
    exact = accumulator_dtype(q.dtype)
    scores = torch.bmm(q, k.mT).tril_(-1 if exclusive else 0)
    num, den = torch.bmm(scores, v), None
    if before.memory is not None:
        num.baddbmm_(q, before.memory.to(q.dtype))
    if normalise:
        den = _row_sums(scores)
        if before.total is not None:
            den.baddbmm_(q.to(exact), before.total)
        den.clamp_(min=FLOOR)
    wide_k = k.to(exact)
    total = wide_k.sum(1).unsqueeze(-1) if normalise else None
    if total is not None and before.total is not None:
        total += before.total
    after = _Sums(_add_product(before.memory, wide_k.mT, v.to(exact)), total)
    return _Block(q, k, v, scores, num, den, *before), after


def _backward(
    block: _Block, do: Float[Tensor, "BH C V"], dafter: _Sums, *, exclusive: bool
) -> tuple[tuple[Tensor, Tensor, Tensor], _Sums]:
    q, k, v, scores, num, den, memory, total = block
    dtype, exact = q.dtype, accumulator_dtype(q.dtype)
    dden = None
    if den is None:
        dscores = torch.bmm(do, v.mT)
    else:
        do = (do.to(exact) / den).to(dtype)
        dden = (do.to(exact) * num.to(exact)).sum(-1, keepdim=True).div_(-den).mul_(den > FLOOR)
        columns = _parts(dden, dtype)
        ones = F.pad(v, (0, len(columns)), value=1.0)
        dscores = torch.bmm(torch.cat([do, *columns], dim=-1), ones.mT)
    dscores.tril_(-1 if exclusive else 0)
    dq, dk, dv = torch.bmm(dscores, k), torch.bmm(dscores.mT, q), torch.bmm(scores.mT, do)
    # Products with v and their normalisers' terms nearly cancel: they are added up before they are rounded.
    if dafter.memory is not None:
        dk = torch.baddbmm(dk.to(exact), v.to(exact), dafter.memory.mT)
        dk = (dk if dafter.total is None else dk.add_(dafter.total.mT)).to(dtype)
        dv.baddbmm_(k, dafter.memory.to(dtype))
    if memory is None:
        return (dq, dk, dv), _Sums(None, None)
    wide_q, wide_do = q.to(exact), do.to(exact)
    dq = torch.baddbmm(dq.to(exact), wide_do, memory.mT)
    dmemory, dtotal = _add_product(dafter.memory, wide_q.mT, wide_do), None
    if dden is not None and total is not None:
        dq.addcmul_(dden, total.mT)
        dtotal = _add_product(dafter.total, wide_q.mT, dden)
    return (dq.to(dtype), dk, dv), _Sums(dmemory, dtotal)


def _row_sums(scores: Float[Tensor, "BH C C"]) -> Float[Tensor, "BH C 1"]:
    """Sums of rows in the accumulators' dtype; of bfloat16 as a rounded sum and what rounding left of it.

    An error in a denominator is common to a whole row, so gradients, which are differences within the row,
    would not average it out. (A sum with dtype=float32 takes ten times as long.)
    """
    high = scores.sum(-1, keepdim=True)
    exact = accumulator_dtype(scores.dtype)
    if scores.dtype is exact:
        return high
    ones = scores.new_ones(1, 1, 1).expand(scores.shape[0], scores.shape[2], 1)
    return high.to(exact) + torch.baddbmm(high, scores, ones, beta=-1)


def _parts(x: Float[Tensor, "BH C 1"], dtype: torch.dtype) -> list[Tensor]:
    """Tensors of `dtype` that sum to x: itself, or its rounding and what that leaves."""
    high = x.to(dtype)
    return [high] if dtype is x.dtype else [high, (x - high).to(dtype)]


def _spans(length: int, chunk_size: int | None) -> list[slice]:
    if chunk_size is None:
        return [slice(None)]
    return [slice(start, start + chunk_size) for start in range(0, length, chunk_size)]


def _heads_first(x: Float[Tensor, "B C H N"]) -> Float[Tensor, "BH C N"]:
    return x.transpose(1, 2).flatten(0, 1)


def _put(whole: Float[Tensor, "B T H N"], span: slice, part: Float[Tensor, "BH C N"]) -> None:
    batch, _, heads, _ = whole.shape
    whole[:, span].copy_(part.unflatten(0, (batch, heads)).transpose(1, 2))


def _split(state: Float[Tensor, "B H K W"] | None, normalise: bool) -> _Sums:
    if state is None:
        return _Sums(None, None)
    flat = state.flatten(0, 1)
    return _Sums(flat[..., :-1], flat[..., -1:]) if normalise else _Sums(flat, None)


def _join(sums: _Sums, shape: torch.Size) -> Float[Tensor, "B H K W"]:
    assert sums.memory is not None  # there was at least one block
    flat = sums.memory if sums.total is None else torch.cat([sums.memory, sums.total], dim=-1)
    batch, _, heads, _ = shape
    return flat.unflatten(0, (batch, heads))


def _add_product(
    total: Float[Tensor, "BH M N"] | None, a: Float[Tensor, "BH M C"], b: Float[Tensor, "BH C N"]
) -> Float[Tensor, "BH M N"]:
    return torch.bmm(a, b) if total is None else torch.baddbmm(total, a, b)
