"""CARAFE: each output pixel has a kernel of its own, predicted from the content."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from linsight import ops
from linsight.nn.upsampling.base import FixedScale, check_odd, zero_bias
from linsight.nn.upsampling.interpolation import Projected

__all__ = ["Carafe"]


class Carafe(FixedScale, Projected):
    """y[c, i, j] = sum of w[(m, n), i, j] x[c, i / r + m, j / r + n] over a window, w by softmax.

        w = softmax_(m, n) pixel_shuffle(encode(compress(x)))

    Wang, Chen, Xu, Liu, Loy, Lin 2019, arXiv 1905.02188. Kernels w are predicted by two convolutions, from
    few channels, and shared by all channels of x. They begin almost uniform: a box blur of nearest. Weights
    sum to 1, so that a constant stays constant but for the window's reach at the border, where the original
    sees zeros. Projected first where other channels are wanted.

    Args:
        window: Side of the window, odd.
        compressed: Channels from which kernels are predicted.
        encoder_size: Of the convolution that predicts them, odd.
        renormalise: Leave what is beyond the border out of the sums, so that constants stay at the border.

    Cost: O(scale^2 window^2 H W (encoder_size^2 compressed + out_channels)), without window^2 copies of x.

    Raises:
        ValueError: Even windows; numbers below 1.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int | None = None,
        scale: int = 2,
        *,
        window: int = 5,
        compressed: int = 64,
        encoder_size: int = 3,
        renormalise: bool = False,
        allow_down: bool = False,
    ) -> None:
        super().__init__(in_channels, out_channels, scale, allow_down=allow_down)
        check_odd("window", window)
        check_odd("encoder_size", encoder_size)
        if compressed < 1:
            raise ValueError(f"compressed: expected at least 1, got {compressed}")
        self.renormalise = renormalise
        self.compress = nn.Conv2d(in_channels, compressed, 1)
        self.encode = nn.Conv2d(compressed, window**2 * scale**2, encoder_size, padding=encoder_size // 2)
        nn.init.xavier_uniform_(self.compress.weight)
        nn.init.normal_(self.encode.weight, std=1e-3)
        zero_bias(self.compress, self.encode)

    def grow(self, x: Tensor) -> Tensor:
        """Predict the kernels, reassemble."""
        weights = F.pixel_shuffle(self.encode(self.compress(x)), self.scale).softmax(1)
        y = ops.reassemble(self.project(x), weights)
        if not self.renormalise:
            return y
        return y / ops.reassemble(torch.ones_like(x[:, :1]), weights)
