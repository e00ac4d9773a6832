"""Boxes and ids that cannot mean what they say are refused, never evaluated."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from linsight.metrics.average_precision.arrays import numbers
from linsight.metrics.average_precision.boxes import corners

__all__ = ["check_boxes", "check_count", "index_of", "known_rows"]


def check_count(column: Any, name: str, count: int) -> None:
    """Raise ValueError unless the column is None or as long as the others."""
    if column is not None and len(column) != count:
        raise ValueError(f"{name}: expected {count} rows, one for each image_id, got {len(column)}")


def check_boxes(
    box: NDArray[np.float64],
    notation: str,
    image_id: NDArray[Any],
    images: NDArray[Any] | None,
    sizes: Any,
    *,
    normalized: bool,
) -> NDArray[np.float64]:
    """The boxes in pixels.

    Raises:
        ValueError: A negative width or height; shares above 1, or without sizes; with sizes, more than half
            of the boxes ending more than a pixel outside their image, as when corners are read as sizes.
    """
    sides = corners(box, notation)
    wrong = (sides.width < 0) | (sides.height < 0)
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        hint = "; is it xywh?" if notation == "xyxy" else ""
        raise ValueError(
            f"box: expected width and height >= 0 as {notation}, got {box[row].tolist()} "
            f"at index {row}, image {image_id[row]!s}{hint}"
        )
    if sizes is None:
        if normalized:
            raise ValueError("sizes: expected (width, height) of each image for normalized boxes, got none")
        return box
    if images is None:
        raise ValueError("images: expected the ids that sizes belong to, got none")
    extents = numbers(sizes, "sizes", least=0.0)
    if extents.shape != (len(images), 2):
        raise ValueError(f"sizes: expected shape ({len(images)}, 2), got {extents.shape}")
    rows = known_rows(image_id, images, "image_id")
    extent = extents[rows]
    if normalized:
        # A centre or corner may lie outside by a rounding, a pixel coordinate lies far outside.
        if box.size and np.abs(box).max() > 2:
            row = int(np.argmax(np.abs(box).max(1)))
            raise ValueError(f"box: expected shares of the image, got {box[row].tolist()} at index {row}")
        return box * np.tile(extent, 2)
    outside = (sides.right > extent[:, 0] + 1) | (sides.bottom > extent[:, 1] + 1)
    if 2 * outside.sum() > len(box):
        row = int(np.flatnonzero(outside)[0])
        raise ValueError(
            f"box: expected boxes inside their images as {notation}, got {outside.sum()} of {len(box)} out, "
            f"the first {box[row].tolist()} in image {image_id[row]!s}; is box_format right?"
        )
    if len(box) and np.abs(box).max() <= 1 and extents.min() > 1:
        raise ValueError("box: expected pixels, got nothing above 1; pass normalized=True for shares")
    return box


def known_rows(ids: NDArray[Any], known: NDArray[Any], name: str) -> NDArray[np.int64]:
    """The place of each id among those known.

    Raises:
        ValueError: An id that is not known; with a hint where all would be, were they one more or less.
        TypeError: Strings against integers.
    """
    rows = index_of(ids, known, name)
    if (rows < 0).any():
        first = ids[np.flatnonzero(rows < 0)[0]]
        hint = ""
        if ids.dtype.kind == "i" and len(known):
            for step in (-1, 1):
                if (index_of(ids + step, known, name) >= 0).all():
                    hint = f"; all would be if they were {'1 less' if step < 0 else '1 more'}"
            if not hint and (rows < 0).all():
                hint = "; none of them is: are these ids of another numbering?"
        raise ValueError(f"{name}: expected ids of the ground truth's list, got {first!s}{hint}")
    return rows


def index_of(ids: NDArray[Any], known: NDArray[Any], name: str) -> NDArray[np.int64]:
    """The place of each id among those known, -1 where it is none of them."""
    if not len(ids) or not len(known):
        return np.full(len(ids), -1)
    if (ids.dtype.kind == "U") != (known.dtype.kind == "U"):
        raise TypeError(f"{name}: expected {known.dtype} as in the ground truth's list, got {ids.dtype}")
    if ids.dtype.kind != "U":
        low, high = int(known.min()), int(known.max())
        if high - low <= 4 * (len(known) + len(ids)) + 1024:
            # A table is ten times as fast as a search; ids are mostly small and dense.
            table = np.full(high - low + 2, -1)
            table[known - low] = np.arange(len(known))
            inside = (ids >= low) & (ids <= high)
            return table[np.where(inside, ids - low, -1)]
    order = np.argsort(known, kind="stable")
    place = order[np.minimum(np.searchsorted(known, ids, sorter=order), len(known) - 1)]
    return np.where(known[place] == ids, place, -1)
