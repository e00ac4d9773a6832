"""Why two protocols give two numbers for the same detections."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from linsight.metrics.average_precision.match_table import MatchTable
from linsight.metrics.average_precision.protocols import DetectionProtocol
from linsight.metrics.average_precision.result import AveragePrecisionResult, evaluate_detections
from linsight.metrics.average_precision.tables import Detections, GroundTruth

__all__ = ["Explanation", "explain_protocols", "explain_results"]

CHOICES = {
    "thresholds": ("thresholds",),
    "integrator": ("integrator",),
    "matching rule": ("matching", "tie"),
    "extra pixel": ("plus_one",),
    "uncounted objects": ("uncounted",),
    "limit of detections": ("max_detections", "max_detections_per"),
}


class Explanation(NamedTuple):
    """What each difference of two protocols does to the number on these data.

    Args:
        names: The two protocols.
        values: Their mean AP.
        changes: For each choice in which they differ, the mean AP of the first with the second's choice
        instead.
        differing: The first rows of detections that one counts otherwise than the other at its first
        threshold.
        verdicts: Of those rows under both: "right", "wrong", "not counted" or "cut".
    """

    names: tuple[str, str]
    values: tuple[float, float]
    changes: dict[str, float]
    differing: list[int]
    verdicts: list[tuple[str, str]]


def explain_protocols(
    truth: GroundTruth,
    detections: Detections,
    rules: Sequence[str | DetectionProtocol],
    *,
    most: int = 10,
) -> list[Explanation]:
    """Compare the first protocol with each of the others, choice by choice; one evaluation for each.

    Args:
        rules: Two or more protocols of one overlap.
        most: So many differing detections at most.

    Raises:
        ValueError: Fewer than two protocols; and as `match_detections`.
    """
    if len(rules) < 2:
        raise ValueError(f"rules: expected two protocols or more, got {len(rules)}")
    results = [evaluate_detections(truth, detections, rule) for rule in rules]
    return explain_results(truth, detections, results, most=most)


def explain_results(
    truth: GroundTruth,
    detections: Detections,
    results: Sequence[AveragePrecisionResult],
    *,
    most: int = 10,
) -> list[Explanation]:
    """As `explain_protocols`, from what the protocols have said of these detections already."""
    first, *others = results
    return [_explain(truth, detections, first, other, most) for other in others]


def _explain(
    truth: GroundTruth,
    detections: Detections,
    base: AveragePrecisionResult,
    result: AveragePrecisionResult,
    most: int,
) -> Explanation:
    first, other = base.protocol, result.protocol
    changes = {}
    for name, fields in CHOICES.items():
        theirs: dict[str, Any] = {field: getattr(other, field) for field in fields}
        if theirs != {field: getattr(first, field) for field in fields}:
            changes[name] = evaluate_detections(truth, detections, replace(first, **theirs)).value
    one, two = _verdicts(base.table, len(detections)), _verdicts(result.table, len(detections))
    rows = np.flatnonzero(one != two)[:most].tolist()
    return Explanation(
        (first.name, other.name),
        (base.value, result.value),
        changes,
        rows,
        [(str(one[row]), str(two[row])) for row in rows],
    )


def _verdicts(table: MatchTable, count: int) -> NDArray[Any]:
    verdicts = np.full(count, "cut", dtype="<U11")
    verdict = np.where(table.det_gt() >= 0, "right", "wrong").astype("<U11")
    verdict[table.det_ignore()] = "not counted"
    verdicts[table.det_row] = verdict
    return verdicts
