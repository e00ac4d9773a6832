"""Images with a class each: MNIST from the package, and the user's own data packed as MNIST is."""

import os
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from linsight.data import embedded, idx
from linsight.data.splits import check_split, rows

__all__ = ["images", "labelled_file", "mnist"]

_FILE_SIZES = {"train": 60_000, "test": 10_000}
_SIDE = 28


def mnist(
    split: str, *, folder: str | os.PathLike[str] | None = None
) -> tuple[UInt8[np.ndarray, "number 28 28"], UInt8[np.ndarray, "number"]]:
    """MNIST's images (ink is high, 0 to 255) and labels (0 to 9) of one split, as read-only arrays.

    LeCun, Bottou, Bengio and Haffner 1998. Nothing is downloaded; the first call decompresses and checks
    the embedded file (about 0.8 s), later calls are free.

    Args:
        split: "train" (the first 50,000 of the training file), "valid" (its last 10,000) or "test" (10,000).
        folder: read `mnist.xz` from this folder in place of the package.

    Raises ValueError for another split, FileNotFoundError without the file, RuntimeError if it is damaged.

    Example:
        >>> images, labels = mnist("test")
        >>> images.shape, labels[:5].tolist()
        ((10000, 28, 28), [7, 2, 1, 0, 4])
    """
    check_split(split)
    return _cut(_embedded_mnist(_file(split), folder), split)


def images(
    source: str | os.PathLike[str], split: str
) -> tuple[UInt8[np.ndarray, "number height width"], UInt8[np.ndarray, "number"]]:
    """Images and labels of one split of MNIST or of a folder of IDX files, as read-only arrays.

    Args:
        source: "mnist", or a folder that holds `train-images-idx3-ubyte`, `train-labels-idx1-ubyte` and
            the two `t10k-...` files, plain or gzipped. (A folder called mnist is written `./mnist`.)
        split: "train", "valid" or "test". Of a folder, "valid" is the last sixth of the training file and
            "train" the rest, as with MNIST.

    Raises ValueError for another split, FileNotFoundError for a missing folder or file, and RuntimeError for
    a file whose magic number, counts or length are wrong.
    """
    check_split(split)
    return _cut(labelled_file(source, _file(split)), split)


def labelled_file(
    source: str | os.PathLike[str], file: str
) -> tuple[UInt8[np.ndarray, "number height width"], UInt8[np.ndarray, "number"]]:
    """The whole file behind the splits: "train" (train and valid together) or "test"."""
    if source == "mnist":
        return _embedded_mnist(file, None)
    if not Path(source).is_dir():
        raise FileNotFoundError(
            f"source: expected 'mnist' or a folder of IDX files, got {os.fspath(source)!r}, not a folder"
        )
    return idx.read_folder(Path(source), file)


def _embedded_mnist(file: str, folder: str | os.PathLike[str] | None) -> tuple[np.ndarray, np.ndarray]:
    # Payloads follow each other: train images, train labels, test images, test labels.
    content = embedded.read("mnist.xz", folder)
    count = _FILE_SIZES[file]
    start = 0 if file == "train" else _FILE_SIZES["train"] * (_SIDE * _SIDE + 1)
    pixels = count * _SIDE * _SIDE
    whole = np.frombuffer(content, np.uint8, count=pixels, offset=start).reshape(count, _SIDE, _SIDE)
    return whole, np.frombuffer(content, np.uint8, count=count, offset=start + pixels)


def _file(split: str) -> str:
    return "test" if split == "test" else "train"


def _cut(whole: tuple[np.ndarray, np.ndarray], split: str) -> tuple[np.ndarray, np.ndarray]:
    part = rows(split, len(whole[0]))
    return whole[0][part], whole[1][part]
