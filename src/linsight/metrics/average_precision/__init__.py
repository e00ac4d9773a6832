"""Average precision of detections under every published protocol, from one match table."""

from linsight.metrics.average_precision.masks import Masks
from linsight.metrics.average_precision.match_table import MatchTable, match_detections
from linsight.metrics.average_precision.protocols import (
    AreaRange,
    DetectionProtocol,
    coco,
    detection_protocol,
    detection_protocols,
    ultralytics,
    voc07,
    voc10,
)
from linsight.metrics.average_precision.result import AveragePrecisionResult, accumulate, evaluate_detections
from linsight.metrics.average_precision.tables import Detections, GroundTruth, detections, ground_truth

__all__ = [
    "AreaRange",
    "AveragePrecisionResult",
    "DetectionProtocol",
    "Detections",
    "GroundTruth",
    "Masks",
    "MatchTable",
    "accumulate",
    "coco",
    "detection_protocol",
    "detection_protocols",
    "detections",
    "evaluate_detections",
    "ground_truth",
    "match_detections",
    "ultralytics",
    "voc07",
    "voc10",
]
