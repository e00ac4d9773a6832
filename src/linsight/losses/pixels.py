"""Cross entropy of pixels: of all of them, and of the hardest."""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

__all__ = ["cross_entropy", "hardest_cross_entropy"]


def cross_entropy(
    log_prob: Float[Tensor, "pixels classes"],
    labels: Int64[Tensor, " pixels"],
    *,
    class_weights: Float[Tensor, " classes"] | None = None,
    label_smoothing: float = 0.0,
) -> Float[Tensor, ""]:
    """sum_i loss_i / sum_i w(y_i), loss_i = -(1 - s) w(y_i) log p(y_i) - s / K sum_c w(c) log p(c), in nats.

    0 with zero gradients where the weights of all pixels are 0.

    Args:
        log_prob: log p(c), normalised.
        labels: 0 to classes - 1.
        class_weights: w(c) >= 0; None for 1.
        label_smoothing: s, the share of the target that is spread over all classes (Szegedy et al. 2015,
            arXiv 1512.00567).
    """
    loss, weights = _weighted(log_prob, labels, class_weights, label_smoothing)
    return loss.sum() / _some(weights.sum())


def hardest_cross_entropy(
    log_prob: Float[Tensor, "pixels classes"],
    labels: Int64[Tensor, " pixels"],
    *,
    keep: float,
    class_weights: Float[Tensor, " classes"] | None = None,
    label_smoothing: float = 0.0,
) -> Float[Tensor, ""]:
    """`cross_entropy` of the ceil(keep * pixels) pixels whose loss is the largest: all of them with keep = 1.

    Online hard example mining (Shrivastava, Gupta, Girshick 2016, arXiv 1604.03540), for pixels.
    """
    loss, weights = _weighted(log_prob, labels, class_weights, label_smoothing)
    # The ceiling in whole millionths: 0.1 * 30 is 3.0000000000000004.
    number = max(1, -(-round(keep * 1e6) * len(loss) // 1_000_000))
    hardest = loss.topk(number).indices
    return loss[hardest].sum() / _some(weights[hardest].sum())


def _weighted(
    log_prob: Tensor, labels: Tensor, class_weights: Tensor | None, label_smoothing: float
) -> tuple[Tensor, Tensor]:
    """The loss of each pixel, and the weight that it counts with."""
    weight = None if class_weights is None else class_weights.to(log_prob)
    loss = F.nll_loss(log_prob, labels, weight, reduction="none")
    weights = torch.ones_like(loss) if weight is None else weight[labels]
    if label_smoothing:
        every = log_prob.mean(1) if weight is None else log_prob @ weight / log_prob.shape[1]
        loss = (1 - label_smoothing) * loss - label_smoothing * every
    return loss, weights


def _some(total: Tensor) -> Tensor:
    return total.clamp_min(torch.finfo(total.dtype).tiny)
