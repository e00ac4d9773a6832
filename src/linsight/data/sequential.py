"""Digits to be classified pixel by pixel: their own split, and the fixed permutation of pMNIST."""

import os

import numpy as np
from jaxtyping import Int64, UInt8

from linsight.data import digits, noise
from linsight.data.splits import check_split

__all__ = ["PERMUTATION", "classified", "permutation"]

PERMUTATION = "pmnist-v1"
"""The name of our permutation: published figures of permuted MNIST are each of another one."""


def classified(
    split: str, source: str | os.PathLike[str] = "mnist"
) -> tuple[UInt8[np.ndarray, "number height width"], UInt8[np.ndarray, "number"]]:
    """Images and labels of one split for classification, as read-only arrays.

    Of MNIST, "train" is the first 55,000 of the training file, "valid" its last 5,000 and "test" the 10,000
    of the other file. (Densities are given 50,000 and 10,000: `data.images`.) Of a folder of IDX files,
    "valid" is the last twelfth of the training file.

    Raises what `data.images` raises.
    """
    check_split(split)
    images, labels = digits.labelled_file(source, "test" if split == "test" else "train")
    if split == "test":
        return images, labels
    border = len(images) - len(images) // 12
    if border == len(images):
        raise ValueError(
            f"source: the training file holds {len(images)} examples, and its last twelfth is the "
            f"validation split; use at least 12"
        )
    part = slice(border, None) if split == "valid" else slice(border)
    return images[part], labels[part]


def permutation(pixels: int = 784) -> Int64[np.ndarray, "pixels"]:
    """`pmnist-v1`: place t of the permuted sequence holds pixel `permutation()[t]` of the image.

    The stable order of the first `pixels` words of NumPy's Philox with key [0, 2]. Of 784 pixels it begins
    300, 40, 613, 417 and has, as little-endian 16-bit integers, the SHA-256 8a444ca3def6...
    """
    return np.argsort(noise.run(np.array([0, 2], np.uint64), 0, pixels), kind="stable")
