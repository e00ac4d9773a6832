"""Softmax inside blocks of a round of hashing, and over the rounds."""

import torch.nn.functional as F

__all__ = ["SELF", "attend", "over_rounds"]

SELF = -1e5
"""The logit of a token's own key: it is attended to where there is nothing else."""


def attend(q, k, v, seen, own, count):
    """Outputs and their log weights, block by block, of queries `(n, blocks, m, K)`."""
    logits = (q @ F.normalize(k, dim=-1).transpose(-1, -2)).masked_fill(own, SELF)
    logits = logits - count.clamp(min=1).to(logits.dtype).log()
    logits = logits.masked_fill(~seen, float("-inf"))
    weight = logits.logsumexp(-1)
    return (logits - weight[..., None]).exp() @ v, weight


def over_rounds(o, weight):
    """Rounds `(B, H, R, T, ...)` combined by their log weights."""
    return (weight.softmax(2)[..., None] * o).sum(2)
