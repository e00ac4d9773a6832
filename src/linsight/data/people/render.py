"""Pictures of capsule bodies: Lambert's light, smooth backgrounds, a box filter."""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Int8, Int64, UInt8

from linsight.data.people.appearance import Clothes, Surroundings, background
from linsight.data.people.camera import Camera
from linsight.data.people.capsules import CAPSULES, PART_OF, Capsules, Surface, capsules
from linsight.data.people.clothes import albedo
from linsight.data.people.skeleton import Skeleton

__all__ = ["Picture", "check_image", "nearest", "picture"]


class Picture(NamedTuple):
    """Images and what each of their pixels shows."""

    image: UInt8[np.ndarray, "images 3 height width"]
    parts: UInt8[np.ndarray, "images height width"]
    """The label in `PARTS` of the nearest of a pixel's samples; 0 unless half of them are of a body."""
    depth: Float32[np.ndarray, "images height width"]
    """z of that sample in metres; infinity where `parts` is 0."""


def picture(
    body: Skeleton,
    clothes: Clothes,
    around: Surroundings,
    camera: Camera,
    surface: Surface,
    samples: int,
    *,
    first: Int64[np.ndarray, "images"] | None = None,
    stripes: bool = True,
    symmetric: bool = False,
) -> Picture:
    """Bodies before their backgrounds.

    A pixel is the mean of its samples, of which those that miss all bodies are background; that of a sample
    is albedo (ambient + (1 - ambient) max(0, n l)), with the normal n and the direction l to the light.

    Left sleeves and trouser legs are striped, shirts have a placket in front, and heads a face, so that
    which side is left can be told from each limb alone. Without `stripes` the face and the placket tell it,
    and a mirrored picture is of a mirrored body. With `symmetric` nothing is there: from before and from
    behind a body is the same, and at most the bend of knees and elbows tells left and right apart.

    Arithmetic is +, -, *, / and square roots, one after another: the same on every machine.

    Args:
        body, clothes: Of all bodies.
        around, camera: Of each image.
        surface: What is seen, by `rasterise`; capsule 14 p + c is the c-th of an image's p-th body.
        samples: Along each side of a pixel.
        first: Which is each image's first body. Default: each has one.
        stripes: Whether left limbs are striped.
        symmetric: Leave out all that tells left from right.
    """
    height, width = (side // samples for side in surface.depth.shape[1:])
    x, y = camera.slopes((height, width), samples)
    hits = np.flatnonzero(surface.capsule >= 0)
    lines = hits // x.shape[1]  # the row of samples in the stack of all images
    which, columns = lines // y.shape[1], hits - lines * x.shape[1]
    capsule = surface.capsule.reshape(-1)[hits].astype(np.int64)
    owner = which if first is None else first[which] + capsule // len(CAPSULES)
    capsule %= len(CAPSULES)
    depth = surface.depth.reshape(-1)[hits]
    place = (x.reshape(-1)[which * x.shape[1] + columns] * depth, y.reshape(-1)[lines] * depth, depth)
    along, normal = _normals(capsules(body), owner * len(CAPSULES) + capsule, place)
    colour = albedo(clothes, body, owner, capsule, along, place, stripes=stripes, symmetric=symmetric)
    colour *= _brightness(normal, around, which)[:, None]
    pixels = lines // samples * width + columns // samples
    pictured = (len(surface.depth), height, width)
    number = np.bincount(pixels, minlength=math.prod(pictured)).reshape(pictured)
    image = background(around, (height, width))
    image *= (1 - number / samples**2).astype(np.float32)[:, None]
    for channel in range(3):
        total = np.bincount(pixels, colour[:, channel], math.prod(pictured)).reshape(pictured)
        image[:, channel] += (total / samples**2).astype(np.float32)
    shown, front = nearest(surface, samples)
    parts = np.where(shown < 0, np.uint8(0), PART_OF[shown % len(CAPSULES)])
    return Picture(np.rint(image * np.float32(255)).astype(np.uint8), parts, front)


def nearest(
    surface: Surface, samples: int
) -> tuple[Int8[np.ndarray, "images height width"], Float32[np.ndarray, "images height width"]]:
    """What a pixel shows: capsule and depth of its nearest sample; -1 unless half its samples are of any."""
    number = np.zeros_like(surface.capsule[:, ::samples, ::samples], np.int64)
    front, shown = np.full(number.shape, np.inf, np.float32), np.full(number.shape, -1, np.int8)
    for sample in range(samples**2):
        part = (slice(None), slice(sample // samples, None, samples), slice(sample % samples, None, samples))
        depth, capsule = surface.depth[part], surface.capsule[part]
        number += capsule >= 0
        closer = depth < front
        np.copyto(front, depth, where=closer)
        np.copyto(shown, capsule, where=closer)
    few = 2 * number < samples**2
    shown[few], front[few] = -1, np.inf
    return shown, front


def _normals(
    shapes: Capsules, rows: Int64[np.ndarray, "hits"], place: tuple[np.ndarray, ...]
) -> tuple[Float32[np.ndarray, "hits"], list[np.ndarray]]:
    """How far along its capsule each place is, 0 to 1, and x, y, z of the outward normal there."""
    axis = shapes.end - shapes.start
    squared = axis[..., 0] ** 2 + axis[..., 1] ** 2 + axis[..., 2] ** 2
    ends = [1 / np.maximum(squared, 1e-12), 1 / shapes.radius]
    table = np.concatenate([shapes.start, axis, np.stack(ends, -1)], -1).reshape(-1, 8).astype(np.float32)
    *start, x, y, z, inverse, curvature = table[rows].T
    away = [one - other for one, other in zip(place, start, strict=True)]
    along = np.clip((away[0] * x + away[1] * y + away[2] * z) * inverse, 0, 1)
    return along, [(offset - along * part) * curvature for offset, part in zip(away, (x, y, z), strict=True)]


def _brightness(
    normal: list[np.ndarray], around: Surroundings, which: Int64[np.ndarray, "hits"]
) -> Float32[np.ndarray, "hits"]:
    x, y, z = around.light[which].T
    straight = np.maximum(normal[0] * x + normal[1] * y + normal[2] * z, 0)
    ambient = around.ambient[which]
    # Rounding may leave a normal a little longer than 1.
    return np.minimum(ambient + (1 - ambient) * straight, 1)


def check_image(size: tuple[int, int], samples: int) -> None:
    """Refuse images below 8 pixels, and other than 1 to 8 samples along a side of a pixel."""
    if len(size) != 2 or min(size) < 8:
        raise ValueError(f"size: expected height and width of at least 8, got {size}")
    if not 1 <= samples <= 8:
        raise ValueError(f"samples: expected 1 to 8 along a side of a pixel, got {samples}")
