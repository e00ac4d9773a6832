"""Cross entropy of pixels: of all of them, and of the hardest."""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

__all__ = ["cross_entropy", "hardest_cross_entropy"]


def cross_entropy(
    log_prob: Float[Tensor, "*images classes pixels"],
    labels: Int64[Tensor, "*images pixels"],
    *,
    class_weights: Float[Tensor, " classes"] | None = None,
    label_smoothing: float = 0.0,
) -> Float[Tensor, "*images"]:
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
    return loss.sum(-1) / _some(weights.sum(-1))


def hardest_cross_entropy(
    log_prob: Float[Tensor, "*images classes pixels"],
    labels: Int64[Tensor, "*images pixels"],
    *,
    keep: float,
    class_weights: Float[Tensor, " classes"] | None = None,
    label_smoothing: float = 0.0,
) -> Float[Tensor, "*images"]:
    """`cross_entropy` of the ceil(keep * pixels) pixels whose loss is the largest: all of them with keep = 1.

    Online hard example mining (Shrivastava, Gupta, Girshick 2016, arXiv 1604.03540), for pixels.
    """
    loss, weights = _weighted(log_prob, labels, class_weights, label_smoothing)
    # The ceiling in whole millionths: 0.1 * 30 is 3.0000000000000004.
    number = max(1, -(-round(keep * 1e6) * loss.shape[-1] // 1_000_000))
    loss, hardest = loss.topk(number)
    return loss.sum(-1) / _some(weights.gather(-1, hardest).sum(-1))


def _weighted(
    log_prob: Tensor, labels: Tensor, class_weights: Tensor | None, label_smoothing: float
) -> tuple[Tensor, Tensor]:
    """The loss of each pixel, and the weight that it counts with."""
    weight = None if class_weights is None else class_weights.to(log_prob)
    weights = torch.ones_like(log_prob[..., 0, :]) if weight is None else weight[labels]
    loss = -weights * log_prob.gather(-2, labels[..., None, :])[..., 0, :]
    if label_smoothing:
        every = log_prob.mean(-2) if weight is None else weight @ log_prob / log_prob.shape[-2]
        loss = (1 - label_smoothing) * loss - label_smoothing * every
    return loss, weights


def _some(total: Tensor) -> Tensor:
    return total.clamp_min(torch.finfo(total.dtype).tiny)
