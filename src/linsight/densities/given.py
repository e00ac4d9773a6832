"""Known pixels of images, of which the others are to be drawn."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Integer
from torch import Tensor

from linsight.densities.base import check_images

__all__ = ["Given"]


class Given(NamedTuple):
    """The pixels of `images` where `mask` is True are known; what stands elsewhere is not looked at.

    `images` are `(n, height, width)` of 0 and 1; `mask` is one for all of them, `(height, width)` of bool.
    """

    images: Integer[Tensor, "batch height width"] | Bool[Tensor, "batch height width"]
    mask: Bool[Tensor, "height width"]

    def check(self, n: int, height: int, width: int) -> None:
        """Refuse whatever is not n binary images of this size with a mask."""
        check_images(self.images, height, width, name="given.images")
        if len(self.images) != n:
            raise ValueError(
                f"given.images: expected {n} images, as many as are drawn, got {len(self.images)}"
            )
        if self.mask.dtype != torch.bool or self.mask.shape != (height, width):
            raise ValueError(
                f"given.mask: expected bool of shape ({height}, {width}), got {self.mask.dtype} of "
                f"{tuple(self.mask.shape)}"
            )

    def rows(self, index: Tensor | slice) -> "Given":
        """The images of these rows."""
        return Given(self.images[index], self.mask)
