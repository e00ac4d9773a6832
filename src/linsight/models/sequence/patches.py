"""Binary images as sequences of patches: a patch of bits is one token."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

__all__ = ["Patches"]


@dataclass(frozen=True)
class Patches:
    """How images of height x width pixels are cut into patches of `rows` x `columns`, in raster order.

    A patch of n pixels is a token of 2^n values: its pixel i, row by row, is bit i.
    """

    height: int
    width: int
    rows: int
    columns: int

    @property
    def grid(self) -> tuple[int, int]:
        """Patches in a column and in a row of the image."""
        return self.height // self.rows, self.width // self.columns

    @property
    def number(self) -> int:
        """Patches of an image."""
        return self.grid[0] * self.grid[1]

    @property
    def vocabulary(self) -> int:
        """Values of a token."""
        return 2 ** (self.rows * self.columns)

    @property
    def order(self) -> Int[Tensor, " pixels"]:
        """The raster index of every pixel, in the order of the sequence."""
        return self._cut(torch.arange(self.height * self.width).view(1, self.height, self.width)).flatten()

    @property
    def pixels(self) -> Float[Tensor, "vocabulary bits"]:
        """The pixels of every token's patch as -1 and 1: the features of its value."""
        values = torch.arange(self.vocabulary)[:, None]
        return 2.0 * ((values >> self._bits(values)) & 1) - 1.0

    def to_tokens(self, x: Tensor) -> Int[Tensor, "batch patches"]:
        """Images `(batch, height, width)` of 0 and 1 to tokens."""
        return (self._cut(x).long() << self._bits(x)).sum(-1)

    def to_images(self, tokens: Tensor) -> UInt8[Tensor, "batch height width"]:
        """Tokens `(batch, patches)` to images, the inverse of `to_tokens`."""
        bits = (tokens[..., None] >> self._bits(tokens)) & 1
        bits = bits.view(-1, *self.grid, self.rows, self.columns).transpose(2, 3)
        return bits.reshape(-1, self.height, self.width).to(torch.uint8)

    def _bits(self, like: Tensor) -> Int[Tensor, " bits"]:
        return torch.arange(self.rows * self.columns, device=like.device)

    def _cut(self, x: Tensor) -> Tensor:
        """`(batch, height, width)` to `(batch, patches, pixels of a patch)`."""
        down, across = self.grid
        x = x.reshape(-1, down, self.rows, across, self.columns).transpose(2, 3)
        return x.reshape(-1, self.number, self.rows * self.columns)
