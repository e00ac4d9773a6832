"""Bodies of 14 capsules, and where the rays of a camera first meet them."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Float64, Int8

from linsight.data.people.camera import Camera, extent
from linsight.data.people.skeleton import PLACES, Skeleton

__all__ = ["CAPSULES", "PARTS", "PART_OF", "Capsules", "Surface", "capsules", "rasterise"]

_LIMBS = (
    ("upper_arm", "shoulder", "elbow", 0.055),
    ("forearm", "elbow", "wrist", 0.045),
    ("thigh", "hip", "knee", 0.08),
    ("shank", "knee", "ankle", 0.06),
)
_SIDED = tuple(f"{side}_{limb}" for limb, *_ in _LIMBS for side in ("left", "right"))
CAPSULES = (*_SIDED, "shoulders", "hips", "left_flank", "right_flank", "neck", "head")
"""The 14 capsules of a body, limbs first."""

PARTS = ("background", *_SIDED, "trunk_and_head")
"""The labels of a part mask, 0 to 9."""

PART_OF = np.array([*range(1, 9), *(9,) * 6], np.uint8)
"""The label of each capsule."""

_RADII = np.array([radius for *_, radius in _LIMBS for _ in range(2)] + [0.075, 0.1, 0.1, 0.1, 0.05, 0.105])


class Capsules(NamedTuple):
    """What is within `radius` of a segment, in metres and the camera's axes."""

    start: Float64[np.ndarray, "batch capsules 3"]
    end: Float64[np.ndarray, "batch capsules 3"]
    radius: Float64[np.ndarray, "batch capsules"]

    def extent(self) -> Float64[np.ndarray, "batch capsules 4"]:
        """The box of slopes around each capsule, that around the spheres at its ends."""
        one, other = extent(self.start, self.radius), extent(self.end, self.radius)
        return np.concatenate(
            [np.minimum(one[..., :2], other[..., :2]), np.maximum(one[..., 2:], other[..., 2:])], -1
        )


class Surface(NamedTuple):
    """What the rays of each image meet first."""

    depth: Float32[np.ndarray, "batch rows columns"]
    """z in metres; infinity where nothing is."""
    capsule: Int8[np.ndarray, "batch rows columns"]
    """Which capsule; -1 where none is."""


def capsules(body: Skeleton) -> Capsules:
    """The capsules of bodies: limbs between their joints, and a trunk of two bars and two flanks.

    Radii in metres at scale 1: upper arm 0.055, forearm 0.045, thigh 0.08, shank 0.06, shoulders 0.075, hips
    and flanks 0.1, neck 0.05, head 0.105.
    """
    places = {name: body.places[:, place] for place, name in enumerate(PLACES)}
    segments = [
        (places[f"{side}_{start}"], places[f"{side}_{end}"])
        for _, start, end, _ in _LIMBS
        for side in ("left", "right")
    ]
    middle = (places["left_hip"] + places["right_hip"]) / 2
    hips = [middle + 0.75 * (places[f"{side}_hip"] - middle) for side in ("left", "right")]
    chest = [
        places["neck"] + 0.5 * (places[f"{side}_shoulder"] - places["neck"]) for side in ("left", "right")
    ]
    crown = body.head[:, :, 1] * body.scale[:, None]
    segments += [
        (places["left_shoulder"], places["right_shoulder"]),
        (hips[0], hips[1]),
        (chest[0], hips[0]),
        (chest[1], hips[1]),
        (places["neck"], places["head"]),
        (places["head"] - 0.03125 * crown, places["head"] + 0.03125 * crown),
    ]
    start, end = (np.stack([segment[which] for segment in segments], 1) for which in (0, 1))
    return Capsules(start, end, _RADII * body.scale[:, None])


def rasterise(shapes: Capsules, camera: Camera, size: tuple[int, int], samples: int = 1) -> Surface:
    """The first capsule on the ray through each of samples x samples places a pixel, and its depth.

    A ray is depth (x, y, 1); with o the place on it at the depth of the capsule's start, relative to that
    start, and e the axis, it meets the cylinder at the lesser root of
    |o + s d|^2 - (e (o + s d))^2 = r^2, and, where that is beyond an end, the sphere around this end.
    Offsets are from the capsule, so that single precision resolves 1e-6 m at any distance.

    Only rays within the box of a capsule are followed. Cost: 45 operations for each ray in each of the boxes,
    which together cover less than the image (about 0.8 of it where the body fills it).
    """
    x, y = camera.slopes(size, samples)
    boxes = _boxes(shapes, camera, size, samples)
    axis = shapes.end - shapes.start
    length = np.sqrt(axis[..., :1] ** 2 + axis[..., 1:2] ** 2 + axis[..., 2:] ** 2)
    axis = axis / np.maximum(length, 1e-12)
    numbers = np.concatenate([shapes.start, axis, length, shapes.radius[..., None]], -1).astype(np.float32)
    rows, columns = size[0] * samples, size[1] * samples
    depth = np.full((len(x), rows, columns), np.inf, np.float32)
    capsule = np.full((len(x), rows, columns), -1, np.int8)
    for body in range(len(x)):
        for number, (left, top, right, bottom) in enumerate(boxes[body].tolist()):
            if left >= right or top >= bottom:
                continue
            window = (body, slice(top, bottom), slice(left, right))
            met = _meet(numbers[body, number], x[body, left:right], y[body, top:bottom, None])
            nearest = depth[window]
            closer = met < nearest
            np.copyto(nearest, met, where=closer)
            np.copyto(capsule[window], np.int8(number), where=closer)
    return Surface(depth, capsule)


def _meet(
    numbers: Float32[np.ndarray, "8"], x: Float32[np.ndarray, "columns"], y: Float32[np.ndarray, "rows 1"]
) -> Float32[np.ndarray, "rows columns"]:
    """The depth at which rays meet a capsule; infinity where they miss it."""
    start_x, start_y, start_z, e_x, e_y, e_z, length, radius = numbers
    o_x, o_y = x * start_z - start_x, y * start_z - start_y
    # Every product of d, o and e is a sum of one number of the row and one of the column.
    dd = (x * x + np.float32(1)) + y * y
    od = x * o_x + y * o_y
    oo = (o_x * o_x - radius * radius) + o_y * o_y
    ed = (e_x * x + e_z) + e_y * y
    eo = e_x * o_x + e_y * o_y
    # A ray along the axis meets the cylinder nowhere; the guard sends it to the end that it comes from.
    a = np.maximum(dd - ed * ed, np.float32(1e-12))
    b = od - ed * eo
    root = b * b - a * (oo - eo * eo)
    missed = root < 0
    np.maximum(root, 0, out=root)
    along = (-b - np.sqrt(root, out=root)) / a
    height = eo + along * ed
    far = height >= length
    # Seen from the other end, o is o - length e.
    od -= np.where(far, length * ed, np.float32(0))
    oo += np.where(far, length * (length - 2 * eo), np.float32(0))
    root = od * od - dd * oo
    beyond = far | (height <= 0)
    missed |= beyond & (root < 0)
    np.maximum(root, 0, out=root)
    np.copyto(along, (-od - np.sqrt(root, out=root)) / dd, where=beyond)
    along += start_z
    along[missed] = np.inf
    return along


def _boxes(shapes: Capsules, camera: Camera, size: tuple[int, int], samples: int) -> np.ndarray:
    """Columns and rows of the samples that rays through each capsule have: left, top, right, bottom."""
    places = camera.focal[:, None, None] * shapes.extent() + np.tile(camera.centre, 2)[:, None]
    # Sample i is at i + 1/2. A thousandth more, for single precision.
    least = np.ceil(places[..., :2] * samples - 0.501)
    most = np.floor(places[..., 2:] * samples - 0.499) + 1
    edge = np.array([size[1], size[0]]) * samples
    return np.concatenate([np.clip(least, 0, edge), np.clip(most, 0, edge)], -1).astype(np.int64)
