"""Joints of people: crops, codecs of heads, noisy labels of a known law."""

from linsight.tasks.pose.pictures import LIMBS, skeleton_lines
from linsight.tasks.pose.task import PoseConfig, PoseTask

__all__ = ["LIMBS", "PoseConfig", "PoseTask", "skeleton_lines"]
