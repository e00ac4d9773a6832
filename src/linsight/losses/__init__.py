"""Losses: functions of predictions and targets, differentiable, of what is selected alone."""

from linsight.losses.angles import binned_angle_loss, pinball_loss
from linsight.losses.focal import focal_loss
from linsight.losses.heatmap import bins_kl, heatmap_mse, map_js
from linsight.losses.likelihood import gaussian_nll, laplace_nll, vmf_nll
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
    "RLEValues",
    "binned_angle_loss",
    "bins_kl",
    "exact_rle",
    "flow_log_prob",
    "focal_loss",
    "gaussian_nll",
    "heatmap_mse",
    "l1_loss",
    "l2_loss",
    "laplace_nll",
    "log_normalizer",
    "map_js",
    "mmpose_rle",
    "official_rle",
    "pinball_loss",
    "selected_mean",
    "smooth_l1_loss",
    "vmf_nll",
    "wing_loss",
]
