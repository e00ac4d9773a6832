"""Max-pooling that remembers where its maxima were, and its inverse."""

from typing import ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from linsight.nn.upsampling.interpolation import Projected

__all__ = ["IndexedMaxPool", "MaxUnpool", "Pooled"]


class Pooled(NamedTuple):
    """A pooled map, where its maxima were (in the flattened map before), and the size of that map."""

    y: Tensor
    indices: Tensor
    size: tuple[int, int]


class IndexedMaxPool(nn.Module):
    """Max-pooling without padding: `y, indices, size = pool(x)`, what `MaxUnpool` needs to go back.

    Args:
        scale: The stride.
        kernel_size: Side of the windows; None for `scale`, windows that do not overlap.
        ceil_mode: Windows that reach over the border count too: size ceil(H / scale), and no pixel is lost.

    Raises:
        ValueError: Numbers below 1.

    Example:
        >>> y, indices, size = IndexedMaxPool(2)(torch.arange(25.0).view(1, 1, 5, 5))
        >>> y.flatten().tolist(), indices.flatten().tolist(), size
        ([6.0, 8.0, 16.0, 18.0], [6, 8, 16, 18], (5, 5))
    """

    def __init__(self, scale: int = 2, kernel_size: int | None = None, *, ceil_mode: bool = False) -> None:
        super().__init__()
        self.scale, self.kernel_size = scale, scale if kernel_size is None else kernel_size
        self.ceil_mode = ceil_mode
        for name in ("scale", "kernel_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: expected at least 1, got {getattr(self, name)}")

    def forward(self, x: Tensor) -> Pooled:
        """Pool x `(batch, channels, height, width)`."""
        y, indices = F.max_pool2d(
            x, self.kernel_size, self.scale, ceil_mode=self.ceil_mode, return_indices=True
        )
        return Pooled(y, indices, (x.shape[2], x.shape[3]))

    def extra_repr(self) -> str:
        """Stride and window."""
        return f"scale={self.scale}, kernel_size={self.kernel_size}, ceil_mode={self.ceil_mode}"


class MaxUnpool(Projected):
    """Every value goes to where its maximum was, and 0 to all other places: `up(x, size, indices=indices)`.

    Badrinarayanan, Kendall, Cipolla 2015, arXiv 1511.00561 (SegNet). The indices count in a map of one width,
    that of `size`: without it, an odd map's values would be put in wrong places, or beyond the end. So the
    indices are held against the windows that they came from.

    Args:
        scale: The pooling's stride.
        kernel_size: The pooling's window; None for `scale`.
        overlap: Of windows larger than `scale`, several may have had one maximum: `last` keeps the last of
            such values, None refuses such windows.

    `indices` must have `out_channels` channels. Cost: O(H' W' C). The gradient is a gather.

    Raises:
        ValueError: Overlapping windows without `overlap`; indices that are not those of a pooling of a map of
            this size. (Where values cannot be read, as in export, the indices are trusted.)
        TypeError: No indices.
    """

    uses_indices: ClassVar[bool] = True

    def __init__(
        self,
        in_channels: int,
        out_channels: int | None = None,
        scale: int = 2,
        *,
        kernel_size: int | None = None,
        overlap: str | None = None,
    ) -> None:
        super().__init__(in_channels, out_channels, scale)
        self.kernel_size = scale if kernel_size is None else kernel_size
        if self.kernel_size < 1:
            raise ValueError(f"kernel_size: expected at least 1, got {kernel_size}")
        if overlap not in (None, "last"):
            raise ValueError(f"overlap: expected None or 'last', got {overlap!r}")
        self.overlap = overlap
        if self.kernel_size > scale and overlap is None:
            raise ValueError(
                f"kernel_size: expected at most scale {scale}, got {kernel_size}: windows overlap, and one "
                "maximum may be that of several; overlap='last' keeps the last"
            )

    def upsample(self, x, size, skip, indices):
        """Scatter."""
        if indices is None:
            raise TypeError("indices: expected where the pooling found its maxima (IndexedMaxPool), got None")
        x = self.project(x)
        if indices.shape != x.shape or indices.dtype != torch.int64:
            raise ValueError(
                f"indices: expected int64 of shape {tuple(x.shape)}, "
                f"got {indices.dtype} of {tuple(indices.shape)}"
            )
        if not torch.compiler.is_compiling():
            self._check_indices(indices, size)
        places, values = indices.flatten(2), x.flatten(2)
        canvas = values.new_zeros(*values.shape[:2], size[0] * size[1])
        if self.kernel_size > self.scale:
            values = torch.where(_is_last(places, canvas.shape), values, 0)
        return canvas.scatter_add(2, places, values).unflatten(2, size)

    def _check_indices(self, indices: Tensor, size: tuple[int, int]) -> None:
        inside = (indices >= 0) & (indices < size[0] * size[1])
        for axis, place in ((2, indices.div(size[1], rounding_mode="floor")), (3, indices % size[1])):
            shape = [-1 if one == axis else 1 for one in range(4)]
            start = torch.arange(indices.shape[axis], device=indices.device).view(shape) * self.scale
            inside &= (place >= start) & (place < start + self.kernel_size)
        if not inside.all():
            wrong = indices[~inside][0].item()
            raise ValueError(
                f"indices: expected those of a pooling of a {size[0]} x {size[1]} map in windows of "
                f"{self.kernel_size}, {self.scale} apart, got {wrong} elsewhere; "
                "pass the size of the map that was pooled as size"
            )


def _is_last(places: Tensor, shape: torch.Size) -> Tensor:
    """Which values have no later one in the same place."""
    order = torch.arange(places.shape[2], device=places.device).expand_as(places)
    latest = order.new_full(shape, -1).scatter_reduce(2, places, order, "amax")
    return latest.gather(2, places) == order
