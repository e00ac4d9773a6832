"""Which colour a place on a body has: stripes on the left, a placket in front, a face."""

import numpy as np
from jaxtyping import Float32, Int64

from linsight.data.people.appearance import Clothes
from linsight.data.people.capsules import CAPSULES
from linsight.data.people.skeleton import PLACES, Skeleton

__all__ = ["albedo", "palette"]

_SKIN, _HAIR, _SHIRT, _TROUSERS, _SHOES, _EYE, _LIPS = range(7)
_CONTRAST = 7  # added to a material: the other colour of its stripes
_FIXED = np.array([[0.05, 0.05, 0.06], [0.55, 0.18, 0.18]], np.float32)

_CLOTHES = np.array([_SHIRT] * 4 + [_TROUSERS] * 4 + [_SHIRT, _TROUSERS, _SHIRT, _SHIRT, _SKIN, _SKIN])
_TIPS = np.array([_SKIN] * 4 + [_SHOES] * 4 + [_SHIRT, _TROUSERS, _TROUSERS, _TROUSERS, _SKIN, _SKIN])
# From this share of its length on, a capsule is hand, shoe or, of a flank, trousers.
_TIP = np.array([2, 2, 3 / 4, 3 / 4, 2, 2, 5 / 6, 5 / 6, 2, 2, 7 / 8, 7 / 8, 2, 2], np.float32)
# Every second of so many stretches of 6 to 7 cm is of the other colour.
_STRIPES = np.array([4, 0, 4, 0, 6, 0, 6, 0, 0, 0, 0, 0, 0, 0], np.float32)
_HEAD = CAPSULES.index("head")
_TRUNK = [CAPSULES.index(name) for name in ("shoulders", "left_flank", "right_flank")]

# In metres from the centre of the head, or aside from the middle of the chest.
_HAIRLINE, _TEMPLES = np.float32(0.055), np.float32(0.02)
_EYES, _EYE_SIZE = np.array([0.04, 0.035, 0.095], np.float32), np.float32(0.02)
_MOUTH, _MOUTH_SIZE = np.array([0.0, -0.05, 0.095], np.float32), np.float32(0.025)
_PLACKET = np.float32(0.025)

Places = tuple[Float32[np.ndarray, "hits"], Float32[np.ndarray, "hits"], Float32[np.ndarray, "hits"]]


def albedo(
    clothes: Clothes,
    body: Skeleton,
    which: Int64[np.ndarray, "hits"],
    capsule: Int64[np.ndarray, "hits"],
    along: Float32[np.ndarray, "hits"],
    place: Places,
    *,
    stripes: bool,
    symmetric: bool,
) -> Float32[np.ndarray, "hits 3"]:
    """The colour of places on bodies.

    Args:
        clothes: Of each body.
        body: Each body, where it is.
        which: Whose the places are.
        capsule: On which capsule they are.
        along: How far along it, 0 to 1.
        place: X, Y, Z in the camera's axes.
        stripes: Whether left limbs are striped.
        symmetric: Left is as right and the front as the back.
    """
    material = np.where(along > _TIP[capsule], _TIPS[capsule], _CLOTHES[capsule])
    rows = np.flatnonzero(capsule == _HEAD)
    aside, up, forwards = _own(body, "head", which[rows], rows, place)
    if symmetric:
        material[rows] = np.where(up > _HAIRLINE, _HAIR, _SKIN)
    else:
        if stripes:
            striped = (along * _STRIPES[capsule]).astype(np.int64) % 2 == 1
            material[striped & (along <= _TIP[capsule])] += _CONTRAST
        material[rows] = _face(aside, up, forwards)
        rows = np.flatnonzero(np.isin(capsule, _TRUNK) & (along <= _TIP[capsule]))
        aside, _, forwards = _own(body, "trunk", which[rows], rows, place)
        material[rows[(forwards > 0) & (np.abs(aside) < _PLACKET)]] += _CONTRAST
    return palette(clothes)[which, material]


def palette(clothes: Clothes) -> Float32[np.ndarray, "batch materials 3"]:
    """All materials, and for each a colour that is brighter if it is dark, and darker if it is bright."""
    worn = np.stack([clothes.skin, clothes.hair, clothes.shirt, clothes.trousers, clothes.shoes], 1)
    own = np.concatenate([worn, np.broadcast_to(_FIXED, (len(worn), *_FIXED.shape))], 1)
    bright = (own[..., :1] + own[..., 1:2] + own[..., 2:]) > np.float32(1.5)
    fifth = own * np.float32(0.2)
    return np.concatenate([own, np.where(bright, fifth, fifth + np.float32(0.8))], 1)


def _face(aside: np.ndarray, up: np.ndarray, forwards: np.ndarray) -> Int64[np.ndarray, "hits"]:
    material = np.where((forwards > _TEMPLES) & (up < _HAIRLINE), _SKIN, _HAIR)
    for material_of, (x, y, z), size in (
        (_LIPS, _MOUTH, _MOUTH_SIZE),
        (_EYE, _EYES, _EYE_SIZE),
        (_EYE, _EYES * np.array([-1, 1, 1], np.float32), _EYE_SIZE),
    ):
        near = (aside - x) ** 2 + (up - y) ** 2 + (forwards - z) ** 2 < size * size
        material[near] = material_of
    return material


def _own(
    body: Skeleton,
    part: str,
    which: Int64[np.ndarray, "rows"],
    rows: Int64[np.ndarray, "rows"],
    place: Places,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Places in the axes of the head or the trunk, from its centre or the neck, in metres at scale 1."""
    origin = body.places[:, PLACES.index("head" if part == "head" else "neck")]
    axes = (body.head if part == "head" else body.trunk) / body.scale[:, None, None]
    numbers = np.concatenate([origin[:, :, None], axes], 2).astype(np.float32)[which]
    away = [axis[rows] - numbers[:, number, 0] for number, axis in enumerate(place)]
    aside, up, forwards = (
        away[0] * numbers[:, 0, axis] + away[1] * numbers[:, 1, axis] + away[2] * numbers[:, 2, axis]
        for axis in (1, 2, 3)
    )
    return aside, up, forwards
