"""PASCAL VOC's segmentations: PNG files whose pixels are numbers of a palette."""

import os
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from linsight.data.annotations.files import contents, refusal

__all__ = ["read_voc_mask", "voc_palette", "write_voc_mask"]

MAX_BYTES = 2**28


def read_voc_mask(path: str | os.PathLike[str]) -> UInt8[np.ndarray, "height width"]:
    """The numbers in a VOC segmentation: classes, or objects; 0 is background and 255 what nothing counts.

    Needs pillow. The colours of the palette mean nothing; a grey picture is taken as its values.

    Raises:
        FileNotFoundError: No such file.
        ValueError: No PNG, a damaged one, one in full colour, or one of more than 89 million pixels.
    """
    from PIL import Image

    file = Path(path)
    contents(file, MAX_BYTES)
    broken = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error)
    bombs = (Image.DecompressionBombWarning, Image.DecompressionBombError)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(file, formats=["PNG"]) as picture:
                mode = picture.mode
                numbers = np.array(picture) if mode in ("P", "L") else None
    except bombs:
        raise refusal(file, "", "expected at most 89 million pixels, got more") from None
    except broken as error:
        raise refusal(file, "", f"cannot be read as PNG ({error})") from None
    if numbers is None:
        raise refusal(file, "", f"expected a PNG with a palette, or a grey one, got mode {mode}")
    return numbers


def write_voc_mask(mask: UInt8[np.ndarray, "height width"], path: str | os.PathLike[str]) -> None:
    """Write numbers as a PNG with VOC's palette, which `read_voc_mask` reads again. Needs pillow."""
    from PIL import Image

    picture = Image.fromarray(np.ascontiguousarray(mask))
    picture.putpalette(voc_palette().tobytes())
    picture.save(Path(path), "png")


def voc_palette() -> UInt8[np.ndarray, "256 3"]:
    """VOC's colours: bits 0, 3, 6 of the number are the highest of red; 1, 4, 7 of green; 2, 5 of blue.

    0 is black, 1 (128, 0, 0), 2 (0, 128, 0), and 255 (224, 224, 192).
    """
    numbers = np.arange(256)
    colours = np.zeros((256, 3), np.uint8)
    for bit in range(8):
        colours[:, bit % 3] |= ((numbers >> bit & 1) << (7 - bit // 3)).astype(np.uint8)
    return colours
