"""Average precision and recall of every class, threshold and range of area, and the numbers made of them."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray

from linsight.metrics.average_precision.curves import area_counts, curves
from linsight.metrics.average_precision.integrators import average_precisions, interpolated
from linsight.metrics.average_precision.match_table import MatchTable, match_detections
from linsight.metrics.average_precision.protocols import DetectionProtocol
from linsight.metrics.average_precision.tables import Detections, GroundTruth

__all__ = ["AveragePrecisionResult", "accumulate", "evaluate_detections"]


@dataclass(frozen=True)
class AveragePrecisionResult:
    """What a protocol says of a set of detections. Empty means NaN: a class without an object has no AP.

    Args:
        table: The match table, with the protocol.
        ap: (thresholds, classes, areas), at the largest number of detections.
        recall: The last recall, (limits, thresholds, classes, areas).
        precision: At COCO's 101 recalls, (thresholds, 101, classes, areas); None under other integrators.
        positives: Objects that count, (classes, areas).
    """

    table: MatchTable
    ap: Float[np.ndarray, "T C A"]
    recall: Float[np.ndarray, "L T C A"]
    precision: Float[np.ndarray, "T R C A"] | None
    positives: Int[np.ndarray, "C A"]

    @property
    def protocol(self) -> DetectionProtocol:
        """The protocol of every number here."""
        return self.table.protocol

    @property
    def value(self) -> float:
        """The headline: mean AP over thresholds and classes, all areas."""
        return self.mean_ap()

    def mean_ap(self, threshold: float | None = None, area: str | None = None) -> float:
        """Mean AP over classes with objects, and over all thresholds or at one; NaN without any.

        Raises:
            ValueError: A threshold or area that the protocol does not have.
        """
        at, a = self._threshold(threshold), self._area(area)
        # COCO's code averages precisions over classes, recalls and thresholds at once: equal to the last bit.
        values = self.ap[at, :, a] if self.precision is None else self.precision[at, :, :, a]
        return _mean(values)

    def mean_recall(
        self, threshold: float | None = None, area: str | None = None, limit: int | None = None
    ) -> float:
        """Mean last recall over classes and thresholds: average recall. `limit` is one of `max_detections`.

        Raises:
            ValueError: A threshold, area or limit that the protocol does not have.
        """
        limits = self.protocol.max_detections or (None,)
        if limit is not None and limit not in limits:
            raise ValueError(f"limit: expected one of {limits}, got {limit}")
        number = len(limits) - 1 if limit is None else limits.index(limit)
        return _mean(self.recall[number, self._threshold(threshold), :, self._area(area)])

    def summary(self) -> dict[str, float]:
        """The numbers by name, in the order in which COCO prints them; NaN where COCO prints -1.

        COCO's twelve for boxes and masks: AP, AP50, AP75, AP_small, AP_medium, AP_large, AR@1, AR@10, AR@100,
        AR_small, AR_medium, AR_large; its ten for keypoints. Protocols of one threshold have AP and AR alone.
        """
        rules = self.protocol
        several = len(rules.thresholds) > 1
        shown = {"50": 0.5, "75": 0.75} if several else {}
        shown = {name: t for name, t in shown.items() if np.isclose(rules.thresholds, t, atol=1e-9).any()}
        areas = [chosen.name for chosen in rules.area_ranges[1:]]
        limits = rules.max_detections or ()
        numbers = {"AP": self.mean_ap()}
        numbers |= {f"AP{name}": self.mean_ap(t) for name, t in shown.items()}
        numbers |= {f"AP_{name}": self.mean_ap(area=name) for name in areas}
        if len(limits) > 1:
            numbers |= {f"AR@{limit}": self.mean_recall(limit=limit) for limit in limits}
        else:
            numbers |= {"AR": self.mean_recall()}
            numbers |= {f"AR{name}": self.mean_recall(t) for name, t in shown.items()}
        return numbers | {f"AR_{name}": self.mean_recall(area=name) for name in areas}

    def _threshold(self, threshold: float | None) -> slice:
        if threshold is None:
            return slice(None)
        found = np.flatnonzero(np.isclose(self.protocol.thresholds, threshold, rtol=0, atol=1e-9))
        if not len(found):
            raise ValueError(f"threshold: expected one of {self.protocol.thresholds}, got {threshold}")
        return slice(found[0], found[0] + 1)

    def _area(self, area: str | None) -> int:
        names = [chosen.name for chosen in self.protocol.area_ranges]
        if area is not None and area not in names:
            raise ValueError(f"area: expected one of {', '.join(names)}, got {area!r}")
        return 0 if area is None else names.index(area)


def evaluate_detections(
    truth: GroundTruth,
    detections: Detections,
    rules: str | DetectionProtocol = "coco",
    *,
    unknown: str = "refuse",
) -> AveragePrecisionResult:
    """Average precision and recall under a protocol; arguments and errors as `match_detections`.

    >>> from linsight.metrics import evaluate_detections, detections, ground_truth
    >>> truth = ground_truth(images=[1], categories=[1], image_id=[1], category_id=[1], box=[[0, 0, 9, 9]],
    ...                      box_format="xyxy")
    >>> found = detections(image_id=[1], category_id=[1], score=[0.5], box=[[0, 0, 9, 8]], box_format="xyxy")
    >>> round(evaluate_detections(truth, found).value, 6)
    0.8
    """
    return accumulate(match_detections(truth, detections, rules, unknown=unknown))


def accumulate(table: MatchTable) -> AveragePrecisionResult:
    """The tables of AP and recall from a match table.

    recall = true positives / objects, at each limit of detections and at the end of the curve; see
    `average_precisions` for AP. Linear in the detections for each range of area, and in those that take an
    object for each threshold.
    """
    rules = table.protocol
    classes, thresholds, areas = len(table.categories), len(rules.thresholds), len(rules.area_ranges)
    limits = rules.max_detections or (len(table.det_row) + 1,)
    ap = np.full((thresholds, classes, areas), np.nan)
    recall = np.full((len(limits), thresholds, classes, areas), np.nan)
    whole = rules.integrator == "101-point"
    precision = np.full((thresholds, 101, classes, areas), np.nan) if whole else None
    positives = np.zeros((classes, areas), np.int64)
    for a in range(areas):
        shared = area_counts(table, a)
        positives[:, a] = shared.positives
        found = curves(table, shared)
        full = shared.positives > 0
        if precision is None:
            ap[:, :, a] = average_precisions(found, rules.integrator).reshape(thresholds, classes)
        else:
            grid = interpolated(found).reshape(thresholds, classes, 101)[:, full]
            precision[:, :, full, a] = grid.transpose(0, 2, 1)
            ap[:, full, a] = grid.mean(2)
        number = np.repeat(np.arange(thresholds * classes), np.diff(found.offsets))
        rank = table.det_rank[found.row]
        for n, limit in enumerate(limits):
            right = np.bincount(number[rank < limit], minlength=thresholds * classes)
            right = right.reshape(thresholds, classes)[:, full]
            recall[n, :, full, a] = (right / shared.positives[full]).T
    return AveragePrecisionResult(table, ap, recall, precision, positives)


def _mean(values: NDArray[Any]) -> float:
    present = values[~np.isnan(values)]
    return float(np.mean(present)) if len(present) else float("nan")
