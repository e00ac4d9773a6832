"""Ground truth and detections as columns of numpy, checked at the door."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from linsight.metrics.average_precision.arrays import flags, identifiers, numbers
from linsight.metrics.average_precision.inspection import check_boxes, check_count
from linsight.metrics.average_precision.masks import Masks

__all__ = ["Detections", "GroundTruth", "detections", "ground_truth"]


@dataclass(frozen=True)
class GroundTruth:
    """What there is to find in a set of images; made by `ground_truth`, which says what the columns hold."""

    images: NDArray[Any]
    categories: NDArray[Any]
    image_id: NDArray[Any]
    category_id: NDArray[Any]
    box: NDArray[np.float64]
    box_format: str
    area: NDArray[np.float64] | None
    crowd: NDArray[np.bool_]
    difficult: NDArray[np.bool_]
    ignore: NDArray[np.bool_]
    masks: Masks | None
    keypoints: NDArray[np.float64] | None
    num_keypoints: NDArray[np.int64] | None
    names: Mapping[int, str]

    def __len__(self) -> int:
        return len(self.image_id)


@dataclass(frozen=True)
class Detections:
    """What was found; made by `detections`, which says what the columns hold."""

    image_id: NDArray[Any]
    category_id: NDArray[Any]
    score: NDArray[np.float64]
    box: NDArray[np.float64]
    box_format: str
    masks: Masks | None
    keypoints: NDArray[np.float64] | None

    def __len__(self) -> int:
        return len(self.image_id)


def ground_truth(
    *,
    images: Any,
    categories: Any,
    image_id: Any,
    category_id: Any,
    box: Any = None,
    box_format: str,
    area: Any = None,
    crowd: Any = None,
    difficult: Any = None,
    ignore: Any = None,
    masks: Masks | None = None,
    keypoints: Any = None,
    num_keypoints: Any = None,
    names: Mapping[int, str] | None = None,
    sizes: Any = None,
    normalized: bool = False,
    annotation_id: Any = None,
) -> GroundTruth:
    """The ground truth of a data set; arrays, lists, or tensors of any device.

    Args:
        images: The ids of all images, integers or strings, with or without objects: (images,).
        categories: The ids of all classes, integers: (categories,).
        image_id, category_id: Of each object, (objects,).
        box: (objects, 4); left out with masks, whose own boxes serve.
        box_format: "xyxy", "xywh" or "cxcywh".
        area: In square pixels, (objects,); COCO's is that of the mask. Width times height where left out.
        crowd, difficult, ignore: Flags (objects,), all False where left out; see
        `DetectionProtocol.uncounted`.
        masks: One for each object.
        keypoints: (objects, K, 3) of x, y and visibility 0, 1, 2, or (objects, 3 K).
        num_keypoints: How many are labelled, (objects,); those of visibility > 0 where left out.
        names: Of the classes, by id.
        sizes: Width and height of each image, (images, 2), in the order of `images`.
        normalized: Boxes are shares of the size of their image.
        annotation_id: Of each object; only looked at to find one given twice. 0 is an ordinary id.

    Raises:
        ValueError: Columns of different lengths; ids given twice; an image or category that is not listed;
            NaN, infinite, negative or implausible boxes; masks or keypoints of the wrong shape.
        TypeError: A category that is no integer; ids of mixed types.
    """
    images, categories = identifiers(images, "images"), identifiers(categories, "categories", numeric=True)
    for name, column in (("images", images), ("categories", categories)):
        _once(column, name)
    image_id = identifiers(image_id, "image_id")
    category_id = identifiers(category_id, "category_id", numeric=True)
    count = len(image_id)
    if annotation_id is not None:
        _once(identifiers(annotation_id, "annotation_id"), "annotation_id")
    box = _boxes(box, box_format, masks, count)
    box_format = "xywh" if masks is not None else box_format
    box = check_boxes(box, box_format, image_id, images, sizes, normalized=normalized)
    points = _keypoints(keypoints, count, (3,))
    if points is not None and num_keypoints is None:
        num_keypoints = (points[:, :, 2] > 0).sum(1)
    truth = GroundTruth(
        images=images,
        categories=categories,
        image_id=image_id,
        category_id=category_id,
        box=box,
        box_format=box_format,
        area=None if area is None else numbers(area, "area", least=0.0),
        crowd=flags(crowd, "crowd", count),
        difficult=flags(difficult, "difficult", count),
        ignore=flags(ignore, "ignore", count),
        masks=masks,
        keypoints=points,
        num_keypoints=None if num_keypoints is None else identifiers(num_keypoints, "num_keypoints"),
        names=dict(names or {}),
    )
    for name in ("category_id", "area", "masks", "num_keypoints"):
        check_count(getattr(truth, name), name, count)
    return truth


def detections(
    *,
    image_id: Any,
    category_id: Any,
    score: Any,
    box: Any = None,
    box_format: str,
    masks: Masks | None = None,
    keypoints: Any = None,
    images: Any = None,
    sizes: Any = None,
    normalized: bool = False,
) -> Detections:
    """What a detector found; arrays, lists, or tensors of any device.

    Args:
        image_id, category_id: Of each detection, (detections,).
        score: Greater is surer, (detections,); of equal ones the first given comes first.
        box, box_format, masks, keypoints: As in `ground_truth`; keypoints may be (detections, K, 2).
            Detections by keypoints need no box: their extent serves.
        images, sizes, normalized: As in `ground_truth`; needed for shares of images alone.

    Raises:
        ValueError, TypeError: As `ground_truth`; scores that are NaN or infinite.

    Warns if ten detections or more all have one score.
    """
    image_id = identifiers(image_id, "image_id")
    category_id = identifiers(category_id, "category_id", numeric=True)
    count = len(image_id)
    points = _keypoints(keypoints, count, (2, 3))
    if box is None and points is not None and masks is None:
        box, box_format = _extent(points), "xyxy"
    box = _boxes(box, box_format, masks, count)
    box_format = "xywh" if masks is not None else box_format
    known = None if images is None else identifiers(images, "images")
    found = Detections(
        image_id=image_id,
        category_id=category_id,
        score=numbers(score, "score"),
        box=check_boxes(box, box_format, image_id, known, sizes, normalized=normalized),
        box_format=box_format,
        masks=masks,
        keypoints=points,
    )
    for name in ("category_id", "score", "masks"):
        check_count(getattr(found, name), name, count)
    if count >= 10 and np.ptp(found.score) == 0:
        warnings.warn(
            f"score: all {count} detections have the score {found.score[0]:g}, so that their order decides",
            stacklevel=2,
        )
    return found


def _boxes(box: Any, notation: str, masks: Masks | None, count: int) -> NDArray[np.float64]:
    if notation not in ("xyxy", "xywh", "cxcywh"):
        raise ValueError(f"box_format: expected 'xyxy', 'xywh' or 'cxcywh', got {notation!r}")
    if masks is not None:
        # COCO's own code takes boxes of masks from the masks too.
        return masks.boxes()
    if box is None:
        raise ValueError("box: expected boxes, masks, or keypoints of detections, got none")
    values = numbers(box, "box")
    if values.size == 0:
        values = values.reshape(0, 4)
    if values.ndim != 2 or values.shape[1] != 4:
        raise ValueError(f"box: expected shape ({count}, 4), got {values.shape}")
    check_count(values, "box", count)
    return values


def _keypoints(keypoints: Any, count: int, widths: Sequence[int]) -> NDArray[np.float64] | None:
    if keypoints is None:
        return None
    points = numbers(keypoints, "keypoints")
    if points.ndim == 2 and points.shape[1] % 3 == 0:
        points = points.reshape(len(points), -1, 3)
    if points.size == 0:
        points = points.reshape(0, *points.shape[1:]) if points.ndim == 3 else np.zeros((0, 0, 3))
    if points.ndim != 3 or points.shape[2] not in widths:
        shapes = " or ".join(f"(objects, K, {width})" for width in widths)
        raise ValueError(f"keypoints: expected shape {shapes}, or 3 K numbers each, got {points.shape}")
    check_count(points, "keypoints", count)
    return points


def _extent(points: NDArray[np.float64]) -> NDArray[np.float64]:
    if not points.shape[1]:
        return np.zeros((len(points), 4))
    x, y = np.ascontiguousarray(points[:, :, 0].T), np.ascontiguousarray(points[:, :, 1].T)
    return np.stack([x.min(0), y.min(0), x.max(0), y.max(0)], axis=1)


def _once(ids: NDArray[Any], name: str) -> None:
    values, counts = np.unique(ids, return_counts=True)
    if (counts > 1).any():
        raise ValueError(f"{name}: expected each once, got {values[counts > 1][0]!s} twice or more")
