"""Losses: functions of predictions and targets, differentiable, of what is selected alone."""

from linsight.losses.focal import focal_loss

__all__ = ["focal_loss"]
