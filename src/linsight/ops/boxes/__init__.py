"""Boxes in an image: notations, areas, overlaps with their generalisations, and non-maximum suppression."""

from linsight.ops.boxes.geometry import NOTATIONS, box_area, box_clip, box_convert
from linsight.ops.boxes.overlap import OVERLAPS, box_overlap, pairwise_overlap
from linsight.ops.boxes.suppression import nms, nms_mask

__all__ = [
    "NOTATIONS",
    "OVERLAPS",
    "box_area",
    "box_clip",
    "box_convert",
    "box_overlap",
    "nms",
    "nms_mask",
    "pairwise_overlap",
]
