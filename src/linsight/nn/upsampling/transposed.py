"""Transposed convolution, with settings and initial values that keep the geometry."""

from typing import Literal, get_args

import torch
from torch import Tensor, nn

from linsight.nn.upsampling.base import FixedScale, zero_bias
from linsight.nn.upsampling.interpolation import Projected

__all__ = ["BilinearDeconvolution", "TransposedConvolution", "bilinear_kernel", "transposed_size"]

Init = Literal["default", "bilinear", "equal_phase"]


def transposed_size(
    size: int, kernel_size: int, stride: int, padding: int = 0, output_padding: int = 0, dilation: int = 1
) -> int:
    """Outputs of a transposed convolution along one axis.

    (size - 1) stride - 2 padding + dilation (kernel_size - 1) + output_padding + 1
    """
    return (size - 1) * stride - 2 * padding + dilation * (kernel_size - 1) + output_padding + 1


def bilinear_kernel(scale: int) -> Tensor:
    """The weights `(k,)` along one axis that make a transposed convolution of this stride bilinear.

        w_i = 1 - |i - c| / f,   k = 2 scale - scale mod 2,  f = (k + 1) // 2,  c = (k - 1) / 2

    Long, Shelhamer, Darrell 2015, arXiv 1411.4038 (their code). Scale 2: 1/4, 3/4, 3/4, 1/4.
    """
    k = 2 * scale - scale % 2
    return 1 - (torch.arange(k) - (k - 1) / 2).abs() / ((k + 1) // 2)


class TransposedConvolution(FixedScale):
    """Every input paints its kernel, `scale` apart, and overlaps add: the transpose of a strided convolution.

    Zeiler, Krishnan, Taylor, Fergus 2010, doi 10.1109/CVPR.2010.5539957; Long, Shelhamer, Darrell 2015, arXiv
    1411.4038. Where `scale` does not divide the kernel, outputs get unequally many inputs. Where it does,
    the outputs still have weights of their own phase by phase, and so a grid pattern at the usual initial
    values: only `equal_phase` and `bilinear` begin without.

    Args:
        kernel_size: At least `scale`; None for `scale`.
        init: `default`, torch's; `equal_phase`, the same weights for each of the scale^2 phases (the kernel a
            multiple of `scale`), so that it begins as nearest after a convolution; `bilinear`, for which the
            channels must be equal and kernel_size 2 scale - scale mod 2: half-pixel bilinear, except for the
            outermost scale // 2 pixels, where zeros are seen beyond the border.

    The padding is what centres the kernel and gives `scale` times the size: with 2 x 2 it is 0, with 4 x 4 it
    is 1, with 3 x 3 it is 1 with an output padding of 1, which is off centre by half a pixel.

    Raises:
        ValueError: A kernel below `scale`, or that `init` cannot have; an unknown `init`.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int | None = None,
        scale: int = 2,
        *,
        kernel_size: int | None = None,
        init: str = "default",
        allow_down: bool = False,
    ) -> None:
        super().__init__(in_channels, out_channels, scale, allow_down=allow_down)
        kernel_size = scale if kernel_size is None else kernel_size
        if kernel_size < scale:
            raise ValueError(f"kernel_size: expected at least scale {scale}, got {kernel_size}")
        if scale == 1 and kernel_size % 2 == 0:
            raise ValueError(f"kernel_size: expected an odd number at scale 1, got {kernel_size}")
        padding = (kernel_size - scale + 1) // 2
        self.conv = nn.ConvTranspose2d(
            in_channels,
            self.out_channels,
            kernel_size,
            stride=scale,
            padding=padding,
            output_padding=scale - transposed_size(1, kernel_size, scale, padding),
        )
        self.init = init
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw or set the initial weights."""
        weight, scale = self.conv.weight, self.scale
        k = weight.shape[-1]
        if self.init not in get_args(Init):
            raise ValueError(f"init: expected one of {', '.join(get_args(Init))}, got {self.init!r}")
        self.conv.reset_parameters()
        if self.init == "equal_phase":
            if k % scale:
                raise ValueError(
                    f"kernel_size: expected a multiple of scale {scale} with init 'equal_phase', got {k}"
                )
            one = weight[:, :, ::scale, ::scale]
            weight.copy_(one.repeat_interleave(scale, 2).repeat_interleave(scale, 3))
        elif self.init == "bilinear":
            taps = bilinear_kernel(scale).to(weight)
            if k != len(taps) or self.in_channels != self.out_channels:
                raise ValueError(
                    f"init 'bilinear': expected kernel_size {len(taps)} and equal channels, got {k} and "
                    f"{self.in_channels} -> {self.out_channels}"
                )
            eye = torch.eye(self.in_channels).to(weight)
            weight.copy_(eye[:, :, None, None] * torch.outer(taps, taps))
            zero_bias(self.conv)

    def grow(self, x: Tensor) -> Tensor:
        """The transposed convolution."""
        return self.conv(x)


class BilinearDeconvolution(FixedScale, Projected):
    """FCN's: a transposed convolution that begins as bilinear, after a projection where one is needed.

    Long, Shelhamer, Darrell 2015, arXiv 1411.4038. Kernel 2 scale - scale mod 2; see `TransposedConvolution`.
    """

    def __init__(
        self, in_channels: int, out_channels: int | None = None, scale: int = 2, *, allow_down: bool = False
    ) -> None:
        super().__init__(in_channels, out_channels, scale, allow_down=allow_down)
        kernel_size = 2 * scale - scale % 2
        self.deconv = TransposedConvolution(
            self.out_channels, None, scale, kernel_size=kernel_size, init="bilinear"
        )

    def grow(self, x: Tensor) -> Tensor:
        """Project, paint."""
        return self.deconv.grow(self.project(x))
