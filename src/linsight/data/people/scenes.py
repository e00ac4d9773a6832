"""Scenes of one to four people, who cover one another: for detection, keypoints and segmentation."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64, Integer, UInt8

from linsight.data import noise
from linsight.data.people.appearance import Clothes, Surroundings
from linsight.data.people.camera import Camera
from linsight.data.people.capsules import CAPSULES, Surface, capsules, rasterise
from linsight.data.people.labels import boxes_of, visibility
from linsight.data.people.population import (
    ANGLES,
    CLOTHES,
    SURROUNDINGS,
    angles_of,
    clothes_of,
    surroundings_of,
)
from linsight.data.people.render import check_image, nearest, picture
from linsight.data.people.rows import rows
from linsight.data.people.skeleton import JOINTS, Skeleton, rounded, skeleton
from linsight.data.splits import check_split

__all__ = ["MOST", "PeopleScene", "PeopleScenes", "compose"]

MOST = 4
"""People in a scene."""

_BODY = ANGLES + CLOTHES + 3  # numbers for each of them
_FOCAL = 1.25  # heights of the image
_TALL = 1.7  # metres
_LEAST_VISIBLE = 0.1


class PeopleScene(NamedTuple):
    """An image, and all that is known of the people in it, in the order in which they were drawn.

    The mask of a person alone is what would be seen without the others.
    """

    image: UInt8[np.ndarray, "3 height width"]
    keypoints: Float64[np.ndarray, "people 17 2"]
    """x and y of `JOINTS` as indices of pixel centres, in the image or beyond it."""
    visibility: Int64[np.ndarray, "people 17"]
    """2 seen, 1 hidden, by the body itself or another, 0 beyond the image."""
    boxes: Float64[np.ndarray, "people 4"]
    """x1, y1, x2, y2 in pixels, half-open and tight around the mask of the person alone."""
    visible: Float64[np.ndarray, "people"]
    """The share of that mask that nobody covers: at least 0.1."""
    instances: Bool[np.ndarray, "people height width"]
    """The visible pixels of each person, which no other has."""
    parts: UInt8[np.ndarray, "height width"]
    """Labels in `PARTS` of what is visible; 0 where the background is."""
    depth: Float32[np.ndarray, "height width"]
    """z in metres; infinity where the background is."""
    body: Skeleton
    """Where all people are in metres, in the camera's axes."""
    camera: Camera
    """The one camera, a batch of 1."""
    clothes: Clothes
    surroundings: Surroundings

    @property
    def areas(self) -> Int64[np.ndarray, "people"]:
        """Visible pixels, which is COCO's area."""
        return self.instances.sum((1, 2), dtype=np.int64)


@dataclass(frozen=True)
class PeopleScenes:
    """1 to `most` people of `People` before one background, each as tall as 0.35 to 0.95 of the image.

    They share a depth buffer: who is nearer covers, limb by limb. Of whom less than a tenth would be seen is
    left out. An item is a pure function of (the fields, seed, split, item), the same on every machine.

    Args:
        size: Height and width of the images.
        most: At most so many people, 1 to 4.
        samples: Rays along each side of a pixel.
        stripes: Stripe left sleeves and trouser legs, as in `People`.
        symmetric: Leave out all that tells left from right.

    Cost: about as much as `People` of images of this size, and as much for each of the people as for the box
    around it.

    Raises ValueError for a size below 8 pixels, samples outside 1 to 8, and other numbers of people.
    """

    size: tuple[int, int] = (96, 128)
    most: int = MOST
    samples: int = 2
    stripes: bool = True
    symmetric: bool = False

    def __post_init__(self) -> None:
        """Refuse what shows nobody."""
        check_image(self.size, self.samples)
        if not 1 <= self.most <= MOST:
            raise ValueError(f"most: expected 1 to {MOST} people, got {self.most}")

    def scenes(self, split: str, items: Integer[np.ndarray, "number"], *, seed: int = 0) -> list[PeopleScene]:
        """These items.

        Raises ValueError for another split than "train", "valid" and "test", or a negative item.
        """
        check_split(split)
        key = noise.key(seed, f"people-scenes/{split}")
        numbers = noise.uniform(key, items, 1 + SURROUNDINGS + MOST * _BODY)
        return [self._scene(row) for row in numbers]

    def _scene(self, numbers: Float64[np.ndarray, "numbers"]) -> PeopleScene:
        around, people = np.split(numbers[1:], [SURROUNDINGS])
        count = 1 + int(numbers[0] * self.most)
        angles, clothes, place = np.split(
            people.reshape(MOST, _BODY)[:count], np.cumsum([ANGLES, CLOTHES]), axis=1
        )
        height, width = self.size
        camera = Camera(np.array([_FOCAL * height]), np.array([[width / 2, height / 2]]))
        body = skeleton(angles_of(angles)).at(self._positions(place))
        return compose(
            body,
            camera,
            clothes_of(clothes),
            surroundings_of(around[None]),
            self.size,
            samples=self.samples,
            stripes=self.stripes,
            symmetric=self.symmetric,
        )

    def _positions(self, numbers: Float64[np.ndarray, "people 3"]) -> Float64[np.ndarray, "people 3"]:
        """As tall as 0.35 to 0.95 of the image, hips in its middle 0.8 of the width and 0.2 of the height."""
        height, width = self.size
        depth = _FOCAL * _TALL / (0.35 + 0.6 * numbers[:, 0])
        column, row = 0.1 + 0.8 * numbers[:, 1], 0.4 + 0.2 * numbers[:, 2]
        aside = depth * (column - 0.5) * width / (_FOCAL * height)
        down = depth * (row - 0.5) / _FOCAL
        return rounded(np.stack([aside, down, depth], 1))


def compose(
    body: Skeleton,
    camera: Camera,
    clothes: Clothes,
    surroundings: Surroundings,
    size: tuple[int, int],
    *,
    samples: int = 2,
    stripes: bool = True,
    symmetric: bool = False,
) -> PeopleScene:
    """People in one image with their labels, without those of whom less than a tenth would be seen.

    Args:
        body, clothes: Of at most four people.
        camera, surroundings: Of the one image: batches of 1.
        size: Height and width of the image.
        samples: Rays along each side of a pixel.
        stripes: Stripe left sleeves and trouser legs, as in `People`.
        symmetric: Leave out all that tells left from right.

    Raises ValueError for nobody, and for more than four people.
    """
    if not 1 <= len(body.places) <= MOST:
        raise ValueError(f"body: expected 1 to {MOST} people, got {len(body.places)}")
    lenses = rows(camera, np.zeros(len(body.places), np.int64))
    alone = rasterise(capsules(body), lenses, size, samples)
    kept = np.arange(len(body.places))
    surface, instances, ink = _seen(alone, samples)
    visible = _shares(instances, ink)
    if visible.min() < _LEAST_VISIBLE:
        # What is left out covers nothing, and so the shares of the others only grow.
        kept = np.flatnonzero(visible >= _LEAST_VISIBLE)
        surface, instances, ink = _seen(rows(alone, kept), samples)
        visible = _shares(instances, ink)
    body, clothes, lenses = rows(body, kept), rows(clothes, kept), rows(lenses, kept)
    shown = picture(
        body,
        clothes,
        surroundings,
        camera,
        surface,
        samples,
        first=np.zeros(1, np.int64),
        stripes=stripes,
        symmetric=symmetric,
    )
    joints = body.places[:, : len(JOINTS)]
    return PeopleScene(
        image=shown.image[0],
        keypoints=lenses.keypoints(joints),
        visibility=visibility(joints, lenses, surface, samples, np.zeros(len(joints), np.int64)),
        boxes=boxes_of(ink),
        visible=visible,
        instances=instances,
        parts=shown.parts[0],
        depth=shown.depth[0],
        body=body,
        camera=camera,
        clothes=clothes,
        surroundings=surroundings,
    )


def _seen(
    alone: Surface, samples: int
) -> tuple[Surface, Bool[np.ndarray, "people height width"], Bool[np.ndarray, "people height width"]]:
    """What is seen of people together, whose pixels those are, and the pixels of each person alone."""
    who = alone.depth.argmin(0)[None]
    depth = np.take_along_axis(alone.depth, who, 0)
    capsule = np.take_along_axis(alone.capsule, who, 0)
    capsule = np.where(capsule >= 0, capsule + len(CAPSULES) * who, -1).astype(np.int8)
    together = Surface(depth, capsule)
    owner = nearest(together, samples)[0] // len(CAPSULES)
    instances = owner == np.arange(len(alone.depth))[:, None, None]
    # A pixel may show a person who has less than half of it, where others have the rest.
    return together, instances, (nearest(alone, samples)[0] >= 0) | instances


def _shares(
    instances: Bool[np.ndarray, "people height width"], ink: Bool[np.ndarray, "people height width"]
) -> Float64[np.ndarray, "people"]:
    return np.count_nonzero(instances, (1, 2)) / np.maximum(np.count_nonzero(ink, (1, 2)), 1)
