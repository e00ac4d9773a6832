"""Losses: functions of predictions and targets, differentiable, of what is selected alone."""

from linsight.losses.boxes import BOX_LOSSES, box_loss
from linsight.losses.by_image import mean_of_images
from linsight.losses.centres import CentreTargets, centre_focal_loss, centre_targets
from linsight.losses.focal import focal_loss
from linsight.losses.mask import MASK_LOSSES, mask_loss, mask_loss_terms
from linsight.losses.overlap import lovasz_softmax, tversky
from linsight.losses.pixels import cross_entropy, hardest_cross_entropy

__all__ = [
    "BOX_LOSSES",
    "MASK_LOSSES",
    "CentreTargets",
    "box_loss",
    "centre_focal_loss",
    "centre_targets",
    "cross_entropy",
    "focal_loss",
    "hardest_cross_entropy",
    "lovasz_softmax",
    "mask_loss",
    "mask_loss_terms",
    "mean_of_images",
    "tversky",
]
