"""Average precision of detections under every published protocol, from one match table."""

from linsight.metrics.average_precision.masks import Masks
from linsight.metrics.average_precision.match_table import MatchTable, match
from linsight.metrics.average_precision.protocols import (
    AreaRange,
    DetectionProtocol,
    coco,
    protocol,
    protocols,
    ultralytics,
    voc07,
    voc10,
)
from linsight.metrics.average_precision.result import AveragePrecisionResult, accumulate, average_precision
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
    "average_precision",
    "coco",
    "detections",
    "ground_truth",
    "match",
    "protocol",
    "protocols",
    "ultralytics",
    "voc07",
    "voc10",
]
