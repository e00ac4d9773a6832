"""Boxes in four notations, and the overlap of aligned pairs of them."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

__all__ = ["Corners", "box_overlap", "corners"]

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]


class Corners(NamedTuple):
    """Boxes by columns: both corners, and width and height as given or as their difference."""

    left: NDArray[np.float64]
    top: NDArray[np.float64]
    right: NDArray[np.float64]
    bottom: NDArray[np.float64]
    width: NDArray[np.float64]
    height: NDArray[np.float64]

    def area(self, grow: float = 0.0) -> NDArray[np.float64]:
        """(width + grow)(height + grow)."""
        return (self.width + grow) * (self.height + grow)


def corners(box: Float[np.ndarray, "boxes 4"], notation: str) -> Corners:
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
    rows: tuple[Integers, Integers],
    areas: tuple[Floats, Floats],
    crowd: NDArray[np.bool_],
    grow: float = 0.0,
) -> tuple[Integers, Floats]:
    """Intersection over union of pairs of rows; over the detection's area where the true box is a `crowd`.

    w = min(right) - max(left) + grow, h alike; pairs of w <= 0 or h <= 0 are left out, so that empty boxes
    overlap nothing; else w h / (A_d + A_t - w h). `grow` is 1 where pixels are counted inclusively, as in
    PASCAL VOC; `areas`, of all detections and of all true boxes, have the same `grow`.

    Returns:
        Which pairs overlap, and by how much.
    """
    near = np.arange(len(rows[0]))
    sides: list[Floats] = []
    # Most boxes of an image are apart, and for many one direction shows it.
    for low, high in (("left", "right"), ("top", "bottom")):
        d, t = rows[0][near], rows[1][near]
        side = np.minimum(getattr(detected, high)[d], getattr(truth, high)[t])
        side -= np.maximum(getattr(detected, low)[d], getattr(truth, low)[t])
        if grow:
            side += grow
        meets = np.flatnonzero(side > 0)
        near = near[meets]
        sides = [known[meets] for known in (*sides, side)]
    d, t = rows[0][near], rows[1][near]
    shared = sides[0] * sides[1]
    union = areas[0][d]
    crowded = np.flatnonzero(crowd[t])
    alone = union[crowded]
    union += areas[1][t]
    union -= shared
    union[crowded] = alone
    return near, shared / union
