"""COCO's results: a JSON list of detections, each with its score."""

import os
from pathlib import Path

import numpy as np
from jaxtyping import Float64, Int64

from linsight.data.annotations.coco import boxes_of, joints_of
from linsight.data.annotations.coco_results_quick import read_quickly
from linsight.data.annotations.columns import Rows
from linsight.data.annotations.json_text import load
from linsight.data.annotations.rle import RunLengths
from linsight.data.annotations.segmentation import segmentations
from linsight.data.annotations.tables import Detections, GroundTruth

__all__ = ["read_coco_results"]


def read_coco_results(
    path: str | os.PathLike[str], truth: GroundTruth | None = None, *, masks: bool = False
) -> Detections:
    """The detections of a COCO results file: a list, or an object with the list as `annotations`.

    Args:
        path: The file. Each detection needs image_id, category_id, score, and bbox (xywh), keypoints (x, y
            and a number that is not read, K times) or, with `masks`, segmentation. Without a bbox the box is
            that of the mask, or else of the keypoints. An empty list is no detections.
        truth: Refuse detections in other images, and of other categories, than these.
        masks: Read `segmentation` too, which every detection must have then.

    Cost: the time to parse, and a quarter more. Where msgspec is installed (the extra `fast`), a list of
    boxes is read in a quarter of that time; 500,000 detections, 54 MB, need 0.4 GB.

    Raises:
        FileNotFoundError: No such file.
        ValueError: On one line with file, line and place: what `read_coco` refuses; a score that is not
            finite; an unknown image or category, with a hint where all are off by one.
    """
    quick = None if masks else read_quickly(Path(path), truth)
    if quick is not None:
        return quick
    document = load(Path(path))
    place: tuple[str | int, ...] = ()
    value = document.value
    if type(value) is dict:
        if "images" in value:
            raise document.refuse((), "expected a list of detections, got ground truth with images")
        if "annotations" not in value:
            raise document.refuse((), "expected a list of detections, or an object with it as 'annotations'")
        place, value = ("annotations",), value["annotations"]
    rows = Rows(document, place, value)
    image_id = rows.identifiers("image_id")
    category_id = rows.integers("category_id")
    sizes = np.zeros((len(rows), 2), np.int64)
    if truth is not None:
        if len(rows) == 0:
            image_id = truth.image_ids[:0]
        rows.known("image_id", image_id, truth.image_ids, "images")
        rows.known("category_id", category_id, truth.category_ids, "categories")
        order = np.argsort(truth.image_ids, kind="stable")
        if len(rows):
            sizes = truth.image_sizes[order[np.searchsorted(truth.image_ids[order], image_id)]]
    mask = segmentations(rows, sizes) if masks else None
    keypoints = None
    if rows.has("keypoints").any():
        keypoints = joints_of(
            rows, rows.checked("keypoints", {list}, "a list of numbers"), visibilities=False
        )
    return Detections(
        image_id=image_id,
        category_id=category_id,
        box=_boxes(rows, sizes, mask, keypoints),
        box_format="xywh",
        score=rows.numbers("score"),
        mask=mask,
        keypoints=keypoints,
    )


def _boxes(
    rows: Rows,
    sizes: Int64[np.ndarray, "rows 2"],
    mask: tuple[RunLengths, ...] | None,
    keypoints: Float64[np.ndarray, "rows joints 3"] | None,
) -> Float64[np.ndarray, "rows 4"]:
    if rows.has("bbox").any() or not len(rows):
        return boxes_of(rows, sizes)
    if mask is not None:
        return np.array([_box(runs) for runs in mask], np.float64).reshape(-1, 4)
    if keypoints is None or keypoints.shape[1] == 0:
        raise rows.refuse(0, "expected a bbox or keypoints, got neither; read segmentations with masks=True")
    least, most = keypoints[..., :2].min(1), keypoints[..., :2].max(1)
    return np.concatenate([least, most - least], axis=1)


def _box(runs: RunLengths) -> list[int]:
    """The box around a mask, of its runs; zeros around nothing."""
    ends = np.cumsum(runs.counts)
    height = runs.size[0]
    start, stop = ends[:-1:2], ends[1::2]
    start, stop = start[: len(stop)], stop - 1  # first and last pixel of each run
    start, stop = start[stop >= start], stop[stop >= start]
    if not len(start):
        return [0, 0, 0, 0]
    left, right = int(start[0]) // height, int(stop[-1]) // height
    whole = start // height != stop // height  # it goes on in the next column, hence touches both edges
    top = 0 if whole.any() else int((start % height).min())
    bottom = height - 1 if whole.any() else int((stop % height).max())
    return [left, top, right - left + 1, bottom - top + 1]
