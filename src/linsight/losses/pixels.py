"""Cross entropy of pixels: of all of them, of the hardest, and by logits of a coarser grid."""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

from linsight.ops import accumulator_dtype

__all__ = ["coarse_cross_entropy", "cross_entropy", "hardest_cross_entropy"]


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


def coarse_cross_entropy(
    logits: Float[Tensor, "batch classes rows columns"],
    target: Int64[Tensor, "batch height width"],
    *,
    stride: int,
    class_weights: Float[Tensor, " classes"] | None = None,
    ignore_index: int = 255,
) -> Float[Tensor, ""]:
    """`ce` of `mask_loss`, by image, of logits that each stand for stride x stride pixels.

    With n_c the weighted pixels of class c in a cell, sum over cells and classes of -n_c log p(c), over the
    sum of all n: what repeating every logit for its pixels would give, at the cost of the coarse grid.
    Supervision of the inner maps of a network by it: Lee et al. 2015, arXiv 1409.5185.

    Args:
        logits: Of a grid of ceil(height / stride) rows and ceil(width / stride) columns.
        target: Class numbers or `ignore_index`.
        stride: Pixels along the side of a cell; the last cells may have fewer.
        class_weights: At least 0; None for 1.
        ignore_index: The target of pixels that do not count.

    Raises:
        ValueError: A grid of another size.

    Example:
        >>> logits = torch.zeros(1, 2, 1, 1)
        >>> round(coarse_cross_entropy(logits, torch.zeros(1, 3, 3).long(), stride=4).item(), 4)
        0.6931
    """
    height, width = target.shape[1:]
    rows, columns = -(-height // stride), -(-width // stride)
    if logits.shape[2:] != (rows, columns):
        raise ValueError(
            f"logits: expected {rows} x {columns} cells of stride {stride} for this target, got "
            f"{' x '.join(map(str, logits.shape[2:]))}"
        )
    log_prob = logits.log_softmax(1, dtype=accumulator_dtype(logits.dtype))
    valid = target != ignore_index
    pixels = log_prob.new_zeros(len(target), logits.shape[1], height, width)
    pixels.scatter_(1, (target * valid)[:, None], valid[:, None].to(log_prob.dtype))
    beyond = (0, columns * stride - width, 0, rows * stride - height)
    numbers = F.avg_pool2d(F.pad(pixels, beyond), stride)
    if class_weights is not None:
        numbers = numbers * class_weights.to(numbers)[:, None, None]
    loss = -(numbers * log_prob).flatten(1).sum(1) / _some(numbers.flatten(1).sum(1))
    return loss.mean()


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
