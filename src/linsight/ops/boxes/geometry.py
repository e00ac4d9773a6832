"""Areas of boxes, their notations, and boxes cut at the edges of an image."""

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["NOTATIONS", "box_area", "box_clip", "box_convert", "check_boxes"]

NOTATIONS = ("xyxy", "xywh", "cxcywh")
"""Two corners; the first corner and the sides; the centre and the sides."""


def box_area(boxes: Tensor) -> Float[Tensor, "*batch"]:
    """max(0, x2 - x1) max(0, y2 - y1) of boxes `(*batch, 4)`, xyxy: a box whose corners are crossed is empty.

    Raises:
        TypeError, ValueError: No boxes.
    """
    check_boxes(boxes, "boxes")
    sides = (boxes[..., 2:] - boxes[..., :2]).clamp_min(0)
    return sides[..., 0] * sides[..., 1]


def box_convert(boxes: Tensor, source: str, target: str) -> Float[Tensor, "*batch 4"]:
    """The same boxes `(*batch, 4)` in another notation.

    With corners (x1, y1), (x2, y2): xyxy is (x1, y1, x2, y2), xywh is (x1, y1, x2 - x1, y2 - y1), cxcywh is
    ((x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1).

    Raises:
        TypeError, ValueError: No boxes, or a notation that is none of `NOTATIONS`.

    Example:
        >>> box_convert(torch.tensor([1.0, 2.0, 4.0, 8.0]), "xyxy", "cxcywh")
        tensor([2.5000, 5.0000, 3.0000, 6.0000])
    """
    check_boxes(boxes, "boxes")
    for name, notation in (("source", source), ("target", target)):
        if notation not in NOTATIONS:
            raise ValueError(f"{name}: expected one of {', '.join(NOTATIONS)}, got {notation!r}")
    if source == target:
        return boxes
    first, second = boxes[..., :2], boxes[..., 2:]
    sides = second - first if source == "xyxy" else second
    corner = first - sides / 2 if source == "cxcywh" else first
    if target == "xyxy":
        return torch.cat([corner, corner + sides], -1)
    return torch.cat([corner if target == "xywh" else corner + sides / 2, sides], -1)


def box_clip(boxes: Tensor, size: tuple[int, int]) -> Float[Tensor, "*batch 4"]:
    """The part of boxes `(*batch, 4)`, xyxy, that is inside an image of `size` (height, width).

    A box that is wholly outside has no area then. The gradient of a coordinate outside is 0.

    Raises:
        TypeError, ValueError: No boxes, or a negative size.
    """
    check_boxes(boxes, "boxes")
    if min(size) < 0:
        raise ValueError(f"size: expected a height and width of at least 0, got {tuple(size)}")
    edge = torch.tensor([size[1], size[0]] * 2, dtype=boxes.dtype, device=boxes.device)
    return boxes.clamp_min(0).minimum(edge)


def check_boxes(boxes: Tensor, name: str) -> None:
    """Raise TypeError for numbers that are not floating point, ValueError for a last axis other than 4."""
    if not boxes.is_floating_point():
        raise TypeError(f"{name}: expected floating point, got {boxes.dtype}")
    if boxes.ndim == 0 or boxes.shape[-1] != 4:
        raise ValueError(f"{name}: expected 4 numbers on the last axis, got shape {tuple(boxes.shape)}")
