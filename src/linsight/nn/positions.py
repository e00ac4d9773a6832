"""Rotary positions: the phase of queries and keys turns with their place in the sequence."""

import torch
from jaxtyping import Float, Num
from torch import Tensor

__all__ = ["rotary"]


def rotary(
    x: Float[Tensor, "batch length heads dim"],
    positions: Num[Tensor, "#batch length"],
    base: float = 10_000.0,
) -> Float[Tensor, "batch length heads dim"]:
    """Turn feature pairs (i, i + dim/2) of x by the angle position * base^(-2 i / dim).

    The inner product of two turned vectors depends on the difference of their positions alone, which
    may be fractions. Su et al. 2021, arXiv 2104.09864. `dim` must be even. Angles are computed in float32
    (float64 for float64 x): a bfloat16 angle is wrong by whole turns beyond position 256.
    """
    half = x.shape[-1] // 2
    if 2 * half != x.shape[-1]:
        raise ValueError(f"rotary positions need an even head dimension, got {x.shape[-1]}")
    dtype = torch.promote_types(x.dtype, torch.float32)
    frequencies = base ** (-torch.arange(half, device=x.device, dtype=dtype) / half)
    angles = (positions.to(dtype)[..., None] * frequencies)[:, :, None]
    cos, sin = angles.cos(), angles.sin()
    first, second = x[..., :half], x[..., half:]
    return torch.cat([first * cos - second * sin, first * sin + second * cos], dim=-1).to(x.dtype)
