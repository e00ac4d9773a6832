"""Synthetic detections of the size and shape of COCO's validation set: boxes, masks as runs, and people."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["DetectionSet", "boxes", "masks", "people"]

WIDTH, HEIGHT = 640, 480
CLASSES = 80


@dataclass(frozen=True)
class DetectionSet:
    """Columns of objects and of detections, boxes as x, y, w, h; classes from 1, images from 1."""

    images: int
    truth: dict[str, Any]
    found: dict[str, Any]


def boxes(images: int = 5000, each: int = 100, seed: int = 0) -> DetectionSet:
    """Objects crowded as in COCO, and `each` detections an image: copies, near misses, background."""
    rng = np.random.default_rng(seed)
    popularity = np.arange(1, CLASSES + 1) ** -0.8
    popularity /= popularity.sum()
    centres = rng.random((CLASSES, 2)) * [WIDTH, HEIGHT]
    truth: list[dict[str, NDArray[Any]]] = []
    found: list[dict[str, NDArray[Any]]] = []
    for image in range(1, images + 1):
        number = min(int(rng.negative_binomial(1.3, 1.3 / (1.3 + 7.36))), 60)
        kinds = max(min(number, int(rng.poisson(2)) + 1), 1)
        classes = rng.choice(CLASSES, size=kinds, replace=False, p=popularity)
        category = rng.choice(classes, size=number)
        box = _boxes(rng, number, centres[category])
        truth.append(
            {
                "image_id": np.full(number, image),
                "category_id": category + 1,
                "box": box,
                "area": box[:, 2] * box[:, 3] * rng.uniform(0.45, 0.8, size=number),
                "crowd": rng.random(number) < 0.012,
            }
        )
        found.append(_found(rng, image, box, category, classes, popularity, each))
    return DetectionSet(images, _stack(truth), _stack(found))


def masks(images: int = 1000, each: int = 36, seed: int = 0) -> DetectionSet:
    """The boxes of another set with blobs of 24 corners in them, as compressed runs in "segmentation"."""
    data = boxes(images, each, seed)
    rng = np.random.default_rng(seed + 1)
    sides = []
    for side in (data.truth, data.found):
        runs, area = zip(*(_blob(rng, box) for box in side["box"]), strict=True)
        columns = {name: value for name, value in side.items() if name != "box"} | {
            "segmentation": list(runs)
        }
        sides.append(columns | ({"area": np.array(area, float)} if "area" in side else {}))
    return DetectionSet(images, *sides)


def people(images: int = 2700, each: int = 20, seed: int = 0) -> DetectionSet:
    """People of 17 joints, and `each` poses found in an image: three in four are copies with noise."""
    rng = np.random.default_rng(seed)
    number = rng.poisson(4.1, size=images)
    image = np.repeat(np.arange(1, images + 1), number)
    count = len(image)
    size = np.clip(rng.lognormal(4.6, 0.7, size=(count, 1)), 16, 400) * [0.6, 1.2]
    corner = rng.random((count, 2)) * np.maximum([WIDTH, HEIGHT] - size, 1)
    joints = corner[:, None] + rng.random((count, 17, 2)) * size[:, None]
    seen = rng.choice([0, 1, 2], p=[0.35, 0.1, 0.55], size=(count, 17)) * (rng.random((count, 1)) < 0.9)
    first = np.cumsum(number) - number
    at = np.repeat(np.arange(images), each)
    copied = (rng.random(len(at)) < 0.75) & (number[at] > 0)
    source = first[at] + rng.integers(0, np.maximum(number[at], 1))
    noise = rng.gamma(1.5, 0.04, size=(len(at), 1, 1))
    source = np.minimum(source, count - 1)
    near = joints[source] + noise * size[source][:, None] * rng.normal(size=(len(at), 17, 2))
    far = rng.random((len(at), 17, 2)) * [WIDTH, HEIGHT]
    poses = np.round(np.where(copied[:, None, None], near, far), 1)
    score = np.where(copied, 1 / (1 + np.exp(14 * noise[:, 0, 0] - 1.5)), rng.beta(1, 12, size=len(at)))
    return DetectionSet(
        images,
        {
            "image_id": image,
            "category_id": np.ones(count, int),
            "box": np.concatenate([corner, size], axis=1),
            "area": size.prod(1) * rng.uniform(0.4, 0.7, size=count),
            "crowd": rng.random(count) < 0.02,
            "keypoints": np.concatenate([np.round(joints, 1), seen[:, :, None]], axis=2),
            "num_keypoints": (seen > 0).sum(1),
        },
        {
            "image_id": at + 1,
            "category_id": np.ones(len(at), int),
            "keypoints": np.concatenate([poses, np.ones((len(at), 17, 1))], axis=2),
            "score": score.astype(np.float32).astype(float),
        },
    )


def _boxes(rng: np.random.Generator, number: int, centre: NDArray[np.float64]) -> NDArray[np.float64]:
    side = np.clip(rng.lognormal(4.0, 1.0, size=number), 6, 460)
    aspect = rng.lognormal(0, 0.4, size=number)
    size = np.minimum(np.stack([side * aspect, side / aspect], axis=1), [WIDTH, HEIGHT])
    uniform = rng.random((number, 2)) * [WIDTH, HEIGHT]
    clustered = centre + 70 * rng.normal(size=(number, 2))
    middle = np.where(rng.random((number, 1)) < 0.6, clustered, uniform)
    return _clip(middle - size / 2, size)


def _clip(corner: NDArray[np.float64], size: NDArray[np.float64]) -> NDArray[np.float64]:
    low = np.clip(corner, 0, [WIDTH - 2, HEIGHT - 2])
    high = np.clip(corner + size, low + 1, [WIDTH, HEIGHT])
    return np.round(np.concatenate([low, high - low], axis=1), 2)


def _found(
    rng: np.random.Generator,
    image: int,
    box: NDArray[np.float64],
    category: NDArray[np.int64],
    classes: NDArray[np.int64],
    popularity: NDArray[np.float64],
    each: int,
) -> dict[str, NDArray[Any]]:
    copies = rng.choice([0, 1, 2, 4, 8], p=[0.15, 0.3, 0.3, 0.15, 0.1], size=len(box))
    source = np.repeat(np.arange(len(box)), copies)[: each * 3 // 4]
    jitter = rng.gamma(1.2, 0.06, size=len(source))
    size = box[source, 2:]
    corner = box[source, :2] + jitter[:, None] * rng.normal(size=size.shape) * size
    size = size * np.exp(jitter[:, None] * rng.normal(size=size.shape))
    label = np.where(rng.random(len(source)) < 0.1, rng.integers(CLASSES, size=len(source)), category[source])
    score = 1 / (1 + np.exp(-(1.6 - 14 * jitter + 1.2 * rng.normal(size=len(source)))))
    rest = each - len(source)
    other = rng.choice(CLASSES, size=rest, p=popularity)
    other = np.where(rng.random(rest) < 0.35, rng.choice(classes, size=rest), other)
    nowhere = _boxes(rng, rest, rng.random((rest, 2)) * [WIDTH, HEIGHT])
    order = rng.permutation(each)
    score = np.concatenate([score, rng.beta(1, 12, size=rest)]).astype(np.float32).astype(float)
    return {
        "image_id": np.full(each, image),
        "category_id": np.concatenate([label, other])[order] + 1,
        "box": np.concatenate([_clip(corner, size), nowhere])[order],
        "score": score[order],
    }


def _blob(rng: np.random.Generator, box: NDArray[np.float64]) -> tuple[dict[str, Any], int]:
    """A polygon about the middle of a box, filled by the crossings of each column, and its area."""
    angle = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    radius = rng.uniform(0.7, 1.0, size=24)[:, None]
    corner = box[:2] + box[2:] / 2 * (1 + radius * np.stack([np.cos(angle), np.sin(angle)], axis=1))
    after = np.roll(corner, -1, axis=0)
    first, last = int(box[0]), min(int(np.ceil(box[0] + box[2])), WIDTH)
    middle = np.arange(first, last)[:, None] + 0.5
    rises = (corner[:, 0] <= middle) != (after[:, 0] <= middle)
    slope = (after[:, 1] - corner[:, 1]) / np.where(
        after[:, 0] == corner[:, 0], 1, after[:, 0] - corner[:, 0]
    )
    height = np.where(rises, corner[:, 1] + slope * (middle - corner[:, 0]), np.inf)
    height = np.clip(np.round(np.sort(height, axis=1)), 0, HEIGHT)
    bounds = [0]
    area = 0
    for column, row in enumerate(height.astype(int).tolist(), first):
        for low, high in zip(row[::2], row[1::2], strict=True):
            if low < high:
                start, stop = column * HEIGHT + low, column * HEIGHT + high
                area += high - low
                # Whole columns join.
                if bounds[-1] == start and len(bounds) > 1:
                    bounds[-1] = stop
                else:
                    bounds += [start, stop]
    counts = np.diff([*bounds, WIDTH * HEIGHT])
    return {"size": [HEIGHT, WIDTH], "counts": _string(counts.tolist())}, area


def _string(counts: list[int]) -> str:
    """COCO's compressed runs."""
    text = []
    for place, count in enumerate(counts):
        value = count - counts[place - 2] if place > 2 else count
        more = True
        while more:
            bits = value & 31
            value >>= 5
            more = value != (-1 if bits & 16 else 0)
            text.append(chr(48 + bits + 32 * more))
    return "".join(text)


def _stack(parts: list[dict[str, NDArray[Any]]]) -> dict[str, Any]:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
