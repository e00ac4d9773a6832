"""Attention to sorted buckets, cut into chunks: the paper's form, for whole sequences."""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from linsight.ops.hashing.buckets import APART, in_order, rounds_that_find
from linsight.ops.hashing.rounds import SELF, attend, over_rounds
from linsight.ops.linear import accumulator_dtype, without_autocast
from linsight.ops.rows import take

__all__ = ["bucket_attention"]


def bucket_attention(
    q: Float[Tensor, "B T H K"],
    v: Float[Tensor, "B T H V"],
    buckets: Int[Tensor, "B H R T"],
    num_buckets: int,
    size: int,
    *,
    valid: Bool[Tensor, "B T"] | None = None,
    form: str = "chunk",
) -> Float[Tensor, "B T H V"]:
    """Attention of all tokens, sorted by (bucket, place) and cut into chunks of `size`.

    A token attends to the tokens of its bucket in its own chunk, the last and the next one: the paper's form
    without its causal mask. Logits, rounds and arguments are those of `ring_attention`; `naive` is a masked
    matrix. Cost a head: O(R T m K) after a sort.
    """
    exact = accumulator_dtype(q.dtype, v.dtype)
    length = q.shape[1]
    with without_autocast(q.device):
        q, values = q.transpose(1, 2).to(exact), v.transpose(1, 2).to(exact)
        order, at, trash = in_order(buckets, num_buckets, valid)
        chunk = torch.div(at, size, rounding_mode="floor")
        places = (trash * APART + chunk).transpose(2, 3)  # (B, H, T, R)
        if form == "naive":
            found = rounds_that_find(places, places, -1, 2)
            logits = torch.einsum("bhik,bhjk->bhij", q, F.normalize(q, dim=-1))
            own = torch.eye(length, dtype=torch.bool, device=q.device)
            logits = logits.masked_fill(own, SELF).masked_fill(found == 0, float("-inf"))
            return (logits.softmax(-1) @ values).transpose(1, 2).to(v.dtype)
        blocks = -(-length // size)
        query = torch.arange(blocks * size, device=q.device).unflatten(0, (blocks, size))
        key = torch.arange(blocks, device=q.device)[:, None] * size + torch.arange(
            -size, 2 * size, device=q.device
        )
        lead = order.shape[:3]
        pick = order.flatten(0, 2)

        def rows(x: Tensor, index: Tensor) -> Tensor:
            """x `(B, H, T, ...)` at sorted places, `(B H R, blocks, index, ...)`."""
            found = pick[:, index.clamp(0, length - 1).flatten()].unflatten(1, index.shape)
            repeated = x[:, :, None].expand(*lead, *x.shape[2:]).flatten(0, 2)
            return take(repeated, found)

        own = query[:, :, None] == key[:, None]
        bucket = trash.transpose(2, 3)
        mine = _of_round(rows(bucket, query), lead[2])[..., :, None]
        theirs = _of_round(rows(bucket, key), lead[2])[..., None, :]
        seen = own | ((mine == theirs) & ((key >= 0) & (key < length))[:, None])
        count = rounds_that_find(rows(places, query), rows(places, key), -1, 2)
        o, weight = attend(rows(q, query), rows(q, key), rows(values, key), seen, own, count)
        o, weight = o.flatten(1, 2).unflatten(0, lead), weight.flatten(1, 2).unflatten(0, lead)
        o = o.gather(3, at[..., None].expand(*at.shape, o.shape[-1]))
        return over_rounds(o, weight.gather(3, at)).transpose(1, 2).to(v.dtype)


def _of_round(x, rounds):
    """The own round of x `(B H R, ..., R)`."""
    mine = torch.arange(rounds, device=x.device)
    x = x.unflatten(0, (len(x) // rounds, rounds)).movedim(-1, 2)
    return x[:, mine, mine].flatten(0, 1)
