"""Losses: functions of predictions and targets, differentiable, of what is selected alone."""

from linsight.losses.focal import focal_loss
from linsight.losses.mask import MASK_LOSSES, mask_loss, mask_loss_terms
from linsight.losses.overlap import lovasz_softmax, tversky
from linsight.losses.pixels import cross_entropy, hardest_cross_entropy

__all__ = [
    "MASK_LOSSES",
    "cross_entropy",
    "focal_loss",
    "hardest_cross_entropy",
    "lovasz_softmax",
    "mask_loss",
    "mask_loss_terms",
    "tversky",
]
