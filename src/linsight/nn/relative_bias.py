"""Relative position bias: a learnt number for each distance, shared by distances far away."""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from linsight.nn.hints import Hinted

__all__ = ["RelativeBias"]


class RelativeBias(Hinted):
    """b(i - j), one learnt number a bucket of distances, as in T5.

    Raffel et al. 2020, arXiv 1910.10683, section 2.1: the nearer half of the buckets holds one distance each,
    the others grow in size geometrically up to `max_distance`, and the last holds all beyond it. For queries
    that see both ways, half of the buckets are for keys ahead.

    Args:
        causal: Whether only distances i - j >= 0 occur.
        initial: b(0) at first; b(d) falls as (1 + d)^(-1/2), with d where a bucket begins, so that the sum of
            squares over n tokens grows as log n up to `max_distance`. Positive throughout: relu learns
            nothing from a bucket at which its argument is negative for every pair.
        buckets: How many; even where not causal.
        max_distance: Where the last bucket begins.
    """

    table: Tensor

    def __init__(self, *, causal: bool, initial: float, buckets: int = 32, max_distance: int = 128) -> None:
        super().__init__()
        self.causal = causal
        self.side = buckets if causal else buckets // 2
        exact, side = self.side // 2, self.side
        rate = (side - exact) / math.log(max_distance / exact)
        places = [
            n if n < exact else min(exact + int(math.log(n / exact) * rate + 1e-9), side - 1)
            for n in range(max_distance + 1)
        ]
        self.register_buffer("table", torch.tensor(places), persistent=False)
        begins = torch.tensor([places.index(bucket) for bucket in range(side)])
        self.weight = nn.Parameter((initial / (1 + begins).sqrt()).repeat(buckets // side))
        self.hint("weight", decay=False)

    def forward(self, distance: Int[Tensor, "*axes"]) -> Float[Tensor, "*axes"]:
        """The bias at distances i - j; where causal, any below 0 counts as 0."""
        apart = distance.clamp(min=0) if self.causal else distance.abs()
        bucket = self.table[apart.clamp(max=len(self.table) - 1)]
        if not self.causal:
            bucket = torch.where(distance < 0, bucket + self.side, bucket)
        return self.weight[bucket]

    def span(self, length: int) -> Float[Tensor, "distances"]:
        """The bias at the 2 length - 1 distances between `length` tokens, from 1 - length up."""
        return self(torch.arange(1 - length, length, device=self.weight.device))
