"""The four upsampling layers of `torch.nn` by name, as they are."""

import torch.nn.functional as F
from torch import nn

from linsight.nn.upsampling.base import FixedScale
from linsight.nn.upsampling.interpolation import Projected

__all__ = ["PixelShuffle", "TorchBilinear", "TorchNearest", "TorchUpsample"]


class PixelShuffle(FixedScale):
    """`torch.nn.PixelShuffle`: y[c, r h + i, r w + j] = x[c r^2 + i r + j, h, w].

    Shi et al. 2016, arXiv 1609.05158. No parameters where x has r^2 times the channels of y; else a 1 x 1
    convolution makes them first.

    Args:
        out_channels: Of y; None for in_channels / scale^2, which is torch's layer alone.
        project: Whether the convolution may be added.

    Raises:
        ValueError: Channels that do not fit, and no projection.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int | None = None,
        scale: int = 2,
        *,
        project: bool = True,
        allow_down: bool = False,
    ) -> None:
        if out_channels is None:
            if in_channels % scale**2:
                raise ValueError(
                    f"in_channels: expected a multiple of scale^2 = {scale**2}, got {in_channels}; "
                    "with out_channels, a projection makes the channels"
                )
            out_channels = in_channels // scale**2
        super().__init__(in_channels, out_channels, scale, allow_down=allow_down)
        needed = out_channels * scale**2
        if needed != in_channels and not project:
            raise ValueError(
                f"in_channels: expected out_channels scale^2 = {needed} with project=False, got {in_channels}"
            )
        self.project = nn.Identity() if needed == in_channels else nn.Conv2d(in_channels, needed, 1)
        self.shuffle = nn.PixelShuffle(scale)

    def grow(self, x):
        """Project, shuffle."""
        return self.shuffle(self.project(x))


class TorchUpsample(Projected):
    """`torch.nn.Upsample(size=..., mode=mode, align_corners=align_corners)`, with torch's defaults.

    The size is always passed as integers: `recompute_scale_factor` and fractional factors do not come up.

    Args:
        mode: `nearest` (the default, floor(i H / H')), `nearest-exact`, `bilinear`, `bicubic`.
        align_corners: For `bilinear` and `bicubic`; None is False.

    Raises:
        ValueError: An unknown mode; align_corners with a nearest one.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int | None = None,
        scale: int = 2,
        *,
        mode: str = "nearest",
        align_corners: bool | None = None,
        allow_down: bool = False,
    ) -> None:
        super().__init__(in_channels, out_channels, scale, allow_down=allow_down)
        modes = ("nearest", "nearest-exact", "bilinear", "bicubic")
        if mode not in modes:
            raise ValueError(f"mode: expected one of {', '.join(modes)}, got {mode!r}")
        if align_corners is not None and mode.startswith("nearest"):
            raise ValueError(f"align_corners: expected None with mode {mode!r}, got {align_corners}")
        self.mode, self.align_corners = mode, align_corners

    def upsample(self, x, size, skip, indices):
        """Project, and what the layer of torch does."""
        return F.interpolate(self.project(x), size, mode=self.mode, align_corners=self.align_corners)


class TorchNearest(TorchUpsample):
    """`torch.nn.UpsamplingNearest2d`: floor(i H / H'), off by half a pixel where H' / H is no integer."""

    def __init__(
        self, in_channels: int, out_channels: int | None = None, scale: int = 2, *, allow_down: bool = False
    ) -> None:
        super().__init__(in_channels, out_channels, scale, mode="nearest", allow_down=allow_down)


class TorchBilinear(TorchUpsample):
    """`torch.nn.UpsamplingBilinear2d`: corner-aligned, u = i (H - 1) / (H' - 1), unlike `Upsample`."""

    def __init__(
        self, in_channels: int, out_channels: int | None = None, scale: int = 2, *, allow_down: bool = False
    ) -> None:
        super().__init__(
            in_channels, out_channels, scale, mode="bilinear", align_corners=True, allow_down=allow_down
        )
