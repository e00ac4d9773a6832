"""Losses of angles: quantiles by pinball, and bins with the expectation beside them."""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

__all__ = ["binned_angle_loss", "pinball_loss"]


def pinball_loss(
    error: Float[Tensor, "*batch dim"],
    width: Float[Tensor, "*batch one_or_dim"],
    quantile: float = 0.1,
) -> Float[Tensor, "*batch"]:
    """Pinball losses of the quantiles q and 1 - q, which stand `width` below and above the prediction.

    With e = truth - prediction and e_q = e + width, e_1-q = e - width:
    mean over coordinates of max(q e_q, (q - 1) e_q) + max((1 - q) e_1-q, -q e_1-q). Its minimum puts them at
    the 10 % and 90 % quantiles for q = 0.1 where the law is symmetric. Kellnhofer et al. 2019, "Gaze360".

    Raises:
        ValueError: quantile outside of (0, 1/2).
    """
    if not 0 < quantile < 0.5:
        raise ValueError(f"quantile: expected a number between 0 and 0.5, got {quantile}")
    below, above = error + width, error - width
    low = torch.maximum(quantile * below, (quantile - 1) * below)
    high = torch.maximum((1 - quantile) * above, -quantile * above)
    return (low + high).mean(-1)


def binned_angle_loss(
    logits: Float[Tensor, "*batch bins"],
    index: Int[Tensor, "*batch"],
    gap: Float[Tensor, "*batch"],
    alpha: float = 1.0,
) -> Float[Tensor, "*batch"]:
    """Cross-entropy of the bin that holds the truth, and alpha times the squared gap of the expectation.

    Abdelrahman et al. 2022, arXiv 2203.03339 (L2CS), for one angle.

    Args:
        logits: Of the bins.
        index: The bin of the truth.
        gap: Expected angle - true angle; **degrees** where `alpha` is the published one.
        alpha: Weight of the second term.

    Raises:
        ValueError: alpha below 0.
    """
    if not alpha >= 0:
        raise ValueError(f"alpha: expected a number of at least 0, got {alpha}")
    flat = F.cross_entropy(logits.reshape(-1, logits.shape[-1]), index.reshape(-1), reduction="none")
    return flat.reshape(index.shape) + alpha * gap.square()
