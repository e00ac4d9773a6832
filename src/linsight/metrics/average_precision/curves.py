"""Precision-recall curves of all classes and thresholds at once, kept at their true positives alone."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from linsight.metrics.average_precision.match_table import MatchTable

__all__ = ["AreaCounts", "Curves", "area_counts", "curves"]

Integers = NDArray[np.int64]


class Curves(NamedTuple):
    """Curves, one of each class or of each threshold and class, at their true positives by descending score.

    Precision tp / counted rises only where a detection is right, so these places hold the whole curve.

    Args:
        right: True positives so far, this one included; all curves one after another.
        counted: Detections so far that are right or wrong, this one included.
        offsets: Where each curve begins: (curves + 1,).
        total: Detections that are right or wrong, (curves,).
        positives: Objects to be found, (curves,).
        row: The row of the match table of each true positive.
    """

    right: Integers
    counted: Integers
    offsets: Integers
    total: Integers
    positives: Integers
    row: Integers

    def of(self, number: int) -> "Curves":
        """One of the curves."""
        part = slice(self.offsets[number], self.offsets[number + 1])
        one = slice(number, number + 1)
        offsets = np.array([0, part.stop - part.start])
        return Curves(
            self.right[part],
            self.counted[part],
            offsets,
            self.total[one],
            self.positives[one],
            self.row[part],
        )


class AreaCounts(NamedTuple):
    """What the curves of all thresholds of a range of area share.

    `within` is the running number of detections in range, by the order of the curve, after a leading 0;
    `bounds` are the places where classes begin there.
    """

    area: int
    outside: NDArray[np.bool_]
    within: Integers
    bounds: Integers
    place: Integers
    positives: Integers
    weight: Integers | None


def area_counts(table: MatchTable, area: int, image_weight: Integers | None = None) -> AreaCounts:
    """The shared part; `image_weight` counts each image, its objects and detections, so many times."""
    classes = len(table.categories)
    outside = table.outside(area)
    bounds = np.searchsorted(table.det_category, np.arange(classes + 1))
    place = np.empty(len(table.curve), np.int64)
    place[table.curve] = np.arange(len(place))
    within = np.zeros(len(place) + 1, np.int64)
    inside = ~outside[table.curve]
    counted = ~table.gt_ignore[area]
    if image_weight is None:
        np.cumsum(inside, out=within[1:])
        positives = np.bincount(table.gt_category[counted], minlength=classes)
        weight = None
    else:
        weight = image_weight[table.det_image]
        np.cumsum(inside * weight[table.curve], out=within[1:])
        chosen = table.gt_category[counted]
        times = image_weight[table.gt_image[counted]]
        positives = np.bincount(chosen, weights=times, minlength=classes).astype(np.int64)
    return AreaCounts(area, outside, within, bounds, place, positives, weight)


def curves(table: MatchTable, shared: AreaCounts) -> Curves:
    """The curves of each threshold and class of a range of area, thresholds first.

    A detection counts as wrong where it takes no object and is in range; one that takes an uncounted object
    counts as nothing, one that takes a counted object is right whatever its own size. The running count is
    that of detections in range, corrected at the few that take an object: linear in those alone.
    """
    classes, thresholds = len(table.categories), len(table.protocol.thresholds)
    found = table.taken[shared.area].ravel()
    hits = np.flatnonzero(found >= 0)
    threshold = hits // max(len(table.matched), 1)
    row = table.matched[hits - threshold * len(table.matched)]
    right = ~table.gt_ignore[shared.area, found[hits]]
    place = shared.place[row]
    correction = right.astype(np.int64) - ~shared.outside[row]
    times = None if shared.weight is None else shared.weight[row]
    if times is not None:
        correction *= times
        right = right * times
    number = table.det_category[row] + threshold * classes
    bounds = np.searchsorted(number, np.arange(classes * thresholds + 1))
    corrected = np.concatenate([[0], np.cumsum(correction)])
    rights = np.concatenate([[0], np.cumsum(right)])
    before = np.tile(shared.within[shared.bounds[:-1]], thresholds) + corrected[bounds[:-1]]
    total = np.tile(shared.within[shared.bounds[1:]], thresholds) + corrected[bounds[1:]] - before
    # Images that were not drawn weigh nothing, and are no place of the curve.
    kept = np.flatnonzero(right)
    number = number[kept]
    return Curves(
        right=rights[kept + 1] - rights[bounds[number]],
        counted=shared.within[place[kept] + 1] + corrected[kept + 1] - before[number],
        offsets=np.searchsorted(number, np.arange(classes * thresholds + 1)),
        total=total,
        positives=np.tile(shared.positives, thresholds),
        row=row[kept],
    )
