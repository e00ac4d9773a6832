"""Small parts of networks on maps: a norm of each pixel, and padding to even sizes."""

import torch.nn.functional as F
from torch import Tensor, nn

from linsight.nn import LayerNorm

__all__ = ["ChannelNorm", "convolve", "padded_to_even", "require_channels"]


class ChannelNorm(LayerNorm):
    """Layer norm over the channels of each pixel of a map `(batch, channels, height, width)`, without a bias.

    No pixel knows the size of the image by it, nor the other images of the batch.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(channels, bias=False)

    def forward(self, input: Tensor) -> Tensor:
        """The norm."""
        return super().forward(input.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def convolve(in_channels: int, out_channels: int) -> nn.Sequential:
    """A 3 x 3 convolution, its norm, and GELU."""
    conv = nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False)
    return nn.Sequential(conv, ChannelNorm(out_channels), nn.GELU())


def padded_to_even(x: Tensor) -> Tensor:
    """The last row and column once more where their number is odd: halves are then rounded up."""
    rows, columns = x.shape[2] % 2, x.shape[3] % 2
    return F.pad(x, (0, columns, 0, rows), mode="replicate") if rows or columns else x


def require_channels(images: Tensor, channels: int) -> None:
    """Refuse images `(batch, channels, height, width)` of another number of channels."""
    if images.shape[1] != channels:
        raise ValueError(f"images: expected {channels} channels on axis 1, got {tuple(images.shape)}")
