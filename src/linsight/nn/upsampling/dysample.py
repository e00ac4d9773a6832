"""DySample: bilinear sampling at points that move with the content."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from linsight.nn.upsampling.base import FixedScale, zero_bias
from linsight.nn.upsampling.interpolation import Projected

__all__ = ["DySample"]


class DySample(FixedScale, Projected):
    """Bilinear interpolation of x at p + 0.25 offset(x), where p are the half-pixel centres of the fine grid.

    Liu, Lu, Fu, Cao 2023, arXiv 2308.15085 (style "lp"). A 1 x 1 convolution predicts two offsets, in pixels
    of x, for each phase of each group of channels; beyond the border is the border. Offsets of 0 are half-
    pixel bilinear interpolation, and the offsets begin near 0. Projected first where other channels are
    wanted. Parameters have the original's names and order, so that its weights fit.

    Args:
        groups: Groups of channels with points of their own, dividing out_channels; None for 4, 2 or 1, the
            most that divides.
        dynamic: p + 0.5 sigmoid(scope(x)) offset(x): how far is predicted too (the original's "+").

    Cost: O(scale^2 H W (groups in_channels + out_channels)).

    Raises:
        ValueError: Groups that do not divide the channels.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int | None = None,
        scale: int = 2,
        *,
        groups: int | None = None,
        dynamic: bool = False,
        allow_down: bool = False,
    ) -> None:
        super().__init__(in_channels, out_channels, scale, allow_down=allow_down)
        self.groups = math.gcd(self.out_channels, 4) if groups is None else groups
        if self.groups < 1 or self.out_channels % self.groups:
            raise ValueError(f"groups: expected a divisor of {self.out_channels} channels, got {groups}")
        number = 2 * self.groups * scale**2
        self.offset = nn.Conv2d(in_channels, number, 1)
        nn.init.normal_(self.offset.weight, std=1e-3)
        zero_bias(self.offset)
        self.scope = nn.Conv2d(in_channels, number, 1, bias=False) if dynamic else None
        if self.scope is not None:
            nn.init.zeros_(self.scope.weight)

    def grow(self, x: Tensor) -> Tensor:
        """Predict the points, sample there."""
        offset = self.offset(x)
        reach = 0.25 if self.scope is None else 0.5 * self.scope(x).sigmoid()
        points = self._points(offset * reach)
        y = self.project(x)
        dtype, (batch, channels) = y.dtype, y.shape[:2]
        y = y.reshape(batch * self.groups, channels // self.groups, *y.shape[2:]).to(points.dtype)
        y = F.grid_sample(y, points, mode="bilinear", padding_mode="border", align_corners=False)
        return y.reshape(batch, channels, *y.shape[2:]).to(dtype)

    def _points(self, offset: Tensor) -> Tensor:
        """Where to sample, `(batch * groups, scale H, scale W, 2)`, x before y, the image being [-1, 1]^2.

        Offsets are `(batch, 2 groups scale^2, H, W)`, x's before y's. Coordinates are float32 at least: a
        bfloat16 is wrong by a pixel beyond 256, and torch 2.13 then reads beyond the map.
        """
        batch, _, height, width = offset.shape
        r = self.scale
        exact = torch.promote_types(offset.dtype, torch.float32)
        grown = F.pixel_shuffle(offset, r).to(exact).view(batch, 2, self.groups, r * height, r * width)
        axes = []
        for axis, length in ((0, width), (1, height)):
            centres = (torch.arange(r * length, device=offset.device, dtype=exact) + 0.5) / r
            centres = centres if axis == 0 else centres[:, None]
            axes.append((grown[:, axis] + centres) * (2 / length) - 1)
        return torch.stack(axes, dim=-1).flatten(0, 1)
