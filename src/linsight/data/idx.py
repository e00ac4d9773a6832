"""The IDX files of MNIST and of data sets packed like it, plain or gzipped."""

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

__all__ = ["read_folder", "read_images", "read_labels"]

_IMAGES_MAGIC = 2051
_LABELS_MAGIC = 2049
_PREFIXES = {"train": "train", "test": "t10k"}
_NAMES = ("{prefix}-{what}-idx{axes}-ubyte", "{prefix}-{what}.idx{axes}-ubyte")


def read_folder(
    folder: Path, file: str
) -> tuple[UInt8[np.ndarray, "number height width"], UInt8[np.ndarray, "number"]]:
    """Images and labels of the training or the test file of a folder of IDX files; read-only arrays.

    The names are `train-images-idx3-ubyte` and `train-labels-idx1-ubyte`, or `t10k-...` for the test file,
    each with or without `.gz` (the plain one where both exist); `train-images.idx3-ubyte` is accepted.

    Args:
        folder: the folder.
        file: "train" or "test".

    Raises FileNotFoundError for a missing file, RuntimeError for one whose header and content disagree.
    """
    if file not in _PREFIXES:
        raise ValueError(f"file: expected 'train' or 'test', got {file!r}")
    images_path = _find(folder, _PREFIXES[file], "images", axes=3)
    labels_path = _find(folder, _PREFIXES[file], "labels", axes=1)
    images, labels = read_images(images_path), read_labels(labels_path)
    if len(images) != len(labels):
        raise RuntimeError(
            f"{labels_path}: holds {len(labels)} labels, but {images_path.name} holds {len(images)} images"
        )
    return images, labels


def read_images(path: Path) -> UInt8[np.ndarray, "number height width"]:
    """The images of one IDX file (magic number 2051), read-only."""
    return _read(path, _IMAGES_MAGIC, "images", ("count", "height", "width"))


def read_labels(path: Path) -> UInt8[np.ndarray, "number"]:
    """The labels of one IDX file (magic number 2049), read-only."""
    return _read(path, _LABELS_MAGIC, "labels", ("count",))


def _find(folder: Path, prefix: str, what: str, *, axes: int) -> Path:
    names = [name.format(prefix=prefix, what=what, axes=axes) for name in _NAMES]
    for name in names:
        for path in (folder / name, folder / f"{name}.gz"):
            if path.is_file():
                return path
    if not folder.is_dir():
        raise FileNotFoundError(
            f"{folder}: no such folder; expected a folder of IDX files such as {names[0]}"
        )
    raise FileNotFoundError(f"{folder}: expected the IDX file {names[0]} (or {names[0]}.gz) in this folder")


def _read(path: Path, magic: int, what: str, axes: tuple[str, ...]) -> np.ndarray:
    content = _decompressed(path)
    header = 4 + 4 * len(axes)
    if len(content) < header:
        raise RuntimeError(f"{path}: expected an IDX header of {header} bytes, found {len(content)} bytes")
    found, *shape = struct.unpack_from(f">{1 + len(axes)}I", content)
    if found != magic:
        raise RuntimeError(f"{path}: expected the IDX magic number {magic} ({what}), found {found}")
    stated = " x ".join(f"{name} {size}" for name, size in zip(axes, shape, strict=True))
    if 0 in shape:
        raise RuntimeError(f"{path}: expected at least one of each axis, found a header with {stated}")
    if math.prod(shape) != len(content) - header:
        raise RuntimeError(
            f"{path}: the header says {stated}, that is {math.prod(shape)} bytes, "
            f"but {len(content) - header} bytes follow it"
        )
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)


def _decompressed(path: Path) -> bytes:
    content = path.read_bytes()
    if not content.startswith(b"\x1f\x8b"):
        return content
    try:
        return gzip.decompress(content)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise RuntimeError(f"{path}: damaged gzip file ({error})") from None
