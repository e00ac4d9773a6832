"""Losses of maps and of bins: squared error, Kullback-Leibler, Jensen-Shannon."""

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["bins_kl", "heatmap_mse", "map_js"]


def heatmap_mse(
    found: Float[Tensor, "*batch height width"], target: Float[Tensor, "*batch height width"]
) -> Float[Tensor, "*batch"]:
    """The mean over the cells of a map of the squared difference."""
    return (found - target).square().mean((-2, -1))


def bins_kl(
    logits: Float[Tensor, "*batch bins"], target: Float[Tensor, "*batch bins"]
) -> Float[Tensor, "*batch"]:
    """KL(target || softmax(logits)) = sum over bins of t (log t - log p), in nats; 0 where they are equal.

    `target` sums to 1 over the bins. Its gradient is that of the cross-entropy.
    """
    return (torch.xlogy(target, target) - target * logits.log_softmax(-1)).sum(-1)


def map_js(
    found: Float[Tensor, "*batch height width"], target: Float[Tensor, "*batch height width"]
) -> Float[Tensor, "*batch"]:
    """Jensen-Shannon divergence of two maps that sum to 1 each: 0 to log 2 nats.

    JS(p, q) = KL(p || m) / 2 + KL(q || m) / 2, m = (p + q) / 2; the regulariser of Nibali et al. 2018, arXiv
    1801.07372, equation 7.
    """
    middle = 0.5 * (found + target)
    # p log(p / m) with gradient 0, not NaN, where p and m are 0.
    least = torch.finfo(middle.dtype).tiny
    log_middle = middle.clamp(min=least).log()
    parts = (one * (one.clamp(min=least).log() - log_middle) for one in (found, target))
    return 0.5 * sum(parts, torch.zeros_like(middle)).sum((-2, -1))
