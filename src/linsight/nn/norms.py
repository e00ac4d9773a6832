"""Norms: what brings activations back to one size."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

__all__ = ["GatedRMSNorm", "LayerNorm", "simple_rms_norm"]


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


class LayerNorm(nn.LayerNorm):
    """torch's, computed in float32 (float64 for float64 x) and returned in x's dtype.

    On a processor torch 2.13 adds up the gradient of the weight over the rows in x's dtype: in bfloat16 that
    is wrong by 4 % after 3,000 rows of noise, and altogether where its terms have one sign. The outputs and
    x's gradient are the same, rounded once.
    """

    def forward(self, input: Float[Tensor, "*axes dim"]) -> Float[Tensor, "*axes dim"]:
        """(x - mean) / sqrt(variance + eps) * weight + bias over the last axis."""
        exact = torch.promote_types(input.dtype, torch.float32)
        weight, bias = (None if x is None else x.to(exact) for x in (self.weight, self.bias))
        return F.layer_norm(input.to(exact), self.normalized_shape, weight, bias, self.eps).to(input.dtype)


class GatedRMSNorm(nn.Module):
    """rms_norm(x * silu(gate)) * weight, or, with `before_gate`, rms_norm(x) * weight * silu(gate).

    Dao, Gu 2024, arXiv 2405.21060, figure 6 and its code. The norm runs over each of `groups` equal groups of
    features by itself, in float32 (float64 for float64 x); `weight` `(dim,)` starts at 1.

    Example:
        >>> norm = GatedRMSNorm(4)
        >>> norm(torch.tensor([3.0, 4.0, 0.0, 0.0]), torch.full((4,), 100.0))
        tensor([1.2000, 1.6000, 0.0000, 0.0000], grad_fn=<MulBackward0>)
    """

    def __init__(self, dim: int, *, groups: int = 1, before_gate: bool = False, eps: float = 1e-5) -> None:
        super().__init__()
        self.groups, self.before_gate, self.eps = groups, before_gate, eps
        self.weight = nn.Parameter(torch.ones(dim))

    def forward(
        self, x: Float[Tensor, "*axes dim"], gate: Float[Tensor, "*axes dim"]
    ) -> Float[Tensor, "*axes dim"]:
        """In the wider of the two dtypes and float32."""
        gate = F.silu(gate.to(torch.promote_types(gate.dtype, torch.float32)))
        x = x if self.before_gate else x * gate
        x = simple_rms_norm(x.unflatten(-1, (self.groups, -1)), self.eps).flatten(-2) * self.weight
        return x * gate if self.before_gate else x
