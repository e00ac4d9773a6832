"""Greedy non-maximum suppression: of boxes that overlap much, the one of the greatest score stays."""

import torch
from jaxtyping import Bool, Int64
from torch import Tensor

from linsight.ops.boxes.geometry import check_boxes
from linsight.ops.boxes.overlap import pairwise_overlap

__all__ = ["nms", "nms_mask"]

_BLOCK = 512


def nms(
    boxes: Tensor, scores: Tensor, labels: Tensor | None = None, *, threshold: float = 0.5
) -> Int64[Tensor, " kept"]:
    """Which boxes of one image stay, by descending score: see `nms_mask`.

    Args:
        boxes: `(n, 4)`, xyxy.
        scores: `(n,)`.
        labels: Classes `(n,)`; None: all are of one.
        threshold: The greatest IoU with a box that stays.

    Example:
        >>> boxes = torch.tensor([[0.0, 0.0, 9.0, 9.0], [0.0, 0.0, 9.0, 8.0], [9.0, 0.0, 12.0, 9.0]])
        >>> nms(boxes, torch.tensor([0.6, 0.9, 0.3]))
        tensor([1, 2])
    """
    if boxes.ndim != 2:
        raise ValueError(f"boxes: expected axes (boxes, 4), got shape {tuple(boxes.shape)}")
    keep = nms_mask(boxes, scores, labels, threshold=threshold)
    order = scores.argsort(descending=True, stable=True)
    return order[keep[order]]


@torch.no_grad()
def nms_mask(
    boxes: Tensor, scores: Tensor, labels: Tensor | None = None, *, threshold: float = 0.5
) -> Bool[Tensor, "*batch n"]:
    """Which boxes stay, in each image of a batch.

    By descending score, of equal ones the first given first: a box stays if its IoU with every box of its
    class that stays before it is at most `threshold`. So no two that stay overlap by more, and each that
    goes overlaps by more with one that stays, of a greater or the same score. An empty box overlaps nothing
    and stays.

    Args:
        boxes: `(*batch, n, 4)`, xyxy.
        scores: `(*batch, n)`.
        labels: Classes `(*batch, n)`, integers; boxes of different ones are left alone. None: one class.
        threshold: From 0 to 1.

    Returns:
        `(*batch, n)`, in the order given; no gradient.

    Cost: O(n^2) time, O(n) memory for each of 512 boxes at a time. A block is settled in as many rounds as
    its longest chain of boxes each of which decides over the next.

    Raises:
        TypeError: Boxes or scores that are not floating point, labels that are no integers.
        ValueError: Shapes that do not fit, NaN, a threshold outside 0 to 1.
    """
    _check(boxes, scores, labels, threshold)
    order = scores.argsort(dim=-1, descending=True, stable=True)
    boxes = boxes.gather(-2, order[..., None].expand_as(boxes))
    labels = None if labels is None else labels.gather(-1, order)
    keep = torch.ones_like(order, dtype=torch.bool)
    for start in range(0, order.shape[-1], _BLOCK):
        here = slice(start, min(start + _BLOCK, order.shape[-1]))
        covers = pairwise_overlap(boxes[..., : here.stop, :], boxes[..., here, :]) > threshold
        if labels is not None:
            covers &= labels[..., : here.stop, None] == labels[..., None, here]
        before = (covers[..., :start, :] & keep[..., :start, None]).any(-2)
        keep[..., here] = _settled(covers[..., start:, :].triu(1), ~before)
    return torch.zeros_like(keep).scatter(-1, order, keep)


def _settled(covers: Bool[Tensor, "*batch n n"], possible: Bool[Tensor, "*batch n"]) -> Tensor:
    """Who of a block stays. After round r the first r boxes are right, so that what repeats itself is."""
    keep = possible
    while True:
        found = possible & ~(covers & keep[..., :, None]).any(-2)
        if torch.equal(found, keep):
            return keep
        keep = found


def _check(boxes: Tensor, scores: Tensor, labels: Tensor | None, threshold: float) -> None:
    check_boxes(boxes, "boxes")
    if not scores.is_floating_point():
        raise TypeError(f"scores: expected floating point, got {scores.dtype}")
    if labels is not None and (labels.is_floating_point() or labels.dtype == torch.bool):
        raise TypeError(f"labels: expected integers, got {labels.dtype}")
    if boxes.ndim < 2:
        raise ValueError(f"boxes: expected axes (boxes, 4), got shape {tuple(boxes.shape)}")
    wanted = tuple(boxes.shape[:-1])
    for name, given in (("scores", scores), ("labels", labels)):
        if given is not None and given.shape != wanted:
            raise ValueError(f"{name}: expected shape {wanted}, one for each box, got {tuple(given.shape)}")
    for name, given in (("boxes", boxes), ("scores", scores)):
        if given.isnan().any():
            raise ValueError(f"{name}: expected numbers, got NaN")
    if not 0 <= threshold <= 1:
        raise ValueError(f"threshold: expected a number from 0 to 1, got {threshold}")
