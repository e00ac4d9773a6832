"""Angular locality-sensitive hashing: which bucket a vector falls into, and the order of the buckets."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from linsight.ops.linear import without_autocast

__all__ = ["APART", "angular_buckets", "in_order", "rounds_that_find"]

APART = 2**40
"""Between the places of two buckets: more than there are tokens."""


def angular_buckets(
    x: Float[Tensor, "B T H K"], rotations: Float[Tensor, "R K half"]
) -> Int[Tensor, "B H R T"]:
    """h(x) = argmax([x W ; -x W]) for the matrix W of each round: 2 * half buckets, or one if half is 0.

    Andoni et al. 2015, arXiv 1509.02897. Two vectors share a bucket the likelier the smaller their angle is,
    whatever their lengths. No gradient.
    """
    batch, length, heads, _ = x.shape
    rounds, _, half = rotations.shape
    if half == 0:
        return torch.zeros(batch, heads, rounds, length, dtype=torch.int64, device=x.device)
    with without_autocast(x.device):
        turned = torch.einsum("bthk,rkn->bhrtn", x.detach(), rotations.to(x.dtype))
    return torch.cat([turned, -turned], dim=-1).argmax(-1)


def in_order(buckets, num_buckets, valid):
    """The order by (bucket, place), each token's place in it, and the buckets, padding behind them all."""
    if valid is not None:
        buckets = torch.where(valid[:, None, None], buckets, num_buckets)
    order = buckets.argsort(dim=-1, stable=True)
    at = torch.arange(order.shape[-1], device=order.device).expand_as(order)
    return order, torch.zeros_like(order).scatter(-1, order, at), buckets


def rounds_that_find(here: Tensor, there: Tensor, low: int, high: int) -> Tensor:
    """In how many rounds a query finds a key: where their places are `low` to `high` - 1 apart.

    `here` `(..., queries, R)`, `there` `(..., keys, R)`. Round by round: all at once would hold R
    numbers for every pair.
    """
    count = torch.zeros((), dtype=torch.int64, device=here.device)
    for r in range(here.shape[-1]):
        apart = here[..., :, None, r] - there[..., None, :, r]
        count = count + ((apart >= low) & (apart < high))
    return count
