"""Norms: what brings activations back to one size."""

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["simple_rms_norm"]


def simple_rms_norm(x: Float[Tensor, "*axes dim"], eps: float = 1e-6) -> Float[Tensor, "*axes dim"]:
    """x / sqrt(mean(x^2) + eps) over the last axis: no weight, no centre.

    Qin et al. 2022, arXiv 2210.10340, section 4.1. Computed in float32 (float64 for float64 x) and returned
    in x's dtype. An x of zeros stays zeros; eps is seen where the RMS of x is not far above sqrt(eps).

    Example:
        >>> simple_rms_norm(torch.tensor([3.0, 4.0, 0.0, 0.0]))
        tensor([1.2000, 1.6000, 0.0000, 0.0000])
    """
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    return (wide * (wide.square().mean(-1, keepdim=True) + eps).rsqrt()).to(x.dtype)
