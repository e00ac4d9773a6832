"""One step of Adam and of AdamW, written to be read: for tests, and for `linsight explain adamw`."""

from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Moments", "adam_step"]


class Moments(NamedTuple):
    """The running means of g and g^2, the largest of the latter so far, and the steps taken."""

    m: Tensor
    v: Tensor
    largest: Tensor
    steps: int = 0

    @classmethod
    def zeros_like(cls, p: Tensor) -> "Moments":
        """Before the first step."""
        return cls(torch.zeros_like(p), torch.zeros_like(p), torch.zeros_like(p))


def adam_step(
    p: Tensor,
    g: Tensor,
    state: Moments,
    *,
    lr: float,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    decoupled: bool = True,
    amsgrad: bool = False,
    maximize: bool = False,
) -> tuple[Tensor, Moments]:
    """The weights and the state after one step; AdamW where decoupled, else Adam with L2 (equations there).

    Example:
        >>> p = torch.ones(2, dtype=torch.float64)
        >>> p, state = adam_step(p, torch.tensor([3.0, -0.1]), Moments.zeros_like(p), lr=0.1)
        >>> p
        tensor([0.9000, 1.1000], dtype=torch.float64)
    """
    g = -g if maximize else g
    if decoupled:
        p = p - lr * weight_decay * p
    else:
        g = g + weight_decay * p
    steps = state.steps + 1
    m = betas[0] * state.m + (1 - betas[0]) * g
    v = betas[1] * state.v + (1 - betas[1]) * g * g
    largest = torch.maximum(state.largest, v)
    scale = ((largest if amsgrad else v) / (1 - betas[1] ** steps)).sqrt() + eps
    return p - lr / (1 - betas[0] ** steps) * m / scale, Moments(m, v, largest, steps)
