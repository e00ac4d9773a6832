"""The pairs of a detection and an object that overlap enough to match."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from linsight.metrics.average_precision.boxes import box_overlap, corners
from linsight.metrics.average_precision.keypoints import extent_area, similarity
from linsight.metrics.average_precision.masks import Masks, mask_overlap
from linsight.metrics.average_precision.ordering import group_starts, ranges
from linsight.metrics.average_precision.protocols import DetectionProtocol
from linsight.metrics.average_precision.tables import Detections, GroundTruth

__all__ = ["Measure", "Pairs"]

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]

# Columns of so many pairs stay in a core's cache between the two dozen passes over them.
CHUNK = 1 << 15


class Pairs(NamedTuple):
    """Rows of detections and objects, ascending by detection then object, and their overlap."""

    detection: Integers
    truth: Integers
    overlap: Floats

    def take(self, rows: NDArray[np.integer] | NDArray[np.bool_]) -> "Pairs":
        """These pairs."""
        return Pairs(self.detection[rows], self.truth[rows], self.overlap[rows])


class Measure:
    """How much a detection and an object overlap, and how large they are, as a protocol measures it.

    Args:
        truth, detections: The tables.
        truth_order, detection_order: The rows taken, in the order in which pairs name them.
        protocol: Box, mask or keypoints; inclusive pixels; whether there are crowds.

    Raises:
        ValueError: Masks or keypoints are asked for and a table has none; masks without `area`.
    """

    def __init__(
        self,
        truth: GroundTruth,
        detections: Detections,
        truth_order: Integers,
        detection_order: Integers,
        protocol: DetectionProtocol,
    ) -> None:
        self.kind, self.sigmas = protocol.overlap, protocol.sigmas
        self.grow = float(protocol.plus_one)
        self.crowd = truth.crowd[truth_order] & (protocol.uncounted == "crowd")
        self.truth_order, self.detection_order = truth_order, detection_order
        self.boxes = corners(detections.box[detection_order], detections.box_format)
        self.truth_boxes = corners(truth.box[truth_order], truth.box_format)
        self.detection_area = self.boxes.area()
        self.truth_area = self.truth_boxes.area() if truth.area is None else truth.area[truth_order]
        self.areas = self.detection_area, self.truth_boxes.area()
        if self.grow:
            self.areas = self.boxes.area(self.grow), self.truth_boxes.area(self.grow)
        if self.kind == "mask":
            self.masks = _masks(truth.masks, len(truth), "ground truth")
            self.found_masks = _masks(detections.masks, len(detections), "detections")
            if truth.area is None and len(truth):
                raise ValueError("area: expected the annotated area of each object beside masks; got none")
            self.detection_area = self.found_masks.areas()[detection_order]
            self.mask_areas = self.detection_area, self.masks.areas()[truth_order]
        if self.kind == "keypoints":
            for name, table in (("ground truth", truth), ("detections", detections)):
                if table.keypoints is None and len(table):
                    raise ValueError(f"keypoints: expected those of the {name}, got none")
            if truth.area is None and len(truth):
                raise ValueError("area: expected the area of each object beside keypoints; got none")
            joints = len(protocol.sigmas or ())
            self.points = _points(truth.keypoints, joints)[truth_order]
            self.found_points = _points(detections.keypoints, joints)[detection_order]
            self.detection_area = extent_area(self.found_points)

    def within(
        self,
        detection_key: Integers,
        truth_key: Integers,
        least: float,
        rows: tuple[Integers, Integers] | None = None,
    ) -> Pairs:
        """All pairs of one key that overlap by `least` or more; both keys are sorted.

        `rows` are those of detections and objects that the keys belong to, all in order where left out; pairs
        name places among the keys.
        """
        found = []
        for detection, truth in _chunks(detection_key, truth_key):
            measured = (detection, truth) if rows is None else (rows[0][detection], rows[1][truth])
            near, overlap = self.overlap(*measured)
            enough = np.flatnonzero(overlap >= least)
            near = near[enough]
            found.append(Pairs(detection[near], truth[near], overlap[enough]))
        if not found:
            return Pairs(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))
        return Pairs(*(np.concatenate(column) for column in zip(*found, strict=True)))

    def overlap(self, detection: Integers, truth: Integers) -> tuple[Integers, Floats]:
        """Which pairs of rows overlap, and by how much; pairs that are apart may be left out."""
        if self.kind == "keypoints":
            boxes = self.truth_boxes
            sides = np.stack([boxes.left, boxes.top, boxes.width, boxes.height], axis=1)
            points, rows = (self.found_points, self.points), (detection, truth)
            overlap = similarity(*points, sides, self.truth_area, rows, self.sigmas or ())
            return np.arange(len(overlap)), overlap
        rows = detection, truth
        near, overlap = box_overlap(self.boxes, self.truth_boxes, rows, self.areas, self.crowd, self.grow)
        if self.kind == "mask":
            detection, truth = detection[near], truth[near]
            overlap = mask_overlap(
                self.found_masks,
                self.masks,
                (self.detection_order[detection], self.truth_order[truth]),
                (self.mask_areas[0][detection], self.mask_areas[1][truth]),
                self.crowd[truth],
            )
        return near, overlap


def _chunks(detection_key: Integers, truth_key: Integers) -> Iterator[tuple[Integers, Integers]]:
    """All pairs of one key, some at a time, ascending by detection then object."""
    starts = group_starts(detection_key)
    key = detection_key[starts]
    low, high = np.searchsorted(truth_key, key, "left"), np.searchsorted(truth_key, key, "right")
    sizes = np.diff(starts, append=len(detection_key))
    groups = np.flatnonzero(high > low)
    detection = ranges(starts[groups], sizes[groups])
    first = np.repeat(low[groups], sizes[groups])
    count = np.repeat((high - low)[groups], sizes[groups])
    ends = np.cumsum(count)
    total = int(ends[-1]) if len(ends) else 0
    cuts = np.searchsorted(ends, np.arange(CHUNK, total, CHUNK)) + 1
    for begin, end in zip([0, *cuts], [*cuts, len(ends)], strict=True):
        part = slice(begin, end)
        if begin < end:
            yield np.repeat(detection[part], count[part]), ranges(first[part], count[part])


def _masks(masks: Masks | None, count: int, name: str) -> Masks:
    if masks is None:
        if count:
            raise ValueError(f"masks: expected those of the {name}, got none")
        return Masks.from_rle([])
    return masks


def _points(points: Floats | None, joints: int) -> Floats:
    return np.zeros((0, joints, 3)) if points is None or not len(points) else points
