"""Where a map has its peak: its largest cell, a quarter beyond, the top of a Gaussian, its mean."""

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["argmax_peak", "dark_peak", "dark_peak_1d", "expectation", "largest", "quarter_peak"]

_TINY = 1e-10


def largest(maps: Tensor) -> Tensor:
    """The largest value of maps `(..., height, width)`: `(...)`."""
    return maps.flatten(-2).amax(-1)


def argmax_peak(maps: Tensor) -> Tensor:
    """(x, y) of the largest cell of maps `(..., height, width)`, whole numbers: `(..., 2)`."""
    column, row = _largest_cell(maps)
    return torch.stack([column, row], dim=-1).to(maps.dtype)


def quarter_peak(maps: Tensor) -> Tensor:
    """The largest cell, and a quarter of a cell towards the larger of its two neighbours on each axis.

    Xiao et al. 2018, arXiv 1804.06208. On the border of the map nothing is added on that axis.
    """
    height, width = maps.shape[-2:]
    column, row = _largest_cell(maps)
    read = _reader(maps, column, row)
    across = (read(1, 0) - read(-1, 0)).sign() * ((column > 0) & (column < width - 1))
    down = (read(0, 1) - read(0, -1)).sign() * ((row > 0) & (row < height - 1))
    return torch.stack([column + 0.25 * across, row + 0.25 * down], dim=-1).to(maps.dtype)


def dark_peak(maps: Tensor, *, blur: float = 0.0, clip: float = _TINY) -> Tensor:
    """The top of the Gaussian through the cells about the largest: exact for a Gaussian, wherever it stands.

    u - H^-1 g, with the gradient g and the Hessian H of the logarithm by central differences of step 1 (Zhang
    et al. 2020, DARK, arXiv 1910.06278; their code takes H from cells two apart). The shift is at most a cell
    on each axis. Where the 3 x 3 cells do not fit, or H is not that of a maximum, it is `argmax_peak`.

    Args:
        maps: `(..., height, width)`, at least 3 x 3.
        blur: Sigma in cells of a Gaussian blur before, of 2.5 sigma radius, for maps that a network has made.
        clip: Values below it count as this.

    Raises:
        ValueError: Smaller maps; a blur below 0.
    """
    height, width = maps.shape[-2:]
    if height < 3 or width < 3:
        raise ValueError(f"maps: expected at least 3 x 3 cells for DARK, got {height} x {width}")
    if not blur >= 0:
        raise ValueError(f"blur: expected a number of cells of at least 0, got {blur}")
    column, row = _largest_cell(maps)
    interior = (column > 0) & (column < width - 1) & (row > 0) & (row < height - 1)
    smooth = _blurred(maps, blur) if blur else maps
    # Only nine cells are needed, so the logarithm is taken after they are read.
    read = _reader(smooth, column.clamp(1, width - 2), row.clamp(1, height - 2))
    log = {(i, j): read(i, j).clamp(min=clip).log() for i in (-1, 0, 1) for j in (-1, 0, 1)}
    gx, gy = 0.5 * (log[1, 0] - log[-1, 0]), 0.5 * (log[0, 1] - log[0, -1])
    hxx = log[1, 0] - 2 * log[0, 0] + log[-1, 0]
    hyy = log[0, 1] - 2 * log[0, 0] + log[0, -1]
    hxy = 0.25 * (log[1, 1] - log[1, -1] - log[-1, 1] + log[-1, -1])
    det = hxx * hyy - hxy * hxy
    valid = interior & (det > 0) & (hxx < 0)
    safe = torch.where(valid, det, 1.0)
    across = -(hyy * gx - hxy * gy) / safe
    down = -(hxx * gy - hxy * gx) / safe
    shift = torch.stack([across, down], dim=-1).clamp(-1, 1)
    cell = torch.stack([column, row], dim=-1).to(maps.dtype)
    return cell + torch.where(valid[..., None], shift, 0.0)


def dark_peak_1d(values: Tensor, *, clip: float = _TINY) -> Tensor:
    """The same over one axis: the top of `(..., bins)`, at least 3 of them: `(...)`."""
    if values.shape[-1] < 3:
        raise ValueError(f"values: expected at least 3 bins for DARK, got {values.shape[-1]}")
    top = values.argmax(-1, keepdim=True)
    middle = top.clamp(1, values.shape[-1] - 2)
    low, at, high = (values.gather(-1, middle + step).clamp(min=clip).log() for step in (-1, 0, 1))
    bend = high - 2 * at + low
    valid = (middle == top) & (bend < 0)
    shift = (-0.5 * (high - low) / torch.where(valid, bend, 1.0)).clamp(-1, 1)
    return (top.to(values.dtype) + torch.where(valid, shift, 0.0)).squeeze(-1)


def expectation(probability: Tensor) -> Tensor:
    """The mean (x, y) in cells of maps `(..., height, width)` that sum to 1: `(..., 2)`."""
    rows, columns = (
        torch.arange(number, dtype=probability.dtype, device=probability.device)
        for number in probability.shape[-2:]
    )
    x = (probability.sum(-2) * columns).sum(-1)
    y = (probability.sum(-1) * rows).sum(-1)
    return torch.stack([x, y], dim=-1)


def _largest_cell(maps: Tensor) -> tuple[Tensor, Tensor]:
    place = maps.flatten(-2).argmax(-1)
    width = maps.shape[-1]
    return place % width, torch.div(place, width, rounding_mode="floor")


def _reader(maps: Tensor, column: Tensor, row: Tensor):
    """A function of (dx, dy) that reads the cell so far from (column, row), or the border's."""
    height, width = maps.shape[-2:]
    flat = maps.flatten(-2)

    def read(dx: int, dy: int) -> Tensor:
        place = (row + dy).clamp(0, height - 1) * width + (column + dx).clamp(0, width - 1)
        return flat.gather(-1, place[..., None])[..., 0]

    return read


def _blurred(maps: Tensor, sigma: float) -> Tensor:
    """Of maps (..., height, width), zero outside. A factor on a map changes no derivative of its log."""
    radius = max(1, int(2.5 * sigma + 0.5))
    line = torch.arange(-radius, radius + 1, dtype=maps.dtype, device=maps.device)
    kernel = (-0.5 * (line / sigma).square()).exp()
    kernel = kernel / kernel.sum()
    flat = maps.reshape(-1, 1, *maps.shape[-2:])
    flat = F.conv2d(flat, kernel.view(1, 1, 1, -1), padding=(0, radius))
    return F.conv2d(flat, kernel.view(1, 1, -1, 1), padding=(radius, 0)).reshape(maps.shape)
