"""Focal loss: cross entropy that counts less where the model is sure already."""

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["focal_loss", "focal_mean"]


def focal_loss(
    logits: Tensor, target: Tensor, *, gamma: float = 2.0, alpha: float = 1.0, ignore_index: int = 255
) -> Tensor:
    """-alpha (1 - p_t)^gamma log p_t, the mean over valid places; p_t = softmax(logits) at the target.

    Lin et al. 2017 (arXiv 1708.02002, equation 5) with softmax for their sigmoid; gamma = 0 and alpha = 1 is
    cross entropy. Places are selected before anything is computed, so what stands at an ignored place,
    NaN included, touches neither the value nor a gradient.

    Args:
        logits: `(batch, classes, ...)`, floating point, any real numbers.
        target: `(batch, ...)`, int64, class numbers or `ignore_index`.
        gamma: How little a sure place counts, at least 0.
        alpha: A factor on everything, above 0.
        ignore_index: The target of places that do not count.

    Returns:
        A scalar in nats; 0 with zero gradients where no place is valid. Time and memory O(batch classes ...).

    Raises:
        ValueError: Shapes that do not fit, a class outside 0..classes - 1, gamma < 0, alpha <= 0.
    """
    if logits.ndim < 2 or target.shape != (logits.shape[0], *logits.shape[2:]):
        raise ValueError(
            f"target: expected shape (batch, ...) of logits (batch, classes, ...) {tuple(logits.shape)}, "
            f"got {tuple(target.shape)}"
        )
    valid = target != ignore_index
    chosen = target[valid]
    classes = logits.shape[1]
    if chosen.numel() and (int(chosen.min()) < 0 or int(chosen.max()) >= classes):
        raise ValueError(
            f"target: expected 0 to {classes - 1} or {ignore_index}, "
            f"got {int(chosen.min())} to {int(chosen.max())}"
        )
    log_p = F.log_softmax(logits.movedim(1, -1)[valid], dim=-1)
    return focal_mean(log_p.gather(-1, chosen[:, None]).squeeze(-1), gamma=gamma, alpha=alpha)


def focal_mean(log_p: Tensor, *, gamma: float = 2.0, alpha: float = 1.0) -> Tensor:
    """The mean of -alpha (1 - p)^gamma log p over log p `(..., places)` of the targets; 0 of no place.

    Raises:
        ValueError: gamma < 0, alpha <= 0.
    """
    if gamma < 0:
        raise ValueError(f"gamma: expected at least 0, got {gamma:g}")
    if alpha <= 0:
        raise ValueError(f"alpha: expected above 0, got {alpha:g}")
    if not log_p.numel():
        return log_p.sum(-1)
    # 1 - p from expm1 keeps its digits near p = 1; the power's own gradient at 0 is infinite below gamma = 1.
    unsure = (-torch.expm1(log_p)).clamp(min=torch.finfo(log_p.dtype).tiny)
    return (-alpha * unsure**gamma * log_p).mean(-1)
