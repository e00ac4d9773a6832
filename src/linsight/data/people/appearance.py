"""What people wear, what lights them, and what is behind them."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float32

__all__ = ["Clothes", "Surroundings", "background"]

_FINE = np.float32(0.3)  # of the finer grid
_FLIP = np.array([-1, 1, 1], np.float32)


class Clothes(NamedTuple):
    """The colours of each body: red, green, blue in [0, 1]."""

    skin: Float32[np.ndarray, "bodies 3"]
    hair: Float32[np.ndarray, "bodies 3"]
    shirt: Float32[np.ndarray, "bodies 3"]
    trousers: Float32[np.ndarray, "bodies 3"]
    shoes: Float32[np.ndarray, "bodies 3"]


class Surroundings(NamedTuple):
    """What is in each image beside bodies."""

    light: Float32[np.ndarray, "images 3"]
    """Unit vectors towards the light, in the camera's axes."""
    ambient: Float32[np.ndarray, "images"]
    """How bright a surface is that the light does not reach; 1 is one that it reaches straight."""
    coarse: Float32[np.ndarray, "images 3 rows columns"]
    """The colours of the background's large patches."""
    fine: Float32[np.ndarray, "images 3 fine_rows fine_columns"]
    """Those of its small ones, of which 0.5 changes nothing."""

    def mirrored(self) -> "Surroundings":
        """The same in a mirror."""
        return Surroundings(
            self.light * _FLIP, self.ambient, self.coarse[..., ::-1].copy(), self.fine[..., ::-1].copy()
        )


def background(around: Surroundings, size: tuple[int, int]) -> Float32[np.ndarray, "images 3 height width"]:
    """Smooth random colours: the coarse grid, interpolated, and 0.3 of the fine one, within [0, 1]."""
    found = _between(around.coarse, size)
    found += _FINE * (_between(around.fine, size) - np.float32(0.5))
    return np.clip(found, 0, 1, out=found)


def _between(
    grid: Float32[np.ndarray, "images 3 rows columns"], size: tuple[int, int]
) -> Float32[np.ndarray, "images 3 height width"]:
    """Bilinear, with the outer points of the grid at the centres of the outer pixels."""
    for axis, side in zip((2, 3), size, strict=True):
        last = grid.shape[axis] - 1
        place = np.arange(side) * last / max(side - 1, 1)
        before = np.minimum(place.astype(np.int64), last - 1)
        share = (place - before).astype(np.float32).reshape(-1, *[1] * (3 - axis))
        grid = grid.take(before, axis) * (1 - share) + grid.take(before + 1, axis) * share
    return grid
