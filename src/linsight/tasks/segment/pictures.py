"""Pictures of scenes: image, truth and prediction beside one another, and crops of several predictions."""

from collections.abc import Mapping, Sequence

import numpy as np

from linsight.data import Scene
from linsight.tasks.exhibits import Picture
from linsight.tasks.segment.colours import overlaid

__all__ = ["crops", "triptychs"]

CROP = 48


def triptychs(
    scenes: Sequence[Scene], masks: np.ndarray, numbers: Sequence[int], wrong: np.ndarray
) -> tuple[Picture, ...]:
    """Three pictures of each scene, with the digits that are there, and those that were found.

    Args:
        scenes: The scenes.
        masks: Their predicted classes `(scenes, height, width)`.
        numbers: What the scenes are called.
        wrong: How many pixels of each were mistaken.
    """
    pictures = []
    for scene, mask, number, pixels in zip(scenes, masks, numbers, wrong, strict=True):
        image = scene.image / 255.0
        found = np.flatnonzero(np.bincount(mask.ravel(), minlength=11)[1:] >= 20)
        truth = overlaid(image, scene.semantic.astype(np.int64))
        caption = f"scene {number}:\n{pixels:.0f} px wrong"
        pictures += [
            Picture(np.ascontiguousarray(image.transpose(1, 2, 0)), caption),
            Picture(truth, _digits(sorted(set(scene.labels.tolist())))),
            Picture(overlaid(image, mask), _digits(found.tolist())),
        ]
    return tuple(pictures)


def crops(scenes: Sequence[Scene], masks: Mapping[str, np.ndarray]) -> tuple[Picture, ...]:
    """The surroundings of each scene's largest digit: a row of images, one of truths, one for each name."""
    windows = [_around_the_largest(scene) for scene in scenes]

    def row(name: str, pictures: Sequence[np.ndarray]) -> list[Picture]:
        return [
            Picture(np.ascontiguousarray(picture[window]), name if place == 0 else "")
            for place, (picture, window) in enumerate(zip(pictures, windows, strict=True))
        ]

    images = [scene.image / 255.0 for scene in scenes]
    rows = row("image", [image.transpose(1, 2, 0) for image in images])
    truths = [scene.semantic.astype(np.int64) for scene in scenes]
    for name, labels in {"truth": truths, **masks}.items():
        rows += row(name, [overlaid(image, mask) for image, mask in zip(images, labels, strict=True)])
    return tuple(rows)


def _digits(found: Sequence[int]) -> str:
    return " ".join(map(str, found)) or "none"


def _around_the_largest(scene: Scene) -> tuple[slice, slice]:
    instance = scene.instances[scene.areas.argmax()]
    size = instance.shape[0]
    starts = [
        int(np.clip(round(places.mean()) - CROP // 2, 0, size - CROP)) for places in np.nonzero(instance)
    ]
    return slice(starts[0], starts[0] + CROP), slice(starts[1], starts[1] + CROP)
