"""Random sets of masks and of people, in the columns of `detection_cases.Case`."""

from collections.abc import Callable
from typing import Any

import numpy as np
from detection_cases import Case

SIDE = 40


def random_masks(seed: int, encode: Callable[[np.ndarray], Any]) -> Case:
    """Masks of 40 x 40 pixels in two images and two classes, `encode`d as "segmentation"."""
    rng = np.random.default_rng(seed)
    objects, count = int(rng.integers(0, 6)), int(rng.integers(0, 20))
    truth = [_mask(rng) for _ in range(objects)]
    found = [_near(rng, truth) for _ in range(count)]
    area = np.array([mask.sum() for mask in truth], float)
    score = np.where(rng.random(count) < 0.5, rng.choice([0.3, 0.5, 0.9], size=count), rng.random(count))
    return Case(
        {
            "images": [1, 2],
            "categories": [1, 2],
            "image_id": rng.integers(1, 3, size=objects),
            "category_id": rng.integers(1, 3, size=objects),
            "box": np.zeros((objects, 4)),
            "box_format": "xywh",
            "area": area * rng.choice([1, 0.6, 8], size=objects),
            "crowd": rng.random(objects) < 0.2,
            "segmentation": [encode(mask) for mask in truth],
        },
        {
            "image_id": rng.integers(1, 3, size=count),
            "category_id": rng.integers(1, 3, size=count),
            "score": score,
            "box_format": "xywh",
            "segmentation": [encode(mask) for mask in found],
        },
    )


def _mask(rng: np.random.Generator) -> np.ndarray:
    kind = rng.integers(8)
    if kind == 0:
        return rng.random((SIDE, SIDE)) < rng.random()
    mask = np.zeros((SIDE, SIDE), bool)
    if kind == 1:
        return mask
    if kind == 2:
        return ~mask
    top, left = rng.integers(0, SIDE - 4, size=2)
    height, width = rng.integers(4, SIDE, size=2)
    if kind == 3:
        # Whole columns, whose runs join.
        top, height = 0, SIDE
    mask[top : top + height, left : left + width] = True
    if kind == 4:
        mask &= np.arange(SIDE)[:, None] % 3 > 0
    return mask


def _near(rng: np.random.Generator, truth: list[np.ndarray]) -> np.ndarray:
    if not truth or rng.random() < 0.3:
        return _mask(rng)
    mask = np.roll(truth[rng.integers(len(truth))], rng.integers(-2, 3, size=2), axis=(0, 1))
    return mask ^ (rng.random(mask.shape) < 0.02) if rng.random() < 0.5 else mask


def random_people(seed: int) -> Case:
    """People of 17 joints in two images; one in five has no joint labelled, one in six is a crowd."""
    rng = np.random.default_rng(seed)
    objects, count = int(rng.integers(0, 7)), int(rng.integers(0, 24))
    box = np.concatenate([rng.integers(0, 100, (objects, 2)), rng.integers(20, 150, (objects, 2))], 1).astype(
        float
    )
    place = box[:, None, :2] + rng.random((objects, 17, 2)) * box[:, None, 2:]
    seen = rng.integers(0, 3, size=(objects, 17)) * (rng.random((objects, 1)) < 0.8)
    points = np.concatenate([np.round(place, 1), seen[:, :, None]], axis=2)
    image = rng.integers(1, 3, size=objects)
    if objects:
        source = rng.integers(objects, size=count)
        spread = rng.choice([1.0, 4.0, 15.0], size=(count, 1, 1))
        found = place[source] + rng.normal(size=(count, 17, 2)) * spread
        at = np.where(rng.random(count) < 0.9, image[source], 3 - image[source])
    else:
        found, at = rng.random((count, 17, 2)) * 100, rng.integers(1, 3, size=count)
    found = np.concatenate([np.round(found, 1), np.ones((count, 17, 1))], axis=2)
    score = np.where(rng.random(count) < 0.5, rng.choice([0.3, 0.5, 0.9], size=count), rng.random(count))
    return Case(
        {
            "images": [1, 2],
            "categories": [1],
            "image_id": image,
            "category_id": np.ones(objects, int),
            "box": box,
            "box_format": "xywh",
            "area": box[:, 2] * box[:, 3] * rng.choice([1, 0.5], size=objects),
            "crowd": rng.random(objects) < 0.15,
            "keypoints": points,
            "num_keypoints": (seen > 0).sum(1),
        },
        {
            "image_id": at,
            "category_id": np.ones(count, int),
            "score": score,
            "keypoints": found,
            "box_format": "xywh",
        },
    )
