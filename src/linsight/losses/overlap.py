"""Losses of regions: one minus a smooth overlap of each class's prediction with its pixels."""

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["lovasz_softmax", "tversky"]


def tversky(
    prob: Float[Tensor, "*images classes pixels"],
    truth: Float[Tensor, "*images classes pixels"],
    *,
    false_positives: float,
    false_negatives: float,
    eps: float,
    absent: bool,
) -> Float[Tensor, "*images"]:
    """The mean over classes of 1 - (I + eps) / (I + a FP + b FN + eps), from sums over pixels.

    I = sum p y, FP = sum p (1 - y), FN = sum (1 - p) y. Salehi, Erdogmus, Gholipour 2017, arXiv 1706.05721.
    Dice (Milletari, Navab, Ahmadi 2016, arXiv 1606.04797) is a = b = 1/2, Jaccard is a = b = 1.

    Args:
        prob: p of each class, 0 to 1.
        truth: y of each class, 0 or 1.
        false_positives: a >= 0.
        false_negatives: b >= 0.
        eps: Against 0 / 0; >= 0.
        absent: Whether classes without a pixel take part in the mean. If none does, the loss is 0.
    """
    both = (prob * truth).sum(-1)
    predicted, actual = prob.sum(-1), truth.sum(-1)
    overlap = both + false_positives * (predicted - both) + false_negatives * (actual - both)
    loss = 1 - (both + eps) / (overlap + eps)
    return loss.mean(-1) if absent else _mean_of_present(loss, actual > 0)


def lovasz_softmax(
    prob: Float[Tensor, "*images classes pixels"],
    truth: Float[Tensor, "*images classes pixels"],
    *,
    absent: bool,
) -> Float[Tensor, "*images"]:
    """The Lovasz extension of one minus Jaccard, the mean over classes: sum_i e_i (J_i - J_{i-1}).

    e are the errors |y - p| from the largest down, and J_i is one minus the Jaccard index of a prediction
    that is wrong in the first i pixels: where p is 0 or 1 the value is that of the Jaccard loss itself.
    Berman, Rannen Triki, Blaschko 2018, arXiv 1705.08790. Cost: a sort of the pixels for each class.
    """
    errors, order = (truth - prob).abs().sort(dim=-1, descending=True)
    wrong = truth.gather(-1, order)
    total = truth.sum(-1, keepdim=True)
    # Wrong in the first i pixels: what is left of the truth, over the truth and the false positives.
    left, union = total - wrong.cumsum(-1), total + (1 - wrong).cumsum(-1)
    jaccard = 1 - left / union
    steps = torch.cat([jaccard[..., :1], jaccard.diff(dim=-1)], -1)
    loss = (errors * steps).sum(-1)
    return loss.mean(-1) if absent else _mean_of_present(loss, total[..., 0] > 0)


def _mean_of_present(loss: Tensor, present: Tensor) -> Tensor:
    # Selected, not multiplied by 0: what stands at an absent class has no gradient.
    return loss.where(present, 0).sum(-1) / present.sum(-1).clamp_min(1)
