"""Losses: functions of predictions and targets, differentiable, of what is selected alone."""

from linsight.losses.angles import binned_angle_loss, pinball_loss
from linsight.losses.boxes import BOX_LOSSES, box_loss
from linsight.losses.by_image import mean_of_images
from linsight.losses.centres import CentreTargets, centre_class_loss, centre_focal_loss, centre_targets
from linsight.losses.focal import focal_loss
from linsight.losses.heatmap import bins_kl, heatmap_mse, map_js
from linsight.losses.likelihood import gaussian_nll, laplace_nll, vmf_nll
from linsight.losses.mask import MASK_LOSSES, mask_loss, mask_loss_terms
from linsight.losses.overlap import lovasz_softmax, tversky
from linsight.losses.pixels import coarse_cross_entropy, cross_entropy, hardest_cross_entropy
from linsight.losses.reduction import selected_mean
from linsight.losses.regression import l1_loss, l2_loss, smooth_l1_loss, wing_loss
from linsight.losses.rle import (
    RLEValues,
    exact_rle,
    flow_log_prob,
    log_normalizer,
    mmpose_rle,
    official_rle,
)

__all__ = [
    "BOX_LOSSES",
    "MASK_LOSSES",
    "CentreTargets",
    "RLEValues",
    "binned_angle_loss",
    "bins_kl",
    "box_loss",
    "centre_class_loss",
    "centre_focal_loss",
    "centre_targets",
    "coarse_cross_entropy",
    "cross_entropy",
    "exact_rle",
    "flow_log_prob",
    "focal_loss",
    "gaussian_nll",
    "hardest_cross_entropy",
    "heatmap_mse",
    "l1_loss",
    "l2_loss",
    "laplace_nll",
    "log_normalizer",
    "lovasz_softmax",
    "map_js",
    "mask_loss",
    "mask_loss_terms",
    "mean_of_images",
    "mmpose_rle",
    "official_rle",
    "pinball_loss",
    "selected_mean",
    "smooth_l1_loss",
    "tversky",
    "vmf_nll",
    "wing_loss",
]
