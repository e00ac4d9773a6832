"""PixelCNN: a stack of masked convolutions."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from linsight.densities.convolutional import ConvolutionalConfig, ConvolutionalDensity, start_embedding

__all__ = ["MaskedConv2d", "PixelCNN", "PixelCNNConfig"]


@dataclass(frozen=True)
class PixelCNNConfig(ConvolutionalConfig):
    """A PixelCNN is said by its size; between its blocks run 2 * `channels`."""

    kind: Literal["pixelcnn"] = "pixelcnn"

    def build(self) -> "PixelCNN":
        """The density."""
        return PixelCNN(self)


class PixelCNN(ConvolutionalDensity):
    """Masked convolutions in residual blocks, the first of which does not see the pixel itself.

    With C_A and C_B the masked convolutions of types A and B, W of size 1, E_l[s] the start in every layer,

        x = C_A(pixels) + E_0[s]
        x = x + W_out relu(C_B(relu(W_in relu(x))) + E_l[s])        layers - 1 times

    The stack has a blind spot: from one row to the next it sees only `kernel // 2` columns further to the
    right, however many layers there are (`GatedPixelCNN` has none).

    Cost: O(D channels^2 layers kernel^2) for an image in one pass, the same step by step. The state keeps
    the inputs of all convolutions in the current row and in those above that they still read.

    van den Oord, Kalchbrenner, Kavukcuoglu 2016, "Pixel recurrent neural networks", arXiv 1601.06759.
    """

    masked: Sequence["MaskedConv2d"]

    def __init__(self, config: PixelCNNConfig) -> None:
        narrow, wide, blocks = config.channels, 2 * config.channels, config.layers - 1
        super().__init__(config, width=wide, outputs=(wide, *blocks * (narrow,)))
        first = MaskedConv2d(1, wide, config.first_kernel, centre=False)
        later = (MaskedConv2d(narrow, narrow, config.kernel, centre=True) for _ in range(blocks))
        self.masked = nn.ModuleList([first, *later])  # pyright: ignore[reportAttributeAccessIssue]
        self.into = nn.ModuleList(nn.Conv2d(wide, narrow, 1) for _ in range(blocks))
        self.out = nn.ModuleList(nn.Conv2d(narrow, wide, 1) for _ in range(blocks))
        self.start = nn.ModuleList(start_embedding(self.classes + 1, channels) for channels in self.outputs)

    def features(self, image, starts) -> Float[Tensor, "batch features height width"]:
        """The masked convolutions over whole maps."""
        return self._blocks(self.masked[0](image), starts, lambda layer, x: self.masked[layer](x))

    def below(self, kept, row, starts):
        """Every layer's own row joins those above it."""
        kept = tuple(
            torch.cat([rows, own[..., reach:]], dim=2)[:, :, -reach:]
            for rows, own, reach in zip(kept, row, self.config.reaches, strict=True)
        )
        return kept, tuple(masked.above(rows) for masked, rows in zip(self.masked, kept, strict=True))

    def column(self, row, above, starts):
        """The masked convolutions at one place: what lies above was read once for the row."""
        row = list(row)

        def convolve(layer: int, x: Tensor) -> Tensor:
            row[layer] = torch.cat([row[layer], x], dim=3)
            return above[layer] + self.masked[layer].left(row[layer])

        features = self._blocks(above[0] + self.masked[0].left(row[0]), starts, convolve)
        return tuple(row), features

    def _blocks(self, x: Tensor, starts: Tensor, convolve: Callable[[int, Tensor], Tensor]) -> Tensor:
        """All that follows the first convolution; `convolve` is the masked convolution of a layer."""
        biases = [start(starts)[..., None, None] for start in self.start]
        x = x + biases[0]
        for layer, (into, out) in enumerate(zip(self.into, self.out, strict=True), start=1):
            x = x + out((convolve(layer, into(x.relu()).relu()) + biases[layer]).relu())
        return x


class MaskedConv2d(nn.Module):
    """A convolution that sees the rows above and its row's columns to the left, `centre` included or not.

    Type A of the paper is without the centre, type B with it. The mask is applied to the weight in each call;
    entries that no one may read stay what they are.

    Args:
        inputs, outputs: Channels.
        kernel: Rows and columns of the weight, odd.
        centre: Whether an output sees the input at its own place.
    """

    mask: Tensor

    def __init__(self, inputs: int, outputs: int, kernel: int, *, centre: bool) -> None:
        super().__init__()
        self.reach, self.columns = kernel // 2, kernel // 2 + centre
        self.weight = nn.Parameter(torch.empty(outputs, inputs, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(outputs))
        mask = torch.zeros(kernel, kernel)
        mask[: self.reach] = 1
        mask[self.reach, : self.columns] = 1
        self.register_buffer("mask", mask, persistent=False)
        nn.init.normal_(self.weight, std=(2 / (inputs * mask.sum().item())) ** 0.5)

    def forward(self, x: Float[Tensor, "batch inputs height width"]) -> Tensor:
        """At all places of whole maps."""
        return F.conv2d(x, self.weight * self.mask, self.bias, padding=self.reach)

    def above(
        self, kept: Float[Tensor, "batch inputs reach width"]
    ) -> Float[Tensor, "batch outputs 1 width"]:
        """What the rows above say of a row; without the bias."""
        return F.conv2d(kept, self.weight[:, :, : self.reach], padding=(0, self.reach))

    def left(self, row: Float[Tensor, "batch inputs 1 columns"]) -> Float[Tensor, "batch outputs 1 1"]:
        """What the row says of its next place, or of its last where the centre is seen; with the bias."""
        own = self.weight[:, :, self.reach : self.reach + 1, : self.columns]
        return F.conv2d(row[..., -self.columns :], own, self.bias)
