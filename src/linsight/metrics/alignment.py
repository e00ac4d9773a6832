"""Alignment of poses before they are compared: by a root joint, or by a similarity (Procrustes)."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

__all__ = ["align_root", "align_similarity"]


def align_root(
    found: Float[Tensor, "batch joints dim"],
    truth: Float[Tensor, "batch joints dim"],
    labelled: Bool[Tensor, "batch joints"],
    root: int,
) -> Float[Tensor, "batch joints dim"]:
    """`found`, moved so that its joint `root` is where the truth's is.

    Raises:
        ValueError: A pose with labelled joints whose root is not labelled.
    """
    lost = labelled.any(1) & ~labelled[:, root]
    if lost.any():
        raise ValueError(
            f"visible: expected the root, joint {root}, to be labelled, "
            f"got none in image {int(lost.nonzero()[0, 0])}"
        )
    return found + (truth - found)[:, root, None]


def align_similarity(
    found: Float[Tensor, "batch joints dim"],
    truth: Float[Tensor, "batch joints dim"],
    labelled: Bool[Tensor, "batch joints"],
) -> Float[Tensor, "batch joints dim"]:
    """s R (found - its mean) + the truth's mean, with the s >= 0 and rotation R of the least squares.

    Over labelled joints; R is never a reflection (Umeyama 1991). A pose of one point is moved to the truth's
    mean. In float64.
    """
    weight = labelled[..., None].double()
    number = weight.sum(1, keepdim=True).clamp(min=1)
    x, y = (torch.where(labelled[..., None], one.double(), 0.0) for one in (found, truth))
    mean_x, mean_y = x.sum(1, keepdim=True) / number, y.sum(1, keepdim=True) / number
    x, y = (x - mean_x) * weight, (y - mean_y) * weight
    left, values, right = torch.linalg.svd(x.mT @ y)
    sign = torch.ones_like(values)
    sign[:, -1] = torch.det(left @ right).sign()
    rotation = left @ (sign[..., None] * right)
    spread = x.square().sum((1, 2))
    flat = spread == 0
    scale = torch.where(flat, 0.0, (values * sign).sum(1) / torch.where(flat, 1.0, spread))
    return scale.clamp(min=0)[:, None, None] * ((found.double() - mean_x) @ rotation) + mean_y
