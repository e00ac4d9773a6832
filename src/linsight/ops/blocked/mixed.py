"""Mixed chunk attention: elementwise weights inside the open chunk, a linear sum over the closed ones."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from linsight.ops.blocked.attention import block_plan, token_places
from linsight.ops.blocked.blocks import Blocks, OpenSlot
from linsight.ops.blocked.weights import toeplitz, weighted_attention
from linsight.ops.linear.precision import accumulator_dtype, product_dtype, without_autocast

__all__ = ["MixedState", "mixed_chunk_attention"]


class MixedState(NamedTuple):
    """The sums over closed chunks and over the open one, the open chunk's keys and values, the tokens so far.

    `memory` and `pending` are float32 (float64 in float64); `keys` and `values` are 0 beyond the chunk's
    `position % C` tokens. Its size does not depend on the number of tokens.
    """

    memory: Float[Tensor, "batch heads dim values"]
    pending: Float[Tensor, "batch heads dim values"]
    keys: Float[Tensor, "batch chunk heads dim"]
    values: Float[Tensor, "batch chunk heads values"]
    position: Int[Tensor, " batch"]


class Inputs(NamedTuple):
    """Queries and keys of both parts, and the values they share."""

    q: Tensor
    k: Tensor
    linear_q: Tensor
    linear_k: Tensor
    v: Tensor


def mixed_chunk_attention(
    q: Tensor,
    k: Tensor,
    linear_q: Tensor,
    linear_k: Tensor,
    v: Tensor,
    *,
    chunk: int,
    weights: str = "relu2",
    bias: Float[Tensor, "distances"],
    causal: bool = True,
    valid: Bool[Tensor, "B T"] | None = None,
    initial_state: MixedState | None = None,
    form: str = "auto",
) -> tuple[Float[Tensor, "B T H V"], MixedState | None]:
    """Attention inside chunks at absolute positions, plus linear attention to all chunks that are closed.

        o_i = sum_j f(q_i . k_j / C + b_(i-j)) v_j  +  linear_q_i^T sum_m linear_k_m v_m^T / C

    j runs over the tokens of i's own chunk of C positions up to i, m over those of all earlier chunks: a
    token passes from the first sum to the second when its chunk is full. Not causal: j over the whole chunk,
    and m over all tokens of the row, divided by their number instead of C. Hua, Dai, Liu, Le 2022, arXiv
    2202.10447, section 3.3. A chunk that is not full divides by C like any other.

    Args:
        q, k, linear_q, linear_k: `(B, T, H, K)`, T >= 1.
        v: `(B, T, H, V)`.
        chunk: C.
        weights: f, elementwise: one of `WEIGHTS`.
        bias: b at the distances i - j from 1 - C to C - 1, `(2 C - 1,)`.
        causal, valid, initial_state, form: As in `block_attention`.

    Returns:
        o, of no meaning at padded places, and the state (None if not causal).

    Cost a head: O(T (C (K + V) + K V)) time, O(T C + T K V / C) memory; `naive` O(T (T + C) (K + V)). A step
    costs O(C (K + V) + K V): `pending` adds up the open chunk as it comes, since a sum taken when a chunk
    closes would either cost C times as much at every step or branch on the data.
    """
    x = Inputs(q, k, linear_q, linear_k, v)
    form = block_plan(form, q.shape[1], causal=causal)
    with without_autocast(q.device):
        if not causal:
            return _both_ways(x, chunk, weights, bias, valid, form), None
        state = initial_state or _empty(x, chunk)
        if form == "recurrent":
            return _recurrent(x, chunk, weights, bias, valid, state)
        return _forward(x, chunk, weights, bias, valid, initial_state, state, form)


def _forward(x, chunk, weights, bias, valid, given, state, form):
    blocks = _blocks(x, chunk, None if given is None else given.position, valid)
    exact = state.memory.dtype
    keys, values = (
        blocks.cut(new, None if given is None else opened)
        for new, opened in ((x.k, state.keys), (x.v, state.values))
    )
    outer = torch.einsum(
        "bnwhk,bnwhv->bnhkv", blocks.cut(x.linear_k).to(exact), blocks.cut(x.v).to(exact) / chunk
    )
    outer = torch.cat([outer[:, :1] + state.pending[:, None], outer[:, 1:]], dim=1)
    memory = torch.cat([state.memory[:, None], outer], dim=1).cumsum(1)  # before each block, and after all
    if form == "naive":
        o = _naive(x, blocks, weights, bias, given)
    else:
        mask = torch.ones(1, blocks.width, blocks.width, dtype=torch.bool, device=x.q.device).tril()
        near = _inside(blocks, blocks.cut(x.q), keys, values, weights, bias, mask)
        dtype = product_dtype(*(t.dtype for t in x))
        queries = blocks.cut(x.linear_q).to(dtype)
        far = torch.einsum("bnwhk,bnhkv->bnwhv", queries, memory[:, :-1].to(dtype))
        o = blocks.joined(near + far.to(near.dtype))
    rows = torch.arange(len(memory), device=memory.device)
    return o, MixedState(
        memory[rows, blocks.last],
        F.pad(outer, (0, 0, 0, 0, 0, 0, 0, 1))[rows, blocks.last],
        blocks.still_open(keys),
        blocks.still_open(values),
        blocks.position,
    )


def _both_ways(x, chunk, weights, bias, valid, form):
    blocks = _blocks(x, chunk, None, valid)
    exact = accumulator_dtype(*(t.dtype for t in x))
    linear_k = x.linear_k if valid is None else torch.where(valid[:, :, None, None], x.linear_k, 0)
    if form == "naive":
        return _naive(x, blocks, weights, bias, None, causal=False)
    memory = torch.einsum("bthk,bthv->bhkv", linear_k.to(exact), x.v.to(exact))
    memory = memory / blocks.counts.clamp(min=1)[:, None, None, None]
    dtype = product_dtype(*(t.dtype for t in x))
    far = torch.einsum("bthk,bhkv->bthv", x.linear_q.to(dtype), memory.to(dtype)).to(x.v.dtype)
    mask = blocks.filled.flatten(0, 1)[:, None]
    queries, keys, values = (blocks.cut(t) for t in (x.q, x.k, x.v))
    return blocks.joined(_inside(blocks, queries, keys, values, weights, bias, mask)) + far


def _inside(blocks, queries, keys, values, weights, bias, mask):
    """The part inside the chunks, `(B, N, W, H, V)`."""
    parts = [t.flatten(0, 1) for t in (queries, keys, values)]
    bias = toeplitz(bias, 0, blocks.width, blocks.width)
    o = weighted_attention(*parts, weights=weights, scale=1 / blocks.block, bias=bias, mask=mask)
    return o.unflatten(0, (len(queries), blocks.number))


def _recurrent(x, chunk, weights, bias, valid, state):
    exact, dtype = state.memory.dtype, product_dtype(*(t.dtype for t in x))
    outputs = []
    for t in range(x.q.shape[1]):
        own = None if valid is None else valid[:, t]
        slot = OpenSlot(chunk, state.position, own)
        q, k, linear_q, linear_k, v = (part[:, t : t + 1] for part in x)
        keys, values = slot.write(state.keys, k), slot.write(state.values, v)
        near = weighted_attention(
            q,
            keys,
            values,
            weights=weights,
            scale=1 / chunk,
            bias=bias[slot.distance + chunk - 1][:, None],
            mask=slot.seen[:, None],
        )
        far = torch.einsum("bthk,bhkv->bthv", linear_q.to(dtype), state.memory.to(dtype))
        outputs.append(near + far.to(near.dtype))
        outer = torch.einsum("bthk,bthv->bhkv", linear_k.to(exact), v.to(exact) / chunk)
        outer = outer if own is None else torch.where(own[:, None, None, None], outer, 0)
        pending = state.pending + outer
        closes = slot.closes[:, None, None, None]
        state = MixedState(
            state.memory + torch.where(closes, pending, 0),
            torch.where(closes, 0, pending),
            slot.emptied(keys),
            slot.emptied(values),
            slot.position,
        )
    return torch.cat(outputs, dim=1).to(x.v.dtype), state


def _naive(x, blocks, weights, bias, given, *, causal=True):
    """Both sums over all pairs of tokens, under masks of whose chunk is whose, or earlier."""
    chunk, exact = blocks.block, accumulator_dtype(*(t.dtype for t in x))
    places, new = token_places(blocks, before=0 if given is None else chunk)
    k, v = x.k, x.v
    if given is not None:
        k, v = torch.cat([given.keys, k], dim=1), torch.cat([given.values, v], dim=1)
    mine, theirs = places[:, new, None], places[:, None]
    mask = (mine // chunk == theirs // chunk) & (theirs >= 0)
    mask = mask & (theirs <= mine) if causal else mask
    by_pair = bias[mine % chunk - theirs % chunk + chunk - 1]
    near = weighted_attention(
        x.q, k, v, weights=weights, scale=1 / chunk, bias=by_pair, mask=mask, form="naive"
    )
    pairs = torch.einsum("bihk,bjhk->bhij", x.linear_q.to(exact), x.linear_k.to(exact))
    among = places[:, new]
    if causal:
        earlier = (among[:, None] // chunk < among[..., None] // chunk) & (among[:, None] >= 0)
        pairs = torch.where(earlier[:, None], pairs / chunk, 0)
    else:
        pairs = torch.where((among >= 0)[:, None, None], pairs, 0)
        pairs = pairs / blocks.counts.clamp(min=1)[:, None, None, None]
    far = torch.einsum("bhij,bjhv->bihv", pairs, x.v.to(exact))
    if given is not None:
        closed = among // chunk > (blocks.start // chunk)[:, None]
        seen = given.memory[:, None] + closed[..., None, None, None] * given.pending[:, None]
        far = far + torch.einsum("bihk,bihkv->bihv", x.linear_q.to(exact), seen)
    return near + far.to(near.dtype)


def _blocks(x, chunk, position, valid):
    return Blocks(x.q.shape[1], chunk, position, valid, batch=len(x.q), device=x.q.device)


def _empty(x, chunk):
    batch, _, heads, features = x.k.shape
    memory = x.k.new_zeros(
        batch, heads, features, x.v.shape[-1], dtype=accumulator_dtype(*(t.dtype for t in x))
    )
    keys, values = (t.new_zeros(batch, chunk, *t.shape[2:]) for t in (x.k, x.v))
    return MixedState(memory, memory, keys, values, x.k.new_zeros(batch, dtype=torch.int64))
