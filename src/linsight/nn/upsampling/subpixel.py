"""Sub-pixel convolution: the fine grid as channels of the coarse one, free of patterns at first."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from linsight.nn.upsampling.base import FixedScale, check_odd, zero_bias

__all__ = ["SubPixel"]


class SubPixel(FixedScale):
    """PixelShuffle(conv(x)): a convolution makes scale^2 channels for each of y's, one for each phase.

    Shi et al. 2016, arXiv 1609.05158. With `icnr` (Aitken et al. 2017, arXiv 1707.02937) all phases begin
    with the same kernel, so that the layer begins as nearest interpolation after a convolution, bit for bit.
    The channel of phase (i, j) is c r^2 + i r + j: copies of a kernel lie next to one another.

    Args:
        kernel_size: Odd.
        icnr: Equal phases at the start; False: torch's initial values, whose pattern is nearly all that is
            seen of a constant map (`phase_pattern` 0.96).
        blur: Average each pixel with its upper and left neighbours after the shuffle (Sugawara et al. 2018,
            arXiv 1806.02658); a shift of half a pixel of the fine grid.

    Cost: O(kernel_size^2 in_channels out_channels scale^2 H W).

    Raises:
        ValueError: An even kernel.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int | None = None,
        scale: int = 2,
        *,
        kernel_size: int = 3,
        icnr: bool = True,
        blur: bool = False,
        allow_down: bool = False,
    ) -> None:
        super().__init__(in_channels, out_channels, scale, allow_down=allow_down)
        check_odd("kernel_size", kernel_size)
        self.icnr, self.blur = icnr, blur
        channels = self.out_channels * scale**2
        self.conv = nn.Conv2d(in_channels, channels, kernel_size, padding=kernel_size // 2)
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw the initial weights."""
        self.conv.reset_parameters()
        if self.icnr:
            one = torch.empty_like(self.conv.weight[: self.out_channels])
            nn.init.kaiming_normal_(one, nonlinearity="linear")
            self.conv.weight.copy_(one.repeat_interleave(self.scale**2, dim=0))
            zero_bias(self.conv)

    def grow(self, x: Tensor) -> Tensor:
        """Convolve, shuffle, and blur where asked."""
        y = F.pixel_shuffle(self.conv(x), self.scale)
        if not self.blur:
            return y
        return F.avg_pool2d(F.pad(y, (1, 0, 1, 0), mode="replicate"), 2, stride=1)
