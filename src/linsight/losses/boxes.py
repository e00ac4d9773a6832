"""Losses of boxes: distances of coordinates, and what is missing of an overlap of 1."""

import torch
from jaxtyping import Float
from torch import Tensor

from linsight.losses.by_image import mean_of_images
from linsight.ops import OVERLAPS, accumulator_dtype, box_overlap

__all__ = ["BOX_LOSSES", "box_loss"]

BOX_LOSSES = ("l1", *OVERLAPS)
"""Names of `box_loss`'s kinds."""


def box_loss(found: Tensor, truth: Tensor, weight: Tensor, kind: str = "giou") -> Float[Tensor, ""]:
    """The mean over images of sum_i w_i l_i / max(1, sum_i w_i), with l the loss of one pair of boxes.

    `iou`, `giou`, `diou`, `ciou`: l = 1 - overlap, see `box_overlap`; from 0 to 1, 2, 2, 5/2, and the same
    whatever the unit of the boxes. `l1`: l = the mean of the four |found - truth|, in the boxes' unit.

    Each image is divided by its own weights, never by those of the batch: so the mean over the parts in
    which a batch is accumulated, or over the ranks that share it, is that of the batch. An image without
    boxes counts as one of loss 0.

    Args:
        found, truth: `(batch, *places, 4)`, xyxy.
        weight: `(batch, *places)`, not negative; where it is 0, the boxes may be anything, NaN too, and get
            no gradient.
        kind: One of `BOX_LOSSES`.

    Raises:
        ValueError: An unknown kind, or shapes that do not fit.

    Example:
        >>> found, truth = torch.tensor([0.0, 0.0, 2.0, 1.0]), torch.tensor([0.0, 0.0, 1.0, 1.0])
        >>> box_loss(found[None, None], truth[None, None], torch.ones(1, 1))
        tensor(0.5000)
    """
    if kind not in BOX_LOSSES:
        raise ValueError(f"kind: expected one of {', '.join(BOX_LOSSES)}, got {kind!r}")
    if found.shape != truth.shape or weight.shape != found.shape[:-1]:
        shapes = f"{tuple(found.shape)}, {tuple(truth.shape)} and {tuple(weight.shape)}"
        raise ValueError(
            f"found, truth, weight: expected (batch, boxes, 4) twice and (batch, boxes), got {shapes}"
        )
    exact = accumulator_dtype(found.dtype, truth.dtype)
    counts = (weight > 0)[..., None]
    # Chosen before any arithmetic: 0 times NaN is NaN.
    found, truth = (torch.where(counts, boxes.to(exact), 0.0) for boxes in (found, truth))
    loss = (found - truth).abs().mean(-1) if kind == "l1" else 1 - box_overlap(found, truth, kind)
    return mean_of_images(loss, weight.to(exact))
