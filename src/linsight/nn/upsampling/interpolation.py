"""Upsamplers that interpolate: nearest, bilinear, bicubic, and interpolation followed by a convolution."""

from typing import ClassVar, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from linsight.nn.upsampling.base import Upsampler, check_odd, zero_bias

__all__ = ["Bicubic", "Bilinear", "Nearest", "Projected", "ResizeConvolution", "resize"]

Mode = Literal["nearest", "bilinear", "bicubic"]


def resize(x: Tensor, size: tuple[int, int], mode: str = "bilinear") -> Tensor:
    """x at `size` by interpolation at half-pixel centres.

    `nearest` is floor((i + 1/2) H / H'), in integers, as is needed for masks and labels: torch calls it
    "nearest-exact" (with a rounded factor that at some sizes takes a neighbour), and its "nearest" is another
    rule. `bicubic` is torch's, with a = -0.75.
    """
    if mode == "nearest":
        rows, columns = (_nearest(n, wanted, x.device) for n, wanted in zip(x.shape[2:], size, strict=True))
        return x.index_select(2, rows).index_select(3, columns)
    return F.interpolate(x, size, mode=mode, align_corners=False)


def _nearest(length: int, wanted: int, device: torch.device) -> Tensor:
    places = torch.arange(wanted, device=device)
    return ((2 * places + 1) * length).div(2 * wanted, rounding_mode="floor")


class Projected(Upsampler):
    """An upsampler that keeps its channels, after a 1 x 1 convolution where others are wanted.

    Before the resampling the convolution has fewer pixels to do.
    """

    def __init__(
        self, in_channels: int, out_channels: int | None = None, scale: int = 2, *, allow_down: bool = False
    ) -> None:
        super().__init__(in_channels, out_channels, scale, allow_down=allow_down)
        same = self.out_channels == in_channels
        self.project = nn.Identity() if same else nn.Conv2d(in_channels, self.out_channels, 1)


class Interpolation(Projected):
    """Interpolation to any size. No parameters, unless channels are projected. Cost O(H' W' C)."""

    mode: ClassVar[Mode]

    def upsample(self, x, size, skip, indices):
        """Project, interpolate."""
        return resize(self.project(x), size, self.mode)


class Nearest(Interpolation):
    """y_i = x_floor((i + 1/2) H / H'), the only upsampler that takes maps of integers too."""

    mode = "nearest"
    takes_integers = True


class Bilinear(Interpolation):
    """The two nearest inputs of each axis, by their distances from u = (i + 1/2) H / H' - 1/2."""

    mode = "bilinear"


class Bicubic(Interpolation):
    """Cubic convolution with a = -0.75, torch's.

    Keys 1981, doi 10.1109/TASSP.1981.1163711. It overshoots: where x is in [0, 1], y need not be. At a = -0.5
    it would reproduce ramps; at -0.75 it is 0.047 off for a unit slope at scale 2.
    """

    mode = "bicubic"


class ResizeConvolution(Upsampler):
    """Interpolation, then a convolution: no position of the fine grid is treated unlike another.

    Odena, Dumoulin, Olah 2016, doi 10.23915/distill.00003. Initial weights are Kaiming's for the linear case.

    Args:
        kernel_size: Of the convolution, odd.
        mode: How to interpolate.
        padding_mode: As in `torch.nn.Conv2d`; `reflect` needs sizes above `kernel_size // 2`.

    Raises:
        ValueError: An even kernel; an unknown mode.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int | None = None,
        scale: int = 2,
        *,
        kernel_size: int = 3,
        mode: str = "nearest",
        padding_mode: Literal["zeros", "reflect", "replicate", "circular"] = "zeros",
        allow_down: bool = False,
    ) -> None:
        super().__init__(in_channels, out_channels, scale, allow_down=allow_down)
        check_odd("kernel_size", kernel_size)
        check_mode(mode)
        self.mode = mode
        self.conv = nn.Conv2d(
            in_channels, self.out_channels, kernel_size, padding=kernel_size // 2, padding_mode=padding_mode
        )
        nn.init.kaiming_normal_(self.conv.weight, nonlinearity="linear")
        zero_bias(self.conv)

    def upsample(self, x, size, skip, indices):
        """Interpolate, convolve."""
        return self.conv(resize(x, size, self.mode))


def check_mode(mode: str) -> None:
    """Refuse a mode of interpolation that is not there."""
    if mode not in get_args(Mode):
        raise ValueError(f"mode: expected one of {', '.join(get_args(Mode))}, got {mode!r}")
