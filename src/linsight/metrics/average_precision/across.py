"""Pairs of all classes, and the confusion matrix that they give."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Int
from numpy.typing import NDArray

from linsight.metrics.average_precision.match_table import MatchTable
from linsight.metrics.average_precision.matching import best_free, counted_first, preferences
from linsight.metrics.average_precision.ordering import descending, group_starts, stable_order
from linsight.metrics.average_precision.pairing import Pairs

__all__ = ["ImagePairs", "confusion", "pairs_of_images"]

Integers = NDArray[np.int64]


class ImagePairs(NamedTuple):
    """Rows of detections by image and score, of objects by image, and pairs of places among them."""

    detection: Integers
    truth: Integers
    pairs: Pairs


def pairs_of_images(
    table: MatchTable, least: float, score: float = -np.inf, limit: int | None = None
) -> ImagePairs:
    """All pairs in an image that overlap by `least`, whatever their classes.

    Args:
        score: Detections below it are left out.
        limit: So many detections of an image at most, of all classes.
    """
    detection = stable_order(table.det_image, descending(table.det_score))
    detection = detection[table.det_score[detection] >= score]
    image = table.det_image[detection]
    if limit is not None:
        starts = group_starts(image)
        rank = np.arange(len(image)) - np.repeat(starts, np.diff(starts, append=len(image)))
        detection, image = detection[rank < limit], image[rank < limit]
    truth = stable_order(table.gt_image)
    pairs = table.measure.within(image, table.gt_image[truth], least, (detection, truth))
    return ImagePairs(detection, truth, pairs)


def confusion(table: MatchTable, score: float = 0.25, iou: float = 0.5) -> Int[np.ndarray, "called called"]:
    """How often class r (row) was found as class c (column); the last of each is the background.

    Detections of `score` or more, of all classes of an image together, take turns by score; each takes the
    free object of greatest IoU, `iou` or more. Detections on uncounted objects are left out. Rows sum to the
    objects that count, columns to the detections that are kept.
    """
    found = pairs_of_images(table, iou, score)
    ignore = table.gt_ignore[0, found.truth]
    lists = counted_first(preferences(found.pairs, table.protocol.tie), ignore)
    detection, truth = best_free(lists, table.gt_crowd[found.truth])
    classes = len(table.categories)
    called = np.full(len(found.truth), classes)
    counted = ~ignore[truth]
    category = table.det_category[found.detection]
    called[truth[counted]] = category[detection[counted]]
    alone = np.ones(len(category), bool)
    alone[detection] = False
    real = table.gt_category[found.truth]
    cells = np.concatenate(
        [
            real[~ignore] * (classes + 1) + called[~ignore],
            classes * (classes + 1) + category[alone],
        ]
    )
    return np.bincount(cells, minlength=(classes + 1) ** 2).reshape(classes + 1, classes + 1)
