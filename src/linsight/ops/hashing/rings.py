"""Attention to the last tokens of the own bucket: causal, and its state is a ring of them."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from linsight.ops.hashing.buckets import APART, in_order, rounds_that_find
from linsight.ops.hashing.rounds import SELF, attend, over_rounds
from linsight.ops.linear import accumulator_dtype, without_autocast
from linsight.ops.rows import take

__all__ = ["Rings", "ring_attention"]


class Rings(NamedTuple):
    """The last tokens of every bucket: rank r of a bucket (its r-th token, from 0) is in slot r mod m.

    B batch, H heads, R rounds, N buckets, m slots. `places` tells for every round where the token stands
    there: bucket * 2^40 + rank. `counts` are the tokens that a bucket has seen; slots that none has reached
    hold 0.
    """

    keys: Float[Tensor, "B H R N m K"]
    values: Float[Tensor, "B H R N m V"]
    places: Int[Tensor, "B H R N m R"]
    counts: Int[Tensor, "B H R N"]


def ring_attention(
    q: Float[Tensor, "B T H K"],
    v: Float[Tensor, "B T H V"],
    buckets: Int[Tensor, "B H R T"],
    num_buckets: int,
    size: int,
    *,
    initial_state: Rings | None = None,
    valid: Bool[Tensor, "B T"] | None = None,
    form: str = "chunk",
) -> tuple[Float[Tensor, "B T H V"], Rings]:
    """Causal attention to the last `size` tokens of the own bucket, its own included, in several rounds.

        o_i = sum_r exp(z_(i,r) - logsumexp_r z_(i,r)) o_(i,r),   z_(i,r) = logsumexp_j l_(i,j,r)
        l_(i,j,r) = q_i . q_j / |q_j| - log N_(i,j),   l_(i,i,r) = -1e5 - log R

    where N_(i,j) counts the rounds in which i finds j: together this is the softmax over all j that are found
    in any round. Kitaev, Kaiser, Levskaya 2020, arXiv 2001.04451, equations 2 to 8.

    Deviation: the paper sorts by bucket and cuts the whole sequence into chunks, so that which keys a token
    finds depends on how many later tokens fall into earlier buckets. Here every bucket is a sequence of its
    own, with a window of `size` on it: a token finds what it would find if it were the last.

    Args:
        q: Queries, and keys once normalised.
        v: Values.
        buckets: Of each token in each round, 0 to `num_buckets` - 1.
        num_buckets, size: N and m of `Rings`.
        initial_state: The rings before the first token; None for empty ones.
        valid: Which tokens there are; None for all.
        form: `naive`, token by token, each written into its rings, which are then read; or `chunk`.

    Returns:
        o in v's dtype, free where not valid, and the rings after the last token.

    `chunk` cuts every bucket where its ring begins again, and computes a piece of m queries against the
    2 m keys of its own and the last one. The cuts, and so every bit of o_i, depend on the past alone.

    Cost a head: `naive` O(T R m K) products and a copy of the rings at every token; `chunk`
    O(R (T + N m) m K) after a sort of T numbers, and memory O(R (T + N m) (m + K)).
    """
    exact = accumulator_dtype(q.dtype, v.dtype)
    with without_autocast(q.device):
        compute = _token_by_token if form == "naive" else _ring_by_ring
        queries, values = q.transpose(1, 2), v.transpose(1, 2)
        o, rings = compute(queries, values, buckets, num_buckets, size, initial_state, valid, exact)
        return o.transpose(1, 2).to(v.dtype), rings


def _token_by_token(q, v, buckets, num_buckets, size, state, valid, exact):
    batch, heads, length, _ = q.shape
    rounds = buckets.shape[2]
    if state is None:
        shape = (batch, heads, rounds, num_buckets, size)
        state = Rings(
            q.new_zeros(*shape, q.shape[-1]),
            v.new_zeros(*shape, v.shape[-1]),
            buckets.new_zeros(*shape, rounds),
            buckets.new_zeros(shape[:-1]),
        )
    keys, values, places = (ring.flatten(3, 4) for ring in state[:3])  # (B, H, R, N m, ...)
    counts, outputs = state.counts, []
    slots = torch.arange(size, device=q.device)
    for t in range(length):
        bucket = buckets[..., t]
        rank = counts.gather(3, bucket[..., None]).squeeze(3)
        place = bucket * APART + rank  # (B, H, R)
        write = torch.ones_like(bucket, dtype=torch.bool)
        if valid is not None:
            write = write & valid[:, t, None, None]
        slot = bucket * size + rank % size
        keys = _written(keys, slot, q[:, :, t, None], write)
        values = _written(values, slot, v[:, :, t, None], write)
        places = _written(places, slot, place[:, :, None], write)
        counts = counts.scatter_add(3, bucket[..., None], write[..., None].to(counts.dtype))
        ring = bucket[..., None] * size + slots
        near, these, there = (
            x.gather(3, ring[..., None].expand(*ring.shape, x.shape[-1])) for x in (keys, values, places)
        )
        own = slots == (rank % size)[..., None]
        seen = (slots <= rank[..., None]) | own
        count = rounds_that_find(place[:, :, None, None], there, 0, size).squeeze(-2)
        near = F.normalize(near.to(exact), dim=-1)
        logits = (q[:, :, t, None, None].to(exact) * near).sum(-1).masked_fill(own, SELF)
        logits = logits - count.clamp(min=1).to(exact).log()
        logits = logits.masked_fill(~seen, float("-inf")).flatten(2)
        outputs.append((logits.softmax(-1)[..., None] * these.to(exact).flatten(2, 3)).sum(2))
    keys, values, places = (x.unflatten(3, (num_buckets, size)) for x in (keys, values, places))
    return torch.stack(outputs, dim=2), Rings(keys, values, places, counts)


def _written(ring, slot, new, write):
    """`ring` `(B, H, R, slots, W)` with `new` `(B, H, 1 or R, W)` in its slot, where `write`."""
    index = slot[..., None, None].expand(*slot.shape, 1, ring.shape[-1])
    new = new.to(torch.promote_types(ring.dtype, new.dtype))[..., None, :].expand_as(index)
    ring = ring.to(new.dtype)
    return ring.scatter(3, index, torch.where(write[..., None, None], new, ring.gather(3, index)))


def _ring_by_ring(q, v, buckets, num_buckets, size, state, valid, exact):
    length, lead = q.shape[2], buckets.shape[:3]
    order, at, trash = in_order(buckets, num_buckets, valid)
    fresh = buckets.new_zeros(*lead, num_buckets + 1).scatter_add(3, trash, torch.ones_like(trash))
    begin = (fresh.cumsum(3) - fresh)[..., :num_buckets]
    fresh = fresh[..., :num_buckets]
    counts = torch.zeros_like(fresh) if state is None else state.counts
    rank = at - _pad(begin).gather(3, trash) + _pad(counts).gather(3, trash)
    places = (trash * APART + rank).transpose(2, 3)
    held = 0 if state is None else num_buckets * size
    rings = (None, None, None) if state is None else state[:3]
    pool = [_pool(x, order, ring) for x, ring in zip((q, v, places), rings, strict=True)]
    # Pieces: where rank // size changes. Their number depends on the data, its bound does not.
    behind = torch.div(counts, size, rounding_mode="floor")
    last = torch.div(counts + fresh - 1, size, rounding_mode="floor")
    pieces = torch.where(fresh > 0, last - behind + 1, 0)
    ends = pieces.cumsum(3)
    bound = min(length, length // size + num_buckets * (1 if state is None else 2))
    number = torch.arange(bound, device=q.device)
    bucket = (number[:, None] >= ends[..., None, :]).sum(-1).clamp(max=num_buckets - 1)
    piece = behind.gather(3, bucket) + number - (ends - pieces).gather(3, bucket)
    steps = torch.arange(-size, size, device=q.device)
    ranks = piece[..., None] * size + steps  # (B, H, R, pieces, 2 size)
    held_ranks = counts.gather(3, bucket)[..., None]
    index = torch.where(
        ranks < held_ranks,
        bucket[..., None] * size + ranks % size,
        held + begin.gather(3, bucket)[..., None] + ranks - held_ranks,
    ).clamp(0, held + length - 1)
    keys, values, there = (take(x, index.flatten(0, 2)) for x in pool)
    queries, here = keys[:, :, size:], there[:, :, size:]
    own = steps[size:, None] == steps
    seen = (steps <= steps[size:, None]) & (steps > steps[size:, None] - size)
    seen = seen & ((ranks >= 0).flatten(0, 2)[:, :, None] | own)
    count = rounds_that_find(here, there, 0, size)
    o, weight = attend(queries.to(exact), keys.to(exact), values.to(exact), seen, own, count)
    # Back to the tokens' own order; padding reads anything.
    first = _pad(ends - pieces).gather(3, trash) - _pad(behind).gather(3, trash)
    row = (first + torch.div(rank, size, rounding_mode="floor")) * size + rank % size
    row = row.clamp(0, bound * size - 1)
    o, weight = o.flatten(1, 2).unflatten(0, lead), weight.flatten(1, 2).unflatten(0, lead)
    o = over_rounds(o.gather(3, row[..., None].expand(*row.shape, o.shape[-1])), weight.gather(3, row))
    return o, _kept(pool, counts, fresh, begin, held, size)


def _kept(pool, counts, fresh, begin, held, size):
    """The rings of the last `size` tokens of every bucket."""
    lead, total = counts.shape, (counts + fresh)[..., None]
    slots = torch.arange(size, device=counts.device)
    ranks = total - 1 - (total - 1 - slots) % size  # the last rank of each slot; negative if none
    ring = torch.arange(lead[3], device=counts.device)[:, None] * size + slots
    new = held + begin[..., None] + ranks - counts[..., None]
    index = torch.where(ranks < counts[..., None], ring, new).clamp(0, pool[0].shape[1] - 1)
    kept = [take(x, index.flatten(0, 2)).unflatten(0, lead[:3]) for x in pool]
    if not held:  # slots that no token has reached; later they are what they were
        kept = [torch.where((ranks >= 0)[..., None], x, 0) for x in kept]
    keys, values, places = kept
    return Rings(keys, values, places, counts + fresh)


def _pool(x, order, ring):
    """`(B H R, N m + T, ...)`: what a ring holds, and the tokens x `(B, H, T, W)` in sorted order."""
    repeated = x[:, :, None].expand(*order.shape, x.shape[-1])
    tokens = repeated.gather(3, order[..., None].expand(*order.shape, x.shape[-1])).flatten(0, 2)
    return tokens if ring is None else torch.cat([ring.flatten(3, 4).flatten(0, 2), tokens], dim=1)


def _pad(x):
    """One bucket more, for padding."""
    return F.pad(x, (0, 1))
