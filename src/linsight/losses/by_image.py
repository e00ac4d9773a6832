"""A normaliser that no split of a batch changes: every image by its own weights."""

from jaxtyping import Float
from torch import Tensor

__all__ = ["mean_of_images"]


def mean_of_images(
    loss: Float[Tensor, "batch *places"], weight: Float[Tensor, "batch *places"]
) -> Float[Tensor, ""]:
    """The mean over images of sum(weight loss) / max(1, sum(weight)), both sums over one image."""
    counted = (weight * loss).flatten(1).sum(1)
    return (counted / weight.flatten(1).sum(1).clamp_min(1)).mean()
