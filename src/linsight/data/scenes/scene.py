"""A scene: an image with everything that is known of the objects in it."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float64, Int64, UInt8

__all__ = ["AREA_CLASSES", "IGNORED_PIXEL", "Scene", "count_areas"]

IGNORED_PIXEL = 255
"""The value of `Scene.semantic` that no loss and no metric counts."""

AREA_CLASSES = {"small": (0, 32**2), "medium": (32**2, 96**2), "large": (96**2, 10**10)}
"""COCO's classes of area in pixels, both ends inclusive (Lin et al. 2014, arXiv 1405.0312)."""


class Scene(NamedTuple):
    """An image and its annotation; objects are in the order of painting, the lowest first.

    Ink is where a digit's alpha is at least a quarter. An object is a digit or a crowd of digits.
    """

    image: UInt8[np.ndarray, "3 size size"]
    labels: Int64[np.ndarray, "objects"]
    """The digit, 0 to 9."""
    boxes: Float64[np.ndarray, "objects 4"]
    """x1, y1, x2, y2 in pixels, half-open and tight around the ink within the image, whether it is seen or
    not."""
    visible: Float64[np.ndarray, "objects"]
    """The share of that ink that no later object covers: at least 0.1."""
    difficult: Bool[np.ndarray, "objects"]
    """Less than half is visible."""
    crowd: Bool[np.ndarray, "objects"]
    """The object is several digits of one class, which are not told apart."""
    semantic: UInt8[np.ndarray, "size size"]
    """0 where no ink is, otherwise the digit + 1; 255 along borders, where they are asked for."""
    instances: Bool[np.ndarray, "objects size size"]
    """The visible pixels of each object, which no other has."""
    ink: Bool[np.ndarray, "objects size size"]
    """All pixels of each object within the image."""
    digits: tuple[tuple[int, ...], ...]
    """For each object the digits it is made of: rows of MNIST's training file, in test scenes of its test
    file."""

    @property
    def areas(self) -> Int64[np.ndarray, "objects"]:
        """Visible pixels, which is COCO's area."""
        return self.instances.sum((1, 2), dtype=np.int64)


def count_areas(scenes: list[Scene]) -> dict[str, int]:
    """How many objects, crowds left out, are of each of COCO's classes of area.

    An area on the border of two classes is counted in both, as COCO does.
    """
    areas = np.concatenate([scene.areas[~scene.crowd] for scene in scenes] or [np.zeros(0, np.int64)])
    return {
        name: int(((areas >= least) & (areas <= most)).sum()) for name, (least, most) in AREA_CLASSES.items()
    }
