"""Joints of people: crops, codecs of heads, noisy labels of a known law."""

from linsight.tasks.pose.looking import Joints, found_in_box
from linsight.tasks.pose.pictures import LIMBS, skeleton_lines
from linsight.tasks.pose.task import PoseConfig, PoseTask

__all__ = ["LIMBS", "Joints", "PoseConfig", "PoseTask", "found_in_box", "skeleton_lines"]
