"""Maps over a crop: where a place falls in them, by four conventions, and the Gaussian drawn there."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from linsight.models.vision.codecs.space import Pixels

__all__ = ["Convention", "Grid", "gaussian_maps"]

Convention = Literal["half_pixel", "udp", "stride", "rounded"]


@dataclass(frozen=True)
class Grid:
    """A map of (height, width) cells over a crop, each `stride` pixels wide.

    Cell centres are whole numbers u. A pixel x of a crop of W pixels is at

    * `half_pixel`: (x + 1/2) / s - 1/2, the cell's area being that of its pixels;
    * `udp`: x (W / s - 1) / (W - 1), the outermost centres aligned (Huang et al. 2020, arXiv 1911.07524);
    * `stride`: x / s (Zhang et al. 2020, arXiv 1910.06278): half-pixel, moved by (s - 1) / (2 s);
    * `rounded`: floor(x / s + 1/2), which no decoder can undo (Xiao et al. 2018, arXiv 1804.06208).

    Raises:
        ValueError: An unknown convention; sides that the stride does not divide; points in space; a map of
            one cell with `udp`.
    """

    crop: Pixels
    stride: int = 4
    convention: Convention = "half_pixel"

    def __post_init__(self) -> None:
        """Refuse what has no map."""
        if self.convention not in get_args(Convention):
            known = ", ".join(get_args(Convention))
            raise ValueError(f"convention: expected one of {known}, got {self.convention!r}")
        if self.crop.dim != 2:
            raise ValueError("space: expected a plane for maps, got a crop with depth")
        width, height = self.crop.width, self.crop.height
        if self.stride < 1 or width % self.stride or height % self.stride:
            raise ValueError(f"stride: expected a divisor of {width} and {height}, got {self.stride}")
        if self.convention == "udp" and min(self.size) < 2:
            raise ValueError(f"stride: expected a map of at least 2 x 2 for 'udp', got {self.size}")

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the map."""
        return self.crop.height // self.stride, self.crop.width // self.stride

    def to_cells(self, points: Tensor) -> Tensor:
        """(x, y) in cells of (x, y) in pixels."""
        if self.convention == "half_pixel":
            return (points + 0.5) / self.stride - 0.5
        if self.convention == "udp":
            return points * self._udp(points)
        cells = points / self.stride
        return (cells + 0.5).floor() if self.convention == "rounded" else cells

    def to_pixels(self, cells: Tensor) -> Tensor:
        """(x, y) in pixels of (x, y) in cells; of a rounded place, of the rounded one."""
        if self.convention == "half_pixel":
            return (cells + 0.5) * self.stride - 0.5
        if self.convention == "udp":
            return cells / self._udp(cells)
        return cells * self.stride

    def _udp(self, like: Tensor) -> Tensor:
        height, width = self.size
        sides = [(width - 1) / (self.crop.width - 1), (height - 1) / (self.crop.height - 1)]
        return torch.tensor(sides, dtype=like.dtype, device=like.device)


def gaussian_maps(centres: Tensor, size: Sequence[int], sigma: float, *, cut: float | None = None) -> Tensor:
    """exp(-|cell - centre|^2 / (2 sigma^2)) of every cell: peak 1, not normalised.

    The maps of several instances of one joint are joined by the elementwise maximum.

    Args:
        centres: (..., 2), (x, y) in cells.
        size: (height, width) of the map.
        sigma: In cells.
        cut: 0 beyond this many sigmas from the centre on either axis; None for nowhere.

    Returns:
        (..., height, width). Time and memory O(height width) a map.

    Raises:
        ValueError: sigma not above 0.
    """
    if not sigma > 0:
        raise ValueError(f"sigma: expected a number of cells above 0, got {sigma}")
    height, width = size
    profiles = []
    for axis, number in ((0, width), (1, height)):
        distance = torch.arange(number, dtype=centres.dtype, device=centres.device) - centres[..., axis, None]
        profile = (-0.5 * (distance / sigma).square()).exp()
        profiles.append(profile if cut is None else profile * (distance.abs() <= cut * sigma))
    return profiles[1][..., :, None] * profiles[0][..., None, :]
