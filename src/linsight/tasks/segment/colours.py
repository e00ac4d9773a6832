"""Colours of classes, and masks drawn in them."""

import numpy as np
from jaxtyping import Float, Integer, UInt8

__all__ = ["COLOURS", "coloured", "overlaid"]

COLOURS = np.array(
    [
        (0, 0, 0),
        (230, 159, 0),
        (86, 180, 233),
        (0, 158, 115),
        (240, 228, 66),
        (0, 114, 178),
        (213, 94, 0),
        (204, 121, 167),
        (255, 255, 255),
        (148, 72, 220),
        (140, 220, 60),
    ],
    np.uint8,
)
"""Of the background and of the digits 0 to 9: black; those of Okabe and Ito 2008; white, violet, lime."""

_UNKNOWN = np.array((128, 128, 128), np.uint8)


def coloured(labels: Integer[np.ndarray, "height width"]) -> UInt8[np.ndarray, "height width 3"]:
    """The mask as a picture; pixels of no known class, as ignored ones, are grey."""
    known = (labels >= 0) & (labels < len(COLOURS))
    return np.where(known[..., None], COLOURS[np.where(known, labels, 0)], _UNKNOWN)


def overlaid(
    image: Float[np.ndarray, "3 height width"], labels: Integer[np.ndarray, "height width"]
) -> Float[np.ndarray, "height width 3"]:
    """The image in grey and dim, the classes but the background over it in their colours; all in [0, 1]."""
    grey = 0.45 * image.mean(0)[..., None]
    colours = coloured(labels) / 255.0
    return np.where((labels == 0)[..., None], grey, 0.8 * colours + 0.2 * image.transpose(1, 2, 0))
