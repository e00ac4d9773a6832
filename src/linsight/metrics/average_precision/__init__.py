"""Average precision of detections under every published protocol, from one match table."""

from linsight.metrics.average_precision.across import (
    confusion,
)
from linsight.metrics.average_precision.bootstrap import (
    Interval,
    bootstrap,
    bootstrap_difference,
)
from linsight.metrics.average_precision.breakdown import (
    ClassRow,
    PrecisionRecall,
    class_rows,
    precision_recall,
    rows_to_csv,
)
from linsight.metrics.average_precision.example import (
    worked_example,
)
from linsight.metrics.average_precision.explain import (
    Explanation,
    explain_protocols,
    explain_results,
)
from linsight.metrics.average_precision.masks import (
    Masks,
)
from linsight.metrics.average_precision.match_table import (
    MatchTable,
    match_detections,
)
from linsight.metrics.average_precision.metric import (
    AveragePrecision,
)
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
from linsight.metrics.average_precision.result import (
    AveragePrecisionResult,
    accumulate,
    evaluate_detections,
)
from linsight.metrics.average_precision.tables import (
    Detections,
    GroundTruth,
    detections,
    ground_truth,
)
from linsight.metrics.average_precision.tide import (
    TideErrors,
    tide,
)

__all__ = [
    "AreaRange",
    "AveragePrecision",
    "AveragePrecisionResult",
    "ClassRow",
    "DetectionProtocol",
    "Detections",
    "Explanation",
    "GroundTruth",
    "Interval",
    "Masks",
    "MatchTable",
    "PrecisionRecall",
    "TideErrors",
    "accumulate",
    "bootstrap",
    "bootstrap_difference",
    "class_rows",
    "coco",
    "confusion",
    "detection_protocol",
    "detection_protocols",
    "detections",
    "evaluate_detections",
    "explain_protocols",
    "explain_results",
    "ground_truth",
    "match_detections",
    "precision_recall",
    "rows_to_csv",
    "tide",
    "ultralytics",
    "voc07",
    "voc10",
    "worked_example",
]
