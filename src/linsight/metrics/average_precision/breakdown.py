"""Class by class: the table, and precision against recall."""

import csv
import io
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from linsight.metrics.average_precision.curves import area_counts, curves
from linsight.metrics.average_precision.integrators import interpolated
from linsight.metrics.average_precision.match_table import MatchTable
from linsight.metrics.average_precision.result import AveragePrecisionResult

__all__ = ["ClassRow", "PrecisionRecall", "class_rows", "precision_recall", "rows_to_csv"]


class ClassRow(NamedTuple):
    """What was found of one class. NaN where there is nothing to find, or no such threshold.

    `best_f1` is the greatest harmonic mean of precision and recall at the first threshold of IoU, and
    `best_score` the least score that reaches it.
    """

    category: int
    name: str
    num_gt: int
    num_det: int
    ap: float
    ap50: float
    ap75: float
    ar: float
    best_f1: float
    best_score: float


def class_rows(result: AveragePrecisionResult, sort_by: str = "category") -> list[ClassRow]:
    """A row for each class, ascending by one of its columns; NaN come last.

    F1 = 2 TP / (detections that count + objects that count), greatest at a true positive.

    Raises:
        ValueError: `sort_by` is no column.
    """
    if sort_by not in ClassRow._fields:
        raise ValueError(f"sort_by: expected one of {', '.join(ClassRow._fields)}, got {sort_by!r}")
    table, classes = result.table, len(result.table.categories)
    found = curves(table, area_counts(table, 0))
    detected = np.bincount(table.det_category, minlength=classes)
    mean_ap = result.ap[:, :, 0].mean(0)
    rows = []
    for c, category in enumerate(table.categories.tolist()):
        curve = found.of(c)
        f1 = 2 * curve.right / (curve.counted + curve.positives[0])
        best = int(np.argmax(f1)) if len(f1) else None
        rows.append(
            ClassRow(
                category=category,
                name=table.names.get(category, str(category)),
                num_gt=int(result.positives[c, 0]),
                num_det=int(detected[c]),
                ap=float(mean_ap[c]),
                ap50=_at(result, 0.5, c),
                ap75=_at(result, 0.75, c),
                ar=float(result.recall[-1, :, c, 0].mean()),
                best_f1=(0.0 if curve.positives[0] else float("nan")) if best is None else float(f1[best]),
                best_score=float("nan") if best is None else float(table.det_score[curve.row[best]]),
            )
        )
    return sorted(rows, key=lambda row: _last_if_nan(getattr(row, sort_by)))


def rows_to_csv(rows: Sequence[ClassRow]) -> str:
    """The rows as comma-separated values under a line of names."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(ClassRow._fields)
    writer.writerows(rows)
    return text.getvalue()


class PrecisionRecall(NamedTuple):
    """A point for each detection that counts, by descending score.

    The envelope is the greatest precision at recall 0, 0.01, ..., 1 or above.
    """

    recall: Float[np.ndarray, " detections"]
    precision: Float[np.ndarray, " detections"]
    score: Float[np.ndarray, " detections"]
    envelope: Float[np.ndarray, "101"]


def precision_recall(table: MatchTable, category: int, threshold: int = 0, area: int = 0) -> PrecisionRecall:
    """recall = TP / objects and precision = TP / (TP + FP) after each detection of a class.

    Args:
        category: The id of a class.
        threshold, area: Numbers of the protocol's thresholds and ranges.

    Raises:
        ValueError: No such class; a class without objects, whose recall is not defined.
    """
    places = np.flatnonzero(table.categories == category)
    if not len(places):
        raise ValueError(f"category: expected one of {table.categories.tolist()}, got {category}")
    number = int(places[0])
    shared = area_counts(table, area)
    positives = int(shared.positives[number])
    if not positives:
        raise ValueError(f"category: expected one with objects that count, got {category}")
    chosen = table.curve[shared.bounds[number] : shared.bounds[number + 1]]
    chosen = chosen[~table.det_ignore(threshold, area)[chosen]]
    right = np.cumsum(table.det_gt(threshold, area)[chosen] >= 0)
    envelope = interpolated(curves(table, shared).of(threshold * len(table.categories) + number))[0]
    return PrecisionRecall(
        right / positives, right / np.arange(1, len(right) + 1), table.det_score[chosen], envelope
    )


def _at(result: AveragePrecisionResult, threshold: float, number: int) -> float:
    found = np.flatnonzero(np.isclose(result.protocol.thresholds, threshold, rtol=0, atol=1e-9))
    return float(result.ap[found[0], number, 0]) if len(found) else float("nan")


def _last_if_nan(value: float | str) -> tuple[bool, float | str]:
    return (value != value, value) if not isinstance(value, str) else (False, value)
