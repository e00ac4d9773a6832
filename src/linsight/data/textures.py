"""Backgrounds: crops of three photographs, from columns that no other split has."""

import numpy as np
from jaxtyping import UInt8

from linsight.data import embedded
from linsight.data.splits import check_split

__all__ = ["COLUMNS", "reflected", "textures"]

COLUMNS = {"train": (0, 160), "valid": (160, 256), "test": (160, 256)}
"""The columns of the photographs that the crops of each split are taken from."""

_SIDE = 256


def textures(split: str) -> UInt8[np.ndarray, "3 256 columns"]:
    """Brick, grass and gravel in grey: the columns of one split, read-only.

    Raises ValueError for another split, FileNotFoundError without the embedded file.
    """
    check_split(split)
    first, last = COLUMNS[split]
    content = embedded.read("textures.xz")
    return np.frombuffer(content, np.uint8).reshape(3, _SIDE, _SIDE)[:, :, first:last]


def reflected(
    texture: UInt8[np.ndarray, "rows columns"], row: int, column: int, size: int
) -> UInt8[np.ndarray, "size size"]:
    """The crop whose first pixel is (row, column) of the plane that the texture tiles by reflection.

    Along an axis of n pixels the plane has the period 2 n: 0, 1, ..., n - 1, n - 1, ..., 0, 0, 1, ...
    """
    rows, columns = (
        _mirror(np.arange(start, start + size), length)
        for start, length in zip((row, column), texture.shape, strict=True)
    )
    return texture[rows[:, None], columns]


def _mirror(places: np.ndarray, length: int) -> np.ndarray:
    places = places % (2 * length)
    return np.minimum(places, 2 * length - 1 - places)
