"""One curve of precision and recall, and the area that each protocol of average precision takes under it."""

import numpy as np

from linsight.metrics import average_precision as ap
from linsight.tasks.exhibits import Curves, Table

__all__ = ["protocol_exhibits"]

TAKES = {
    "voc07": "the mean of the highest precisions at or beyond 11 recalls",
    "voc10": "the area under the highest precision at or beyond each recall",
    "coco": "the mean of the highest precisions at or beyond 101 recalls",
    "ultralytics": "the area under straight lines from point to point, from precision 1 at recall 0",
}
THRESHOLDS = (0.5, 0.75)


def protocol_exhibits(truth: ap.GroundTruth, found: ap.Detections) -> tuple[Table, Table, Curves]:
    """What each protocol makes of the detections of one class, its ranking, and its curve at IoU 0.5."""
    rows = []
    for name, takes in TAKES.items():
        rules = [ap.detection_protocol(name, thresholds=(threshold,)) for threshold in THRESHOLDS]
        values = [ap.evaluate_detections(truth, found, rule).value for rule in rules]
        rows.append((name, *(f"{value:.4f}" for value in values), takes))
    numbers = Table(
        "protocols",
        "One set of detections, four numbers",
        ("protocol", *(f"at IoU {threshold:g}" for threshold in THRESHOLDS), "what it takes"),
        tuple(rows),
    )
    table = ap.match_detections(truth, found, ap.detection_protocol("coco", thresholds=THRESHOLDS[:1]))
    curve = ap.precision_recall(table, int(table.categories[0]))
    return numbers, _ranking(table, curve), _curves(curve)


def _ranking(table: ap.MatchTable, curve: ap.PrecisionRecall) -> Table:
    right = table.det_gt()[table.curve] >= 0
    rows = tuple(
        (str(place + 1), f"{score:g}", "right" if hit else "wrong", f"{recall:.2f}", f"{precision:.3f}")
        for place, (score, hit, recall, precision) in enumerate(
            zip(curve.score, right, curve.recall, curve.precision, strict=True)
        )
    )
    return Table(
        "ranking",
        "The detections by score, at IoU 0.5",
        ("", "score", "it is", "recall so far", "precision so far"),
        rows,
    )


def _curves(curve: ap.PrecisionRecall) -> Curves:
    grid = np.linspace(0, 1, 101)
    recall = np.concatenate([[0.0], curve.recall, [1.0]])
    precision = np.concatenate([[1.0], curve.precision, [0.0]])
    highest = np.maximum.accumulate(precision[::-1])[::-1]
    series = {
        "after each detection": (curve.recall, curve.precision),
        "coco, and voc10 between the points": (grid, curve.envelope),
        "voc07: eleven points": (grid[::10], curve.envelope[::10]),
        "ultralytics: lines between": (grid, np.interp(grid, recall, highest)),
    }
    return Curves(
        "curve",
        "Precision against recall, and what is taken for it",
        {name: (x.tolist(), y.tolist()) for name, (x, y) in series.items()},
        "recall",
        "precision",
        note="Filled: the areas that coco, voc10 and ultralytics take. Lines join the eleven points of voc07 "
        "to show which they are; their mean is taken.",
        areas=("coco, and voc10 between the points", "ultralytics: lines between"),
    )
