"""The match table, from which every number, curve and interval is computed without matching again."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray

from linsight.metrics.average_precision.inspection import index_of, known_rows
from linsight.metrics.average_precision.matching import (
    at_thresholds,
    best_free,
    best_then_check,
    counted_first,
    preferences,
)
from linsight.metrics.average_precision.ordering import descending, group_starts, stable_order
from linsight.metrics.average_precision.pairing import Measure, Pairs
from linsight.metrics.average_precision.protocols import DetectionProtocol, detection_protocol
from linsight.metrics.average_precision.tables import Detections, GroundTruth

__all__ = ["MatchTable", "match_detections"]

Integers = NDArray[np.int64]


@dataclass(frozen=True)
class MatchTable:
    """Detections, objects, and who takes whom at every threshold and in every range of area.

    Detections are sorted by category, image, descending score; objects by category, image; equal ones as
    given. Columns are numbers of rows of `images` and `categories`, both ascending by id.

    `taken[a, t, i]` is the object that detection `matched[i]` takes in range a at threshold t, or -1; others
    take none. `curve` sorts detections by category, score, image: the order of the curves, and of
    `matched`. `det_row` and `gt_row` lead to the rows of the tables that were matched.
    """

    protocol: DetectionProtocol
    images: NDArray[Any]
    categories: NDArray[Any]
    names: Mapping[int, str]
    area_source: Literal["given", "box"]
    dropped: int
    det_row: Int[np.ndarray, " D"]
    det_image: Int[np.ndarray, " D"]
    det_category: Int[np.ndarray, " D"]
    det_score: Float[np.ndarray, " D"]
    det_rank: Int[np.ndarray, " D"]
    det_area: Float[np.ndarray, " D"]
    gt_row: Int[np.ndarray, " G"]
    gt_image: Int[np.ndarray, " G"]
    gt_category: Int[np.ndarray, " G"]
    gt_area: Float[np.ndarray, " G"]
    gt_ignore: Bool[np.ndarray, "A G"]
    gt_crowd: Bool[np.ndarray, " G"]
    pairs: Pairs
    matched: Int[np.ndarray, " M"]
    taken: Int[np.ndarray, "A T M"]
    curve: Int[np.ndarray, " D"]
    measure: Measure

    def det_gt(self, threshold: int = 0, area: int = 0) -> Int[np.ndarray, " D"]:
        """The object each detection takes, or -1."""
        found = np.full(len(self.det_row), -1)
        found[self.matched] = self.taken[area, threshold]
        return found

    def det_ignore(self, threshold: int = 0, area: int = 0) -> Bool[np.ndarray, " D"]:
        """Detections that are neither right nor wrong: on an uncounted object, or alone and out of range."""
        found = self.det_gt(threshold, area)
        ignored = self.outside(area)
        ignored[found >= 0] = self.gt_ignore[area, found[found >= 0]]
        return ignored

    def outside(self, area: int) -> Bool[np.ndarray, " D"]:
        """Detections whose own area is out of range."""
        chosen = self.protocol.area_ranges[area]
        return (self.det_area < chosen.least) | (self.det_area > chosen.most)


def match_detections(
    truth: GroundTruth,
    detections: Detections,
    rules: str | DetectionProtocol = "coco",
    *,
    unknown: str = "refuse",
) -> MatchTable:
    """Match detections to objects under a protocol.

    Detections of an image and class take turns by descending score, equal scores as given. Linear in the
    detections and in their pairs with objects of their image and class; no loop over images or classes.

    Args:
        truth: See `ground_truth`.
        detections: See `detections`.
        rules: A protocol or the name of a preset.
        unknown: "drop" leaves detections of images or categories that `truth` does not list out, and counts
            them in `dropped`.

    Raises:
        ValueError: Unknown images or categories; masks, keypoints or areas missing; masks of different sizes
            in an image; boxes as shares of the image against boxes in pixels.
    """
    rules = detection_protocol(rules)
    _check_scales(truth, detections)
    if rules.uncounted == "crowd" and not rules.respect_ignore and (truth.ignore & ~truth.crowd).any():
        warnings.warn(
            f"ignore: protocol {rules.name!r} reads crowd alone: {int(truth.ignore.sum())} objects flagged "
            "ignore count like others; respect_ignore=True leaves them out",
            stacklevel=2,
        )
    images, categories = np.sort(truth.images), np.sort(truth.categories)
    gt_image = known_rows(truth.image_id, images, "image_id of ground truth")
    gt_category = known_rows(truth.category_id, categories, "category_id of ground truth")
    gt_row = stable_order(gt_category, gt_image)
    gt_image, gt_category = gt_image[gt_row], gt_category[gt_row]
    det_image, det_category, kept = _places(detections, images, categories, unknown)
    det_row = stable_order(det_category, det_image, descending(detections.score[kept]))
    det_image, det_category = det_image[det_row], det_category[det_row]
    dropped = len(detections) - len(kept)
    det_row = kept[det_row] if dropped else det_row
    if rules.max_detections_per == "class":
        rank = _ranks(det_category * len(images) + det_image)
    else:
        rank = _ranks_in_image(det_image, detections.score[det_row])
    if rules.limit is not None and (rank >= rules.limit).any():
        kept = rank < rules.limit
        det_image, det_category = det_image[kept], det_category[kept]
        det_row, rank = det_row[kept], rank[kept]
    measure = Measure(truth, detections, gt_row, det_row, rules)
    gt_key = gt_category * len(images) + gt_image
    pairs = measure.within(det_category * len(images) + det_image, gt_key, min(rules.needed))
    uncounted, crowd = _uncounted(truth, rules)
    ignore = np.stack(
        [
            uncounted[gt_row] | (measure.truth_area < r.least) | (measure.truth_area > r.most)
            for r in rules.area_ranges
        ]
    )
    score = detections.score[det_row]
    curve = stable_order(det_category, descending(score))
    seen = np.zeros(len(det_row), bool)
    seen[pairs.detection] = True
    matched = curve[seen[curve]]
    return MatchTable(
        protocol=rules,
        images=images,
        categories=categories,
        names=truth.names,
        area_source="box" if truth.area is None else "given",
        dropped=dropped,
        det_row=det_row,
        det_image=det_image,
        det_category=det_category,
        det_score=score,
        det_rank=rank,
        det_area=measure.detection_area,
        gt_row=gt_row,
        gt_image=gt_image,
        gt_category=gt_category,
        gt_area=measure.truth_area,
        gt_ignore=ignore,
        gt_crowd=crowd[gt_row],
        pairs=pairs,
        matched=matched,
        taken=_taken(pairs, matched, ignore, crowd[gt_row], gt_key, rules, len(det_row)),
        curve=curve,
        measure=measure,
    )


def _taken(
    pairs: Pairs,
    matched: Integers,
    ignore: NDArray[np.bool_],
    crowd: NDArray[np.bool_],
    gt_group: Integers,
    rules: DetectionProtocol,
    count: int,
) -> NDArray[np.int32]:
    """The object of each matched detection, by ranges of area and thresholds."""
    thresholds, objects = len(rules.thresholds), ignore.shape[1]
    taken = np.full((len(ignore), thresholds, len(matched)), -1, np.int32)
    column = np.zeros(count, np.int64)
    column[matched] = np.arange(len(matched))
    lists = preferences(pairs, rules.tie)
    first = counted_first(lists, ignore[0])
    crowds = np.tile(crowd, thresholds)
    for a, uncounted in enumerate(ignore):
        if rules.matching == "best-then-check":
            part = at_thresholds(lists, rules.needed, count, objects)
            detection, truth = best_then_check(part, np.tile(uncounted, thresholds))
        else:
            own = counted_first(lists, uncounted)
            if a:
                # Few detections overlap several objects, and fewer would rather have another one for its
                # area: only images and classes where one would are matched again.
                others = np.unique(gt_group[own.truth[own.truth != first.truth]])
                own = own.take(np.isin(gt_group[own.truth], others))
                taken[a] = taken[0]
                taken[a][:, column[own.detection]] = -1
            part = at_thresholds(own, rules.needed, count, objects)
            detection, truth = best_free(part, crowds)
        taken[a][detection // max(count, 1), column[detection % max(count, 1)]] = truth % max(objects, 1)
    return taken


def _places(
    detections: Detections, images: NDArray[Any], categories: NDArray[Any], unknown: str
) -> tuple[Integers, Integers, Integers]:
    """Rows of images and categories of the detections that are kept, and their own rows."""
    if unknown not in ("refuse", "drop"):
        raise ValueError(f"unknown: expected 'refuse' or 'drop', got {unknown!r}")
    if unknown == "refuse":
        image = known_rows(detections.image_id, images, "image_id of detections")
        category = known_rows(detections.category_id, categories, "category_id of detections")
        return image, category, np.arange(len(detections))
    image = index_of(detections.image_id, images, "image_id of detections")
    category = index_of(detections.category_id, categories, "category_id of detections")
    kept = np.flatnonzero((image >= 0) & (category >= 0))
    return image[kept], category[kept], kept


def _uncounted(truth: GroundTruth, rules: DetectionProtocol) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Objects that are not counted whatever their size, and those of them that any number may match."""
    none = np.zeros(len(truth), bool)
    crowd = {"crowd": truth.crowd, "difficult": truth.difficult, "nothing": none}[rules.uncounted]
    uncounted = crowd | (truth.ignore & rules.respect_ignore)
    if rules.overlap == "keypoints" and truth.num_keypoints is not None:
        uncounted = uncounted | (truth.num_keypoints == 0)
    return uncounted, crowd


def _ranks(key: Integers) -> Integers:
    """The place of each row within its group."""
    starts = group_starts(key)
    return np.arange(len(key)) - np.repeat(starts, np.diff(starts, append=len(key)))


def _ranks_in_image(image: Integers, score: NDArray[np.float64]) -> Integers:
    """The place of each row among those of its image, of all classes, by descending score."""
    order = stable_order(image, descending(score))
    ranks = np.empty(len(image), np.int64)
    ranks[order] = _ranks(image[order])
    return ranks


def _check_scales(truth: GroundTruth, detections: Detections) -> None:
    sides = [np.abs(table.box).max(initial=0.0) for table in (truth, detections)]
    if min(sides) > 0 and min(sides) <= 1 and max(sides) > 16 and len(truth) > 1 and len(detections) > 1:
        whole = "detections" if sides[0] <= 1 else "ground truth"
        shares = "ground truth" if sides[0] <= 1 else "detections"
        raise ValueError(
            f"box: expected one scale, got shares of the image in the {shares} and pixels in the {whole}; "
            "pass normalized=True with sizes"
        )
