"""What mixers that are recurrences share: one direction, and time steps to begin with."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["check_causal", "initial_steps", "log_uniform"]


def check_causal(kind: str, causal: bool) -> None:
    """Refuse `causal=False` of a mixer that sees the past alone."""
    if not causal:
        raise ValueError(
            f"causal: mixer {kind!r} sees the past alone, expected True, got False; mixer 'bidirectional' "
            f"runs it from both ends"
        )


def initial_steps(number: int) -> Float[Tensor, " number"]:
    """Biases whose softplus is uniform in its logarithm between 0.001 and 0.1, as Mamba's time steps."""
    steps = log_uniform(number, 1e-3, 0.1).exp().clamp(min=1e-4)
    return steps + torch.log(-torch.expm1(-steps))


def log_uniform(number: int, least: float, most: float) -> Float[Tensor, " number"]:
    """Logarithms of random numbers, uniform between those of `least` and `most`."""
    low, high = math.log(least), math.log(most)
    return low + (high - low) * torch.rand(number)
