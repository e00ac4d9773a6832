"""Polygons as COCO fills them: the outline on a grid five times finer, read off column by column."""

import numpy as np
from jaxtyping import Float64, Int64

from linsight.data.annotations.rle import RunLengths, from_borders, union

__all__ = ["from_polygon", "from_polygons"]

_FINER = 5
MAX_OUTLINE = 2**24
"""Points of a fine outline: what a polygon may cost."""


def from_polygons(polygons: list[Float64[np.ndarray, "points 2"]], size: tuple[int, int]) -> RunLengths:
    """The union of the polygons. Raises what `from_polygon` raises, and ValueError for no polygon."""
    if not polygons:
        raise ValueError("polygons: expected at least one, got none")
    return union([from_polygon(points, size) for points in polygons])


def from_polygon(points: Float64[np.ndarray, "points 2"], size: tuple[int, int]) -> RunLengths:
    """The mask of a polygon of (x, y), by the rule of COCO's own tools (cocoapi, `rleFrPoly`), bit by bit.

    Each corner is rounded to a grid five times finer; each side is walked along its longer axis, the other
    coordinate rounded. Where the walk crosses the middle line of a column of pixels, the column's value
    changes from the crossing's row on (rounded up). A place that is crossed an even number of times does not
    change. Cost: five times the length of the outline, at most 2^24 points.

    Raises ValueError for fewer than three points, NaN or infinite coordinates, or a longer outline.
    """
    height, width = size
    if len(points) < 3:
        raise ValueError(f"polygon: expected at least 3 points, got {len(points)}")
    if not np.isfinite(points).all():
        row, axis = np.argwhere(~np.isfinite(points))[0]
        raise ValueError(f"polygon: expected finite coordinates, got {points[row, axis]} at point {row}")
    if np.abs(points).max() > MAX_OUTLINE / _FINER:
        raise ValueError(f"polygon: expected coordinates of the image, got {np.abs(points).max():g}")
    corners = np.trunc(_FINER * points + 0.5).astype(np.int64)
    x, y = _outline(corners)
    # Steps to another column of the fine grid; the crossing is between the two.
    moved = np.flatnonzero(x[1:] != x[:-1])
    fine = np.where(x[moved + 1] < x[moved], x[moved + 1], x[moved + 1] - 1)
    column = (fine + 0.5) / _FINER - 0.5
    kept = (np.floor(column) == column) & (column >= 0) & (column <= width - 1)
    fine_row = np.minimum(y[moved], y[moved + 1])[kept]
    row = np.ceil(np.clip((fine_row + 0.5) / _FINER - 0.5, 0, height))
    places = np.sort(column[kept].astype(np.int64) * height + row.astype(np.int64))
    unique, times = np.unique(places, return_counts=True)
    return from_borders(unique[times % 2 == 1], size)


def _outline(
    corners: Int64[np.ndarray, "corners 2"],
) -> tuple[Int64[np.ndarray, "n"], Int64[np.ndarray, "n"]]:
    """The points of the walk along every side, both ends included."""
    start, end = corners, np.roll(corners, -1, axis=0)
    run = np.abs(end - start)
    length = run.max(1)
    if length.sum() + len(length) > MAX_OUTLINE:
        raise ValueError(
            f"polygon: expected an outline of at most {MAX_OUTLINE // _FINER} pixels, "
            f"got one of {int(length.sum()) // _FINER}"
        )
    flat = run[:, 0] >= run[:, 1]
    # A side is computed from its lower end on the longer axis, so that both directions give one line.
    axis = np.where(flat, 0, 1)
    index = np.arange(len(start))
    swapped = start[index, axis] > end[index, axis]
    low = np.where(swapped[:, None], end, start)
    high = np.where(swapped[:, None], start, end)
    rise = (high[index, 1 - axis] - low[index, 1 - axis]).astype(np.float64)
    slope = rise / np.maximum(length, 1)
    side = np.repeat(index, length + 1)
    step = np.arange(len(side)) - np.repeat(np.cumsum(length + 1) - (length + 1), length + 1)
    step = np.where(swapped[side], length[side] - step, step)
    along = step + low[side, axis[side]]
    across = np.trunc(low[side, 1 - axis[side]] + slope[side] * step + 0.5).astype(np.int64)
    return np.where(flat[side], along, across), np.where(flat[side], across, along)
