"""How much two boxes overlap: IoU, and what adds to it a pull for boxes that are apart."""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from linsight.ops.boxes.geometry import check_boxes
from linsight.ops.linear import accumulator_dtype, without_autocast

__all__ = ["OVERLAPS", "box_overlap", "pairwise_overlap"]

OVERLAPS = ("iou", "giou", "diou", "ciou")
"""Names of `box_overlap`'s kinds."""


class _Pair(NamedTuple):
    """Two boxes' sides, (width, height) on the last axis; the hull is the least box around both."""

    one: Tensor
    other: Tensor
    hull: Tensor
    between: Tensor
    """From one centre to the other."""
    iou: Tensor
    union: Tensor


def box_overlap(one: Tensor, other: Tensor, kind: str = "iou") -> Float[Tensor, "*batch"]:
    """The overlap of each box with its counterpart.

        iou  = |A and B| / |A or B|
        giou = iou - (|hull| - |A or B|) / |hull|
        diou = iou - rho^2 / c^2
        ciou = diou - alpha v,    alpha = v / (1 - iou + v),
               v = (4 / pi^2) (atan(w_A / h_A) - atan(w_B / h_B))^2

    with the hull, the least box around both, its diagonal c, and rho between the centres. giou: Rezatofighi
    et al. 2019, arXiv 1902.09630; diou and ciou: Zheng et al. 2020, arXiv 1911.08287, where alpha is a
    constant to the gradient, as here. All are 1 for equal boxes of some area; iou is at least 0, giou and
    diou at least -1, ciou at least -3/2.

    A box with crossed corners is empty. What would be 0 / 0 is 0: iou of two empty boxes, and what is taken
    off for two that are one point. Values and gradients are finite for sides that are 0, or 1e-12 to 1e12.

    Args:
        one, other: `(*batch, 4)`, xyxy; their shapes are broadcast.
        kind: One of `OVERLAPS`.

    Returns:
        `(*batch,)`, computed in float32 (float64 if either input is), in the inputs' dtype.

    Raises:
        TypeError: Numbers that are not floating point.
        ValueError: No boxes, shapes that cannot be broadcast, an unknown kind.

    Example:
        >>> a, b = torch.tensor([0.0, 0.0, 2.0, 2.0]), torch.tensor([1.0, 0.0, 3.0, 2.0])
        >>> [round(box_overlap(a, b, kind).item(), 4) for kind in OVERLAPS]
        [0.3333, 0.3333, 0.2564, 0.2564]
    """
    check_boxes(one, "one")
    check_boxes(other, "other")
    if kind not in OVERLAPS:
        raise ValueError(f"kind: expected one of {', '.join(OVERLAPS)}, got {kind!r}")
    try:
        torch.broadcast_shapes(one.shape, other.shape)
    except RuntimeError:
        shapes = f"{tuple(one.shape)} and {tuple(other.shape)}"
        raise ValueError(f"one, other: expected shapes that can be broadcast, got {shapes}") from None
    exact, given = accumulator_dtype(one.dtype, other.dtype), torch.promote_types(one.dtype, other.dtype)
    with without_autocast(one.device):
        pair = _pair(one.to(exact), other.to(exact))
        found = pair.iou if kind == "iou" else pair.iou - _PENALTIES[kind](pair)
        return found.to(given)


def pairwise_overlap(one: Tensor, other: Tensor, kind: str = "iou") -> Float[Tensor, "*batch n m"]:
    """The overlap of every box of one set with every box of another; see `box_overlap`.

    Args:
        one: `(*batch, n, 4)`, xyxy.
        other: `(*batch, m, 4)`.

    Cost: O(n m) time and memory.

    Raises:
        TypeError, ValueError: As `box_overlap`; fewer than two axes.
    """
    for name, boxes in (("one", one), ("other", other)):
        check_boxes(boxes, name)
        if boxes.ndim < 2:
            raise ValueError(f"{name}: expected axes (boxes, 4), got shape {tuple(boxes.shape)}")
    return box_overlap(one[..., :, None, :], other[..., None, :, :], kind)


def _pair(one: Tensor, other: Tensor) -> _Pair:
    sides = [(boxes[..., 2:] - boxes[..., :2]).clamp_min(0) for boxes in (one, other)]
    shared = one[..., 2:].minimum(other[..., 2:]) - one[..., :2].maximum(other[..., :2])
    areas = [side.prod(-1) for side in sides]
    both = shared.clamp_min(0).prod(-1)
    union = areas[0] + areas[1] - both
    # With crossed corners too, the hull is around both: the centres are inside, and rho is at most c.
    low = one[..., :2].minimum(one[..., 2:]).minimum(other[..., :2]).minimum(other[..., 2:])
    high = one[..., :2].maximum(one[..., 2:]).maximum(other[..., :2]).maximum(other[..., 2:])
    between = (one[..., :2] + one[..., 2:] - other[..., :2] - other[..., 2:]) / 2
    return _Pair(sides[0], sides[1], high - low, between, _quotient(both, union), union)


def _generalised(pair: _Pair) -> Tensor:
    hull = pair.hull.prod(-1)
    return _quotient((hull - pair.union).clamp_min(0), hull)


def _distant(pair: _Pair) -> Tensor:
    return _quotient(pair.between.square().sum(-1), pair.hull.square().sum(-1))


def _complete(pair: _Pair) -> Tensor:
    v = (4 / math.pi**2) * (_slope(pair.one) - _slope(pair.other)).square()
    with torch.no_grad():
        alpha = _quotient(v, 1 - pair.iou + v)
    return _distant(pair) + alpha * v


_PENALTIES: dict[str, Callable[[_Pair], Tensor]] = {
    "giou": _generalised,
    "diou": _distant,
    "ciou": _complete,
}


def _quotient(part: Tensor, whole: Tensor) -> Tensor:
    """part / whole, 0 where whole is 0; the gradient there is 0 too."""
    some = whole > 0
    return torch.where(some, part / torch.where(some, whole, 1.0), 0.0)


def _slope(sides: Tensor) -> Tensor:
    """atan(w / h), from 0 to pi / 2; 0 for a point, where it has no gradient."""
    # The angle does not know the size, and with one side at 1 its gradient's denominator is 1 to 2.
    size = sides.amax(-1, keepdim=True).detach()
    point = size == 0
    width, height = (sides / torch.where(point, 1.0, size)).unbind(-1)
    point = point[..., 0]
    return torch.where(point, 0.0, torch.atan2(width, torch.where(point, 1.0, height)))
