"""COCO's segmentations, which are polygons or run lengths, as run lengths."""

from typing import Any

import numpy as np
from jaxtyping import Int64

from linsight.data.annotations.columns import Rows
from linsight.data.annotations.files import quoted
from linsight.data.annotations.polygons import from_polygons
from linsight.data.annotations.rle import RunLengths, check, decompress

__all__ = ["segmentations"]

MAX_OUTLINES = 2**12
"""Polygons of one annotation."""


def segmentations(rows: Rows, sizes: Int64[np.ndarray, "rows 2"]) -> tuple[RunLengths, ...]:
    """The mask of each row; `sizes` are those of its image, 0 where it is not known.

    Raises ValueError for what is neither polygons nor run lengths, a size that is not the image's, polygons
    in an image without a size, and what `rle` and `polygons` refuse.
    """
    values = rows.values("segmentation")
    masks = []
    for number, (value, (height, width)) in enumerate(zip(values, sizes.tolist(), strict=True)):
        try:
            masks.append(_mask(value, (height, width)))
        except ValueError as error:
            raise rows.refuse(number, f"segmentation: {error}") from None
    return tuple(masks)


def _mask(value: Any, size: tuple[int, int]) -> RunLengths:
    if type(value) is dict:
        return _run_lengths(value, size)
    if type(value) is not list:
        raise ValueError(f"expected polygons or run lengths, got {quoted(value)}")
    if size == (0, 0):
        raise ValueError("polygons need the height and the width of the image, which it does not have")
    if len(value) > MAX_OUTLINES:
        raise ValueError(f"expected at most {MAX_OUTLINES} polygons, got {len(value)}")
    return from_polygons([_polygon(points) for points in value], size)


def _polygon(points: Any) -> np.ndarray:
    if type(points) is not list or set(map(type, points)) - {int, float} or len(points) % 2:
        raise ValueError(f"expected a polygon x1, y1, x2, y2, ... of numbers, got {quoted(points)}")
    try:
        return np.array(points, np.float64).reshape(-1, 2)
    except OverflowError:
        raise ValueError(f"expected coordinates of the image, got {quoted(points)}") from None


def _run_lengths(value: dict[str, Any], size: tuple[int, int]) -> RunLengths:
    own = value.get("size")
    if type(own) is not list or len(own) != 2 or set(map(type, own)) != {int} or min(own) < 0:
        raise ValueError(f"expected size [height, width], got {quoted(own)}")
    if max(own) >= 2**31:
        raise ValueError(f"expected sides below 2**31, got {quoted(own)}")
    if size != (0, 0) and tuple(own) != size:
        raise ValueError(f"expected the image's size {list(size)}, got {own}")
    counts = value.get("counts")
    if type(counts) is str:
        return decompress(counts, (own[0], own[1]))
    if type(counts) is not list or set(map(type, counts)) - {int}:
        raise ValueError(f"expected counts that are a string or a list of integers, got {quoted(counts)}")
    try:
        runs = RunLengths((own[0], own[1]), np.array(counts, np.int64))
    except OverflowError:
        raise ValueError(f"expected counts of 64 bits, got {quoted(counts)}") from None
    check(runs)
    return runs
