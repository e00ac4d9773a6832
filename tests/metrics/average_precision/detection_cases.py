"""Sets of detections that tests share: worked examples, and random ones full of ties, crowds and limits."""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from linsight.metrics import Detections, GroundTruth, detections, ground_truth


@dataclass(frozen=True)
class Case:
    """The columns of a set, as `ground_truth` and `detections` take them."""

    truth: dict[str, Any]
    found: dict[str, Any] = field(default_factory=dict)

    def tables(self) -> tuple[GroundTruth, Detections]:
        """The tables; what they have no column for is left out."""
        truth, found = (
            {k: v for k, v in side.items() if k != "segmentation"} for side in (self.truth, self.found)
        )
        return ground_truth(**truth), detections(**found)

    def changed(self, truth: dict[str, Any] | None = None, found: dict[str, Any] | None = None) -> "Case":
        return replace(self, truth=self.truth | (truth or {}), found=self.found | (found or {}))

    def rows(self, order: Any) -> "Case":
        """The detections in another order, or some of them."""
        columns = ("image_id", "category_id", "score", "box")
        return self.changed(found={name: np.asarray(self.found[name])[order] for name in columns})


def case(
    truth: list[tuple], found: list[tuple], *, images: Any = None, categories: Any = None, **flags: Any
) -> Case:
    """From rows (image, class, box) and (image, class, box, score), corners as xyxy."""
    seen = [row[0] for row in truth] or [1]
    classes = [row[1] for row in truth] or [1]
    return Case(
        {
            "images": sorted(set(seen)) if images is None else images,
            "categories": sorted(set(classes)) if categories is None else categories,
            "image_id": [row[0] for row in truth],
            "category_id": [row[1] for row in truth],
            "box": np.array([row[2] for row in truth], float).reshape(-1, 4),
            "box_format": "xyxy",
        }
        | flags,
        {
            "image_id": [row[0] for row in found],
            "category_id": [row[1] for row in found],
            "box": np.array([row[2] for row in found], float).reshape(-1, 4),
            "score": np.array([row[3] for row in found], float),
            "box_format": "xyxy",
        },
    )


def interpolation() -> Case:
    """W1: eight detections of one class in three images."""
    truth = [
        (1, 1, [0, 0, 100, 100]),
        (1, 1, [200, 0, 260, 60]),
        (2, 1, [50, 50, 150, 250]),
        (2, 1, [300, 300, 340, 340]),
        (3, 1, [10, 10, 30, 30]),
    ]
    found = [
        (1, 1, [0, 0, 100, 90], 0.95),
        (1, 1, [205, 0, 265, 60], 0.80),
        (1, 1, [400, 400, 450, 450], 0.90),
        (2, 1, [50, 50, 150, 200], 0.85),
        (2, 1, [50, 60, 150, 250], 0.60),
        (2, 1, [300, 300, 340, 325], 0.30),
        (3, 1, [10, 10, 30, 22], 0.70),
        (3, 1, [100, 100, 120, 120], 0.40),
    ]
    return case(truth, found)


def rules() -> Case:
    """W2: a second detection whose best object is taken, and whose second best is free."""
    truth = [(1, 1, [0, 0, 100, 100]), (1, 1, [0, 20, 100, 120])]
    return case(truth, [(1, 1, [0, 0, 100, 100], 0.9), (1, 1, [0, 5, 100, 105], 0.8)])


def flags() -> Case:
    """W3: a crowd that is difficult, ties, a class without objects and one without detections."""
    truth = [
        (1, 1, [10, 10, 60, 60]),
        (1, 1, [100, 100, 300, 300]),
        (1, 2, [0, 200, 20, 220]),
        (2, 1, [50, 50, 90, 130]),
        (2, 4, [200, 200, 260, 260]),
    ]
    found = [
        (1, 1, [120, 120, 180, 180], 0.9),
        (1, 1, [110, 100, 300, 300], 0.8),
        (1, 1, [110, 110, 290, 290], 0.75),
        (1, 1, [10, 10, 60, 50], 0.7),
        (1, 3, [0, 0, 50, 50], 0.99),
        (1, 2, [0, 200, 20, 216], 0.5),
        (1, 2, [0, 204, 20, 220], 0.5),
        (2, 1, [300, 10, 340, 60], 0.7),
        (2, 1, [50, 50, 90, 110], 0.7),
    ]
    second = [False, True, False, False, False]
    return case(truth, found, categories=[1, 2, 3, 4], crowd=second, difficult=second)


def random_case(seed: int, *, images: int = 3, classes: int = 2, ties: bool = True, most: int = 12) -> Case:
    """Few images with many overlaps: whole corners, a fifth crowds, half of the scores out of five.

    One case in sixteen has 110 or more detections in an image and class; images and classes may be empty.
    """
    rng = np.random.default_rng(seed)
    objects = int(rng.integers(0, 3 * images))
    count = int(rng.integers(0, most * images))
    if seed % 16 == 0:
        count = 130 * classes
    box = _boxes(rng, objects)
    near = rng.random(count) < 0.8
    found = _boxes(rng, count)
    if objects:
        source = rng.integers(objects, size=count)
        moved = box[source] + rng.integers(-3, 4, size=(count, 4)) * [1, 1, 0.5, 0.5]
        moved[:, 2:] = np.maximum(np.floor(moved[:, 2:]), 1)
        found = np.where(near[:, None], moved, found)
        image = rng.integers(1, images + 1, size=objects)
        category = rng.integers(1, classes + 1, size=objects)
        at = np.where(near, image[source], rng.integers(1, images + 1, size=count))
        of = np.where(
            near & (rng.random(count) < 0.9), category[source], rng.integers(1, classes + 1, size=count)
        )
    else:
        image = category = np.zeros(0, int)
        at, of = rng.integers(1, images + 1, size=count), rng.integers(1, classes + 1, size=count)
    if seed % 16 == 0:
        at = np.ones(count, int)
    score = rng.random(count)
    if ties:
        score = np.where(rng.random(count) < 0.5, rng.choice([0.1, 0.3, 0.5, 0.7, 0.9], size=count), score)
    scale = rng.choice([1, 0.6, 0.2], size=objects)
    return Case(
        {
            "images": np.arange(1, images + 1),
            "categories": np.arange(1, classes + 1),
            "image_id": image,
            "category_id": category,
            "box": box,
            "box_format": "xywh",
            "area": box[:, 2] * box[:, 3] * scale,
            "crowd": rng.random(objects) < 0.2,
            "difficult": rng.random(objects) < 0.2,
        },
        {"image_id": at, "category_id": of, "box": found, "score": score, "box_format": "xywh"},
    )


def _boxes(rng: np.random.Generator, count: int) -> np.ndarray:
    """x, y, w, h about the borders of COCO's ranges of area: sides 32 and 96 are common."""
    corner = rng.integers(0, 40, size=(count, 2))
    side = np.where(
        rng.random((count, 2)) < 0.3, rng.choice([32, 96], size=(count, 2)), rng.integers(8, 110, (count, 2))
    )
    return np.concatenate([corner, side], axis=1).astype(float)
