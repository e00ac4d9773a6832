"""What cases share: candidates on the same inputs, and the peer of attention, causal softmax attention."""

from collections.abc import Callable, Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from benchmarks.case import Candidate

__all__ = ["Attention", "candidate", "softmax", "softmax_definition"]

Attention = Callable[..., Tensor]
"""A function of q, k, v, or of what else is mixed."""


def candidate(
    attention: Attention,
    definition: Attention,
    inputs: Sequence[Tensor],
    flops: float,
    *,
    backward: bool = False,
) -> Candidate:
    """An attention on its inputs, held against its definition in float64; the last input is dy."""
    run = _gradients if backward else _forward
    call = partial(run, attention, *inputs)
    exact = partial(run, definition, *(x.double() for x in inputs))
    return Candidate(call, partial(_error, call, exact), flops)


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


def _forward(attention: Attention, *inputs: Tensor) -> tuple[Tensor, ...]:
    with torch.no_grad():
        return (attention(*inputs[:-1]),)


def _gradients(attention: Attention, *inputs: Tensor) -> tuple[Tensor, ...]:
    leaves = [x.detach().requires_grad_() for x in inputs[:-1]]
    return torch.autograd.grad(attention(*leaves), leaves, inputs[-1])


def _error(call: Callable[[], tuple[Tensor, ...]], exact: Callable[[], tuple[Tensor, ...]]) -> float:
    """The largest relative RMS error among the results."""
    pairs = zip(call(), exact(), strict=True)
    return max(((a.double() - b).norm() / b.norm()).item() for a, b in pairs)
