"""Losses: functions of predictions and targets, differentiable, of what is selected alone."""

from linsight.losses.boxes import BOX_LOSSES, box_loss
from linsight.losses.by_image import mean_of_images
from linsight.losses.centres import CentreTargets, centre_focal_loss, centre_targets
from linsight.losses.focal import focal_loss

__all__ = [
    "BOX_LOSSES",
    "CentreTargets",
    "box_loss",
    "centre_focal_loss",
    "centre_targets",
    "focal_loss",
    "mean_of_images",
]
