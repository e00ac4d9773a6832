"""Gathering along time, for indices of any shape."""

import torch
from torch import Tensor

__all__ = ["take"]


def take(x: Tensor, index: Tensor) -> Tensor:
    """x `(B, N, ...)` at `index` `(B or 1, ...)` along N: `(B, index's other axes, x's other axes)`."""
    batch, length = x.shape[:2]
    flat = index.flatten(1)
    if len(index) == 1 and batch != 1:
        found = x.index_select(1, flat[0])
    else:
        offset = torch.arange(batch, device=x.device)[:, None] * length
        found = x.flatten(0, 1).index_select(0, (flat + offset).flatten())
    return found.reshape(batch, *index.shape[1:], *x.shape[2:])
