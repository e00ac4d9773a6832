"""Attention by elementwise or softmax weights, over all keys or inside blocks at absolute positions."""

from linsight.ops.blocked.attention import OpenBlock, block_attention, block_plan
from linsight.ops.blocked.mixed import MixedState, mixed_chunk_attention
from linsight.ops.blocked.weights import WEIGHTS, toeplitz, weighted_attention

__all__ = [
    "WEIGHTS",
    "MixedState",
    "OpenBlock",
    "block_attention",
    "block_plan",
    "mixed_chunk_attention",
    "toeplitz",
    "weighted_attention",
]
