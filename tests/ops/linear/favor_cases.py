"""Calls of the FAVOR+ op, and its definition with every similarity explicit."""

import torch
from torch import Tensor

from linsight import ops

__all__ = ["HEADS", "defined", "drawn", "found"]

HEADS = 2
Given = dict[str, Tensor]
Results = tuple[Tensor, Tensor, Tensor]


def drawn(
    length: int, features: int, values: int, *, batch: int = 2, dtype: torch.dtype = torch.float64
) -> Given:
    """Keys that grow and shrink, some of them not there, and a state that is as large as some of them."""
    generator = torch.Generator().manual_seed(length + features)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)

    weights = 4 * torch.linspace(0, 9, length, dtype=dtype)[:, None].sin() + normal(batch, length, HEADS)
    weights[:, 3::7] = -torch.inf
    return {
        "q": normal(batch, length, HEADS, features),
        "k": normal(batch, length, HEADS, features),
        "v": normal(batch, length, HEADS, values),
        "log_weights": weights,
        "memory": normal(batch, HEADS, features, values + 1).abs() / max(features, 1),
        "peak": normal(batch, HEADS),
    }


def found(given: Given, form: str, chunk_size: int | None = None) -> Results:
    """o, memory and peak of the op."""
    state = given["memory"], given["peak"]
    inputs = (given[name] for name in ("q", "k", "v", "log_weights"))
    o, after = ops.favor_attention(*inputs, initial_state=state, form=form, chunk_size=chunk_size)
    return o, *after


def defined(given: Given) -> Results:
    """The sums over all earlier keys, of logarithms of similarities; the peak is the largest known sum."""
    q, k, v, weights, memory, peak = given.values()
    peaks = torch.cat([peak[:, None], k.logsumexp(-1) + weights], 1)
    pairs = (q.unsqueeze(2) + k.unsqueeze(1)).logsumexp(-1) + weights.unsqueeze(1)
    ahead = torch.ones(pairs.shape[1:3], dtype=torch.bool).triu(1)[..., None]
    pairs = torch.where(ahead, -torch.inf, pairs)
    top = torch.maximum(pairs.amax(2), (q + peak[:, None, :, None]).amax(-1))
    shares = (pairs - top.unsqueeze(2)).exp()
    old = torch.einsum("bihm,bhmv->bihv", (q + peak[:, None, :, None] - top.unsqueeze(-1)).exp(), memory)
    sums = old + torch.einsum("bijh,bjhv->bihv", shares, torch.cat([v, torch.ones_like(v[..., :1])], -1))
    last = peaks.amax(1)
    keys = (k + (weights - last[:, None]).unsqueeze(-1)).exp()
    written = torch.einsum("bjhm,bjhv->bhmv", keys, torch.cat([v, torch.ones_like(v[..., :1])], -1))
    kept = memory * (peak - last).exp()[..., None, None]
    return sums[..., :-1] / sums[..., -1:], kept + written, last
