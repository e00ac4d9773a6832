"""What stands between a linear layer and outputs that have a range."""

import math

import torch
from torch import Tensor, nn

__all__ = ["BoundedAngles", "BoundedScale", "Concentration"]


class BoundedScale(nn.Module):
    """s = low + (high - low) sigmoid(raw): a positive scale with a floor, which no loss can reach below.

    Args:
        low: The floor, at least 0.
        high: The greatest scale.

    Raises:
        ValueError: Not 0 <= low < high.
    """

    def __init__(self, low: float, high: float) -> None:
        super().__init__()
        if not 0 <= low < high:
            raise ValueError(f"sigma_range: expected 0 <= least < greatest, got {(low, high)}")
        self.low, self.high = low, high

    def forward(self, raw: Tensor) -> Tensor:
        """The scale, elementwise."""
        return self.low + (self.high - self.low) * raw.sigmoid()


class BoundedAngles(nn.Module):
    """bound tanh(raw / bound), bound pi/2 for pitch and pi for yaw: the identity near 0."""

    def forward(self, raw: Tensor) -> Tensor:
        """(..., 2) in radians."""
        bound = torch.tensor([math.pi / 2, math.pi], dtype=raw.dtype, device=raw.device)
        return bound * (raw / bound).tanh()


class Concentration(nn.Module):
    """k = softplus(raw), at most 1e6: a von Mises-Fisher law of a thousandth of a radian."""

    def forward(self, raw: Tensor) -> Tensor:
        """The concentration, elementwise."""
        return nn.functional.softplus(raw).clamp(max=1e6)
