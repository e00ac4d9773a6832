"""Boxes in four notations, and the overlap of aligned pairs of them."""

from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import NDArray

__all__ = ["BoxFormat", "Corners", "box_overlap", "corners"]

BoxFormat = Literal["xyxy", "xywh", "cxcywh"]


class Corners(NamedTuple):
    """Boxes by columns: both corners, and width and height as given or as their difference."""

    left: NDArray[np.float64]
    top: NDArray[np.float64]
    right: NDArray[np.float64]
    bottom: NDArray[np.float64]
    width: NDArray[np.float64]
    height: NDArray[np.float64]

    def take(self, rows: NDArray[np.integer]) -> "Corners":
        """The boxes of these rows."""
        return Corners(*(column[rows] for column in self))

    def area(self, grow: float = 0.0) -> NDArray[np.float64]:
        """(width + grow)(height + grow)."""
        return (self.width + grow) * (self.height + grow)


def corners(box: Float[np.ndarray, "boxes 4"], notation: BoxFormat) -> Corners:
    """The columns of boxes.

    Widths given are kept and corners given are kept, so that no number is rounded twice: COCO's numbers come
    from x, y, w, h with right = x + w, and are bit-identical only this way.
    """
    a, b, c, d = (np.ascontiguousarray(column) for column in box.T)
    if notation == "xyxy":
        return Corners(a, b, c, d, c - a, d - b)
    if notation == "cxcywh":
        a, b = a - c / 2, b - d / 2
    return Corners(a, b, a + c, b + d, c, d)


def box_overlap(
    detected: Corners,
    truth: Corners,
    areas: tuple[Float[np.ndarray, " pairs"], Float[np.ndarray, " pairs"]],
    crowd: Bool[np.ndarray, " pairs"] | None = None,
    grow: float = 0.0,
) -> Float[np.ndarray, " pairs"]:
    """Intersection over union of aligned pairs; over the detection's area where `crowd`.

    w = min(right) - max(left) + grow, h alike; 0 where w <= 0 or h <= 0, so that empty boxes overlap nothing;
    else w h / (A_d + A_t - w h). `grow` is 1 where pixels are counted inclusively (PASCAL VOC). Areas are
    those
    of detections and of true boxes, with the same `grow`.
    """
    width = np.minimum(detected.right, truth.right)
    width -= np.maximum(detected.left, truth.left)
    height = np.minimum(detected.bottom, truth.bottom)
    height -= np.maximum(detected.top, truth.top)
    if grow:
        width += grow
        height += grow
    apart = (width <= 0) | (height <= 0)
    shared = np.multiply(width, height, out=width)
    union = areas[0] + areas[1]
    union -= shared
    if crowd is not None:
        np.copyto(union, areas[0], where=crowd)
    shared[apart] = 0
    union[apart] = 1
    return np.divide(shared, union, out=shared)
