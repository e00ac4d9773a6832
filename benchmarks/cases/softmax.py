"""Causal softmax attention, the peer of every other: torch's (SDPA), and its definition."""

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

__all__ = ["softmax", "softmax_definition"]


def softmax(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """SDPA of q, k, v `(B, T, H, K)`."""
    q, k, v = (x.transpose(1, 2) for x in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2)


def softmax_definition(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """The same from all similarities, head by head, which a backward computes again."""
    future = torch.ones(q.shape[1], q.shape[1], dtype=torch.bool).triu(1)

    def head(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        logits = (q @ k.mT / q.shape[-1] ** 0.5).masked_fill(future, float("-inf"))
        return logits.softmax(-1) @ v

    parts = zip(*(x.unbind(2) for x in (q, k, v)), strict=True)
    return torch.stack([checkpoint(head, *part, use_reentrant=False) for part in parts], dim=2)
