"""Annotations as plain arrays: ground truth and detections, whatever file they came from."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float64, Int64, Shaped

from linsight.data.annotations.rle import RunLengths

__all__ = ["BoxFormat", "Detections", "GroundTruth", "to_voc", "to_xyxy"]

BoxFormat = Literal["xywh", "xyxy", "voc"]
"""How the four numbers of a box are meant: left, top, width, height; left, top, right, bottom with the edges
between pixels; or, as VOC writes them, the first and the last column and row, counted from 1."""


@dataclass(frozen=True, eq=False)
class GroundTruth:
    """What is to be found, in the order of the file; G annotations.

    Identifiers of images are integers, or strings where the format names images; boxes are as written, since
    a number converted and back is not always the same number.
    """

    image_ids: Shaped[np.ndarray, "images"]
    """All images, those without annotations too; int64 or strings."""
    image_names: tuple[str, ...]
    """File names, relative to the images' folder; "" where the file gives none."""
    image_sizes: Int64[np.ndarray, "images 2"]
    """Height and width in pixels; 0 where the file gives none."""
    category_ids: Int64[np.ndarray, "categories"]
    category_names: tuple[str, ...]
    annotation_id: Int64[np.ndarray, "G"]
    image_id: Shaped[np.ndarray, "G"]
    category_id: Int64[np.ndarray, "G"]
    box: Float64[np.ndarray, "G 4"]
    box_format: BoxFormat
    area: Float64[np.ndarray, "G"]
    area_source: Literal["file", "box"]
    """Where `area` is from: the file, or width times height."""
    crowd: Bool[np.ndarray, "G"]
    """COCO's iscrowd."""
    difficult: Bool[np.ndarray, "G"]
    """VOC's difficult."""
    ignore: Bool[np.ndarray, "G"]
    """A field `ignore`, which COCO's evaluation does not read."""
    mask: tuple[RunLengths, ...] | None = None
    keypoints: Float64[np.ndarray, "G K 3"] | None = None
    """x, y and COCO's visibility: 0 not labelled, 1 hidden, 2 visible; numbers as written."""
    num_keypoints: Int64[np.ndarray, "G"] | None = None
    keypoint_names: tuple[str, ...] = ()

    def xyxy(self) -> Float64[np.ndarray, "G 4"]:
        """The boxes as left, top, right, bottom in pixels, edges between pixels."""
        return to_xyxy(self.box, self.box_format)


@dataclass(frozen=True, eq=False)
class Detections:
    """What a model found, in the order of the file; D detections."""

    image_id: Shaped[np.ndarray, "D"]
    category_id: Int64[np.ndarray, "D"]
    box: Float64[np.ndarray, "D 4"]
    box_format: BoxFormat
    score: Float64[np.ndarray, "D"]
    mask: tuple[RunLengths, ...] | None = None
    keypoints: Float64[np.ndarray, "D K 3"] | None = None

    def xyxy(self) -> Float64[np.ndarray, "D 4"]:
        """The boxes as left, top, right, bottom in pixels, edges between pixels."""
        return to_xyxy(self.box, self.box_format)


def to_xyxy(box: Float64[np.ndarray, "number 4"], box_format: BoxFormat) -> Float64[np.ndarray, "number 4"]:
    """Left, top, right, bottom with the edges between pixels; VOC's (1, 1, 1, 1) is (0, 0, 1, 1)."""
    if box_format == "xyxy":
        return box.copy()
    if box_format == "voc":
        return box - np.array([1.0, 1.0, 0.0, 0.0])
    return np.concatenate([box[:, :2], box[:, :2] + box[:, 2:]], axis=1)


def to_voc(box: Float64[np.ndarray, "number 4"], box_format: BoxFormat) -> Float64[np.ndarray, "number 4"]:
    """First and last column and row, from 1: the inverse of `to_xyxy`."""
    if box_format == "voc":
        return box.copy()
    return to_xyxy(box, box_format) + np.array([1.0, 1.0, 0.0, 0.0])
