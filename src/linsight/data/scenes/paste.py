"""A digit turned, enlarged and moved onto a larger grid, in integers: the same on every machine."""

from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8

__all__ = ["ANGLES", "UNIT", "Patch", "placed"]

UNIT = 256
"""Scales and centres are integers of 1/256."""

_ANGLE = 65536
# Rounding to 1/65536 removes the last bits, in which mathematical libraries differ.
ANGLES = tuple(
    (round(_ANGLE * np.cos(np.pi * half / 360)), round(_ANGLE * np.sin(np.pi * half / 360)))
    for half in range(-30, 31)
)
"""(cosine, sine) in 1/65536 of the turns of -15, -14.5, ..., 15 degrees, clockwise as seen."""

_SIDE = 28
_PAD = 2


class Patch(NamedTuple):
    """The intensities, 0 to 255, of the pixels of a window whose first pixel is (top, left)."""

    top: int
    left: int
    alpha: UInt8[np.ndarray, "rows columns"]


def placed(
    digit: UInt8[np.ndarray, "28 28"],
    *,
    scale: int,
    angle: int,
    centre: tuple[int, int],
    size: int,
) -> Patch:
    """The digit on a grid of size x size pixels, by bilinear sampling between its pixels and 0 around them.

    With half-pixel centres, pixel (r, c) shows the place 14 - 1/2 + R^T ((r, c) + 1/2 - centre) / scale of
    the digit, where R turns clockwise.

    Args:
        scale: Pixels of the grid a pixel of the digit, in 1/256.
        angle: Number of the turn in `ANGLES`.
        centre: Row and column, in pixels from the upper left corner of the grid, in 1/256.
        size: The window is clipped to the grid, and is empty when the digit is beyond it.
    """
    cosine, sine = ANGLES[angle]
    # Along each axis a turned square of side s spans s (cos + |sin|); a pixel more on both sides.
    half = (_SIDE // 2 * scale * (cosine + abs(sine))) // _ANGLE + UNIT
    top, bottom, left, right = (
        min(max(edge, 0), size)
        for middle in centre
        for edge in ((middle - half) // UNIT, -(-(middle + half) // UNIT))
    )
    rows = np.arange(top, bottom, dtype=np.int32) * UNIT + UNIT // 2 - centre[0]
    columns = np.arange(left, right, dtype=np.int32) * UNIT + UNIT // 2 - centre[1]
    # A pixel of the grid in pixels of the digit, in 1/65536; places stay below 2^31 within the window.
    cosine, sine = cosine * UNIT // scale, sine * UNIT // scale
    # Places in 1/256 of a pixel of the digit, counted from the first pixel of the padded digit.
    start = ((_SIDE // 2 + _PAD) * UNIT - UNIT // 2) << 16
    last = (_SIDE + 2 * _PAD - 1) * UNIT - 1
    down = ((cosine * rows + start)[:, None] - sine * columns) >> 16
    across = (sine * rows + start)[:, None] + cosine * columns >> 16
    down = np.minimum(np.maximum(down, 0), last)
    across = np.minimum(np.maximum(across, 0), last)
    padded = np.zeros((_SIDE + 2 * _PAD, _SIDE + 2 * _PAD), np.int32)
    padded[_PAD:-_PAD, _PAD:-_PAD] = digit
    flat = padded.ravel()
    y, x = down & (UNIT - 1), across & (UNIT - 1)
    place = (down >> 8) * (_SIDE + 2 * _PAD) + (across >> 8)
    upper = flat[place] * (UNIT - x) + flat[place + 1] * x
    place += _SIDE + 2 * _PAD
    lower = flat[place] * (UNIT - x) + flat[place + 1] * x
    alpha = (upper * (UNIT - y) + lower * y + UNIT * UNIT // 2) >> 16
    return Patch(top, left, alpha.astype(np.uint8))
