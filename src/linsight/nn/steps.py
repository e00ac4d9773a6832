"""Time steps of state space models, kept positive by a softplus."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["step_bias"]


def step_bias(
    number: int, *, least: float = 1e-3, most: float = 0.1, floor: float = 1e-4
) -> Float[Tensor, " number"]:
    """Random b such that softplus(b) is log-uniform between `least` and `most`, and not below `floor`.

    The initial steps of Gu, Dao 2023, arXiv 2312.00752, section 3.6: some channels remember for ten tokens
    and some for a thousand.

    Example:
        >>> step_bias(1, least=0.01, most=0.01)
        tensor([-4.6002])
    """
    low, high = math.log(least), math.log(most)
    steps = (low + (high - low) * torch.rand(number)).exp().clamp(min=floor)
    return steps + (-torch.expm1(-steps)).log()  # log(exp(steps) - 1), without cancellation
