"""Boundaries of segmentations: how many boundary pixels of each class have one of the other map nearby."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float64, Int64
from torch import Tensor

__all__ = ["BoundaryCounts", "boundary_counts", "boundary_f"]


class BoundaryCounts(NamedTuple):
    """Of each class: boundary pixels of the prediction and of the target, and those of them that match."""

    predicted: Int64[Tensor, " classes"]
    predicted_near: Int64[Tensor, " classes"]
    actual: Int64[Tensor, " classes"]
    actual_near: Int64[Tensor, " classes"]


def boundary_counts(
    prediction: Int64[Tensor, "height width"],
    target: Int64[Tensor, "height width"],
    classes: int,
    *,
    distance: int,
    ignore_index: int = 255,
) -> BoundaryCounts:
    """The counts of one image, of maps that `linsight.metrics.pixel_confusion` would take.

    A pixel of a class is on its boundary when one of its four neighbours is of another class; ignored pixels
    and the edge of the image are no neighbours, and ignored pixels are on no boundary. A boundary pixel
    matches when the other map has a boundary pixel of the class at most `distance` away along either axis.

    Cost: O(classes pixels distance), time and memory.
    """
    valid = target != ignore_index
    found, truth = (_boundaries(labels, valid, classes) for labels in (prediction, target))
    matched, met = found & _near(truth, distance), truth & _near(found, distance)
    return BoundaryCounts(*map(_count, (found, matched, truth, met)))


def boundary_f(counts: BoundaryCounts) -> Float64[Tensor, " classes"]:
    """2 P R / (P + R) of each class, P and R being the shares of boundary pixels that match.

    Csurka, Larlus, Perronnin 2013, "What is a good evaluation measure for semantic segmentation?", but with
    counts summed over the data set, where they average over images. NaN for a class without boundaries in
    either map, 0 where only one has some.
    """
    precision, recall = (
        near.double() / total.clamp_min(1)
        for near, total in (
            (counts.predicted_near, counts.predicted),
            (counts.actual_near, counts.actual),
        )
    )
    both = precision + recall
    value = torch.where(both > 0, 2 * precision * recall / both.clamp_min(1e-300), 0.0)
    return torch.where(counts.predicted + counts.actual > 0, value, torch.nan)


def _boundaries(labels: Tensor, valid: Bool[Tensor, "height width"], classes: int) -> Tensor:
    """(classes, height, width): the boundary pixels of each class."""
    edge = torch.zeros_like(valid)
    down = valid[1:] & valid[:-1] & (labels[1:] != labels[:-1])
    right = valid[:, 1:] & valid[:, :-1] & (labels[:, 1:] != labels[:, :-1])
    for part, other, differs in (
        (edge[1:], edge[:-1], down),
        (edge[:, 1:], edge[:, :-1], right),
    ):
        part |= differs
        other |= differs
    return (labels == torch.arange(classes, device=labels.device)[:, None, None]) & edge


def _near(mask: Tensor, distance: int) -> Tensor:
    if distance == 0 or mask.numel() == 0:
        return mask
    return F.max_pool2d(mask.float()[None], 2 * distance + 1, stride=1, padding=distance)[0] > 0


def _count(mask: Tensor) -> Int64[Tensor, " classes"]:
    return mask.flatten(1).sum(1)
