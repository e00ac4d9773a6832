"""Annotation files of others: read into plain arrays, written, and refused on one line."""

from linsight.data.annotations.coco import read_coco
from linsight.data.annotations.coco_results import read_coco_results
from linsight.data.annotations.coco_write import write_coco, write_coco_results
from linsight.data.annotations.per_image import (
    YOLO,
    YOLO_DETECTIONS,
    Lines,
    read_lines,
    read_lines_detections,
    write_lines,
)
from linsight.data.annotations.recognise import Format, recognise
from linsight.data.annotations.rle import RunLengths
from linsight.data.annotations.tables import BoxFormat, Detections, GroundTruth, to_xyxy
from linsight.data.annotations.voc import read_voc, write_voc
from linsight.data.annotations.voc_detections import read_voc_detections, write_voc_detections
from linsight.data.annotations.voc_masks import read_voc_mask, write_voc_mask

__all__ = [
    "YOLO",
    "YOLO_DETECTIONS",
    "BoxFormat",
    "Detections",
    "Format",
    "GroundTruth",
    "Lines",
    "RunLengths",
    "read_coco",
    "read_coco_results",
    "read_lines",
    "read_lines_detections",
    "read_voc",
    "read_voc_detections",
    "read_voc_mask",
    "recognise",
    "to_xyxy",
    "write_coco",
    "write_coco_results",
    "write_lines",
    "write_voc",
    "write_voc_detections",
    "write_voc_mask",
]
