"""Gated PixelCNN: a stack that looks up and a stack that looks to the left, without a blind spot."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from linsight.densities.convolutional import (
    ConvolutionalConfig,
    ConvolutionalDensity,
    Maps,
    start_embedding,
)

__all__ = ["GatedPixelCNN", "GatedPixelCNNConfig"]


@dataclass(frozen=True)
class GatedPixelCNNConfig(ConvolutionalConfig):
    """A gated PixelCNN is said by its size."""

    kind: Literal["gated_pixelcnn"] = "gated_pixelcnn"

    def build(self) -> "GatedPixelCNN":
        """The density."""
        return GatedPixelCNN(self)


class GatedPixelCNN(ConvolutionalDensity):
    """Two stacks of gated convolutions: v knows the rows up to its own, h the row to the left and v above.

    With gate(f, g) = tanh(f) sigmoid(g), the start's embedding s in every gate, W of size 1, n the kernel,

        u_r = V (n/2 + 1 rows, n columns)(v_(<= r)) + s_v,      v' = gate(u)
        h'  = h + W_out gate(H (1 row, n/2 + 1 columns)(h) + W_link u_(r - 1) + s_h)

    In the first layer both read the pixels, H ends before its own place, and nothing is added to what comes
    out: it would be the pixel itself.

    Cost: O(D channels^2 layers kernel^2) for an image in one pass, the same step by step, of which v is once
    for a row. The state keeps the rows that v still reads, what v says of the current row, and h in that row.

    van den Oord, Kalchbrenner, Vinyals, Espeholt, Graves, Kavukcuoglu 2016, "Conditional image generation
    with PixelCNN decoders", arXiv 1606.05328.
    """

    def __init__(self, config: GatedPixelCNNConfig) -> None:
        super().__init__(config, width=config.channels, outputs=config.layers * (2 * config.channels,))
        starts, sizes = self.classes + 1, list(zip(self.inputs, config.reaches, strict=True))
        self.down = nn.ModuleList(_Down(inputs, config.channels, reach, starts) for inputs, reach in sizes)
        self.across = nn.ModuleList(
            _Across(inputs, config.channels, reach if layer == 0 else reach + 1, starts)
            for layer, (inputs, reach) in enumerate(sizes)
        )

    def features(self, image, starts) -> Float[Tensor, "batch features height width"]:
        """Both stacks over whole maps; h gets what v knows of the row above."""
        reaches = self.config.reaches
        kept = tuple(
            image.new_zeros(len(image), channels, reach, self.width)
            for channels, reach in zip(self.inputs, reaches, strict=True)
        )
        links = self._down(image, kept, starts)[1]
        above = tuple(F.pad(link, (0, 0, 1, 0))[:, :, :-1] for link in links)
        first = F.pad(image, (reaches[0], 0))[..., :-1]
        return self._across(first, above, starts, lambda layer, h: F.pad(h, (reaches[layer], 0)))

    def below(self, kept, row, starts):
        """The v-stack over the row of pixels that is complete."""
        return self._down(row[0][..., self.config.first_kernel // 2 :], kept, starts)

    def column(self, row, above, starts):
        """The h-stack at one place."""
        row = list(row)

        def window(layer: int, h: Tensor) -> Tensor:
            row[layer] = torch.cat([row[layer], h], dim=3)
            return row[layer][..., -self.config.reaches[layer] - 1 :]

        features = self._across(row[0][..., -self.config.reaches[0] :], above, starts, window)
        return tuple(row), features

    def _down(self, pixels: Tensor, kept: Maps, starts: Tensor) -> tuple[Maps, Maps]:
        """The v-stack over rows of pixels under those that it kept; the rows to keep now, and its links."""
        now_kept, links, v = [], [], pixels
        for down, rows, reach in zip(self.down, kept, self.config.reaches, strict=True):
            seen = torch.cat([rows, v], dim=2)
            v, link = down(seen, starts)
            now_kept.append(seen[:, :, -reach:])
            links.append(link)
        return tuple(now_kept), tuple(links)

    def _across(
        self, first: Tensor, above: Maps, starts: Tensor, window: Callable[[int, Tensor], Tensor]
    ) -> Tensor:
        """The h-stack: `first` is what its first layer reads, `window` what a later layer reads of h."""
        h = self.across[0](first, above[0], starts)
        for layer in range(1, len(above)):
            h = h + self.across[layer](window(layer, h), above[layer], starts)
        return h


class _Down(nn.Module):
    """A layer of the v-stack."""

    def __init__(self, inputs: int, channels: int, reach: int, num_starts: int) -> None:
        super().__init__()
        self.conv = _gated_conv(inputs, channels, (reach + 1, 2 * reach + 1), padding=(0, reach))
        self.start = start_embedding(num_starts, 2 * channels)
        self.link = nn.Conv2d(2 * channels, 2 * channels, 1, bias=False)

    def forward(
        self, seen: Float[Tensor, "batch inputs seen width"], starts: Int[Tensor, " batch"]
    ) -> tuple[Float[Tensor, "batch channels rows width"], Float[Tensor, "batch outputs rows width"]]:
        """v of every row but the first ones, and what it says to h in the row below."""
        u = self.conv(seen) + self.start(starts)[..., None, None]
        return _gate(u), self.link(u)


class _Across(nn.Module):
    """A layer of the h-stack that reads this many columns."""

    def __init__(self, inputs: int, channels: int, columns: int, num_starts: int) -> None:
        super().__init__()
        self.conv = _gated_conv(inputs, channels, (1, columns))
        self.start = start_embedding(num_starts, 2 * channels)
        self.out = nn.Conv2d(channels, channels, 1)

    def forward(
        self,
        window: Float[Tensor, "batch inputs rows seen"],
        above: Float[Tensor, "batch outputs rows columns"],
        starts: Int[Tensor, " batch"],
    ) -> Float[Tensor, "batch channels rows columns"]:
        """What is added to h."""
        return self.out(_gate(self.conv(window) + above + self.start(starts)[..., None, None]))


def _gated_conv(
    inputs: int, channels: int, kernel: tuple[int, int], padding: tuple[int, int] = (0, 0)
) -> nn.Conv2d:
    """The convolution before a gate; v would fade from layer to layer at torch's own, smaller weights."""
    conv = nn.Conv2d(inputs, 2 * channels, kernel, padding=padding)
    nn.init.kaiming_normal_(conv.weight, nonlinearity="tanh")
    return conv


def _gate(u: Float[Tensor, "batch outputs rows columns"]) -> Float[Tensor, "batch channels rows columns"]:
    signal, gate = u.chunk(2, dim=1)
    return signal.tanh() * gate.sigmoid()
