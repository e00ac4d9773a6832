"""From grey pixels to bits: one fixed draw for ever, a new draw at each visit, or a threshold."""

import hashlib
import math
import os
from functools import lru_cache

import numpy as np
from jaxtyping import Integer, UInt8, UInt64

from linsight.data import digits, noise
from linsight.data.splits import check_split, rows

__all__ = ["dynamic", "fixed", "threshold"]

# Of numpy.packbits, big-endian bits. The train and valid bits together make the 60,000 file's,
# abf0abbb5acc..., the checksum by which `fixed-v1` is published; the test bits are the 10,000 file's.
_MNIST_CHECKSUMS = {
    "train": "34b976223a7582e40e0596aa215c09baed83dea4957c5a366a789c0c15bc1d45",
    "valid": "e2ef96bc4d76ddd074e8ffab9ade98ce23ea3058948ba5f0ea667f7f3b4326f4",
    "test": "bdf505ea45ce75f8eb11be8f9c7fcc30de784398a2d90c4060b6a59bcffe892b",
}
_CHUNK = 1 << 20  # words drawn at a time: 8 MiB


def fixed(split: str, source: str | os.PathLike[str] = "mnist") -> UInt8[np.ndarray, "number height width"]:
    """The bits of one split under `fixed-v1`, a single Bernoulli(pixel / 255) draw for ever; read-only.

    linsight's own draw, by the law of Salakhutdinov & Murray (2008) whose file is no longer served; labels
    and order are those of `data.images`. Philox with key [0, 0] for the training file (train and valid) and
    [0, 1] for the test file, one word per pixel in file order; u = ((word >> 32) * 255) >> 32 is uniform on
    0..254 and the bit is u < pixel. Integers only, hence the same on every machine.

    MNIST's bits are checked against their published SHA-256 and kept: 0.8 s for "train", 0.2 s for the
    others, then free. A user's folder follows the same law, unchecked and drawn at each call.

    Args:
        split: "train", "valid" or "test".
        source: "mnist" or a folder of IDX files, as in `data.images`.

    Raises what `data.images` raises, and RuntimeError when MNIST's bits are not the published ones.
    """
    check_split(split)
    return _fixed_mnist(split) if source == "mnist" else _fixed(split, source)


def dynamic(
    images: UInt8[np.ndarray, "number height width"],
    indices: Integer[np.ndarray, "batch"],
    *,
    seed: int,
    epoch: int,
) -> UInt8[np.ndarray, "batch height width"]:
    """Bits of `images[indices]`, Bernoulli(pixel / 255), drawn anew in every epoch; 10 microseconds an image.

    A pure function of (seed, epoch, index) and the pixels, whatever the batch: counter-based noise and the
    integer law of `fixed`. For training only; a test draw has to stay fixed for its number to mean anything.
    """
    if images.dtype != np.uint8:
        raise TypeError(f"images: expected uint8 pixels from 0 to 255, got {images.dtype}")
    pixels = images[indices]
    key = noise.key(seed, "binarize/dynamic")
    words = noise.words(key, indices, math.prod(images.shape[1:]), epoch=epoch)
    return _bits(words.reshape(pixels.shape), pixels)


def threshold(images: UInt8[np.ndarray, "*shape"]) -> UInt8[np.ndarray, "*shape"]:
    """1 where a pixel is above 127: lower entropy than a draw, so its likelihoods are not comparable."""
    return (images > 127).view(np.uint8)


@lru_cache(maxsize=3)
def _fixed_mnist(split: str) -> UInt8[np.ndarray, "number 28 28"]:
    bits = _fixed(split, "mnist")
    found = hashlib.sha256(np.packbits(bits).tobytes()).hexdigest()
    expected = _MNIST_CHECKSUMS[split]
    if found != expected:
        raise RuntimeError(
            f"fixed-v1 bits of MNIST {split}: expected SHA-256 {expected[:12]}..., found {found[:12]}...; "
            f"this NumPy ({np.__version__}) draws other Philox words, so no published number would compare"
        )
    return bits


def _fixed(split: str, source: str | os.PathLike[str]) -> UInt8[np.ndarray, "number height width"]:
    file = "test" if split == "test" else "train"
    images, _ = digits.labelled_file(source, file)
    part = rows(split, len(images))
    pixels = images[part].reshape(-1)
    key = np.array([0, file == "test"], np.uint64)
    first = part.start * images[0].size
    bits = np.empty_like(pixels)
    for start in range(0, pixels.size, _CHUNK):
        chunk = pixels[start : start + _CHUNK]
        bits[start : start + _CHUNK] = _bits(noise.run(key, first + start, chunk.size), chunk)
    bits.flags.writeable = False
    return bits.reshape(images[part].shape)


def _bits(words: UInt64[np.ndarray, "*shape"], pixels: UInt8[np.ndarray, "*shape"]) -> np.ndarray:
    words >>= np.uint64(32)
    words *= np.uint64(255)
    words >>= np.uint64(32)
    return (words < pixels).view(np.uint8)
